"""Jobs, and Snakemake itself, killed at random moments: the results are those of an undisturbed run, byte for byte.

KILLS=30 pytest -m long tests/workflow/test_killed.py    for more than the few of every day
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import EXAMPLE, REPOSITORY, SCRIPTS, reproducible, snakemake, write_fasta

from virnucflow.sequences.fasta import read_fasta

pytestmark = pytest.mark.long
KILLS = int(os.environ.get("KILLS", "3"))
SETTINGS = {"shards": 2, "model_pack": "pack"}
JOBS = 10  # of a run: split, two shards of translate, embed twice, concat, predict; the last job is not waited for
# What a job meets: no memory left, a time limit (a moment between its two signals), a cancelled job or failed node.
WAYS = ("SIGKILL", "SIGTERM, SIGKILL", "SIGTERM", "SIGKILL with its shell")

TRIED_ONCE = ("split_fasta", "write_results")  # Snakemake cannot tell a kill from bad input, which is final


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pack_directory: Path) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    write_fasta(folder / "phage.fa", {f"phage_{i}": phage[i * 1000 : i * 1000 + 700] for i in range(40)})
    (folder / "samples.tsv").write_text("sample\tfasta\na\tphage.fa\n")
    shutil.copytree(pack_directory, folder / "pack")
    snakemake(folder, **SETTINGS)
    return folder


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """The same input, with nothing computed."""
    made = shutil.ignore_patterns("work", "results", "logs", ".snakemake")
    return Path(shutil.copytree(undisturbed, tmp_path / "run", ignore=made))


def start(folder: Path, *options: str) -> subprocess.Popen:
    """Snakemake and all its jobs, as a process group."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--cores", "2"]
    command += ["--configfile", "config.yaml", "--show-failed-logs", *options]
    with (folder / "said.log").open("a") as said:
        return subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)


def programs(folder: Path) -> dict[int, str]:
    """The programs of jobs that run in a folder, by process number; the check before the first job is no job."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            if len(words) > 1 and words[1].startswith(str(SCRIPTS)) and (process / "cwd").readlink() == folder:
                found[int(process.name)] = Path(words[1]).stem
        except OSError:  # it has ended
            continue
    return {process: name for process, name in found.items() if name != "check_setup"}


def wait_for_a_program(folder: Path, run: subprocess.Popen, draw: random.Random) -> tuple[int, str] | None:
    """One of the running programs, after a random number of them were started and a random time more."""
    number, seen = draw.randrange(JOBS), set()
    while len(seen) <= number and run.poll() is None:
        seen |= programs(folder).keys()
        time.sleep(0.02)
    time.sleep(draw.uniform(0, 3))
    while run.poll() is None:
        if running := sorted(programs(folder).items()):
            return draw.choice(running)
        time.sleep(0.02)
    return None


def kill(process: int, way: str) -> None:
    """Kill a job's program; one that has ended by itself is no error."""
    try:
        if "shell" in way:
            shell = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
            os.kill(shell, signal.SIGKILL)
        for name in way.split(" with ")[0].split(", "):
            os.kill(process, signal.Signals[name])
            time.sleep(0.01)
    except (ProcessLookupError, FileNotFoundError):
        pass


def check(folder: Path, undisturbed: Path) -> None:
    """Equal results and equal files on the way to them, and nothing else.

    But for temporary files: what was killed may leave some, which its next run has no reason to look at.
    """
    for kind in ("chunks", "features"):
        for path in (folder / "work").glob(f"*/{kind}"):
            shutil.rmtree(path)
    for name in ("results", "work"):
        found, expected = reproducible(folder / name), reproducible(undisturbed / name)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_job_is_retried(seed: int, folder: Path, undisturbed: Path) -> None:
    draw = random.Random(seed)
    run = start(folder, "--retries", "1")
    way = WAYS[seed % len(WAYS)]
    victim = wait_for_a_program(folder, run, draw)
    if victim:
        kill(victim[0], way)
    code = run.wait(300)
    said = (folder / "said.log").read_text()
    if victim and victim[1] in TRIED_ONCE and code:
        assert not (folder / "results" / "a" / "a.run.json").exists()
        snakemake(folder, "--rerun-incomplete", **SETTINGS)
    else:
        assert code == 0, said
    retried = "and was retried" if "Trying to restart job" in said else "which had just ended"
    print(f"seed {seed}: {way}: {victim[1] + ', ' + retried if victim else 'nothing ran any more'}")
    check(folder, undisturbed)


@pytest.mark.parametrize("alone", [False, True], ids=["with its jobs", "alone"])
def test_killed_snakemake_is_taken_up(alone: bool, folder: Path, undisturbed: Path) -> None:
    """Also when its jobs go on beside those of the next run."""
    run = start(folder)
    wait_for_a_program(folder, run, random.Random(alone))
    os.kill(run.pid, signal.SIGKILL) if alone else os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not (folder / "results").exists()
    snakemake(folder, "--unlock", **SETTINGS)
    snakemake(folder, "--rerun-incomplete", "--retries", "1", **SETTINGS)
    while programs(folder):
        time.sleep(0.1)
    check(folder, undisturbed)


def test_terminated_snakemake_ends_its_jobs(folder: Path, undisturbed: Path) -> None:
    """SIGTERM: it lets the running jobs end or ends them, gives up its lock, and is taken up without --unlock."""
    run = start(folder)
    wait_for_a_program(folder, run, random.Random(7))
    run.terminate()
    assert run.wait(120) != 0
    snakemake(folder, "--rerun-incomplete", **SETTINGS)
    check(folder, undisturbed)
