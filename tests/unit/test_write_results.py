"""The tables users read: nothing is lost, and every column means what the manual says."""

import json
from pathlib import Path

import pyarrow as pa
from helpers import error_line, run_program

from virnucflow.tables import SCORES, write_parquet

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


def write_inputs(folder: Path, provenance: dict | None = None) -> list[object]:
    made = provenance or {"model": "m", "trained": True, "attention": "flash", "classifier_sha256": "c"}
    for shard, rows in enumerate(FRAMES):
        columns = [
            [f"{s}_chunk_{c}{f}" for s, c, f, _ in rows], *(list(column) for column in list(zip(*rows))[:3]),
            [100] * len(rows), [1 - v for *_, v in rows], [v for *_, v in rows], ["virus" if v > 0.5 else "others" for *_, v in rows],
        ]  # fmt: skip
        write_parquet(pa.table(columns, schema=SCORES), folder / f"{shard}.parquet", made)
    (folder / "in.fa").write_text(FASTA.format(long="ACGT" * 475))
    listed = [("first", 27, 1, "ok"), ("long", 1900, 4, "ok"), ("void", 0, 0, "empty"), ('odd"name"', 8, 1, "ok")]
    listed += [("NA", 8, 1, "ok"), ("x_chunk_1", 8, 1, "ok")]
    lines = ["sequence_id\tlength\tchunks\tstatus", *("\t".join(map(str, row)) for row in listed)]
    (folder / "sequences.tsv").write_text("\n".join(lines) + "\n")
    inputs = ["--scores", folder / "0.parquet", folder / "1.parquet", "--sequences", folder / "sequences.tsv"]
    return [*inputs, "--fasta", folder / "in.fa", "--chunk-length", 500]


def outputs(folder: Path) -> list[object]:
    names = ["predictions", "consensus", "summary", "chunk-summary", "viral-fasta", "provenance"]
    return [word for name in names for word in (f"--{name}", folder / "out" / name)]


def read(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_every_sequence_is_there_in_order(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    assert read(tmp_path / "out" / "summary") == [
        ["sequence_id", "length", "chunks", "frames", "viral_chunks", "best_score", "call", "status"],
        ["first", "27", "1", "0", "0", "", "", "no_frame"],
        ["long", "1900", "4", "4", "1", "0.9", "others", "ok"],  # 1 of 3 chunks with frames
        ["void", "0", "0", "0", "0", "", "", "empty"],
        ['odd"name"', "8", "1", "1", "0", "0.1", "others", "ok"],
        ["NA", "8", "1", "1", "1", "0.5", "virus", "ok"],  # v1: a chunk with a tie is viral
        ["x_chunk_1", "8", "1", "1", "1", "0.75", "virus", "ok"],
    ]


def test_every_chunk_is_there_in_order(tmp_path: Path) -> None:
    run_program("write_results", *write_inputs(tmp_path), *outputs(tmp_path))
    table = read(tmp_path / "out" / "chunk-summary")
    assert table[0] == ["sequence_id", "chunk", "start", "end", "frames", "best_score", "call", "status"]
    assert table[1:6] == [
        ["first", "1", "1", "27", "0", "", "", "no_frame"],
        ["long", "1", "1", "500", "2", "0.9", "virus", "ok"],
        ["long", "2", "475", "974", "0", "", "", "no_frame"],
        ["long", "3", "949", "1448", "1", "0.4", "others", "ok"],
        ["long", "4", "1423", "1900", "1", "0.3", "others", "ok"],
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


def test_untrained_model_is_named(tmp_path: Path) -> None:
    made = {"model": "untrained", "trained": False, "attention": "flash", "classifier_sha256": "c"}
    said = run_program("write_results", *write_inputs(tmp_path, made), *outputs(tmp_path))
    assert "model 'untrained' is untrained: these results mean nothing" in said
    assert ">NA best_score=0.500000 model=untrained\n" in (tmp_path / "out" / "viral-fasta").read_text()
    run = json.loads((tmp_path / "out" / "provenance").read_text())
    assert run["model"] == "untrained" and run["trained"] is False


def test_shards_of_different_runs_are_refused(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    write_parquet(SCORES.empty_table(), tmp_path / "1.parquet", {"model": "other", "attention": "standard"})
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "1.parquet: model, trained, attention, classifier_sha256 differ from" in error_line(said)
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
    (tmp_path / "sequences.tsv").write_text("sequence_id\tlength\tchunks\tstatus\nlong\t1900\t4\tok\n")
    said = run_program("write_results", *inputs, *outputs(tmp_path), code=2)
    assert "no sequence 'NA', which has scores" in error_line(said)


def test_missing_and_doubled_shards_are_refused(tmp_path: Path) -> None:
    made = {"model": "m", "trained": True, "attention": "flash", "classifier_sha256": "c", "chunks": 4}
    _, first, second, *rest = write_inputs(tmp_path, made)
    run_program("write_results", "--scores", first, second, *rest, *outputs(tmp_path))
    for shards in ([first], [first, second, second]):
        said = run_program("write_results", "--scores", *shards, *rest, *outputs(tmp_path), code=2)
        assert "sequences.tsv: 8 chunks, but the scores are of" in error_line(said)


def test_no_frame_at_all(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)
    for shard in (0, 1):
        write_parquet(SCORES.empty_table(), tmp_path / f"{shard}.parquet", {"model": "m", "trained": True})
    said = run_program("write_results", *inputs, *outputs(tmp_path))
    assert "no frame without a stop codon in any of 6 sequences" in said
    assert (tmp_path / "out" / "predictions").read_text() == "Sequence_ID\tPrediction\tscore1\tscore2\n"
    assert (tmp_path / "out" / "consensus").read_text() == "Modified_ID\tIs_Virus\n"
    assert (tmp_path / "out" / "viral-fasta").read_text() == ""
    assert [row[-1] for row in read(tmp_path / "out" / "summary")[1:]].count("no_frame") == 5


def test_outputs_that_need_more_input_say_so(tmp_path: Path) -> None:
    inputs = write_inputs(tmp_path)[:5]
    needed = ["--predictions", tmp_path / "p", "--consensus", tmp_path / "c", "--summary", tmp_path / "s"]
    assert "--viral-fasta needs --fasta" in run_program("write_results", *inputs, *needed, "--viral-fasta", "v", code=2)
    assert not (tmp_path / "p").exists()
