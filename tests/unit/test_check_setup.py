"""What is found wrong before a run: each problem in one line, all at once."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from helpers import fake_gpus, run_program


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


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"chunk_lengths": [500], "sha256": {}, "esm2": 3}'])
def test_description_that_is_none(content: str, mine: Path, tmp_path: Path) -> None:
    (mine / "pack.json").write_text(content)
    (line,) = problems(mine, tmp_path / "work")
    assert line.startswith(f"{mine / 'pack.json'}: not the description of a model pack")
    (mine / "pack.json").unlink()
    (line,) = problems(mine, tmp_path / "work")
    assert line == f"{mine / 'pack.json'}: no such file; set model to the directory of a model pack"


def test_disk_space_counts_what_is_there_already(mine: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    description = json.loads((mine / "pack.json").read_text())
    description["esm2"]["embed_dim"] = 2560
    (mine / "pack.json").write_text(json.dumps(description))
    free = shutil.disk_usage(work).free
    # 0.6 frames a chunk of 500 bases, of each 8 bytes for 2608 features, and 2 bytes a base.
    bases = free / (2 + 0.6 / 500 * 8 * 2608)
    assert problems(mine, work, bases=0.8 * bases) == []
    (line,) = problems(mine, work, bases=1.5 * bases)
    assert float(re.search(r"about ([\d.]+) GB are needed", line)[1]) == pytest.approx(1.5 * free / 1e9, abs=0.1)
    with (work / "embeddings").open("wb") as file:
        os.truncate(file.fileno(), int(0.9 * free))  # without its blocks on the disk
    assert problems(mine, work, bases=1.5 * bases) == []


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
