"""Any bytes as any file of any program end in an answer or in one line: exit code 0, 1 or 2, and nothing else.

Never a traceback, more than 1 GB, more than 20 s, or a half-written file; and what a program of the workflow wrote, and
something changed since, is never taken for what it was.

FUZZ_EXAMPLES=20000 pytest -n 2 tests/fuzz    at night; the examples are shared among the files
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from chain import CALLS, GENBANK, Call, make_chain
from damage import damaged_bytes, damaged_json
from harness import run
from helpers import rehash, reproducible
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planning.messages import PlanningError
from planning.samples import read_samples

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
READS = ("in.fq", "pairs.fq", "in.bam")
# What users give, which has no digest.
FOREIGN = ("in.fa", GENBANK, *READS, "labels.tsv", "models.yaml", "CITATION.cff")
FOLDERS = ("pack/", "published/", "results/")  # whose files have none, or a checksum in another one
PAIRS = [(call, name) for call in CALLS for name in dict.fromkeys(call.reads)]
EACH = settings(
    max_examples=max(1, EXAMPLES // len(PAIRS)),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chain(tmp_path_factory.mktemp("chain"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def stage(chain: Path, call: Call, folder: Path) -> None:
    """The files that a program reads, in a folder where its output is not there yet."""
    for path in chain.rglob("*"):
        name = str(path.relative_to(chain))
        if path.is_file() and name not in call.writes:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name) if name in call.reads else os.link(path, folder / name)


@pytest.mark.parametrize(("call", "name"), PAIRS, ids=[f"{call.program}-{name}" for call, name in PAIRS])
def test_any_bytes_end_in_an_answer_or_one_line(call: Call, name: str, chain: Path) -> None:
    good = (chain / name).read_bytes()
    damages = damaged_bytes(good)
    if name.endswith(".json"):
        damages = st.one_of(damages, damaged_json(good))

    @EACH
    @given(content=damages, consistent=st.booleans())
    def check(content: bytes, consistent: bool) -> None:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            stage(chain, call, folder)
            (folder / name).write_bytes(content)
            of_pack = name.startswith("pack/") and not name.endswith("pack.json")
            if of_pack and consistent:
                rehash(folder / "pack")  # so that more than its checksum is looked at
            before = set(files_of(folder))
            outcome = run(call.program, list(call.arguments), folder)
            assert outcome.problems(call.program) == [], outcome.said[-3000:]
            after = files_of(folder)
            new = after.keys() - before - {"models/lock.json"}
            if outcome.code:
                assert not new, f"left behind: {new}"
            else:
                assert new >= set(call.writes)
            assert not [path for path in after if path.endswith(".partial")]
            if outcome.code == 0 and name not in FOREIGN and not name.startswith(FOLDERS):
                expected, found = (reproducible(of) for of in (chain, folder))
                changed = [
                    path for path in call.writes if found.get(path) != expected.get(path)
                ]  # times are in neither
                assert not changed, f"taken for what it was, and other output: {changed}"

    check()


SHEET = (
    b"sample\tfasta\tlabels\treads\treads_2\tinterleaved\nsoil\tin.fa\t\n"
    b'gut\t"a b.fa"\tlabels.tsv\nlake\t\t\t1.fq\t2.fq\nsea\t\t\ti.fq\t\tyes\n# remark\n'
)


@settings(EACH, max_examples=EXAMPLES)
@given(content=damaged_bytes(SHEET))
def test_any_bytes_as_sample_sheet(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder) / "samples.tsv"
        sheet.write_bytes(content)
        try:
            assert read_samples(str(sheet))
        except PlanningError as error:
            lines = str(error).splitlines()
            assert lines and all(line.startswith("samples: ") and len(line) < 1200 for line in lines[:10])
            assert all(letter.isprintable() for line in lines for letter in line)
