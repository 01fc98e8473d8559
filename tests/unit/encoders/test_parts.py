"""A job that is killed goes on from the parts that it has kept, and its result is that of an undisturbed one."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from helpers import REPOSITORY, SCRIPTS, program_path, run_program, tree
from interrupted import embed_interrupted, interrupted_at

from virnucflow.cli import Failure
from virnucflow.encoders import packed, parts
from virnucflow.encoders.parts import KEEP_NOTHING, Parts, Progress, keeping_parts
from virnucflow.files.device_time import read_device_time
from virnucflow.files.tables import FRAMES, read_parquet, write_parquet
from virnucflow.files.tensors import load_tensor, save_rows

LITE = REPOSITORY / "resources" / "models" / "lite"
FRAMES_NUMBER = 300
COMPUTATIONS = [
    (program, attention) for program in ("embed_esm2", "embed_dnabert_s") for attention in ("flash", "standard")
]

# Runs a program that sends itself a signal when it has so many rows. A part is kept after each batch, or never.
KILLED = """
import os, sys
from runpy import run_path
from virnucflow.encoders import parts
program, rows, number, parts.KEEP_EVERY = sys.argv[1], *map(int, sys.argv[2:5])
reached = parts.Parts.reached
def reached_and_killed(self, done):
    reached(self, done)
    if self._writing:
        self._writing.result()
    if done >= rows:
        os.kill(os.getpid(), number)
parts.Parts.reached = reached_and_killed
sys.argv = [program, *sys.argv[5:]]
run_path(program, run_name="__main__")
"""
NEVER = 10**6


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred frames of mixed lengths, some of them equal."""
    letters, path = random.Random(3), tmp_path_factory.mktemp("frames") / "frames.parquet"
    lengths = [letters.choice([40, 41, letters.randint(1, 60)]) for _ in range(FRAMES_NUMBER)]
    proteins = ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]
    nucleotides = ["".join(letters.choices("ACGT", k=3 * length)) for length in lengths]
    proteins[-5:], nucleotides[-5:] = proteins[:5], nucleotides[:5]
    names = [f"s{number}_chunk_1F1" for number in range(FRAMES_NUMBER)]
    same = ([value] * len(names) for value in (1, "F1", "whole"))
    columns = [names, names, *same, nucleotides, proteins, lengths]
    write_parquet(pa.table(columns, schema=FRAMES), path)
    return path


def arguments(frames: Path, attention: str, folder: Path, pack: Path = LITE) -> list[object]:
    """Of a program, for an output in a folder; batches are of a few frames."""
    words = ["--frames", frames, "--model", pack, "--attention", attention, "--precision", "fp32", "--device", "cpu"]
    return [*words, "--token-budget", 300, "--threads", 1, "--embeddings", folder / "out.safetensors"]


@pytest.fixture(scope="module")
def undisturbed(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], bytes]:
    """What each computation gives that nothing disturbs."""
    folder, files = tmp_path_factory.mktemp("undisturbed"), {}
    for program, attention in COMPUTATIONS:
        run_program(program, *arguments(frames, attention, folder))
        files[program, attention] = (folder / "out.safetensors").read_bytes()
    return files


def part_files(folder: Path) -> list[Path]:
    """The parts beside the output, in their order."""
    return sorted(folder.glob(".out.safetensors.*.parts/*.safetensors"), key=lambda path: int(path.stem))


def kept(folder: Path) -> int:
    """The number of rows in them."""
    return sum(len(load_tensor(path, "embedding")[0]) for path in part_files(folder))


def kill(program: str, rows: int, number: int, keep_every: int, *options: object) -> None:
    """Run a program in a process of its own that ends by a signal when it has so many rows."""
    words = [program_path(program), rows, number, keep_every, *options]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (128 + number if number == signal.SIGTERM else -number), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("number", "keep_every"), [(signal.SIGTERM, NEVER), (signal.SIGKILL, 0)], ids=["at the signal", "before it"]
)
def test_killed_three_times_gives_the_same_bytes(number, keep_every, frames, undisturbed, tmp_path) -> None:
    """Each attempt in another place, as another node may see the folder, and after the last nothing else is left."""
    for attempt, rows in enumerate((60, 130, 220)):
        folder = tmp_path / str(attempt)
        folder.mkdir() if not attempt else (tmp_path / str(attempt - 1)).rename(folder)
        before = kept(folder)
        kill("embed_esm2", rows, number, keep_every, *arguments(frames, "flash", folder))
        assert before < rows <= kept(folder) < FRAMES_NUMBER and not (folder / "out.safetensors").exists()
    said = run_program("embed_esm2", *arguments(frames, "flash", folder))
    assert "going on after 2" in said
    assert tree(folder) == {"out.safetensors": undisturbed["embed_esm2", "flash"]}


def interrupt(rows: float, program: str, *options: object) -> list[int]:
    """Run a program in this process that ends as by SIGTERM; the numbers of rows that it had at each batch."""
    with interrupted_at(rows) as seen:
        run_program(program, *options, code=143 if rows < NEVER else 0)
    return seen


@pytest.mark.parametrize(("program", "attention"), COMPUTATIONS)
@pytest.mark.parametrize("keep_every", [0, NEVER])
def test_nothing_that_is_kept_is_computed_again(
    program: str, attention: str, keep_every: int, frames: Path, undisturbed, tmp_path: Path, monkeypatch
) -> None:
    """Each attempt goes on with the next batch of an undisturbed run, and all are computed once."""
    monkeypatch.setattr(parts, "KEEP_EVERY", keep_every)
    call = (program, *arguments(frames, attention, tmp_path))
    whole, computed = interrupt(NEVER, *call), []
    (tmp_path / "out.safetensors").unlink()
    for rows in (1, 50, 51, 200):
        computed += interrupt(rows, *call)
        assert kept(tmp_path) == computed[-1] >= rows
    assert computed + interrupt(NEVER, *call) == whole and len(whole) > 20
    assert tree(tmp_path) == {"out.safetensors": undisturbed[program, attention]}


@pytest.fixture
def stopped(frames: Path, tmp_path: Path) -> Path:
    """A folder with three parts, and no output."""
    for rows in (50, 100, 150):
        interrupt(rows, "embed_esm2", *arguments(frames, "flash", tmp_path))
    assert len(part_files(tmp_path)) == 3
    return tmp_path


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def not_finite(path: Path) -> None:
    rows, about = load_tensor(path, "embedding")
    rows[1, 1] = np.inf
    save_rows(rows, "embedding", path, about)


DAMAGE = {
    "a bit": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 7),
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "in another's place": lambda path: shutil.copy(part_files(path.parents[1])[2], path),
    "not finite": not_finite,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_computed_anew(damage: str, stopped: Path, frames: Path, undisturbed) -> None:
    second = part_files(stopped)[1]
    DAMAGE[damage](second)
    said = run_program("embed_esm2", *arguments(frames, "flash", stopped))
    assert "warning: a part that was kept is of no use, and is computed anew: " in said and str(second) in said
    assert f"going on after {second.stem} of" in said
    assert tree(stopped) == {"out.safetensors": undisturbed["embed_esm2", "flash"]}


def test_how_long_the_device_was_held_for_what_is_kept_is_counted(stopped: Path, frames: Path) -> None:
    """Each part says it for all rows up to it."""
    seconds = [float(load_tensor(path, "embedding")[1]["seconds"]) for path in part_files(stopped)]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    rows, about = load_tensor(part_files(stopped)[2], "embedding")
    save_rows(rows, "embedding", part_files(stopped)[2], about | {"seconds": "5000.000"})
    run_program("embed_esm2", *arguments(frames, "flash", stopped), "--device-time", stopped / "time.json")
    assert 5000 < read_device_time(stopped / "time.json")["seconds"] < 5060


def test_parts_of_other_weights_are_not_taken(stopped: Path, frames: Path, undisturbed, pack_directory: Path) -> None:
    (of_lite,) = stopped.glob(".*.parts")
    interrupt(50, "embed_esm2", *arguments(frames, "flash", stopped, pack_directory))
    (of_others,) = stopped.glob(".*.parts")
    assert of_others != of_lite, "those of lite, which this does not go on with, have gone"
    of_others.rename(of_lite)
    said = run_program("embed_esm2", *arguments(frames, "flash", stopped))
    assert "0.safetensors: of another computation" in said and "going on" not in said
    assert tree(stopped) == {"out.safetensors": undisturbed["embed_esm2", "flash"]}


@pytest.mark.parametrize(
    "changed", [["--code", "other"], ["--token-budget", 200], ["--precision", "bf16"], ["--frames", "other"]], ids=str
)
def test_another_computation_begins_anew(changed: list[object], stopped: Path, frames: Path) -> None:
    """Other letters of frames with the same names among them."""
    if changed == ["--frames", "other"]:
        table = read_parquet(frames, FRAMES)
        proteins = ["M" + protein[1:] for protein in table["protein"].to_pylist()]
        write_parquet(table.set_column(FRAMES.names.index("protein"), "protein", [proteins]), stopped / "other")
        changed = ["--frames", stopped / "other"]
    said = run_program("embed_esm2", *arguments(frames, "flash", stopped), *changed)
    assert "going on" not in said and not list(stopped.glob(".*.parts"))


def keep(output: Path, depends: dict[str, str]) -> Iterator[Parts]:
    """Keeps two rows of three; then it is stopped by SIGTERM."""
    with pytest.raises(SystemExit), keeping_parts(output, depends) as kept_parts:
        result = torch.zeros(3, 2)
        kept_parts.begin(result, np.arange(3))
        kept_parts.reached(2)
        yield kept_parts
        sys.exit(143)


def test_parts_of_a_live_attempt_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another computation, or of the same one that another attempt has finished."""
    monkeypatch.setattr(parts, "KEEP_EVERY", 0)
    output = tmp_path / "out[1]"
    alive = keep(output, {"precision": "fp16"})
    next(alive)._writing.result()
    for precision in ("fp32", "fp16"):
        with keeping_parts(output, {"precision": precision}):
            pass
        assert len(list(tmp_path.glob("**/0.safetensors"))) == 1
    list(alive)
    with keeping_parts(output, {"precision": "fp32"}):
        assert list(tmp_path.iterdir()) == []


def test_after_a_failure_nothing_is_kept(tmp_path: Path) -> None:
    """It would come again: not so what another program has left there."""
    (tmp_path / "x.parts").mkdir()
    with pytest.raises(Failure), keeping_parts(tmp_path / "x", {}) as kept_parts:
        kept_parts.begin(torch.zeros(3, 2), np.arange(3))
        kept_parts.reached(2)
        kept_parts._keep(2)
        assert len(list(tmp_path.glob(".x.*.parts/0.safetensors"))) == 1
        raise Failure
    assert [path.name for path in tmp_path.iterdir()] == ["x.parts"]


def test_a_full_disk_fails_no_job(frames: Path, undisturbed, tmp_path: Path, monkeypatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(parts, "staged", full)
    monkeypatch.setattr(parts, "KEEP_EVERY", 0)
    said = run_program("embed_esm2", *arguments(frames, "flash", tmp_path))
    assert "warning: a finished part is not kept for another attempt: [Errno 28] No space left on device" in said
    assert tree(tmp_path) == {"out.safetensors": undisturbed["embed_esm2", "flash"]}


def test_a_folder_that_cannot_be_used_fails_no_job(stopped: Path, frames: Path, undisturbed, monkeypatch) -> None:
    (folder,) = stopped.glob(".*.parts")
    shutil.rmtree(folder)
    folder.write_text("not a folder")
    monkeypatch.setattr(parts, "KEEP_EVERY", 0)
    said = run_program("embed_esm2", *arguments(frames, "flash", stopped))
    assert "warning: a finished part is not kept for another attempt: [Errno 17] File exists" in said
    assert (stopped / "out.safetensors").read_bytes() == undisturbed["embed_esm2", "flash"]


def test_a_short_job_makes_no_folder(frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(Parts, "_hold", made.append)
    run_program("embed_esm2", *arguments(frames, "flash", tmp_path))
    assert not made


def test_packed_batches_go_on_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for the GPU gives each sequence a value that its whole batch is known by."""

    def of_each_batch(sequences: list[str], tokenize, forward, rows: int, device: object) -> Iterator[torch.Tensor]:
        slices = (tokenize(sequences[first : first + 7]) for first in range(0, len(sequences), 7))
        for tokens, lengths in packed.fill_batches(slices, rows):
            yield torch.full((len(lengths), 1), float(tokens.sum()))

    def tokenize(some: list[str]) -> tuple[np.ndarray, np.ndarray]:
        return np.array([int(letter) for letter in "".join(some)]), np.array([len(sequence) for sequence in some])

    def embed(progress: Progress) -> torch.Tensor:
        return packed.embed_packed(sequences, tokenize, lambda rows: None, 1, 128, torch.device("cpu"), progress)

    letters = random.Random(6)
    lengths = [300, *(letters.randint(3, 60) for _ in range(300))]  # the longest says how many rows all batches have
    sequences = ["".join(letters.choices("0123456789", k=length)) for length in lengths]
    monkeypatch.setattr(packed, "_embeddings", of_each_batch)
    expected = embed(KEEP_NOTHING)
    assert len(expected.unique()) > 20
    assert torch.equal(embed_interrupted(embed, [40, 41, 170], tmp_path), expected)
