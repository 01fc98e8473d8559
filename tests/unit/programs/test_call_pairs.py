"""Pairs of reads are called by the chunks of both mates, as the tables of write_results have them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import error_line, run_program

from virnucflow.files.tables import SEQUENCES, write_parquet, write_tsv
from virnucflow.scoring.calls import call_pairs

# Of each read: its id, its mate, and of each of its chunks the best score, the call and the status.
READS = [
    ("a/2", 2, [(0.9, "virus", "ok")]),
    ("s/1", 0, [(0.9, "virus", "ok")]),  # is not of a pair, whatever it is called
    ("b/1", 1, [(0.9, "virus", "ok")]),
    ("b/2", 2, [(0.2, "others", "ok")]),
    ("a/1", 1, [(0.8, "virus", "ok")]),
    ("c/1", 1, [(0.6, "virus", "ok"), (0.99, "", "short")]),
    ("c/2", 2, [(0.3, "others", "ok")]),
    ("d/1", 1, [(0.99, "", "short")]),
    ("d/2", 2, [(0.1, "others", "ok")]),
    ("e/1", 1, [(np.nan, "", "no_frame")]),
    ("e/2", 2, []),
    ("f/2", 2, [(0.7, "virus", "ok"), (0.7, "virus", "ok"), (0.001, "others", "ok")]),
]
SCALING = {"scale": 1.0, "scale_log": 0.0, "shift": 0.0, "shift_log": 0.0, "most_chunks": 40}


def write_inputs(folder: Path, reads: list[tuple], calibration: dict | None = None) -> list[object]:
    """The tables of these reads, as options of call_pairs."""
    ids, mates, chunks = (list(column) for column in zip(*reads, strict=True))
    number = list(map(len, chunks))
    columns = [ids, [100 * n for n in number], number, [0] * len(ids), [""] * len(ids), mates]
    write_parquet(pa.table(columns, schema=SEQUENCES), folder / "sequences.parquet")
    rows = [(name, i, *chunk) for name, _, its in reads for i, chunk in enumerate(its, start=1)]
    table = pd.DataFrame(rows, columns=["sequence_id", "chunk", "best_score", "call", "status"])
    write_tsv(table.astype({"best_score": np.float32}), folder / "chunks.tsv")
    called = [[chunk for chunk in its if chunk[2] == "ok"] for its in chunks]
    viral = [sum(chunk[1] == "virus" for chunk in its) for its in called]
    summary = {
        "sequence_id": ids,
        "best_score": np.array([max((chunk[0] for chunk in its), default=np.nan) for its in chunks], dtype=np.float32),
        "call": ["" if not its else "virus" if 2 * n >= len(its) else "others" for its, n in zip(called, viral)],
        "status": [("ok" if len(its) == n else "partly") if its else "short" for its, n in zip(called, number)],
        "scored_chunks": list(map(len, called)),
        "viral_chunks": viral,
    }
    write_tsv(pd.DataFrame(summary), folder / "sequences.tsv")
    (folder / "run.json").write_text(json.dumps({"sample": "s", "calibration": calibration}))
    files = {"sequences": "sequences.parquet", "summary": "sequences.tsv", "chunk-summary": "chunks.tsv"}
    files |= {"provenance": "run.json", "pairs": "pairs.tsv"}
    return [word for option, name in files.items() for word in (f"--{option}", folder / name)]


def read_pairs(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "pairs.tsv", sep="\t", keep_default_na=False, index_col="pair")


def test_a_row_for_each_pair_with_what_is_said_of_both_mates(tmp_path: Path) -> None:
    said = run_program("call_pairs", *write_inputs(tmp_path, READS))
    lines = (tmp_path / "pairs.tsv").read_text().splitlines()
    assert lines[0] == "pair\tcall_1\tbest_score_1\tstatus_1\tcall_2\tbest_score_2\tstatus_2\tcall\tscore"
    assert lines[1] == "a\tvirus\t0.8\tok\tvirus\t0.9\tok\tvirus\t"
    assert lines[-1] == "f\t\t\tabsent\tvirus\t0.7\tok\tvirus\t"
    pairs = read_pairs(tmp_path)
    assert list(pairs.index) == ["a", "b", "c", "d", "e", "f"]
    # b: 0.9 weighs more than 0.2; c: 0.3 more than 0.6, and what is short nothing; d: one mate alone; f: two of three.
    assert list(pairs["call"]) == ["virus", "virus", "others", "others", "", "virus"]
    assert "3 of 6 pairs called virus; of 1 a mate is absent" in said


def test_the_score_of_a_pair_is_of_the_chunks_of_both_mates(tmp_path: Path) -> None:
    scaling = {"scale": 1.0, "shift": 0.0}
    calibration = {"prevalence": 0.5, "whole": scaling, "longest": scaling, "sequences": SCALING}
    run_program("call_pairs", *write_inputs(tmp_path, READS, calibration))
    logits = {score: np.log(score / (1 - score)) for score in (0.9, 0.2)}
    assert float(read_pairs(tmp_path)["score"]["b"]) == round(1 / (1 + np.exp(-sum(logits.values()) / 2)), 4)
    assert read_pairs(tmp_path)["score"]["e"] == ""


def test_reads_without_pairs_give_a_table_without_rows(tmp_path: Path) -> None:
    run_program("call_pairs", *write_inputs(tmp_path, [READS[1]]))
    assert len((tmp_path / "pairs.tsv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("chunks.tsv", "sequence_id\tbest_score\tstatus\n", "chunks.tsv: 0 chunks, but the sequences have 14; write"),
        (
            "chunks.tsv",
            "sequence_id\tbest_score\tstatus\nx\t0.5\tok\n",
            "chunks.tsv: not the chunks of these sequences",
        ),
        ("chunks.tsv", "something else", "chunks.tsv: not a table of write_results.py ("),
        ("sequences.tsv", "sequence_id\tbest_score\tstatus\n", "sequences.tsv: not a table of write_results.py ("),
        ("run.json", "[", "run.json: "),
    ],
)
def test_tables_of_something_else_are_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    arguments = write_inputs(tmp_path, READS)
    (tmp_path / name).write_text(text)
    said = error_line(run_program("call_pairs", *arguments, code=2))
    assert message in said and not (tmp_path / "pairs.tsv").exists()


def test_mates_that_differ_are_called_by_the_mean_of_their_logits() -> None:
    counted, viral = np.array([2, 2, 2, 0, 3, 4]), np.array([1, 1, 1, 0, 1, 2])
    calls = call_pairs(counted, viral, np.array([0.0, 0.1, -0.1, 0.0, 9.0, -1.0]))
    assert list(calls) == ["virus", "virus", "others", "", "others", "others"]
