"""What the programs of the gate hand on: lengths are of proteins, and frames count for those that they stand for."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import call_program, write_sequences

from virnucflow.files.tables import FRAMES, SAMPLE, SCORES, digest, read_parquet, write_parquet
from virnucflow.files.tensors import save_rows
from virnucflow.packs.encoders import feature_widths
from virnucflow.packs.pack import ModelPack


def identity(number: int) -> list[list]:
    """The columns name, sequence_id, chunk, frame and kind of frames of one sequence."""
    chunks = list(range(1, number + 1))
    return [[f"s_chunk_{chunk}F1" for chunk in chunks], ["s"] * number, chunks, ["F1"] * number, ["whole"] * number]


def write_scores(path: Path, virus: list[float], residues: list[int], made: dict) -> None:
    scores = np.array(virus, dtype=np.float32)
    labels = np.where(scores > 0.5, "virus", "others")
    columns = [*identity(len(virus)), residues, 1 - scores, scores, labels]
    write_parquet(pa.table(columns, schema=SCORES), path, made)


def test_the_length_of_a_frame_is_that_of_its_protein(tmp_path: Path) -> None:
    residues = [20, 40, 90]  # a chunk of 300 bases has at most 100
    letters = [["GCA" * number for number in residues], ["A" * number for number in residues]]
    write_parquet(pa.table([*identity(3), *letters, residues], schema=FRAMES), tmp_path / "frames", {"chunks": 3})
    write_scores(tmp_path / "scores", [0.9, 0.9, 0.9], residues, {"chunks": 3, "frames": "whole"})
    inputs = ["--frames", tmp_path / "frames", "--scores", tmp_path / "scores", "--chunk-length", 300]
    outputs = ["--sampled-frames", tmp_path / "sampled", "--sample", tmp_path / "sample"]
    code, said = call_program("sample_frames", *inputs, *outputs)
    assert code == 0, said
    sample = read_parquet(tmp_path / "sample", SAMPLE)
    assert sample["residues"].to_pylist() == residues
    assert sample["stratum"].to_pylist() == ["short/far", "medium/far", "long/far"]


def test_a_frame_counts_for_those_that_it_stands_for(
    pack: ModelPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four frames one has another label; it stands for 1 of 100."""
    monkeypatch.setattr("compare_attention.save_figures", lambda *arguments: arguments[-1].write_text("drawn"))
    names, residues = identity(4)[0], [100] * 4
    sample = [names, residues, ["long/far"] * 4, [1.0, 33.0, 33.0, 33.0]]
    write_parquet(pa.table(sample, schema=SAMPLE), tmp_path / "sample", {"run_frames": 100, "chunks": 4, "seed": 0})
    sequences = write_sequences(tmp_path / "sequences", {"s": "GCA" * 100})
    arguments: list[object] = ["--sequences", sequences, "--sample", tmp_path / "sample", "--model", pack.directory]
    for path, virus in (("fast", [0.9, 0.9, 0.1, 0.1]), ("reference", [0.1, 0.9, 0.1, 0.1])):
        made: dict = {"attention": "flash"}
        for name, width in feature_widths(pack).items():
            how = {"kernel": "sdpa", "precision": "fp32", "allowed": "none", "device": "cpu"}
            made[name] = how | {"encoder": name, "attention": "flash", "names_sha256": digest(names)}
            save_rows(np.ones((4, width), dtype=np.float32), "embedding", tmp_path / f"{path}.{name}", made[name])
            arguments += [f"--{path}-{name.replace('_', '-')}", tmp_path / f"{path}.{name}"]
        write_scores(tmp_path / f"{path}.scores", virus, residues, made)
        arguments += [f"--{path}-scores", tmp_path / f"{path}.scores"]
    for name in ("divergence", "compared-frames", "figures"):
        arguments += [f"--{name}", tmp_path / name]
    code, said = call_program("compare_attention", *arguments)
    assert code == 0, said
    found = json.loads((tmp_path / "divergence").read_text())
    assert found["frame_agreement"]["estimate"] == pytest.approx(0.99)
    assert found["score_difference"]["mean"] == pytest.approx(0.008)
