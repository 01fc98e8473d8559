"""As many shards as a sample can have: every program that reads all of them, by a command that the system takes."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import SCRIPTS, write_fasta, write_sequences

from planning.shards import MOST_SHARDS, shard_names
from virnucflow.files.shards import as_ranges
from virnucflow.files.tables import FRAMES, SCORES, digest, write_parquet
from virnucflow.files.tensors import save_rows
from virnucflow.packs.encoders import feature_widths
from virnucflow.packs.pack import ModelPack

NUMBER = 200  # of frames that are compared
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, pack: ModelPack) -> Path:
    """A folder of 5,000 shards of a sequence each, with all files that a run has of them."""
    folder = tmp_path_factory.mktemp("many")
    letters = random.Random(0)
    sequences = {f"s{i}": "GCA" * 100 for i in range(MOST_SHARDS)}
    write_fasta(folder / "in.fa", sequences)
    widths, values = feature_widths(pack), np.random.default_rng(0)
    for name in ("frames", "scores", *widths):
        (folder / name).mkdir()
    for number, shard in enumerate(shard_names(MOST_SHARDS)):
        identity = [[f"s{number}_chunk_1F1"], [f"s{number}"], [1], ["F1"], ["whole"]]
        frames = pa.table([*identity, ["GCA" * 100], ["A" * 100], [100]], schema=FRAMES)
        write_parquet(frames, folder / "frames" / f"{shard}.parquet", {"chunks": 1})
        virus = np.float32(letters.random())
        label = "virus" if virus > 0.5 else "others"
        made: dict = {"model": pack.name, "trained": False, "frames": "whole", "attention": "flash", "chunks": 1}
        made["classifier_sha256"] = pack.sha256["classifier.safetensors"]
        for name, width in widths.items():
            how = {"kernel": "sdpa", "precision": "fp32", "allowed": "none", "device": "cpu", "attention": "flash"}
            made[name] = how | {"encoder": name, "names_sha256": digest(identity[0])}
            rows = values.random((1, width), dtype=np.float32)
            save_rows(rows, "embedding", folder / name / f"{shard}.safetensors", made[name])
        scores = pa.table([*identity, [100], [1 - virus], [virus], [label]], schema=SCORES)
        write_parquet(scores, folder / "scores" / f"{shard}.parquet", made)
    return folder


def files(folder: Path, name: str, suffix: str, number: int = MOST_SHARDS) -> list[str]:
    """What a rule gives a program for the files of so many shards."""
    return as_ranges(str(folder / name / f"{shard}{suffix}") for shard in shard_names(number))


def run(folder: Path, program: str, *arguments: object) -> None:
    """As Snakemake runs it: one command of a shell, with as few open files as most systems allow."""
    command = " ".join(map(str, [sys.executable, SCRIPTS / f"{program}.py", *arguments]))
    done = subprocess.run(["bash", "-c", f"ulimit -n 1024; {command}"], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_split_writes_5000_files(folder: Path) -> None:
    chunks = files(folder, "chunks", ".fa")
    outputs = ["--chunks", *chunks, "--sequences", folder / "sequences.parquet"]
    run(folder, "split_fasta", "--fasta", folder / "in.fa", "--chunk-length", 300, *outputs)
    texts = [(folder / "chunks" / f"{shard}.fa").read_text() for shard in shard_names(MOST_SHARDS)]
    assert [text.split()[0] for text in texts] == [f">s{i}_chunk_1" for i in range(MOST_SHARDS)]


def test_the_gate_samples_and_compares_5000_shards(folder: Path, pack: ModelPack) -> None:
    frames, scores = files(folder, "frames", ".parquet"), files(folder, "scores", ".parquet")
    outputs = ["--sampled-frames", folder / "sampled", "--sample", folder / "sample"]
    options = ["--chunk-length", 300, "--number", NUMBER]
    run(folder, "sample_frames", "--frames", *frames, "--scores", *scores, *options, *outputs)
    sequences = write_sequences(folder / "table.parquet", {f"s{i}": "GCA" * 100 for i in range(MOST_SHARDS)})
    arguments: list[object] = ["--sequences", sequences, "--sample", folder / "sample", "--model", pack.directory]
    for path in ("fast", "reference"):
        arguments += [f"--{path}-dnabert-s", *files(folder, "dnabert_s", ".safetensors")]
        arguments += [f"--{path}-esm2", *files(folder, "esm2", ".safetensors"), f"--{path}-scores", *scores]
    for name in ("divergence", "compared-frames", "figures"):
        arguments += [f"--{name}", folder / name]
    run(folder, "compare_attention", *arguments)
    found = json.loads((folder / "divergence").read_text())
    assert found["run_frames"] == MOST_SHARDS and found["frames"] > 0.9 * NUMBER
    assert found["frame_agreement"]["estimate"] == 1


def test_results_are_written_of_as_many_shards_as_no_command_can_name(folder: Path) -> None:
    """Not of all, as each takes 25 ms; of enough to have more than 131,072 letters in their names."""
    number = 2000
    fasta = write_fasta(folder / "some.fa", {f"s{i}": "GCA" * 100 for i in range(number)})
    split = ["--chunks", folder / "some_chunks.fa", "--sequences", folder / "some.parquet"]
    run(folder, "split_fasta", "--fasta", fasta, "--chunk-length", 300, *split)
    scores = files(folder, "scores", ".parquet", number)
    inputs = ["--scores", *scores, "--sequences", folder / "some.parquet", "--fasta", fasta]
    names = ["predictions", "consensus", "summary", "chunk-summary", "viral-fasta", "provenance"]
    outputs = [word for name in names for word in (f"--{name}", folder / "out" / name)]
    run(folder, "write_results", *inputs, "--chunk-length", 300, *outputs)
    rows = (folder / "out" / "summary").read_text().splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == [f"s{i}" for i in range(number)]


def test_a_command_that_names_every_file_would_be_too_long(folder: Path) -> None:
    """What this is about: if the system took such a command, nothing above would show anything."""
    every = [str(folder / "scores" / f"{shard}.parquet") for shard in shard_names(2000)]
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run(["bash", "-c", f"true {' '.join(every)}"], check=True)
    assert max(map(len, files(folder, "scores", ".parquet"))) < os.pathconf("/", "PC_PATH_MAX")
