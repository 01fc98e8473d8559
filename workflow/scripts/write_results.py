"""Write what users read: VirNucPro v1's two tables, the summaries of chunks and sequences, and the viral sequences.

A chunk is viral when the largest score_virus of its frames is at least the largest score_others, as in VirNucPro v1. A
chunk whose longest frame has fewer residues than --min-residues is `short` and has no call. A sequence is called
`virus` when at least half of its chunks that have a call are viral, else `others`; without any it has no call. v1's two
tables know nothing of --min-residues.
"""

import argparse
import importlib.metadata
import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import pandas as pd

from virnucflow import __version__
from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.files.json_files import publish_json, read_json
from virnucflow.files.tables import SCORES, read_parquet, read_provenance, read_sequences, write_tsv
from virnucflow.packs.encoders import ENCODERS
from virnucflow.scoring.calls import call_chunks, call_sequences
from virnucflow.sequences.chunks import chunk_coordinates, chunk_name
from virnucflow.sequences.fasta import write_record
from virnucflow.sequences.records import records_of

V1_COLUMNS = {"name": "Sequence_ID", "prediction": "Prediction", "score_others": "score1", "score_virus": "score2"}
OUTPUTS = ("predictions", "consensus", "summary", "chunk_summary", "viral_fasta", "provenance")
STATUSES = ("ok", "short", "no_frame", "empty")
# Of what computes results, besides this workflow; run.json has their versions.
PACKAGES = ("torch", "fair-esm", "tokenizers", "safetensors", "numpy", "pandas", "pyarrow", "biopython")
RNA = {"as_dna": "read as T", "keep": "whose codons give no residue"}  # what became of U, by the setting
SHARED = ("model", "trained", "attention", "classifier_sha256", "pack_sha256")  # what is the same for all shards


class Made(TypedDict, total=False):
    """What a table of scores says of what made it."""

    model: str
    trained: bool
    attention: str
    classifier_sha256: str
    pack_sha256: dict[str, str]
    dnabert_s: dict[str, str]
    esm2: dict[str, str]
    chunks: int


class InputFile(TypedDict):
    """An input file as it was split."""

    path: str
    sha256: str
    bytes: int


class Split(TypedDict, total=False):
    """What the table of sequences says of what was split."""

    inputs: list[InputFile]
    rna: str
    rna_records: int


class Gate(TypedDict):
    """What of divergence_gate.py's decision is needed here."""

    decision: Literal["accept", "validate", "refuse", "nothing to compare"]
    attention: Literal["flash", "standard"]
    message: str
    run_frames: NotRequired[int]


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="tables of predict.py, in shard order")
    parser.add_argument("--sequences", type=Path, required=True, help="table of split_fasta.py")
    parser.add_argument("--fasta", type=Path, nargs="+", help="the input of split_fasta.py; for --viral-fasta")
    parser.add_argument("--chunk-length", type=int, help="bases of a chunk; for --chunk-summary")
    parser.add_argument(
        "--min-residues", type=int, default=30, help="of the longest frame, for a call; 0: any, as VirNucPro v1"
    )
    parser.add_argument(
        "--gate", type=Path, nargs="?", help="JSON of divergence_gate.py; noted in --provenance and --viral-fasta"
    )
    notes = parser.add_argument_group("what --provenance notes besides; each may be without a value")
    for name, what in (
        ("sample", "its name"),
        ("started", "when the sample's first job began"),
        ("commit", "of the workflow, with -dirty where files were changed since"),
        ("snakemake", "its version"),
        ("image", "the container image in which the programs run"),
        ("image-sha256", "of the image's file"),
    ):
        notes.add_argument(f"--{name}", nargs="?", help=what)
    notes.add_argument("--settings", type=parse_settings, default={}, help="JSON of the settings that change results")
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--predictions", type=Path, required=True, help="v1's table of frames")
    outputs.add_argument("--consensus", type=Path, required=True, help="v1's table of chunks")
    outputs.add_argument("--summary", type=Path, required=True, help="table with one row per sequence, in input order")
    outputs.add_argument("--chunk-summary", type=Path, help="table with one row per chunk, in input order")
    outputs.add_argument("--viral-fasta", type=Path, help="the sequences called virus")
    outputs.add_argument("--provenance", type=Path, help="JSON that says what made the results")
    arguments = parser.parse_args()
    for output, needed in (("viral_fasta", "fasta"), ("chunk_summary", "chunk_length")):
        if getattr(arguments, output) and not getattr(arguments, needed):
            parser.error(f"--{output.replace('_', '-')} needs --{needed.replace('_', '-')}")
    for name in ("min_residues", "chunk_length"):
        if (getattr(arguments, name) or 0) < 0:
            parser.error(f"--{name.replace('_', '-')} {getattr(arguments, name)}: give a number that is not negative")
    return arguments


def parse_settings(text: str) -> dict[str, Any]:
    """The settings that are given as JSON on the command line."""
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("not a JSON object")
    return settings


def summarize_sequences(sequences: pd.DataFrame, chunks: pd.DataFrame, min_residues: int) -> pd.DataFrame:
    """The table of results: every input sequence, in input order."""
    table = sequences.join(call_sequences(chunks, min_residues), on="sequence_id")
    scored = table["frames"].notna()
    counts = ["frames", "viral_chunks"]
    table[counts] = table[counts].fillna(0).astype(int)
    table["call"] = table["call"].fillna("")
    conditions = [table["length"] == 0, ~scored, table["call"] == ""]
    table["status"] = np.select(conditions, ["empty", "no_frame", "short"], "ok")
    return table[["sequence_id", "length", "chunks", "frames", "viral_chunks", "best_score", "call", "status"]]


def summarize_chunks(
    sequences: pd.DataFrame, chunks: pd.DataFrame, chunk_length: int, min_residues: int
) -> pd.DataFrame:
    """Every chunk of every sequence, in input order, with its 1-based first and last base."""
    places = (place for length in sequences["length"] for place in chunk_coordinates(length, chunk_length))
    starts, ends = np.fromiter(places, dtype=np.dtype((np.int64, 2))).reshape(-1, 2).T
    every = pd.DataFrame({"sequence_id": sequences["sequence_id"].repeat(sequences["chunks"])}).reset_index(drop=True)
    number = every.groupby("sequence_id").cumcount() + 1
    every = every.assign(chunk=number.astype(np.int32), start=starts + 1, end=ends)
    table = every.merge(chunks, how="left", on=["sequence_id", "chunk"])
    conditions = [table["frames"].isna(), table["residues"] < min_residues]
    table["status"] = np.select(conditions, ["no_frame", "short"], "ok")
    table["frames"] = table["frames"].fillna(0).astype(int)
    calls = np.where(table["viral"].eq(True), "virus", "others")
    table["call"] = np.where(table["status"] == "ok", calls, "")
    return table[["sequence_id", "chunk", "start", "end", "frames", "best_score", "call", "status"]]


def v1_consensus(chunks: pd.DataFrame) -> pd.DataFrame:
    """v1's table of chunks, sorted by name as text."""
    names = [chunk_name(*identity) for identity in zip(chunks["sequence_id"], chunks["chunk"], strict=True)]
    return pd.DataFrame({"Modified_ID": names, "Is_Virus": chunks["viral"]}).sort_values("Modified_ID")


def write_viral(fasta: list[Path], table: pd.DataFrame, note: str, path: Path) -> None:
    """The records called virus, with their whole header followed by the best score."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, record in records_of(fasta, table):
            if row.call == "virus":
                description = record.header[len(record.name) :]
                header = f"{row.sequence_id}{description} best_score={row.best_score:.6f}{note}"
                write_record(file, header, record.sequence)


def check_shards(paths: list[Path], made: list[Made], sequences_file: Path, sequences: pd.DataFrame) -> None:
    """Shards of one run, all of them: made alike, and of as many chunks as the sequences have."""
    for path, provenance in zip(paths, made, strict=True):
        if differing := [key for key in SHARED if provenance.get(key) != made[0].get(key)]:
            raise InputError(f"{path}: {', '.join(differing)} differ from {paths[0]}; score all shards alike")
    scored = [provenance.get("chunks") for provenance in made]
    if None not in scored and sum(scored) != sequences["chunks"].sum():
        raise InputError(
            f"{sequences_file}: {sequences['chunks'].sum()} chunks, but the scores are of {sum(scored)}; "
            "give the scores of every shard once"
        )


def read_chunks(paths: list[Path], sequences_file: Path, sequences: pd.DataFrame, predictions: Path) -> pd.DataFrame:
    """What call_chunks says of all shards, one after the other; meanwhile v1's table of frames is written.

    A chunk is in one shard. So one that is in two was computed from another cut of the sequences.
    """
    parts = []
    for path in paths:
        scores = read_parquet(path, SCORES).to_pandas()
        write_tsv(scores[list(V1_COLUMNS)].rename(columns=V1_COLUMNS), predictions, append=bool(parts))
        parts.append(call_chunks(scores))
    chunks = pd.concat(parts, ignore_index=True)
    known = sequences.set_index("sequence_id")["chunks"].reindex(chunks["sequence_id"]).to_numpy()
    if (strange := np.isnan(known)).any():
        name = chunks["sequence_id"][strange].min()
        raise InputError(f"{sequences_file}: no sequence {name!r}, which has scores; use one run's files")
    for wrong, what in (
        (chunks.duplicated(["sequence_id", "chunk"]), "has scores in two shards"),
        ((chunks["chunk"] < 1) | (chunks["chunk"] > known), "is none of the sequence's"),
    ):
        if wrong.any():
            first = chunks[wrong].iloc[0]
            raise InputError(
                f"{paths[0]}: chunk {first['chunk']} of {first['sequence_id']!r} {what}; use one run's files"
            )
    return chunks


def of_encoder(encoder: str, made: list[Made]) -> list[dict[str, str]]:
    """The distinct ways in which an encoder ran; shards may have been on different devices."""
    runs = [{key: value for key, value in one.get(encoder, {}).items() if key != "names_sha256"} for one in made]
    if len({(one.get("precision"), one.get("kernel")) for one in runs}) > 1:
        log.warning("%s ran with different precisions or kernels in different shards; run.json has them", encoder)
    return list({json.dumps(one, sort_keys=True): one for one in runs}.values())


def provenance_of(
    arguments: argparse.Namespace, made: list[Made], split: Split, gate: Gate | None, summary: pd.DataFrame
) -> dict[str, Any]:
    """What run.json says."""
    status = summary["status"].value_counts()
    commit, dirty, _ = (arguments.commit or "").partition("-dirty")
    return {
        "sample": arguments.sample,
        "started": arguments.started,
        "ended": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "inputs": split.get("inputs"),
        "settings": dict(sorted((arguments.settings | {"rna": split.get("rna")}).items())),
        "counts": {
            "sequences": len(summary),
            "chunks": int(summary["chunks"].sum()),
            "frames": int(summary["frames"].sum()),
            "rna_sequences": split.get("rna_records"),
            "status": {name: int(status.get(name, 0)) for name in STATUSES},
            "virus": int((summary["call"] == "virus").sum()),
        },
        **{key: made[0].get(key) for key in SHARED},
        **{encoder: of_encoder(encoder, made) for encoder in ENCODERS},
        "divergence": gate,
        "workflow": {"version": __version__, "commit": commit or None, "changed": bool(dirty) if commit else None},
        "container": {"image": arguments.image, "sha256": arguments.image_sha256} if arguments.image else None,
        "versions": {"python": platform.python_version(), "snakemake": arguments.snakemake}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def check_gate(path: Path, gate: Gate, attention: str | None, frames: int) -> None:
    """The decision must be for results of this attention, and of as many frames as have scores."""
    again = "decide again with divergence_gate.py"
    if attention != gate["attention"]:
        raise Failure(
            f"{path}: is for results of {gate['attention']} attention, but the scores are of {attention}; {again}"
        )
    if gate["decision"] == "refuse" and attention == "flash":
        raise InputError(f"{path}: refuses the results of flash attention, and yet is for them; {again}")
    if gate.get("run_frames", frames) != frames:
        raise InputError(f"{path}: is for {gate['run_frames']} frames, but {frames} have scores; compare and {again}")


def main() -> None:
    arguments = parse_arguments()
    sequences = read_sequences(arguments.sequences)
    split: Split = read_provenance(arguments.sequences, Split)
    made: list[Made] = [read_provenance(path, Made) for path in arguments.scores]
    check_shards(arguments.scores, made, arguments.sequences, sequences)
    if sequences["sequence_id"].duplicated().any():
        raise InputError(f"{arguments.sequences}: a name comes twice; make it again with split_fasta.py")
    if arguments.chunk_length and (-(-sequences["length"] // arguments.chunk_length) != sequences["chunks"]).any():
        raise InputError(f"{arguments.sequences}: not of chunks of {arguments.chunk_length} bases; split them so")
    model, attention, note = made[0].get("model"), made[0].get("attention"), ""
    if made[0].get("trained") is False:
        log.warning("model %r is untrained: these results mean nothing", model)
        note += f" model={model}"
    gate: Gate | None = read_json(arguments.gate, Gate) if arguments.gate else None
    if gate and attention == "flash" and gate["decision"] == "validate":
        log.warning("the fast path needs validation: %s", gate["message"])
        note += f" divergence={gate['decision']}"
    names = [name for name in OUTPUTS if getattr(arguments, name)]
    with staged(*(getattr(arguments, name) for name in names)) as paths:
        to = dict(zip(names, paths, strict=True))
        chunks = read_chunks(arguments.scores, arguments.sequences, sequences, to["predictions"])
        if gate:
            check_gate(arguments.gate, gate, attention, int(chunks["frames"].sum()))
        summary = summarize_sequences(sequences, chunks, arguments.min_residues)
        write_tsv(v1_consensus(chunks), to["consensus"])
        write_tsv(summary, to["summary"])
        if "chunk_summary" in to:
            table = summarize_chunks(sequences, chunks, arguments.chunk_length, arguments.min_residues)
            write_tsv(table, to["chunk_summary"])
        if "viral_fasta" in to:
            called = sequences.assign(call=summary["call"], best_score=summary["best_score"])
            write_viral(arguments.fasta, called, note, to["viral_fasta"])
        if "provenance" in to:
            publish_json(provenance_of(arguments, made, split, gate, summary), to["provenance"])
    if chunks.empty:
        log.warning("%s: no frame without a stop codon in any of %d sequences", arguments.sequences, len(sequences))
    if short := int((summary["status"] == "short").sum()):
        log.info("%d sequences without a frame of %d residues are not called", short, arguments.min_residues)
    said = f"{(summary['call'] == 'virus').sum()} of {len(summary)} sequences called virus"
    if rna := split.get("rna_records"):
        said += f"; {rna} have U, {RNA.get(split.get('rna', ''), 'as the setting rna says')}"
    log.info("%s", said)


if __name__ == "__main__":
    run(main)
