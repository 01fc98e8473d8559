"""The tables users read: nothing is lost, and every column means what the manual says."""

import gzip
import json
import math
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import error_line, run_program, write_fasta

from virnucflow import __version__
from virnucflow.files.device_time import write_device_time
from virnucflow.files.digests import digest_bytes
from virnucflow.files.json_files import write_json
from virnucflow.files.tables import SCORES, SEQUENCES, write_parquet, write_tsv
from virnucflow.scoring.choice import Choice
from virnucflow.scoring.summary import summarize_sequences

# Frames of two shards: (sequence, chunk, frame, score_virus)
FRAMES = [
    [("long", 1, "F1", 0.9), ("long", 1, "R2", 0.2), ("long", 3, "F1", 0.4)],
    [("long", 4, "F2", 0.3), ('odd"name"', 1, "F1", 0.1), ("NA", 1, "F1", 0.5), ("x_chunk_1", 1, "R3", 0.75)],
]
FASTA = """>first nothing here
TAATAATAATAATAATTAATTAATTAA
>long a long one
{long}
>void

>odd
ACGTACGT
>NA
ACGTACGT
>x_chunk_1 viral [sic]
ACGTACGT
"""


LISTED = [("first", 27, 1), ("long", 1900, 4), ("void", 0, 0), ('odd"name"', 8, 1), ("NA", 8, 1), ("x_chunk_1", 8, 1)]
MADE = {"model": "m", "trained": True, "frames": "whole", "attention": "flash", "classifier_sha256": "c", "chunks": 4}

OF_SEQUENCES = [
    "sequence_id", "length", "chunks", "frames", "viral_chunks", "best_score", "call", "status",
    "scored_chunks", "viral_fraction", "score",
]  # fmt: skip
ADDED = [
    "evidence",
    "lower",
    "upper",
    "probability",
    "expected_fdr",
    "file",
]  # columns after these, each with a test of its own

Row = tuple[str, int, str, float] | tuple[str, int, str, float, int]  # the frame of a longest stretch ends in _L


def write_scores(path: Path, rows: list[Row], made: dict) -> Path:
    """A table of scores of frames, with 100 residues where a row does not say how many."""
    columns: list[list] = [[] for _ in SCORES.names]
    for sequence, chunk, frame, virus, *residues in rows:
        kind = "longest" if frame.endswith("_L") else "whole"
        identity = (f"{sequence}_chunk_{chunk}{frame}", sequence, chunk, frame[:2], kind)
        values = (*identity, *(residues or [100]), 1 - virus, virus, "virus" if virus > 0.5 else "others")
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    write_parquet(pa.table(columns, schema=SCORES), path, made)
    return path


def write_sequences(path: Path, listed: list[tuple], records: dict[str, str], split: dict | None = None) -> Path:
    """The table of sequences (id, length, chunks); `records` are names and letters in the file."""
    digests = [digest_bytes(f"{name}\n{letters}".encode()) for name, letters in records.items()]
    digests += [""] * (len(listed) - len(digests))
    columns = [*map(list, zip(*listed, strict=True)), [0] * len(listed), digests[: len(listed)], [0] * len(listed)]
    write_parquet(pa.table(columns, schema=SEQUENCES), path, split)
    return path


def records_of_text(text: str) -> dict[str, str]:
    records = (record.partition("\n") for record in text.split(">")[1:])
    return {header.partition(" ")[0]: letters.replace("\n", "") for header, _, letters in records}


def write_inputs(folder: Path, provenance: dict | None = None, split: dict | None = None) -> list[object]:
    shards = [write_scores(folder / f"{n}.parquet", rows, provenance or MADE) for n, rows in enumerate(FRAMES)]
    text = FASTA.format(long="ACGT" * 475)
    (folder / "in.fa").write_text(text)
    sequences = write_sequences(folder / "sequences.parquet", LISTED, records_of_text(text), split)
    return ["--scores", *shards, "--sequences", sequences, "--fasta", folder / "in.fa", "--chunk-length", 500]


def outputs(folder: Path) -> list[object]:
    names = ["predictions", "consensus", "summary", "chunk-summary", "regions", "regions-bed", "viral-fasta"]
    names.append("provenance")
    return [word for name in names for word in (f"--{name}", folder / "out" / name)]


def read(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def read_sequences(path: Path) -> list[list[str]]:
    """The rows of sequences.tsv, of each the columns OF_SEQUENCES."""
    header, *rows = read(path)
    assert header == OF_SEQUENCES + ADDED
    return [row[: len(OF_SEQUENCES)] for row in rows]


def columns(path: Path, *names: str) -> list[tuple[str, ...]]:
    """The rows of a table, of each the columns that are named."""
    header, *rows = read(path)
    return [tuple(row[header.index(name)] for name in names) for row in rows]


def test_empty_file_has_results_of_no_row(tmp_path: Path) -> None:
    (tmp_path / "in.fa").touch()
    sequences = tmp_path / "sequences.parquet"
    write_parquet(SEQUENCES.empty_table(), sequences, {"rna": "as_dna", "rna_records": 0, "inputs": []})
    scores = write_scores(tmp_path / "0.parquet", [], MADE | {"chunks": 0})
    inputs = ["--scores", scores, "--sequences", sequences, "--fasta", tmp_path / "in.fa", "--chunk-length", 500]
    run_program("write_results", *inputs, *outputs(tmp_path))
    assert len(read(tmp_path / "out" / "summary")) == len(read(tmp_path / "out" / "chunk-summary")) == 1
    assert json.loads((tmp_path / "out" / "provenance").read_text())["counts"]["sequences"] == 0


def test_device_minutes_are_added_up_by_encoder(tmp_path: Path) -> None:
    """What no program has written is refused; without such files the record says that nobody knows."""
    times = [tmp_path / f"{number}.device_time.json" for number in range(3)]
    for path, seconds, encoder in zip(times, (30.0, 90.0, 6.6), ("esm2", "esm2", "dnabert_s"), strict=True):
        write_device_time(seconds, encoder, path)
    call = ("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    run_program(*call, "--device-time", *times)
    record = tmp_path / "out" / "provenance"
    assert json.loads(record.read_text())["device_minutes"] == {"dnabert_s": 0.11, "esm2": 2.0}
    run_program(*call)
    assert json.loads(record.read_text())["device_minutes"] is None
    times[1].write_text(times[1].read_text().replace("90.0", "9.0"))
    assert str(times[1]) in error_line(run_program(*call, "--device-time", *times, code=2))


def test_every_sequence_is_there_in_order(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    assert read_sequences(tmp_path / "out" / "summary") == [
        ["first", "27", "1", "0", "0", "", "", "no_frame", "0", "", ""],
        ["long", "1900", "4", "4", "1", "0.9", "others", "partly", "3", str(1 / 3), ""],  # 3 chunks with frames
        ["void", "0", "0", "0", "0", "", "", "empty", "0", "", ""],
        ['odd"name"', "8", "1", "1", "0", "0.1", "others", "ok", "1", "0.0", ""],
        ["NA", "8", "1", "1", "1", "0.5", "virus", "ok", "1", "1.0", ""],  # v1: a chunk with a tie is viral
        ["x_chunk_1", "8", "1", "1", "1", "0.75", "virus", "ok", "1", "1.0", ""],
    ]


@pytest.mark.parametrize(("scored", "status"), [(0, "no_frame"), (1, "partly"), (2, "partly"), (3, "ok")])
def test_a_sequence_of_which_some_chunks_have_no_call_is_partly_scored(
    scored: int, status: str, tmp_path: Path
) -> None:
    """Its row says which share it is; all else is by the chunks that have a call, as ever."""
    rows: list[Row] = [("s", chunk, "F1", 0.9) for chunk in range(1, scored + 1)]
    (row,), chunks, viral, _ = run_short(tmp_path, rows, 1400, 3)
    assert (row[2], row[8], row[7]) == ("3", str(scored), status)
    assert (row[6], viral != "") == (("virus", True) if scored else ("", False))
    assert [chunk[8] for chunk in chunks] == ["ok"] * scored + ["no_frame"] * (3 - scored), "a chunk is scored or not"


def calls_by_awk(table: Path) -> list[str]:
    """The calls of sequences.tsv as users would find them."""
    program = 'NR > 1 { print ($10 == "") ? "" : ($10 >= 0.5) ? "virus" : "others" }'
    said = subprocess.run(["awk", "-F\t", program, table], capture_output=True, text=True, check=True)
    return said.stdout.split("\n")[:-1]


def test_the_call_follows_from_its_row(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    table = tmp_path / "out" / "summary"
    assert calls_by_awk(table) == [call for (call,) in columns(table, "call")] and "virus" in calls_by_awk(table)


def test_no_rounding_changes_the_call_that_follows(tmp_path: Path) -> None:
    """Of the longest sequences that there could be, one viral chunk less than half, half, and one more."""
    pairs = [(n, n // 2 + more) for n in (2, 3, 9, 1001, 2**31, 2**40 - 1) for more in (-1, 0, 1)]
    counted, viral = np.array(pairs).T
    counts = pd.DataFrame({"counted_chunks": counted, "viral_chunks": viral}).assign(
        frames=counted, logits=0.0, squares=0.0, best_score=0.5
    )
    sequences = pd.DataFrame({"sequence_id": [f"s{n}" for n in range(len(pairs))]}).assign(length=1, chunks=counted)
    write_tsv(summarize_sequences(sequences, counts, None, None, Choice()), tmp_path / "s")
    assert calls_by_awk(tmp_path / "s") == ["virus" if 2 * v >= n else "others" for n, v in pairs]
    assert [call for (call,) in columns(tmp_path / "s", "call")] == calls_by_awk(tmp_path / "s")


SCALING = {"scale": 2.0, "scale_log": 1.0, "shift": 0.5, "shift_log": 0.25, "most_chunks": 3}
CALIBRATION = {"prevalence": 0.25, "whole": {"scale": 1.0, "shift": 0.0}, "longest": {"scale": 1.0, "shift": 0.0}}
BEST = {"s": (0.9, 0.8, 0.1, 0.4), "t": (0.7,)}  # scores of the chunks of two sequences


def run_scaled(folder: Path, scaling: dict, split: bool = False, *options: object, best: dict = BEST) -> Path:
    """The table of sequences with these scores of chunks, by a pack that scales them; `split`: of two shards."""
    made = MADE | {"calibration": CALIBRATION | {"sequences": scaling}}
    rows: list[Row] = [(name, n, "F1", p) for name, scores in best.items() for n, p in enumerate(scores, start=1)]
    parts = [rows[:3], rows[3:]] if split else [rows]
    shards = [write_scores(folder / f"{n}.parquet", part, made | {"chunks": len(part)}) for n, part in enumerate(parts)]
    listed = [(name, 500 * len(scores), len(scores)) for name, scores in best.items()]
    sequences = write_sequences(folder / "sequences.parquet", listed, {})
    needed = ["--predictions", folder / "p", "--consensus", folder / "c", "--summary", folder / "s"]
    run_program("write_results", "--scores", *shards, "--sequences", sequences, *needed, *options)
    return folder / "s"


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def of_logit(logit: float) -> str:
    return str(round(1 / (1 + math.exp(-logit)), 4))


@pytest.mark.parametrize("split", [False, True])
def test_a_sequence_has_one_score_of_all_its_chunks(split: bool, tmp_path: Path) -> None:
    """The mean of their logits, scaled by their number, of which those of the pack count at most; however it is cut."""
    table = run_scaled(tmp_path, SCALING, split)
    scaled = (2 + math.log(3)) * sum(map(logit, BEST["s"])) / 4 + 0.5 + 0.25 * math.log(3)
    expected = [of_logit(scaled), of_logit(2 * logit(0.7) + 0.5)]
    assert columns(table, "score", "lower", "upper") == [(score, "", "") for score in expected]  # nothing says how far


@pytest.mark.parametrize("split", [False, True])
def test_the_interval_of_a_score_is_of_its_chunks_and_of_what_to_expect_of_them(split: bool, tmp_path: Path) -> None:
    """One chunk has the pack's deviation; of four the own counts as three degrees of freedom, and they are alike."""
    spread = {"deviation": 0.5, "degrees": 4.0, "neighbours": 0.2}
    table = run_scaled(tmp_path, SCALING | {"spread": spread}, split)
    logits = list(map(logit, BEST["s"]))
    mean = sum(logits) / 4
    variance = (4 * 0.5**2 + sum((x - mean) ** 2 for x in logits)) / (4 + 3)
    margin = 2.364624 * math.sqrt(variance * (1 + 2 * 0.2 * 3 / 4) / 4)  # Student's t of 7 degrees of freedom
    slope, shift = 2 + math.log(3), 0.5 + 0.25 * math.log(3)
    of_four = tuple(of_logit(slope * (mean + sign * margin) + shift) for sign in (-1, 1))
    of_one = tuple(of_logit(2 * (logit(0.7) + sign * 2.776445 * 0.5) + 0.5) for sign in (-1, 1))  # of 4
    assert columns(table, "lower", "upper") == [of_four, of_one]


SPREAD = {"deviation": 0.5, "degrees": 4.0, "neighbours": 0.2}
# A virus between others, of which two shards have a half each, and one from end to end, without a score at either.
PLANTED = {"host": [0.01] * 9 + [0.99] * 8 + [0.01] * 7, "virus": [None, *[0.9] * 6, None], "none": [0.2, None, 0.3]}


def run_planted(folder: Path, calibration: dict | None, *options: object) -> tuple[list[dict[str, str]], str]:
    """The rows of the table of regions, and what was said, of PLANTED."""
    made = MADE | {"calibration": calibration}
    best = [(name, n, p) for name, scores in PLANTED.items() for n, p in enumerate(scores, start=1)]
    parts = [best[:13], best[13:]]
    rows: list[list[Row]] = [[(name, n, "F1", p) for name, n, p in part if p is not None] for part in parts]
    shards = [
        write_scores(folder / f"{n}.parquet", some, made | {"chunks": len(part)})
        for n, (some, part) in enumerate(zip(rows, parts, strict=True))
    ]
    listed = [(name, 499 * len(scores), len(scores)) for name, scores in PLANTED.items()]
    records = {name: "ACGT" * (length // 4) + "A" * (length % 4) for name, length, _ in listed}
    fasta = write_fasta(folder / "in.fa", records)
    inputs = ["--scores", *shards, "--sequences", write_sequences(folder / "sequences.parquet", listed, records)]
    needed = ["--fasta", fasta, "--chunk-length", 500, *outputs(folder)]
    said = run_program("write_results", *inputs, *needed, *options)
    header, *found = read(folder / "out" / "regions")
    counts = json.loads((folder / "out" / "provenance").read_text())["counts"]
    assert counts["regions"] == len(found) == len(read(folder / "out" / "regions-bed"))
    return [dict(zip(header, row, strict=True)) for row in found], said


def test_regions_are_those_of_whole_sequences_whatever_their_shards(tmp_path: Path) -> None:
    calibration = CALIBRATION | {"sequences": SCALING | {"spread": SPREAD}}
    (inside, whole), _ = run_planted(tmp_path, calibration)
    of_chunks = {(row[0], row[1]): row for row in read(tmp_path / "out" / "chunk-summary")}
    assert (inside["sequence_id"], inside["scored_chunks"]) == ("host", "8")
    assert (inside["start"], inside["end"]) == (of_chunks["host", "10"][2], of_chunks["host", "17"][3])
    assert (inside["earliest_start"], inside["latest_start"]) == (of_chunks["host", "9"][2], of_chunks["host", "10"][3])
    assert (inside["earliest_end"], inside["latest_end"]) == (of_chunks["host", "17"][2], of_chunks["host", "18"][3])
    # Of a virus from end to end the region has the score and the interval of the sequence.
    names = ("sequence_id", "length", "scored_chunks", "score", "lower", "upper")
    assert tuple(whole[name] for name in names) in columns(tmp_path / "out" / "summary", *names)
    assert (whole["start"], whole["end"], whole["chunks"]) == ("1", str(8 * 499), "8")


def test_chunks_that_are_short_are_missing_in_regions(tmp_path: Path) -> None:
    assert run_planted(tmp_path, CALIBRATION | {"sequences": SCALING}, "--min-residues", 101)[0] == []


@pytest.mark.parametrize("calibration", [None, CALIBRATION])
def test_a_pack_without_a_score_of_sequences_has_no_regions_and_says_so(
    calibration: dict | None, tmp_path: Path
) -> None:
    rows, said = run_planted(tmp_path, calibration)
    assert rows == [] and "model 'm' gives sequences no score, so that no regions are looked for" in said


def test_every_chunk_is_there_in_order(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    table = read(tmp_path / "out" / "chunk-summary")
    assert table[0] == ["sequence_id", "chunk", "start", "end", "frames", "kind", "best_score", "call", "status"]
    assert table[1:6] == [
        ["first", "1", "1", "27", "0", "", "", "", "no_frame"],
        ["long", "1", "1", "500", "2", "whole", "0.9", "virus", "ok"],
        ["long", "2", "475", "974", "0", "", "", "", "no_frame"],
        ["long", "3", "949", "1448", "1", "whole", "0.4", "others", "ok"],
        ["long", "4", "1423", "1900", "1", "whole", "0.3", "others", "ok"],
    ]


def test_v1_tables(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    predictions = (tmp_path / "out" / "predictions").read_text().splitlines()
    assert predictions[:3] == [
        "Sequence_ID\tPrediction\tscore1\tscore2",
        "long_chunk_1F1\tvirus\t0.1\t0.9",
        "long_chunk_1R2\tothers\t0.8\t0.2",
    ]
    assert len(predictions) == 1 + 7
    assert read(tmp_path / "out" / "consensus") == [
        ["Modified_ID", "Is_Virus"], ["NA_chunk_1", "True"], ["long_chunk_1", "True"], ["long_chunk_3", "False"],
        ["long_chunk_4", "False"], ['odd"name"_chunk_1', "False"], ["x_chunk_1_chunk_1", "True"],
    ]  # fmt: skip


def test_viral_sequences_keep_their_header(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    viral = (tmp_path / "out" / "viral-fasta").read_text()
    assert viral == ">NA best_score=0.500000\nACGTACGT\n>x_chunk_1 viral [sic] best_score=0.750000\nACGTACGT\n"


def choose(folder: Path, *options: object) -> tuple[str, dict[str, int], list[tuple[str, ...]]]:
    """What is said last, the counts of run.json, and the columns that tell, with these options."""
    said = run_program("write_results", *write_inputs(folder), *outputs(folder), *options)
    run = json.loads((folder / "out" / "provenance").read_text())
    table = columns(folder / "out" / "summary", "sequence_id", "length", "scored_chunks", "call", "file")
    return said.splitlines()[-1], run["counts"], table


def test_each_sequence_is_published_in_one_file(tmp_path: Path) -> None:
    """Those that are asked for have the same records as the input, in its order; the same bytes each time."""
    names = ("others", "unscored")
    options = [word for name in names for word in (f"--{name}-fasta", tmp_path / "out" / name)]
    said, counts, table = choose(tmp_path, *options)
    written = [(tmp_path / "out" / name).read_bytes() for name in names]
    assert [gzip.decompress(content).decode() for content in written] == [
        f">long a long one best_score=0.900000\n{'ACGT' * 15}\n"
        + f"{'ACGT' * 15}\n" * 30
        + f"{'ACGT' * 10}\n>odd best_score=0.100000\nACGTACGT\n".replace("odd", 'odd"name"'),
        ">first nothing here\nTAATAATAATAATAATTAATTAATTAA\n>void\n",
    ]
    assert [file for *_, file in table] == ["unscored", "others", "unscored", "others", "viral", "viral"]
    assert counts["files"] == {"viral": 2, "others": 2, "unscored": 2} and "left out" not in said
    assert all(content[3:8] == bytes(5) for content in written), "neither a name nor a time"
    choose(tmp_path, *options)
    assert written == [(tmp_path / "out" / name).read_bytes() for name in names]


@pytest.mark.parametrize(
    ("options", "viral"),
    [
        ([], ["long", "NA", "x_chunk_1"]),
        (["--min-length", 8], ["long", "NA", "x_chunk_1"]),
        (["--min-length", 9], ["long"]),
        (["--min-scored-chunks", 4], ["long"]),
        (["--min-scored-chunks", 5], []),
        (["--min-length", 9, "--min-scored-chunks", 5], []),
    ],
)
def test_what_a_sequence_must_have_to_be_published_as_viral(options: list, viral: list, tmp_path: Path) -> None:
    """All of it; and what is left out is counted, and stays in the table with its call."""
    rows = [("long", chunk, "F1", 0.9) for chunk in range(1, 5)]
    inputs = write_inputs(tmp_path)
    write_scores(tmp_path / "0.parquet", rows[:3], MADE)
    write_scores(tmp_path / "1.parquet", [rows[3], *FRAMES[1][1:]], MADE)
    said = run_program("write_results", *inputs, *outputs(tmp_path), *options)
    table = columns(tmp_path / "out" / "summary", "sequence_id", "call", "file")
    assert [name for name, _, file in table if file == "viral"] == viral
    assert [name for name, call, _ in table if call == "virus"] == ["long", "NA", "x_chunk_1"]
    counts = json.loads((tmp_path / "out" / "provenance").read_text())["counts"]
    assert counts["virus"] == 3 and counts["left_out"] == 3 - len(viral) == 3 - counts["files"]["viral"]
    written = (tmp_path / "out" / "viral-fasta").read_text()
    assert [line[1:].split()[0] for line in written.splitlines() if line[0] == ">"] == viral
    names = ", ".join(f"{option[2:].replace('-', '_')} {value}" for option, value in zip(options[::2], options[1::2]))
    told = f"3 of 6 sequences called virus, {3 - len(viral)} of them left out of the viral ones ({names})"
    assert (told in said) == (len(viral) < 3)


def test_no_score_is_enough_by_the_table(tmp_path: Path) -> None:
    """The score as it is written decides; a pack that gives none is refused where one is asked for."""
    score = float(columns(run_scaled(tmp_path, SCALING), "score")[1][0])
    for least, file in ((score, "viral"), (round(score + 0.0001, 4), "others")):
        table = run_scaled(tmp_path, SCALING, False, "--min-score", least)
        assert columns(table, "call", "file")[1] == ("virus", file)
    said = run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path), "--min-score", 0.5, code=2)
    assert "--min-score 0.5: model 'm' gives sequences no score; leave it out" in error_line(said)


def test_a_share_of_viruses_makes_probabilities(tmp_path: Path) -> None:
    """At the share of the calibration they are the scores; at another all odds are others by one factor."""
    columns_of = [columns(run_scaled(tmp_path, SCALING, False, *options), "score", "probability", "expected_fdr")
                  for options in ([], ["--prevalence", 0.25], ["--prevalence", 0.01])]  # fmt: skip
    nothing, same, rare = columns_of
    assert [row[1:] for row in nothing] == [("", "")] * 2
    assert [row[0] for row in same] == [row[1] for row in same] == [row[0] for row in rare]
    for score, rarely, _ in rare:
        odds = math.exp(logit(0.01) - logit(0.25))
        assert float(rarely) == pytest.approx(float(score) * odds / (1 - float(score) + float(score) * odds), abs=0.001)
    probable = sorted((float(row[1]) for row in same), reverse=True)
    fdr = sorted(float(row[2]) for row in same)
    assert fdr == pytest.approx([1 - probable[0], 1 - sum(probable) / 2], abs=0.0001)


def test_the_most_probable_are_published_whatever_their_call(tmp_path: Path) -> None:
    """As many as have the expected share of false ones, of those that are long enough."""
    table = run_scaled(tmp_path, SCALING, False, "--prevalence", 0.25)
    assert columns(table, "sequence_id", "call") == [("s", "virus"), ("t", "virus")]
    expected = [float(fdr) for (fdr,) in columns(table, "expected_fdr")]
    least, most = min(expected), max(expected)
    first = "st"[expected.index(least)]
    for fdr, published in ((least - 0.0001, ""), (least, first), (most - 0.0001, first), (most, "st")):
        table = run_scaled(tmp_path, SCALING, False, "--prevalence", 0.25, "--max-fdr", round(fdr, 4))
        assert "".join(name for name, file in columns(table, "sequence_id", "file") if file == "viral") == published
    options = ["--prevalence", 0.25, "--max-fdr", 0.2, "--min-length", 1000]
    table = run_scaled(tmp_path, SCALING, False, *options)
    (own,) = [1 - float(p) for name, p in columns(table, "sequence_id", "probability") if name == "s"]
    assert columns(table, "expected_fdr", "file") == [(str(round(own, 4)), "viral"), ("", "others")]
    scaling = SCALING | {"shift": 5.0}
    table = run_scaled(tmp_path, scaling, False, "--prevalence", 0.25, "--max-fdr", 0.1, best={"s": (0.4,)})
    assert columns(table, "call", "file") == [("others", "viral")]


def test_a_pack_that_gives_no_score_gives_no_probability_and_chooses_nothing_by_it(tmp_path: Path) -> None:
    inputs = [*write_inputs(tmp_path), *outputs(tmp_path), "--prevalence", "estimate"]
    said = run_program("write_results", *inputs)
    assert "model 'm' gives sequences no score, so that no probability is known (prevalence estimate)" in said
    assert set(columns(tmp_path / "out" / "summary", "probability", "expected_fdr")) == {("", "")}
    assert json.loads((tmp_path / "out" / "provenance").read_text())["prevalence"] is None
    said = run_program("write_results", *inputs, "--max-fdr", 0.05, code=2)
    assert "--max-fdr 0.05: model 'm' gives sequences no score; leave it out" in error_line(said)
    for options, problem in (
        (["--prevalence", 1], "argument --prevalence"),
        (["--max-fdr", 0.1], "needs --prevalence"),
    ):
        assert problem in error_line(run_program("write_results", *inputs[:-2], *options, code=2))


def test_the_share_of_viruses_is_estimated_by_the_scores(tmp_path: Path) -> None:
    """And is in run.json and the log, with its interval."""
    run_scaled(tmp_path, SCALING, False, "--prevalence", "estimate", "--provenance", tmp_path / "run.json")
    found = json.loads((tmp_path / "run.json").read_text())["prevalence"]
    assert found["lower"] < 0.25 < found["share"] < found["upper"]
    ((score, probable),) = columns(tmp_path / "s", "score", "probability")[:1]
    shifted = logit(float(score)) + logit(found["share"]) - logit(0.25)
    assert float(probable) == pytest.approx(1 / (1 + math.exp(-shifted)), abs=0.001)


def test_untrained_model_is_named(tmp_path: Path) -> None:
    made = MADE | {"model": "untrained", "trained": False}
    said = run_program("write_results", *write_inputs(tmp_path, made), *outputs(tmp_path))
    assert "model 'untrained' is untrained: these results mean nothing" in said
    assert ">NA best_score=0.500000 model=untrained\n" in (tmp_path / "out" / "viral-fasta").read_text()
    run = json.loads((tmp_path / "out" / "provenance").read_text())
    assert run["model"] == "untrained" and run["trained"] is False


def test_shards_of_different_runs_are_refused(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    write_parquet(
        SCORES.empty_table(), tmp_path / "1.parquet", {"model": "other", "attention": "standard", "chunks": 4}
    )
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "1.parquet: model, trained, frames, attention, classifier_sha256 differ from" in error_line(said)
    assert not list((tmp_path / "out").glob("*"))


def test_another_fasta_than_was_split_is_refused(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    for content in (">first\nACGT\n", FASTA.format(long="ACGT" * 475) + ">more\nAC\n", ""):
        (tmp_path / "in.fa").write_text(content)
        said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
        assert "not what was split into chunks" in error_line(said)
        assert not list((tmp_path / "out").glob("*"))


def test_scores_of_other_sequences_are_refused(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    listed = [("A" if name == "NA" else name, *numbers) for name, *numbers in LISTED]
    write_sequences(tmp_path / "sequences.parquet", listed, {})
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "no sequence 'NA' where " in error_line(said)


def test_missing_and_doubled_shards_are_refused(tmp_path: Path) -> None:
    _, first, second, *rest = write_inputs(tmp_path)
    run_program("write_results", "--scores", first, second, *rest, *outputs(tmp_path))
    said = run_program("write_results", "--scores", second, first, *rest, *outputs(tmp_path), code=2)
    assert "give one run's files in shard order" in error_line(said)
    for shards in ([first], [first, second, second]):
        said = run_program("write_results", "--scores", *shards, *rest, *outputs(tmp_path), code=2)
        assert "sequences.parquet: 8 chunks, but the scores are of" in error_line(said)


def test_no_frame_at_all(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    for shard in (0, 1):
        write_parquet(SCORES.empty_table(), tmp_path / f"{shard}.parquet", MADE)
    said = run_program("write_results", *inputs, *outputs(tmp_path))
    assert "no frame without a stop codon in any of 6 sequences" in said
    assert (tmp_path / "out" / "predictions").read_text() == "Sequence_ID\tPrediction\tscore1\tscore2\n"
    assert (tmp_path / "out" / "consensus").read_text() == "Modified_ID\tIs_Virus\n"
    assert (tmp_path / "out" / "viral-fasta").read_text() == ""
    assert [row[7] for row in read(tmp_path / "out" / "summary")[1:]].count("no_frame") == 5


def test_outputs_that_need_more_input_say_so(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)[:5]
    needed = ["--predictions", tmp_path / "p", "--consensus", tmp_path / "c", "--summary", tmp_path / "s"]
    assert "--viral-fasta needs --fasta" in run_program("write_results", *inputs, *needed, "--viral-fasta", "v", code=2)
    for options in (["--regions", "r"], ["--regions-bed", "b"]):
        assert "--regions" in error_line(run_program("write_results", *inputs, *needed, *options, code=2))
    assert not (tmp_path / "p").exists()


def run_short(folder: Path, rows: list[Row], length: int, chunks: int, *options: object) -> tuple[list, list, str, str]:
    """Rows of `sequences.tsv` and of `chunks.tsv`, viral.fasta, and v1's table, of one sequence."""
    letters = "ACGT" * (length // 4)
    scores = write_scores(folder / "scores.parquet", rows, MADE | {"chunks": chunks})
    sequences = write_sequences(folder / "sequences.parquet", [("s", length, chunks)], {"s": letters})
    inputs = ["--scores", scores, "--sequences", sequences, "--fasta", write_fasta(folder / "s.fa", {"s": letters})]
    run_program("write_results", *inputs, "--chunk-length", 500, *options, *outputs(folder))
    out = folder / "out"
    return (
        read_sequences(out / "summary"),
        read(out / "chunk-summary")[1:],
        (out / "viral-fasta").read_text(),
        (out / "consensus").read_text(),
    )


@pytest.mark.parametrize(
    ("residues", "options", "short"),
    [(29, [], True), (30, [], False), (29, ["--min-residues", 29], False), (1, ["--min-residues", 0], False)],
)
def test_few_residues_are_short_and_not_called(residues: int, options: list, short: bool, tmp_path: Path) -> None:
    """By the longest frame, not by the best; v1's table knows nothing of it."""
    rows = [("s", 1, "F1", 0.9, 2), ("s", 1, "F2", 0.2, residues)] if residues > 1 else [("s", 1, "F1", 0.9, 1)]
    sequences, chunks, viral, v1 = run_short(tmp_path, rows, 100, 1, *options)
    ending = ["0.9", "", "short"] if short else ["0.9", "virus", "ok"]
    of_sequence = ["0", "", ""] if short else ["1", "1.0", ""]
    assert sequences == [["s", "100", "1", str(len(rows)), "0" if short else "1", *ending, *of_sequence]]
    assert chunks == [["s", "1", "1", "100", str(len(rows)), "whole", *ending]]
    assert (viral == "") == short
    assert v1 == "Modified_ID\tIs_Virus\ns_chunk_1\tTrue\n"


def test_a_short_chunk_has_no_part_in_its_sequences_call(tmp_path: Path) -> None:
    """10 bases among N, scored as a virus, beside a whole chunk that is none: with 0 they would make a half."""
    rows = [("s", 1, "F1", 0.1, 160), ("s", 2, "F1", 0.98, 3)]
    sequences, chunks, viral, v1 = run_short(tmp_path, rows, 900, 2)
    assert sequences == [["s", "900", "2", "2", "0", "0.98", "others", "partly", "1", "0.0", ""]] and viral == ""
    assert chunks == [
        ["s", "1", "1", "500", "1", "whole", "0.1", "others", "ok"],
        ["s", "2", "450", "900", "1", "whole", "0.98", "", "short"],
    ]
    assert v1.endswith("s_chunk_1\tFalse\ns_chunk_2\tTrue\n")
    sequences, chunks, viral, _ = run_short(tmp_path, rows, 900, 2, "--min-residues", 0)
    assert sequences[0][4:8] == ["1", "0.98", "virus", "ok"] and chunks[1][7:] == ["virus", "ok"] and viral


def test_a_longest_stretch_counts_everywhere_but_in_the_tables_of_v1(tmp_path: Path) -> None:
    rows = [("s", 1, "F1", 0.1, 160), ("s", 2, "R3_L", 0.98, 60), ("s", 3, "F2_L", 0.7, 30)]
    sequences, chunks, viral, v1 = run_short(tmp_path, rows, 1400, 3)
    assert sequences == [["s", "1400", "3", "3", "2", "0.98", "virus", "ok", "3", str(2 / 3), ""]] and viral
    assert [chunk[4:] for chunk in chunks] == [
        ["1", "whole", "0.1", "others", "ok"], ["1", "longest", "0.98", "virus", "ok"],
        ["1", "longest", "0.7", "virus", "ok"],
    ]  # fmt: skip
    assert v1 == "Modified_ID\tIs_Virus\ns_chunk_1\tFalse\n"
    assert [row[0] for row in read(tmp_path / "out" / "predictions")] == ["Sequence_ID", "s_chunk_1F1"]


def test_scores_of_another_cut_are_refused(tmp_path: Path) -> None:
    """Shards of an earlier cut whose numbers of chunks happen to add up; chunks of another length."""
    inputs = write_inputs(tmp_path)
    write_scores(tmp_path / "1.parquet", [("long", 3, "F1", 0.4), *FRAMES[1]], MADE)
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "1.parquet: chunk 3 of 'long' is of another shard" in error_line(said)
    write_scores(tmp_path / "1.parquet", [("long", 5, "F1", 0.4)], MADE)
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "1.parquet: chunk 5 of 'long' is none of the sequence's" in error_line(said)
    inputs[-1] = 300
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "sequences.parquet: not of chunks of 300 bases" in error_line(said)
    assert not list((tmp_path / "out").glob("*"))


def test_provenance_of_another_type_is_refused(tmp_path: Path) -> None:
    for wrong in ({"trained": "false"}, {"chunks": "4"}, {"esm2": ["triton"]}, {"pack_sha256": {"a": 1}}):
        said = run_program("write_results", *write_inputs(tmp_path, MADE | wrong), *outputs(tmp_path), code=2)
        assert "0.parquet: " in error_line(said) and f"$.{next(iter(wrong))}" in said
    said = run_program("write_results", *write_inputs(tmp_path, split={"inputs": "a.fa"}), *outputs(tmp_path), code=2)
    assert "sequences.parquet: " in error_line(said)


GATE = {"decision": "validate", "attention": "flash", "message": "labels of 97.00% of the frames agree"}


def test_gate_that_is_none_is_refused(tmp_path: Path) -> None:
    inputs = [*write_inputs(tmp_path), "--gate", tmp_path / "gate.json"]
    for wrong in ({}, {"decision": "accept"}, GATE | {"attention": 1}, GATE | {"decision": "maybe"}):
        write_json(wrong, tmp_path / "gate.json")
        assert "gate.json: " in error_line(run_program("write_results", *inputs, *outputs(tmp_path), code=2))
    (tmp_path / "gate.json").write_text(json.dumps(GATE | {"decision": "accept"}))  # edited, or of an earlier version
    assert "gate.json: " in error_line(run_program("write_results", *inputs, *outputs(tmp_path), code=2))
    write_json(GATE | {"attention": "standard"}, tmp_path / "gate.json")
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=1)
    assert "is for results of standard attention" in error_line(said)
    for wrong, message in (({"decision": "refuse"}, "refuses the results of"), ({"run_frames": 0}, "is for 0 frames")):
        write_json(GATE | wrong, tmp_path / "gate.json")
        said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
        assert message in error_line(said)
    assert not list((tmp_path / "out").glob("*"))


def test_run_json_says_what_made_the_results(tmp_path: Path) -> None:
    encoder = {"kernel": "triton", "precision": "fp16", "device": "NVIDIA H200", "weights_sha256": "e"}
    hashes = {"classifier.safetensors": "c", "esm2.safetensors": "e"}
    made = MADE | {"pack_sha256": hashes, "esm2": encoder | {"names_sha256": "n"}, "dnabert_s": encoder}
    given = {"path": "in.fa", "sha256": "a" * 64, "bytes": 2000}
    inputs = write_inputs(tmp_path, made, {"inputs": [given], "rna": "as_dna", "records": 6, "rna_records": 2})
    write_scores(tmp_path / "1.parquet", FRAMES[1], made | {"esm2": encoder | {"device": "NVIDIA A100"}})
    gate = GATE | {"decision": "accept", "seed": 7, "run_frames": 7}
    write_json(gate, tmp_path / "gate.json")
    notes = ["--gate", tmp_path / "gate.json", "--sample", "soil", "--settings", '{"min_residues": 30}']
    notes += ["--started", "2026-01-02T03:04:05Z", "--commit", "abc-dirty", "--snakemake", "9.27.1"]
    notes += ["--image", "oras://x/y:1", "--image-sha256", "f" * 64]
    said = run_program("write_results", *inputs, *notes, *outputs(tmp_path))
    assert said.splitlines()[-1].endswith("2 of 6 sequences called virus; 2 have U, read as T")
    run = json.loads((tmp_path / "out" / "provenance").read_text())
    assert run["started"] == "2026-01-02T03:04:05Z" < run.pop("ended")
    assert (
        run["versions"].pop("snakemake") == "9.27.1"
        and {"python", "torch", "safetensors"} <= run.pop("versions").keys()
    )
    assert run == {key: value for key, value in MADE.items() if key != "chunks"} | {
        "sample": "soil",
        "device_minutes": None,
        "started": "2026-01-02T03:04:05Z",
        "inputs": [given],
        "subsample": None,
        "settings": {"min_residues": 30, "rna": "as_dna"},
        "counts": {
            "sequences": 6,
            "chunks": 8,
            "scored_chunks": 6,
            "frames": 7,
            "rna_sequences": 2,
            "status": {"ok": 3, "partly": 1, "short": 0, "no_frame": 1, "empty": 1},
            "virus": 2,
            "virus_by_one_chunk": 2,
            "files": {"viral": 2, "others": 2, "unscored": 2},
            "left_out": 0,
            "taken_in": 0,
            "regions": 0,
        },
        "prevalence": None,
        "calibration": None,
        "pack_sha256": hashes,
        "dnabert_s": [encoder],
        "esm2": [encoder, encoder | {"device": "NVIDIA A100"}],
        "divergence": gate,
        "workflow": {"version": __version__, "commit": "abc", "changed": True},
        "container": {"image": "oras://x/y:1", "sha256": "f" * 64},
    }


def test_what_is_not_known_is_null(tmp_path: Path) -> None:
    empty = [f"--{name}" for name in ("started", "commit", "snakemake", "image", "image-sha256")]
    run_program("write_results", *write_inputs(tmp_path), *empty, *outputs(tmp_path))
    run = json.loads((tmp_path / "out" / "provenance").read_text())
    assert [run[key] for key in ("started", "inputs", "container", "divergence", "pack_sha256")] == [None] * 5
    assert run["workflow"] == {"version": __version__, "commit": None, "changed": None}
