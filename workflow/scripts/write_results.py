"""Write what users read: VirNucPro v1's two tables, the summaries of chunks and sequences, and the viral sequences.

A chunk is viral when the largest score_virus of its frames is at least the largest score_others, as in VirNucPro v1.
A sequence is called `virus` when at least half of its chunks that have a frame are viral, else `others`; without any
frame it has no call.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from virnucflow.calls import call_chunks, call_sequences
from virnucflow.chunks import chunk_coordinates, chunk_name
from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.fasta import write_record
from virnucflow.records import records_of
from virnucflow.tables import SCORES, read_parquet, read_provenance, read_sequences, write_tsv

V1_COLUMNS = {"name": "Sequence_ID", "prediction": "Prediction", "score_others": "score1", "score_virus": "score2"}


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="tables of predict.py, in shard order")
    parser.add_argument("--sequences", type=Path, required=True, help="table of split_fasta.py")
    parser.add_argument("--fasta", type=Path, nargs="+", help="the input of split_fasta.py; for --viral-fasta")
    parser.add_argument("--chunk-length", type=int, help="bases a chunk; for --chunk-summary")
    parser.add_argument(
        "--gate", type=Path, nargs="?", help="JSON of divergence_gate.py; noted in --provenance and --viral-fasta"
    )
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--predictions", type=Path, required=True, help="v1's table of frames")
    outputs.add_argument("--consensus", type=Path, required=True, help="v1's table of chunks")
    outputs.add_argument("--summary", type=Path, required=True, help="table with one row a sequence, in input order")
    outputs.add_argument("--chunk-summary", type=Path, help="table with one row a chunk, in input order")
    outputs.add_argument("--viral-fasta", type=Path, help="the sequences called virus")
    outputs.add_argument("--provenance", type=Path, help="JSON that names model, attention, kernels and versions")
    arguments = parser.parse_args()
    for output, needed in (("viral_fasta", "fasta"), ("chunk_summary", "chunk_length")):
        if getattr(arguments, output) and not getattr(arguments, needed):
            parser.error(f"--{output.replace('_', '-')} needs --{needed.replace('_', '-')}")
    return arguments


def summarize_sequences(sequences: pd.DataFrame, chunks: pd.DataFrame) -> pd.DataFrame:
    """The table of results: every input sequence, in input order."""
    table = sequences.join(call_sequences(chunks), on="sequence_id")
    scored = table["frames"].notna()
    counts = ["frames", "viral_chunks"]
    table[counts] = table[counts].fillna(0).astype(int)
    table["call"] = table["call"].fillna("")
    table["status"] = np.where(scored, "ok", np.where(table["length"] > 0, "no_frame", "empty"))
    return table[["sequence_id", "length", "chunks", "frames", "viral_chunks", "best_score", "call", "status"]]


def summarize_chunks(sequences: pd.DataFrame, chunks: pd.DataFrame, chunk_length: int) -> pd.DataFrame:
    """Every chunk of every sequence, in input order, with its 1-based first and last base."""
    rows = [
        (sequence_id, number, start + 1, end)
        for sequence_id, length in zip(sequences["sequence_id"], sequences["length"], strict=True)
        for number, (start, end) in enumerate(chunk_coordinates(length, chunk_length), start=1)
    ]
    every = pd.DataFrame(rows, columns=["sequence_id", "chunk", "start", "end"])
    table = every.merge(chunks, how="left", on=["sequence_id", "chunk"])
    scored = table["frames"].notna()
    table["frames"] = table["frames"].fillna(0).astype(int)
    table["call"] = np.where(scored, np.where(table["viral"].eq(True), "virus", "others"), "")
    table["status"] = np.where(scored, "ok", "no_frame")
    return table[["sequence_id", "chunk", "start", "end", "frames", "best_score", "call", "status"]]


def v1_consensus(chunks: pd.DataFrame) -> pd.DataFrame:
    """v1's table of chunks, sorted by name as text."""
    names = [chunk_name(*identity) for identity in zip(chunks["sequence_id"], chunks["chunk"], strict=True)]
    return pd.DataFrame({"Modified_ID": names, "Is_Virus": chunks["viral"]}).sort_values("Modified_ID")


def write_viral(fasta: list[Path], summary: pd.DataFrame, note: str, path: Path) -> None:
    """The records called virus, with their whole header followed by the best score."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, record in records_of(fasta, summary):
            if row.call == "virus":
                description = record.header[len(record.name) :]
                header = f"{row.sequence_id}{description} best_score={row.best_score:.6f}{note}"
                write_record(file, header, record.sequence)


def collect_provenance(paths: list[Path]) -> dict[str, Any]:
    """What made the scores; shards must agree on model and attention, and may have run on different devices."""
    found = [read_provenance(path) for path in paths]
    shared = {key: found[0].get(key) for key in ("model", "trained", "attention", "classifier_sha256")}
    for path, provenance in zip(paths, found, strict=True):
        if differing := [key for key, value in shared.items() if provenance.get(key) != value]:
            raise InputError(f"{path}: {', '.join(differing)} differ from {paths[0]}; score all shards alike")
    for encoder in ("dnabert_s", "esm2"):
        runs = [provenance.get(encoder, {}) for provenance in found]
        if len({(run.get("precision"), run.get("kernel")) for run in runs}) > 1:
            log.warning("%s ran with different precisions or kernels in different shards; run.json has them", encoder)
        distinct = {json.dumps(run | {"names_sha256": None}, sort_keys=True): run for run in runs}
        shared[encoder] = [{k: v for k, v in run.items() if k != "names_sha256"} for run in distinct.values()]
    return shared


def main() -> None:
    arguments = parse_arguments()
    sequences = read_sequences(arguments.sequences)
    scores = pd.concat([read_parquet(path, SCORES).to_pandas() for path in arguments.scores], ignore_index=True)
    if strangers := set(scores["sequence_id"]) - set(sequences["sequence_id"]):
        raise InputError(
            f"{arguments.sequences}: no sequence {min(strangers)!r}, which has scores; use one run's files"
        )
    scored = [read_provenance(path).get("chunks") for path in arguments.scores]
    if None not in scored and sum(scored) != sequences["chunks"].sum():
        raise InputError(
            f"{arguments.sequences}: {sequences['chunks'].sum()} chunks, but the scores are of {sum(scored)}; "
            "give the scores of every shard once"
        )
    if scores.empty:
        log.warning("%s: no frame without a stop codon in any of %d sequences", arguments.sequences, len(sequences))
    provenance = collect_provenance(arguments.scores)
    untrained = provenance["trained"] is False
    if untrained:
        log.warning("model %r is untrained: these results mean nothing", provenance["model"])
    chunks = call_chunks(scores)
    summary = summarize_sequences(sequences, chunks)
    note = f" model={provenance['model']}" if untrained else ""
    provenance["divergence"] = json.loads(arguments.gate.read_text(encoding="utf-8")) if arguments.gate else None
    if arguments.gate and provenance["attention"] != provenance["divergence"]["attention"]:
        raise Failure(
            f"{arguments.gate}: is for results of {provenance['divergence']['attention']} attention, but the scores "
            f"are of {provenance['attention']}; decide again with divergence_gate.py"
        )
    if arguments.gate and provenance["attention"] == "flash" and provenance["divergence"]["decision"] != "accept":
        log.warning("the fast path needs validation: %s", provenance["divergence"]["message"])
        note += f" divergence={provenance['divergence']['decision']}"
    writers: dict[Path | None, Callable[[Path], None]] = {
        arguments.predictions: lambda path: write_tsv(scores[list(V1_COLUMNS)].rename(columns=V1_COLUMNS), path),
        arguments.consensus: lambda path: write_tsv(v1_consensus(chunks), path),
        arguments.summary: lambda path: write_tsv(summary, path),
        arguments.chunk_summary: lambda path: write_tsv(
            summarize_chunks(sequences, chunks, arguments.chunk_length), path
        ),
        arguments.viral_fasta: lambda path: write_viral(arguments.fasta, summary, note, path),
        arguments.provenance: lambda path: path.write_text(json.dumps(provenance, indent=2) + "\n"),
    }
    writers.pop(None, None)
    with staged(*writers) as partial:
        for path, write in zip(partial, writers.values(), strict=True):
            write(path)
    log.info("%d of %d sequences called virus", int((summary["call"] == "virus").sum()), len(summary))


if __name__ == "__main__":
    run(main)
