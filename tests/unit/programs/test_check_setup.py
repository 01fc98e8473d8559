"""What is found wrong before a run: each problem in one line, all at once."""

import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from helpers import fake_gpus, run_program

from check_setup import check_commands, check_dates, check_home, check_python, frames_per_chunk
from virnucflow.packs.check import check_pack
from virnucflow.packs.pack_files import CLASSIFIER, ENCODER_FILES


def problems(pack: Path | None, work: Path, *options: str, bases: float = 1e6, chunk_length: int = 500) -> list[str]:
    """What the program complains of."""
    arguments = ["--bases", bases, "--chunk-length", chunk_length, "--work", work, *options]
    arguments += ["--model", pack] if pack else []
    said = run_program("check_setup", *arguments, code=None)
    lines = said.splitlines()
    assert all(line.startswith("check_setup.py: error: ") for line in lines)
    run_program("check_setup", *arguments, code=2 if lines else 0)
    return [line.removeprefix("check_setup.py: error: ") for line in lines]


@pytest.fixture
def mine(pack_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack_directory, tmp_path / "mine"))


def test_good_setup_has_none(mine: Path, tmp_path: Path) -> None:
    assert problems(mine, tmp_path / "work") == problems(None, tmp_path / "work") == []


def test_encoders_alone_are_for_any_chunk_length(mine: Path, tmp_path: Path) -> None:
    description = json.loads((mine / "pack.json").read_text()) | {"chunk_lengths": []}
    (mine / "pack.json").write_text(json.dumps(description))
    assert problems(mine, tmp_path / "work", chunk_length=400) == []


def test_every_problem_comes_at_once(mine: Path, tmp_path: Path) -> None:
    (mine / "tokenizer.json").unlink()
    weights = (mine / "esm2.safetensors").read_bytes()
    (mine / "esm2.safetensors").write_bytes(weights[:-1])
    (mine / "dnabert_s.safetensors").write_bytes(b"<html>")
    (mine / "classifier.safetensors").write_bytes(b"")
    options = ["--device", "cpu", "--precision", "fp8"]
    found = problems(mine, tmp_path / "work", *options, bases=1e18, chunk_length=300)
    for name, words in (
        ("esm2.safetensors", f"{len(weights) - 1} bytes instead of {len(weights)}; restore the pack"),
        ("dnabert_s.safetensors", "cut or damaged"),
        ("tokenizer.json", "no such file, though pack.json names it"),
        ("classifier.safetensors", "cut or damaged"),
        ("pack.json", "the pack is for chunks of 500 bases, not of 300"),
    ):
        assert sum(line.startswith(f"{mine / name}: {words}") for line in found) == 1, found
    assert sum("GB are free; give another --directory" in line for line in found) == 1
    assert sum(line.startswith("precision: fp8: needs GPUs of compute capability 8.9") for line in found) == 1
    assert len(found) == 7


SHA256 = dict.fromkeys((*ENCODER_FILES, CLASSIFIER), "0")
GOOD = {"chunk_lengths": [500], "sha256": SHA256, "esm2": {"embed_dim": 3}, "dnabert_s": {"hidden_size": 3}}
LONG = "A" * 100000


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "null", "\xff", "[" * 100000, '{"chunk_lengths": [500], "sha256": {}, "esm2": 3}']
    + [
        json.dumps(GOOD | differing)
        for differing in (
            {"sha256": []},
            {"sha256": None},
            {"sha256": 3},
            {"sha256": {}},
            {"sha256": dict.fromkeys(ENCODER_FILES, "0")},  # though it is for a chunk length
            {"sha256": {name: "0" for name in SHA256 if name != "esm2.safetensors"}},
            {"sha256": SHA256 | {"../../etc/passwd": "0"}},
            {"sha256": SHA256 | {"\x1b[2J": "0"}},
            {"sha256": SHA256 | {LONG: "0"}},
            {"chunk_lengths": 500},
            {"chunk_lengths": {}},
            {"chunk_lengths": ["500"]},
            {"chunk_lengths": [{}]},
            {"chunk_lengths": {LONG: 1}},
            {"esm2": []},
            {"esm2": {"embed_dim": "3"}},
            {"esm2": {"embed_dim": float("nan")}},
            {"esm2": {"embed_dim": -(10**30)}},
        )
    ],
)
def test_description_that_is_none(content: str, mine: Path, tmp_path: Path) -> None:
    (mine / "pack.json").write_text(content, encoding="latin-1")
    ((line,), width) = check_pack(mine, 500)
    assert line.startswith(f"{mine / 'pack.json'}: not the description of a model pack") and len(line) < 500
    assert line.isprintable() and width == 0
    (mine / "pack.json").unlink()
    (line,) = problems(mine, tmp_path / "work")
    assert line == f"{mine / 'pack.json'}: no such file; set model_pack to the directory of a model pack"


def test_disk_space_counts_what_the_run_has_made_already_and_nothing_else(mine: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    description = json.loads((mine / "pack.json").read_text())
    description["esm2"]["embed_dim"] = 2560
    (mine / "pack.json").write_text(json.dumps(description))
    free = shutil.disk_usage(work).free
    # 0.64 frames per chunk of 500 bases, 4 bytes for each of a frame's 2608 values, and 2 bytes per base.
    bases = free / (2 + 0.64 / 500 * 4 * 2608)
    assert problems(mine, work, bases=0.8 * bases) == []
    (line,) = problems(mine, work, bases=1.5 * bases)
    assert float(re.search(r"about ([\d.]+) GB are needed", line)[1]) == pytest.approx(1.5 * free / 1e9, abs=0.1)
    assert len(problems(mine, work, "--copies", "2", bases=0.8 * bases)) == 1
    assert problems(mine, work, "--there", str(int(0.9 * free)), bases=1.5 * bases) == []
    with (work / "embeddings").open("wb") as file:  # of another run
        os.truncate(file.fileno(), int(0.9 * free))  # without its blocks on the disk
    assert len(problems(mine, work, bases=1.5 * bases)) == 1


@pytest.mark.parametrize(
    "chunk_length, frames", [(30, 4.3), (200, 1.3), (300, 0.9), (400, 0.75), (500, 0.64), (1000, 0.28)]
)
def test_frames_of_a_chunk_are_those_of_e_coli_in_the_example(chunk_length: int, frames: float) -> None:
    assert frames_per_chunk(chunk_length) == pytest.approx(frames, rel=0.03)


def test_more_bases_have_fewer_frames_at_every_length() -> None:
    found = [frames_per_chunk(length) for length in range(30, 5000)]
    assert found == sorted(found, reverse=True) and 0 < found[-1] < found[0] < 6


@pytest.mark.parametrize(
    "capability, precision, wrong",
    [
        ("9.0", "fp8", None),
        ("8.9", "fp8", None),
        ("8.6", "fp8", "needs GPUs of compute capability 8.9 or more, and one here has 8.6"),
        ("8.0", "bf16", None),
        ("7.5", "bf16", "needs GPUs of compute capability 8.0 or more, and one here has 7.5"),
        ("7.5", "fp16", None),
        ("10.0", "fp8", None),
        ("7.0", "auto", None),
    ],
)
def test_precision_fits_the_gpus(
    capability: str, precision: str, wrong: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(tmp_path / "bin", ["GPU-1"], capability)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for device in ("auto", "cuda"):
        found = problems(None, tmp_path / "work", "--device", device, "--precision", precision)
        assert wrong in found[0] if wrong else not found, found
    fake_gpus(tmp_path / "bin", [])
    (line,) = problems(None, tmp_path / "work", "--device", "cuda", "--precision", precision)
    assert line.startswith("device: cuda: nvidia-smi finds no GPU here")
    assert problems(None, tmp_path / "work", "--precision", precision) == []  # on a cluster: its nodes are not known


def header(tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 100,
        (1 << 62).to_bytes(8, "little") + b"{}",
        header([]),
        header({}),
        header({"a": 3}),
        header({"a": {"data_offsets": {}}}),
        header({"a": {"data_offsets": [0, "8"]}}),
        header({"a": {"data_offsets": [0, float("nan")]}}),
        header({"a": {"data_offsets": [0, 1 << 80]}}),
        b"\x01\x00\x00\x00\x00\x00\x00\x00\xff",
    ],
)
def test_damaged_weights_are_told_in_one_line(content: bytes, mine: Path) -> None:
    (mine / "esm2.safetensors").write_bytes(content)
    (line,) = check_pack(mine, 500)[0]
    assert line.startswith(f"{mine / 'esm2.safetensors'}: cut or damaged (") and len(line) < 500


def test_what_is_no_file_is_not_waited_for(mine: Path) -> None:
    for name in ("esm2.safetensors", "tokenizer.json", "pack.json"):
        (mine / name).unlink()
        os.mkfifo(mine / name)
        assert "not a file" in "".join(check_pack(mine, 500)[0])


def test_files_dated_ahead_are_named_with_what_to_do(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:02}.fa" for number in range(14)]
    for file in files:
        file.touch()
    assert check_dates([*map(str, files), str(tmp_path / "absent")]) == []
    for file in files[1:]:
        os.utime(file, (time.time() + 7199.5,) * 2)
    first, *others, last = check_dates(map(str, files))
    assert first.startswith(f"{files[1]}: dated in the future, 2:00:00 ahead") and first.endswith("; touch it")
    assert len(others) == 9 and last == "and 3 more files are dated in the future; touch them"


def test_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    for home, good in ((tmp_path, True), (tmp_path / "to be made", True), (tmp_path / "file", False), ("~", False)):
        monkeypatch.setenv("HOME", str(home))
        found = check_home()
        assert found == [] if good else found[0].startswith(f"HOME: {home} is no folder that can be written"), home
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert check_home() == []


def test_missing_commands_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "squeue").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert check_commands(["sacct|squeue", "squeue"]) == []
    assert [line.split(":")[0] for line in check_commands(["sbatch", "sacct|sstat"])] == ["sbatch", "sacct or sstat"]


def test_python_without_the_packages_or_without_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "programs.txt").write_text("# text\n-c constraints.txt\nno-such-package==1.0\nnumpy==0.0\n")
    (line,) = check_python(tmp_path / "programs.txt")
    assert line.startswith(f"{sys.executable}: has no no-such-package; install envs/run.txt there")
    (tmp_path / "programs.txt").write_text("numpy==0.0\n")
    assert check_python(tmp_path / "programs.txt") == []
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    (line,) = check_python(tmp_path / "programs.txt")
    assert line.startswith(f"{tmp_path / 'python'}: is not there")
