"""Translate chunks in six frames and keep the frames without a stop codon.

Of a chunk without such a frame the longest stretch without a stop is kept, as a frame of another kind. Writes one row
per kept frame, in the chunks' order: name, sequence_id, chunk, frame, kind, nucleotide, protein, residues. The FASTA
files are those that VirNucPro v1 wrote, of whole frames alone.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.kinds import KINDS, WHOLE
from virnucflow.files.shards import Files, in_step
from virnucflow.files.tables import FRAMES, TableWriter
from virnucflow.sequences.chunk_files import read_chunks
from virnucflow.sequences.chunks import WrongName, chunk_identities
from virnucflow.sequences.frames import FRAMES as FRAME_NAMES
from virnucflow.sequences.frames import LEAST_RESIDUES, kept_frames

SUFFIXES = ["", "_L"]  # of the names of frames of KINDS


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--chunks", nargs="+", action=Files, required=True,
        help="FASTA files of chunks of split_fasta.py, each with its digest beside it",
    )  # fmt: skip
    parser.add_argument(
        "--frames", nargs="+", action=Files, required=True, help="parquet tables of the kept frames, to be written"
    )
    parser.add_argument("--nucleotide-fasta", type=Path, help="the nucleotides of one file's frames, to be written")
    parser.add_argument("--protein-fasta", type=Path, help="the proteins of one file's frames, to be written")
    return parser.parse_args()


def translate(chunks: Path) -> Iterator[tuple[pa.Table, int]]:
    """The kept frames of a FASTA file of chunks, in order and in parts, and the number of chunks of each part."""
    for part in read_chunks(chunks):
        try:
            sequence_ids, numbers = chunk_identities(part.names)
        except WrongName as error:
            line = part.lines[error.place]
            raise InputError(f"{chunks}, line {line}: {error}; make chunks with split_fasta.py") from None
        kept = kept_frames(part.letters, part.ends)
        of_chunk = pa.array(kept.chunks)
        frames = pa.array(FRAME_NAMES).take(pa.array(kept.frames))
        suffixes, kinds = (pa.array(texts).take(pa.array(kept.longest.astype(int))) for texts in (SUFFIXES, KINDS))
        columns = {
            "name": pc.binary_join_element_wise(part.names.take(of_chunk), frames, suffixes, ""),
            "sequence_id": sequence_ids.take(of_chunk),
            "chunk": numbers.take(of_chunk),
            "frame": frames,
            "kind": kinds,
            "nucleotide": kept.nucleotides,
            "protein": kept.proteins,
            "residues": kept.residues.astype(np.int32),
        }
        yield pa.table(columns, schema=FRAMES), len(part.names)


def write_fasta(frames: pa.Table, column: str, file: BinaryIO) -> None:
    """Write one column of the whole frames as v1 did: one line per sequence."""
    frames = frames.filter(pc.equal(frames["kind"], WHOLE))
    texts = pc.binary_join_element_wise(pc.binary_join_element_wise(">", frames["name"], ""), frames[column], "", "\n")
    for text in texts.chunks:
        file.write(text.buffers()[2] or b"")


def translate_file(fasta: dict[str, Path], chunks_file: Path, output: Path) -> None:
    """Write the kept frames of a file of chunks, and columns of them as FASTA."""
    chunks = whole = longest = 0
    with staged(output, *fasta.values()) as (partial_frames, *partial_fasta), ExitStack() as stack:
        writer = stack.enter_context(TableWriter(partial_frames, FRAMES))
        files = [stack.enter_context(path.open("wb")) for path in partial_fasta]
        for frames, number in translate(chunks_file):
            writer.write(frames)
            for column, file in zip(fasta, files, strict=True):
                write_fasta(frames, column, file)
            chunks += number
            of_part = pc.sum(pc.equal(frames["kind"], WHOLE)).as_py() or 0
            whole, longest = whole + of_part, longest + len(frames) - of_part
        writer.provenance = {"chunks": chunks}
    log.info(
        "%d frames without a stop codon in %d chunks; %d chunks without one have a stretch of %d residues or more",
        whole, chunks, longest, LEAST_RESIDUES,
    )  # fmt: skip


def main() -> None:
    arguments = parse_arguments()
    fasta = {"nucleotide": arguments.nucleotide_fasta, "protein": arguments.protein_fasta}
    fasta = {column: path for column, path in fasta.items() if path}
    if fasta and len(arguments.chunks) > 1:
        raise InputError("--nucleotide-fasta, --protein-fasta: are for one file of chunks; leave them out")
    for shard in in_step(arguments, "chunks", "frames"):
        translate_file(fasta, *shard)


if __name__ == "__main__":
    run(main)
