"""List the proteins that the GenBank records of a sample are annotated with.

Writes one row per record: sequence_id, and proteins, the /translation of each CDS that has one. Sequences of FASTA
files and reads, which have no annotation, have no row.
"""

import argparse
from pathlib import Path

import pyarrow as pa

from virnucflow.cli import argument_parser, log, run, staged
from virnucflow.files.tables import PROTEINS, read_sequences, write_parquet
from virnucflow.sequences.inputs import add_inputs
from virnucflow.sequences.records import read_subsample, records_of


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_inputs(parser, "The input of split_fasta.py.")
    parser.add_argument("--sequences", type=Path, required=True, help="table of split_fasta.py")
    parser.add_argument("--proteins", type=Path, required=True, help="parquet table of proteins, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    table, subsample = read_sequences(arguments.sequences), read_subsample(arguments.sequences)
    records = records_of(arguments.inputs, table, subsample, annotation=True)
    rows = [(row.sequence_id, list(record.proteins)) for row, record in records if record.proteins is not None]
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(PROTEINS.names)}, schema=PROTEINS)
    with staged(arguments.proteins) as (partial,):
        write_parquet(table, partial)
    bare = [sequence_id for sequence_id, proteins in rows if not proteins]
    log.info("%d proteins of %d GenBank records", sum(len(proteins) for _, proteins in rows), len(rows))
    if bare:
        log.warning("%d records have no CDS with /translation, for example %s", len(bare), ", ".join(bare[:3]))


if __name__ == "__main__":
    run(main)
