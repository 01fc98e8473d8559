"""Translate chunks in six frames and keep the frames without a stop codon.

Writes one row a kept frame, in the chunks' order: name, sequence_id, chunk, frame, nucleotide, protein. The FASTA files
are those that VirNucPro v1 wrote of the same frames.
"""

import argparse
from pathlib import Path

import pyarrow as pa

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.tables import FRAMES, write_parquet
from virnucflow.sequences.chunk_files import read_chunks
from virnucflow.sequences.chunks import chunk_identity
from virnucflow.sequences.frames import stop_free_frames


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--chunks", type=Path, required=True, help="FASTA file of chunks of split_fasta.py, with its digest beside it"
    )
    parser.add_argument("--frames", type=Path, required=True, help="parquet table of the kept frames, to be written")
    parser.add_argument("--nucleotide-fasta", type=Path, help="the frames' nucleotides, to be written")
    parser.add_argument("--protein-fasta", type=Path, help="the frames' proteins, to be written")
    return parser.parse_args()


def translate(chunks: Path) -> tuple[pa.Table, int]:
    """The kept frames of a FASTA file of chunks, in order, and the number of chunks."""
    columns: dict[str, list] = {column: [] for column in FRAMES.names}
    number = 0
    for record in read_chunks(chunks):
        number += 1
        try:
            sequence_id, chunk = chunk_identity(record.name)
            record.sequence.encode("ascii")
        except UnicodeEncodeError:
            raise InputError(f"{chunks}, line {record.line}: not a sequence; make chunks with split_fasta.py") from None
        except ValueError as error:
            raise InputError(f"{chunks}, line {record.line}: {error}; make chunks with split_fasta.py") from None
        for frame in stop_free_frames(record.sequence):
            row = (record.name + frame.frame, sequence_id, chunk, *frame, len(frame.protein))
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return pa.table(columns, schema=FRAMES), number


def write_fasta(frames: pa.Table, column: str, path: Path) -> None:
    """Write one column of the frames as v1 did: one line a sequence."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for name, sequence in zip(frames["name"].to_pylist(), frames[column].to_pylist(), strict=True):
            file.write(f">{name}\n{sequence}\n")


def main() -> None:
    arguments = parse_arguments()
    frames, chunks = translate(arguments.chunks)
    fasta = {"nucleotide": arguments.nucleotide_fasta, "protein": arguments.protein_fasta}
    fasta = {column: path for column, path in fasta.items() if path}
    with staged(arguments.frames, *fasta.values()) as (partial_frames, *partial_fasta):
        write_parquet(frames, partial_frames, {"chunks": chunks})
        for column, path in zip(fasta, partial_fasta, strict=True):
            write_fasta(frames, column, path)
    log.info("%d frames without a stop codon in %d chunks", frames.num_rows, chunks)


if __name__ == "__main__":
    run(main)
