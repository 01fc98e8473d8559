"""Translate chunks in six frames and keep the frames without a stop codon.

Of a chunk without such a frame the longest stretch without a stop is kept, as a frame of another kind. Writes one row
per kept frame, in the chunks' order: name, sequence_id, chunk, frame, kind, nucleotide, protein, residues. The FASTA
files are those that VirNucPro v1 wrote, of whole frames alone.
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.files.tables import FRAMES, write_parquet
from virnucflow.sequences.chunk_files import read_chunks
from virnucflow.sequences.chunks import chunk_identity
from virnucflow.sequences.frames import LEAST_RESIDUES, kept_frames

LONGEST_SUFFIX = "_L"  # of the name of a longest stretch


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
        kind, frames = kept_frames(record.sequence)
        for frame, nucleotide, protein in frames:
            name = record.name + frame + (LONGEST_SUFFIX if kind == LONGEST else "")
            row = (name, sequence_id, chunk, frame, kind, nucleotide, protein, len(protein))
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
    return pa.table(columns, schema=FRAMES), number


def write_fasta(frames: pa.Table, column: str, path: Path) -> None:
    """Write one column of the whole frames as v1 did: one line per sequence."""
    frames = frames.filter(pc.equal(frames["kind"], WHOLE))
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
    whole = pc.sum(pc.equal(frames["kind"], WHOLE)).as_py() or 0
    log.info(
        "%d frames without a stop codon in %d chunks; %d chunks without one have a stretch of %d residues or more",
        whole, chunks, len(frames) - whole, LEAST_RESIDUES,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
