"""Call pairs of reads by both mates.

Writes a table with a row for each pair, in the order in which the pairs first come: the call, best score and status of
each mate, as in the table of sequences, and call and score of the pair. A pair is called by the chunks of both mates
together: `virus` when more than half of those that have a call are viral; when half of them are, by the mean of their
logits. A mate that is not among the reads has the status `absent`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from msgspec import Struct

from virnucflow.cli import InputError, argument_parser, log, reading, run, staged
from virnucflow.files.json_files import read_published_json
from virnucflow.files.kinds import OK
from virnucflow.files.results import Pairs, columns_of
from virnucflow.files.tables import TSV, read_sequences, write_tsv
from virnucflow.packs.pack import Calibration, SequenceScaling
from virnucflow.scoring.calls import call_pairs, logit_of, probability, scale_sequences
from virnucflow.sequences.mates import pair_of_id

ROWS = 1 << 18  # that are read at a time
KINDS = dict.fromkeys(("sequence_id", "call", "status"), "str") | {"best_score": "float32"}
KINDS |= dict.fromkeys(("scored_chunks", "viral_chunks"), "int64")
ABSENT = "absent"
# The columns of the table of sequences that a pair has of each mate, and what they are of one that is not there.
OF_MATE = {"call": "", "best_score": np.nan, "status": ABSENT}
ADVICE = "write the results again with write_results.py"


class Written(Struct):
    """What of run.json is needed here."""

    calibration: Calibration | None = None


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--sequences", type=Path, required=True, help="table of split_fasta.py")
    parser.add_argument("--summary", type=Path, required=True, help="table of sequences, of write_results.py")
    parser.add_argument("--chunk-summary", type=Path, required=True, help="table of chunks, of write_results.py")
    parser.add_argument("--provenance", type=Path, required=True, help="JSON of write_results.py")
    parser.add_argument("--pairs", type=Path, required=True, help="table of pairs, to be written")
    return parser.parse_args()


def read_table(path: Path, *columns: str) -> Iterator[pd.DataFrame]:
    """Some columns of a table of write_results.py, ROWS of its rows at a time."""
    with reading(path, "a table of write_results.py", ADVICE):
        yield from pd.read_csv(
            path, sep=TSV["delimiter"], quoting=TSV["quoting"], usecols=columns, dtype=KINDS, keep_default_na=False,
            na_values={"best_score": [""]}, chunksize=ROWS,
        )  # fmt: skip


def sum_logits(path: Path, sequences: pd.DataFrame) -> np.ndarray:
    """The sum of the logits of each sequence's chunks that have a call: (sequences)."""
    ids, rows = sequences["sequence_id"].to_numpy(), np.repeat(np.arange(len(sequences)), sequences["chunks"])
    logits, done = np.zeros(len(sequences)), 0
    for chunks in read_table(path, "sequence_id", "best_score", "status"):
        row = rows[done : done + len(chunks)]
        if len(row) < len(chunks) or (ids[row] != chunks["sequence_id"].to_numpy()).any():
            raise InputError(f"{path}: not the chunks of these sequences; {ADVICE}")
        logit = logit_of(chunks["best_score"]).where(chunks["status"] == OK, 0.0)
        logits += np.bincount(row, logit, len(sequences))
        done += len(chunks)
    if done < len(rows):
        raise InputError(f"{path}: {done} chunks, but the sequences have {len(rows)}; {ADVICE}")
    return logits


def read_summary(path: Path, sequences: pd.DataFrame) -> pd.DataFrame:
    """The columns of the table of sequences that a pair depends on; InputError where it is of other sequences."""
    columns = ("sequence_id", "scored_chunks", "viral_chunks", *OF_MATE)
    summary = pd.concat(read_table(path, *columns), ignore_index=True)
    if not np.array_equal(summary["sequence_id"].to_numpy(), sequences["sequence_id"].to_numpy()):
        raise InputError(f"{path}: not of these sequences; {ADVICE}")
    return summary


def join_mates(summary: pd.DataFrame, scaling: SequenceScaling | None) -> pd.DataFrame:
    """One row per pair of these mates (with pair, mate and logits besides), in the order in which they first come."""
    pairs = summary.groupby("pair", sort=False)[["scored_chunks", "viral_chunks", "logits"]].sum()
    table = pd.DataFrame(index=pairs.index)
    for mate in (1, 2):
        of_mate = summary[summary["mate"] == mate].set_index("pair")[list(OF_MATE)]
        for column, absent in OF_MATE.items():
            table[f"{column}_{mate}"] = of_mate[column].reindex(table.index, fill_value=absent)
    counted, logits = pairs["scored_chunks"].to_numpy(int), pairs["logits"].to_numpy(float)
    table["call"] = call_pairs(counted, pairs["viral_chunks"].to_numpy(int), logits)
    table["score"] = probability(scale_sequences(counted, logits, scaling))
    return table.reset_index()[columns_of(Pairs)]


def main() -> None:
    arguments = parse_arguments()
    sequences = read_sequences(arguments.sequences)
    calibration = read_published_json(arguments.provenance, Written, ADVICE).calibration
    summary = read_summary(arguments.summary, sequences)
    summary = summary.assign(mate=sequences["mate"], logits=sum_logits(arguments.chunk_summary, sequences))
    mates = summary[summary["mate"] > 0]
    pairs = join_mates(
        mates.assign(pair=mates["sequence_id"].map(pair_of_id)), calibration.sequences if calibration else None
    )
    with staged(arguments.pairs) as (partial,):
        write_tsv(pairs, partial)
    lonely = int((pairs[["status_1", "status_2"]] == ABSENT).any(axis=1).sum())
    called = (pairs["call"] == "virus").sum()
    log.info("%d of %d pairs called virus; of %d a mate is absent", called, len(pairs), lonely)


if __name__ == "__main__":
    run(main)
