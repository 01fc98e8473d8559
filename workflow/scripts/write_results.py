"""Write what users read: VirNucPro v1's two tables, the summaries of chunks and sequences, and the viral sequences.

A chunk is viral when the largest score_virus of its frames is at least the largest score_others, as in VirNucPro v1. A
chunk whose longest frame has fewer residues than --min-residues is `short` and has no call. A sequence is called
`virus` when at least half of its chunks that have a call are viral, else `others`; without any it has no call. It is
`partly` scored when some have a call and some have not. v1's two tables have whole frames alone, and know nothing of
--min-residues.

Of the sequences called `virus` those are published as viral that have all of --min-score, --min-length and
--min-scored-chunks; every other one is among the others, or among the unscored where it has no call. With --max-fdr the
most probable of those that have all of it are published as viral instead, whatever their call.
"""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.files.json_files import publish_json, read_json
from virnucflow.files.kinds import FILES, NO_FRAME, OK, SHORT, WHOLE
from virnucflow.files.results import Chunks, Consensus, Predictions, columns_of
from virnucflow.files.shards import Files
from virnucflow.files.sorted_lines import SortedLines
from virnucflow.files.tables import SCORES, read_parquet, read_provenance, read_sequences, write_tsv
from virnucflow.overview.remarks import RNA
from virnucflow.packs.pack import Calibration
from virnucflow.scoring.calls import call_chunks, count_chunks, logit_of
from virnucflow.scoring.choice import Choice
from virnucflow.scoring.record import SHARED, Gate, Made, Split, left_out, provenance_of, taken_in
from virnucflow.scoring.regions import RegionWriter
from virnucflow.scoring.summary import find_prevalence, summarize_sequences
from virnucflow.sequences.chunks import chunk_name, chunk_places
from virnucflow.sequences.fasta import open_to_write, write_record
from virnucflow.sequences.inputs import Input, add_inputs
from virnucflow.sequences.records import read_subsample, records_of
from virnucflow.sequences.subsample import Subsample

V1_COLUMNS = dict(zip(("name", "prediction", "score_others", "score_virus"), columns_of(Predictions), strict=True))
ROWS = 1 << 16  # that are written at a time
FASTA = {f"{name}_fasta": name for name in FILES}  # outputs with sequences, and which
REGIONS = ("regions", "regions_bed")
OUTPUTS = ("predictions", "consensus", "summary", "chunk_summary", *REGIONS, *FASTA, "provenance")
NONE, ESTIMATE = "none", "estimate"  # in the place of a share


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--scores", action=Files, nargs="+", required=True, help="tables of predict.py, in shard order")
    parser.add_argument("--sequences", type=Path, required=True, help="table of split_fasta.py")
    add_inputs(parser, "The input of split_fasta.py; for outputs in FASTA.")
    parser.add_argument("--chunk-length", type=int, help="bases of a chunk; for --chunk-summary and --regions")
    parser.add_argument(
        "--min-residues", type=int, default=30, help="of the longest frame, for a call; 0: any, as VirNucPro v1"
    )
    parser.add_argument(
        "--gate", type=Path, nargs="?", help="JSON of divergence_gate.py; noted in --provenance and in FASTA"
    )
    choice = parser.add_argument_group("what a sequence must have to be published as viral")
    choice.add_argument("--min-score", type=float, default=0.0, help="`score`, for packs that give sequences one")
    choice.add_argument("--min-length", type=int, default=0, help="bases")
    choice.add_argument("--min-scored-chunks", type=int, default=0, help="chunks that have a call")
    choice.add_argument("--max-fdr", type=share_or(NONE), help="most expected false ones among them; with --prevalence")
    parser.add_argument(
        "--prevalence",
        type=share_or(NONE, ESTIMATE),
        help="share of viruses, for probabilities; estimate: of the scores",
    )
    notes = parser.add_argument_group("what --provenance notes besides; each may be without a value")
    notes.add_argument(
        "--device-time", nargs="*", action=Files, default=[], help="of the embed programs, all that the results took"
    )
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
    outputs.add_argument("--regions", type=Path, help="table with one row per viral stretch; with --regions-bed")
    outputs.add_argument("--regions-bed", type=Path, help="the same as BED")
    outputs.add_argument("--viral-fasta", type=Path, help="the sequences published as viral")
    outputs.add_argument("--others-fasta", type=Path, help="other sequences that have a call, compressed by gzip")
    outputs.add_argument("--unscored-fasta", type=Path, help="the sequences without a call, compressed by gzip")
    outputs.add_argument("--provenance", type=Path, help="JSON that says what made the results")
    arguments = parser.parse_args()
    if arguments.max_fdr and not arguments.prevalence:
        parser.error("--max-fdr needs --prevalence")
    needs = [(output, "inputs", "fasta") for output in FASTA]
    needs += [(output, "chunk_length", "chunk-length") for output in ("chunk_summary", "regions")]
    needs += list(zip(REGIONS, REGIONS[::-1], ("regions-bed", "regions"), strict=True))
    for output, needed, option in needs:
        if getattr(arguments, output) and not getattr(arguments, needed):
            parser.error(f"--{output.replace('_', '-')} needs --{option}")
    for name in ("min_residues", "chunk_length", "min_score", "min_length", "min_scored_chunks"):
        if (getattr(arguments, name) or 0) < 0:
            parser.error(f"--{name.replace('_', '-')} {getattr(arguments, name)}: give a number that is not negative")
    return arguments


def share_or(*words: str) -> Callable[[str], float | str | None]:
    """What reads a share above 0 and below 1, or one of these words, of which NONE is None."""

    def share(text: str) -> float | str | None:
        if text in words:
            return None if text == NONE else text
        if 0 < (number := float(text)) < 1:
            return number
        raise ValueError

    return share


def parse_settings(text: str) -> dict[str, Any]:
    """The settings that are given as JSON on the command line."""
    settings = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("not a JSON object")
    return settings


class Run:
    """The sequences of a run, and where their chunks are among all chunks of the run, which are numbered from 0."""

    def __init__(self, sequences: pd.DataFrame, path: Path) -> None:
        self.path = path
        self.ids = pa.array(sequences["sequence_id"], pa.string())
        self.lengths = sequences["length"].to_numpy()
        self.chunks = sequences["chunks"].to_numpy(dtype=np.int64)
        self.ends = np.cumsum(self.chunks)
        self.starts = self.ends - self.chunks

    def rows(self, sequence_ids: pa.ChunkedArray, shard: Path, first: int, end: int) -> np.ndarray:
        """The rows of sequences that have chunks from `first` to before `end`, which are those of a shard."""
        low, high = np.searchsorted(self.ends, first, "right"), np.searchsorted(self.starts, end, "left")
        rows = pc.index_in(sequence_ids, self.ids.slice(low, max(0, high - low)))
        if rows.null_count:
            name = pc.min(sequence_ids.filter(rows.is_null())).as_py()
            raise InputError(
                f"{self.path}: no sequence {name!r} where {shard} has scores of it; give one run's files in shard order"
            )
        return rows.to_numpy() + low


def read_chunks(scores: pa.Table, run: Run, shard: Path, first: int, end: int) -> pd.DataFrame:
    """What call_chunks says of the scores of a shard, which has the chunks from `first` to before `end`.

    `sequence_id` is the row of the sequence, and `place` the number of the chunk in the run.
    """
    rows, chunk = run.rows(scores["sequence_id"], shard, first, end), scores["chunk"].to_numpy()
    places = run.starts[rows] + chunk - 1
    for wrong, what in (
        ((chunk < 1) | (chunk > run.chunks[rows]), "is none of the sequence's"),
        ((places < first) | (places >= end), "is of another shard"),
    ):
        if wrong.any():
            name = scores["sequence_id"][int(wrong.argmax())].as_py()
            raise InputError(f"{shard}: chunk {chunk[wrong.argmax()]} of {name!r} {what}; use one run's files")
    numbers = scores.select(["chunk", "kind", "residues", "score_others", "score_virus"]).to_pandas()
    chunks = call_chunks(numbers.assign(sequence_id=rows))
    return chunks.assign(place=run.starts[chunks["sequence_id"]] + chunks["chunk"] - 1)


def summarize_chunks(
    chunks: pd.DataFrame, run: Run, first: int, end: int, chunk_length: int, min_residues: int
) -> pd.DataFrame:
    """The chunks from `first` to before `end`, with their 1-based first and last base.

    `chunks` are those of them that have a frame, as read_chunks gives them.
    """
    places = np.arange(first, end)
    rows = np.searchsorted(run.ends, places, "right")
    number = places - run.starts[rows] + 1
    starts, ends = chunk_places(run.lengths[rows], number, chunk_length)
    scored = chunks.set_index("place").reindex(places)
    conditions = [scored["frames"].isna(), scored["residues"] < min_residues]
    status = np.select(conditions, [NO_FRAME, SHORT], OK)
    columns = {
        "sequence_id": run.ids.take(pa.array(rows)).to_pandas(),
        "chunk": number,
        "start": starts + 1,
        "end": ends,
        "frames": scored["frames"].fillna(0).to_numpy(dtype=int),
        "kind": scored["kind"].fillna("").to_numpy(),
        "best_score": scored["best_score"].to_numpy(),
        "call": np.where(status == OK, np.where(scored["viral"].eq(True), "virus", "others"), ""),
        "status": status,
    }
    return pd.DataFrame(columns, columns=columns_of(Chunks))


def scored_chunks(chunks: pd.DataFrame, run: Run, min_residues: int) -> pd.DataFrame:
    """Those of some chunks, as read_chunks gives them, that have a call, as find_regions takes them."""
    chunks = chunks[chunks["residues"] >= min_residues]
    rows = chunks["sequence_id"].to_numpy()
    columns = {
        "sequence": rows,
        "length": run.lengths[rows],
        "chunks": run.chunks[rows],
        "chunk": chunks["chunk"],
        "logit": logit_of(chunks["best_score"]),
    }
    return pd.DataFrame(columns)


def write_files(
    inputs: list[Input], subsample: Subsample | None, table: pd.DataFrame, note: str, paths: dict[str, Path]
) -> None:
    """The records of each of FILES that has a path, with their whole header, and their best score if they have one.

    `viral` is a text; the others, which may be as large as the input, are compressed.
    """
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(open_to_write(path, compressed=name != FILES[0])) for name, path in paths.items()
        }
        for row, record in records_of(inputs, table, subsample):
            if row.file in files:
                description = record.header[len(record.name) :]
                score = "" if np.isnan(row.best_score) else f" best_score={row.best_score:.6f}"
                write_record(files[row.file], f"{row.sequence_id}{description}{score}{note}", record.sequence)


def check_shards(paths: list[Path], made: list[Made], sequences_file: Path, sequences: pd.DataFrame) -> None:
    """Shards of one run, all of them: made alike, and of as many chunks as the sequences have."""
    for path, provenance in zip(paths, made, strict=True):
        if differing := [key for key in SHARED if provenance.get(key) != made[0].get(key)]:
            raise InputError(f"{path}: {', '.join(differing)} differ from {paths[0]}; score all shards alike")
    if (scored := sum(provenance["chunks"] for provenance in made)) != (chunks := sequences["chunks"].sum()):
        raise InputError(
            f"{sequences_file}: {chunks} chunks, but the scores are of {scored}; give the scores of every shard once"
        )


def write_shards(
    arguments: argparse.Namespace, made: list[Made], run: Run, regions: RegionWriter | None, to: dict[str, Path]
) -> pd.DataFrame:
    """Write the tables of frames, of chunks and of regions, one shard after the other.

    Gives the sums of count_chunks over all shards, one row per sequence.
    """
    sums = {"frames": int, "counted_chunks": int, "viral_chunks": int, "logits": float, "squares": float}
    counts = pd.DataFrame({name: np.zeros(len(run.ids), dtype=kind) for name, kind in sums.items()})
    counts["best_score"] = np.full(len(run.ids), np.nan, dtype=np.float32)
    consensus = SortedLines(to["consensus"].parent)
    write_tsv(pd.DataFrame(columns=list(V1_COLUMNS.values())), to["predictions"])
    if "chunk_summary" in to:
        write_tsv(pd.DataFrame(columns=columns_of(Chunks)), to["chunk_summary"])
    end = 0
    for path, provenance in zip(arguments.scores, made, strict=True):
        first, end = end, end + provenance["chunks"]
        scores = read_parquet(path, SCORES)
        whole = scores.filter(pc.equal(scores["kind"], WHOLE)).select(list(V1_COLUMNS))
        for part in whole.to_batches(max_chunksize=ROWS):
            write_tsv(part.to_pandas().rename(columns=V1_COLUMNS), to["predictions"], append=True)
        chunks = read_chunks(scores, run, path, first, end)
        del scores, whole
        of_v1 = chunks[chunks["kind"] == WHOLE]
        names = run.ids.take(pa.array(of_v1["sequence_id"])).to_pylist()
        of_chunks = zip(names, of_v1["chunk"], of_v1["viral"], strict=True)
        consensus.add(f"{chunk_name(name, chunk)}\t{viral}" for name, chunk, viral in of_chunks)
        for start in range(first, end, ROWS) if "chunk_summary" in to else ():
            stop = min(start + ROWS, end)
            some = chunks[(chunks["place"] >= start) & (chunks["place"] < stop)]
            table = summarize_chunks(some, run, start, stop, arguments.chunk_length, arguments.min_residues)
            write_tsv(table, to["chunk_summary"], append=True)
        if regions:
            finished = int(np.searchsorted(run.ends, end, "right"))
            regions.add(scored_chunks(chunks, run, arguments.min_residues), finished)
        of_shard = count_chunks(chunks, arguments.min_residues)
        rows = of_shard.index
        for name in sums:
            counts.loc[rows, name] += of_shard[name]
        counts.loc[rows, "best_score"] = np.fmax(counts.loc[rows, "best_score"], of_shard["best_score"])
    with to["consensus"].open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(columns_of(Consensus)) + "\n")
        file.writelines(f"{line}\n" for line in consensus)
    return counts


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
    calibration: Calibration | None = msgspec.convert(made[0].get("calibration"), Calibration | None)
    choice = Choice(arguments.min_score, arguments.min_length, arguments.min_scored_chunks, arguments.max_fdr)
    if arguments.regions and not (calibration and calibration.sequences):
        log.info("model %r gives sequences no score, so that no regions are looked for in them", model)
    for option, value in (("--min-score", choice.min_score), ("--max-fdr", choice.max_fdr)):
        if value and not (calibration and calibration.sequences):
            raise InputError(f"{option} {value}: model {model!r} gives sequences no score; leave it out")
    names = [name for name in OUTPUTS if getattr(arguments, name)]
    with staged(*(getattr(arguments, name) for name in names)) as paths:
        to = dict(zip(names, paths, strict=True))
        of_run, regions = Run(sequences, arguments.sequences), None
        if "regions" in to:
            table, bed = (to[name] for name in REGIONS)
            regions = RegionWriter(table, bed, of_run.ids, calibration, arguments.chunk_length)
        counts = write_shards(arguments, made, of_run, regions, to)
        frames = int(counts["frames"].sum())
        if gate:
            check_gate(arguments.gate, gate, attention, frames)
        prevalence = find_prevalence(arguments.prevalence, counts, calibration, model)
        summary = summarize_sequences(sequences, counts, calibration, prevalence, choice)
        write_tsv(summary[:0], to["summary"])
        for start in range(0, len(summary), ROWS):
            write_tsv(summary[start : start + ROWS], to["summary"], append=True)
        if paths_of := {name: to[output] for output, name in FASTA.items() if output in to}:
            chosen = sequences.assign(file=summary["file"], best_score=summary["best_score"])
            subsample = read_subsample(arguments.sequences)
            write_files(arguments.inputs, subsample, chosen, note, paths_of)
        if "provenance" in to:
            number = regions.number if regions else None
            publish_json(provenance_of(arguments, made, split, gate, prevalence, summary, number), to["provenance"])
    if not frames:
        log.warning("%s: no frame without a stop codon in any of %d sequences", arguments.sequences, len(sequences))
    if short := int((summary["status"] == SHORT).sum()):
        log.info("%d sequences without a frame of %d residues are not called", short, arguments.min_residues)
    said = f"{(summary['call'] == 'virus').sum()} of {len(summary)} sequences called virus"
    if some := left_out(summary):
        said += f", {some} of them left out of the viral ones ({choice})"
    if some := taken_in(summary):
        said += f", {some} others taken in among the viral ones ({choice})"
    if rna := split.get("rna_records"):
        said += f"; {rna} have U, {RNA.get(split.get('rna', ''), 'as the setting rna says')}"
    log.info("%s", said)


if __name__ == "__main__":
    run(main)
