"""v1's own results, byte for byte."""

import csv
import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import GOLDEN, error_line, run_program

from virnucflow.files.tables import SCORES, SEQUENCES, write_parquet
from virnucflow.sequences.chunks import chunk_coordinates, chunk_identities, chunk_places

CASES = sorted(path.name for path in (GOLDEN / "cases").iterdir())
# Where this project does better than v1: what it says or does instead.
REFUSED = {
    "dup_ids": "duplicate sequence names: 'dup' in ",
    "empty_id": "duplicate sequence names: '' in ",
    "fastq": "line 1: this looks like FASTQ",
    "latin1_header": "line 1: the header is not UTF-8",
}
READ = {"empty_seq_between", "gzipped"}


def read_bytes(*paths: Path) -> list[bytes]:
    return [path.read_bytes() if path.exists() else b"" for path in paths]


@pytest.mark.parametrize("chunk_length", [300, 500])
@pytest.mark.parametrize("case", CASES)
def test_sequences(case: str, chunk_length: int, tmp_path: Path) -> None:
    folder = GOLDEN / "cases" / case
    chunks, sequences = tmp_path / "chunks.fa", tmp_path / "sequences.parquet"
    arguments = ["--fasta", folder / "input.fa", "--chunk-length", chunk_length, "--rna", "keep"]
    arguments += ["--chunks", chunks, "--sequences", sequences]
    if case in REFUSED:
        assert REFUSED[case] in error_line(run_program("split_fasta", *arguments, code=2))
        assert list(tmp_path.iterdir()) == []
        return
    run_program("split_fasta", *arguments)
    nucleotide, protein = tmp_path / "nucleotide.fa", tmp_path / "protein.fa"
    outputs = ["--frames", tmp_path / "frames.parquet", "--nucleotide-fasta", nucleotide, "--protein-fasta", protein]
    run_program("translate_frames", "--chunks", chunks, *outputs)
    if case not in READ:
        written = read_bytes(chunks, nucleotide, protein)
        names = ("chunked.fa", "identified_nucleotide.fa", "identified_protein.faa")
        # Where v1's bytes depend on the version of Biopython, either is right.
        known = [folder / f"c{chunk_length}{version}" for version in ("", ".alt188")]
        assert written in [read_bytes(*(results / name for name in names)) for results in known if results.exists()]


def test_cases_are_all_there() -> None:
    assert len(CASES) == 47
    for case in CASES:
        runs = json.loads((GOLDEN / "cases" / case / "meta.json").read_text())["runs"].values()
        died = {run["status"] for run in runs} == {"error"}
        assert not died or case in REFUSED or case in READ


@pytest.mark.parametrize("chunk_length", [300, 500])
def test_coordinates(chunk_length: int) -> None:
    with (GOLDEN / "coords" / f"chunk_coords_{chunk_length}.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    lengths = 0
    for length, group in groupby(rows, key=lambda row: int(row["length"])):
        expected = [(int(row["start0"]), int(row["end0"])) for row in group]
        assert list(chunk_coordinates(length, chunk_length)) == expected
        numbers = np.arange(len(expected)) + 1
        places = chunk_places(np.full(len(expected), length), numbers, chunk_length)
        assert list(zip(*places, strict=True)) == expected
        lengths += 1
    assert lengths == 2500


@pytest.mark.parametrize("case", sorted(path.name for path in (GOLDEN / "consensus").iterdir()))
def test_consensus(case: str, tmp_path: Path) -> None:
    given = (GOLDEN / "consensus" / case / "prediction_results.txt").read_text()
    rows = list(csv.DictReader(given.splitlines(), delimiter="\t"))
    columns: dict[str, list] = {name: [] for name in SCORES.names}
    for row in rows:
        name, frame = row["Sequence_ID"][:-2], row["Sequence_ID"][-2:]
        scores = (float(row["score1"]), float(row["score2"]))
        (sequence_id,), (chunk,) = (part.to_pylist() for part in chunk_identities(pa.array([name])))
        values = (name + frame, sequence_id, chunk, frame, "whole", 100, *scores, row["Prediction"])
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    scores, sequences = tmp_path / "scores.parquet", tmp_path / "sequences.parquet"
    chunks = {
        identity: max(c for i, c in zip(columns["sequence_id"], columns["chunk"]) if i == identity)
        for identity in columns["sequence_id"]
    }
    write_parquet(pa.table(columns, schema=SCORES), scores, {"chunks": sum(chunks.values())})
    listed = [list(chunks), [count * 500 for count in chunks.values()], list(chunks.values())]
    write_parquet(
        pa.table([*listed, [0] * len(chunks), [""] * len(chunks), [0] * len(chunks)], schema=SEQUENCES), sequences
    )
    consensus, predictions = tmp_path / "consensus.csv", tmp_path / "predictions.txt"
    run_program(
        "write_results", "--scores", scores, "--sequences", sequences, "--predictions", predictions,
        "--consensus", consensus, "--summary", tmp_path / "summary.tsv", "--min-residues", 0,
    )  # fmt: skip
    assert consensus.read_bytes() == (GOLDEN / "consensus" / case / "expected_highestscore.csv").read_bytes()
    assert predictions.read_text() == given
