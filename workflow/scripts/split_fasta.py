"""Split the sequences of one sample into chunks, and list every sequence.

Writes the chunk list in contiguous slices of about equal bases, one to each file named by --chunks (a slice may be
empty), beside each the digest of its content ({file}.xxh3), and a parquet table with one row per input record, in input
order: sequence_id, length, chunks, uracils, digest. Memory is bounded: 16 bytes a record, and no record is held.
"""

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.shards import Files
from virnucflow.files.tables import SEQUENCES, TableWriter
from virnucflow.sequences.chunk_files import ChunkWriter, cut, digest_path
from virnucflow.sequences.chunks import MOST_CHUNKS, chunk_name, chunk_totals
from virnucflow.sequences.compressed import Stored
from virnucflow.sequences.fasta import Heading
from virnucflow.sequences.names import Names
from virnucflow.sequences.records import Content, changed, stream_records

MOST_CHUNK_LENGTH = 1_000_000
PLACES_NAMED = 10  # of duplicates, in an error
PLACES_PER_NAME = 5
RENAMED_TOLD = 1000
ROWS, NAME_LETTERS = 1 << 16, 1 << 24  # that are held before they are written
LENGTH_BYTES = 8
RNA_TO_DNA = bytes.maketrans(b"Uu", b"Tt")


@dataclass
class Survey:
    """What the first pass finds: the files as they are stored, the names, and the bases of all chunks together."""

    inputs: list[Stored] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    bases: int = 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--fasta", type=Path, nargs="+", required=True, help="FASTA or GenBank files, plain or compressed; read twice"
    )
    parser.add_argument("--chunk-length", type=int, required=True, help="bases per chunk")
    parser.add_argument("--chunks", action=Files, nargs="+", required=True, help="FASTA files of chunks, to be written")
    parser.add_argument("--sequences", type=Path, required=True, help="table of the sequences, to be written")
    parser.add_argument(
        "--duplicate-ids",
        choices=["error", "rename"],
        default="error",
        help="what to do with a sequence name that was there before: stop, or append _2, _3, ... and report it",
    )
    parser.add_argument(
        "--rna",
        choices=["as_dna", "keep"],
        default="as_dna",
        help="what the chunks have for U: T, or U as in VirNucPro v1, where a codon with U gives no residue",
    )
    arguments = parser.parse_args()
    if not 3 <= arguments.chunk_length <= MOST_CHUNK_LENGTH:
        raise InputError(
            f"--chunk-length {arguments.chunk_length}: a chunk holds at least one codon, 3 bases, and at most "
            f"{MOST_CHUNK_LENGTH:,}"
        )
    outputs = {path.resolve() for path in (*arguments.chunks, arguments.sequences)}
    for path in arguments.fasta:
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a regular file; the input is read twice, so give a file and not a pipe")
        if path.resolve() in outputs:
            raise InputError(f"{path}: the input is also named as an output; give another output")
    return arguments


def survey(fasta: list[Path], chunk_length: int, lengths: BinaryIO) -> Survey:
    """The first pass: everything that can be wrong with the input comes out here; each record's length is written."""
    overview = Survey()
    for path in fasta:
        overview.inputs.append(Stored(path))
        for heading, pieces in stream_records(path, stored=overview.inputs[-1]):
            length = sum(map(len, pieces))
            chunks, bases = chunk_totals(length, chunk_length)
            if chunks > MOST_CHUNKS:
                raise InputError(f"{path}, line {heading.line}: more than {MOST_CHUNKS:,} chunks; make them longer")
            overview.bases += bases
            overview.names.add(heading.name)
            lengths.write(length.to_bytes(LENGTH_BYTES, "little"))
    overview.names.sort()
    return overview


def describe_duplicates(fasta: list[Path], names: Names) -> str:
    """Some of the names that come more than once, and where; the files are read again for it."""
    places: dict[str, list[str]] = {}
    first_headers: dict[str, str] = {}
    blank_matters, named = False, 0
    for path in fasta:
        for heading, _ in stream_records(path, check_letters=False):
            name = heading.name
            if names.times(name) < 2 or (named == PLACES_NAMED and name not in places):
                continue
            blank_matters |= first_headers.setdefault(name, heading.header) != heading.header
            if named < PLACES_NAMED and len(places.setdefault(name, [])) < PLACES_PER_NAME:
                places[name].append(f"{path} line {heading.line}")
                named += 1
    shown = "; ".join(f"{name!r} in {', '.join(lines)}" for name, lines in places.items())
    several, times = names.repeated()
    more = f", and {times - named:,} more" if times > named else ""
    of_names = f", of {several:,} names" if several > len(places) else ""
    blank = " (names end at the first blank)" if blank_matters else ""
    return f"duplicate sequence names: {shown}{more}{of_names}; rename them or use duplicate_ids: rename{blank}"


class SequenceTable:
    """Writes the table of sequences row by row, and counts."""

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer
        self._rows: list[tuple] = []
        self._letters = 0  # of the names held
        self.sequences = self.chunks = self.with_uracil = 0

    def add(self, sequence_id: str, chunks: int, content: Content) -> None:
        """Add the row of a record, all of whose letters have gone by."""
        self._rows.append((sequence_id, content.length, chunks, content.uracils, content.digest))
        self._letters += len(sequence_id)
        self.sequences += 1
        self.chunks += chunks
        self.with_uracil += content.uracils > 0
        if len(self._rows) == ROWS or self._letters > NAME_LETTERS:
            self.flush()

    def flush(self) -> None:
        """Must come after the last row, too."""
        columns = list(zip(*self._rows, strict=True)) or [()] * len(SEQUENCES)
        self._writer.write(pa.table(dict(zip(SEQUENCES.names, columns, strict=True)), schema=SEQUENCES))
        self._rows, self._letters = [], 0


class Renaming:
    """The sequences' ids: their names, made unique. What is renamed is logged, up to a number."""

    def __init__(self, names: Names) -> None:
        self._names, self._needed = names, names.repeated() > (0, 0)
        self.number = 0

    def __call__(self, path: Path, heading: Heading) -> str:
        name = heading.name
        new = self._names.unique(name) if self._needed else name
        if new != name:
            self.number += 1
            if self.number <= RENAMED_TOLD:
                log.warning("%s, line %d: duplicate name %r is renamed to %r", path, heading.line, name, new)
        return new


def split(
    overview: Survey, lengths: BinaryIO, chunk_length: int, rna: str, chunks: ChunkWriter, table: SequenceTable
) -> None:
    """The second pass: write the chunks and the table; InputError where a file is not what it was in the first."""
    rename = Renaming(overview.names)
    for before in overview.inputs:
        now = Stored(before.path)
        for heading, pieces in stream_records(now.path, check_letters=False, stored=now):
            sequence_id, content = rename(now.path, heading), Content(heading.name)
            length = int.from_bytes(lengths.read(LENGTH_BYTES), "little")
            letters, number = content.follow(pieces), 0
            if rna == "as_dna":
                letters = (piece.translate(RNA_TO_DNA) for piece in letters)
            for number, chunk in enumerate(cut(letters, length, chunk_length), start=1):
                chunks.write(chunk_name(sequence_id, number), chunk)
            table.add(sequence_id, number, content)
        if now != before:
            raise changed(now.path)
    table.flush()
    if rename.number > RENAMED_TOLD:
        log.warning("%d more duplicate names are renamed", rename.number - RENAMED_TOLD)


def describe_uracil(number: int, rna: str) -> str:
    """What became of U, for the last line of the log."""
    if not number:
        return ""
    if rna == "as_dna":
        return f"; U was read as T in {number} sequences"
    return f"; U was kept in {number} sequences, where a codon with U gives no residue and no stop"


def main() -> None:
    arguments = parse_arguments()
    digests = [digest_path(path) for path in arguments.chunks]
    number = len(digests)
    with (
        staged(*arguments.chunks, *digests, arguments.sequences) as (*partial, sequences),
        tempfile.TemporaryFile(dir=sequences.parent) as lengths,  # without a name, so that it goes away by itself
    ):
        overview = survey(arguments.fasta, arguments.chunk_length, lengths)
        if arguments.duplicate_ids == "error" and overview.names.repeated() > (0, 0):
            raise InputError(describe_duplicates(arguments.fasta, overview.names))
        lengths.seek(0)
        with (
            ChunkWriter(partial[:number], partial[number:], overview.bases) as chunks,
            TableWriter(sequences, SEQUENCES) as writer,
        ):
            table = SequenceTable(writer)
            split(overview, lengths, arguments.chunk_length, arguments.rna, chunks, table)
            inputs = [{"path": str(one.path), "sha256": one.sha256, "bytes": one.bytes} for one in overview.inputs]
            counts = {"records": table.sequences, "rna_records": table.with_uracil, "shards": number}
            writer.provenance = {"inputs": inputs, "rna": arguments.rna} | counts
    note = describe_uracil(table.with_uracil, arguments.rna)
    log.info("%d sequences, %d chunks in %d files%s", table.sequences, table.chunks, number, note)


if __name__ == "__main__":
    run(main)
