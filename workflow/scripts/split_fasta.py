"""Split the sequences of one sample into chunks, and list every sequence.

Writes the chunk list in contiguous slices of about equal bases, one to each file named by --chunks (a slice may be
empty), beside each the digest of its content ({file}.xxh3), and a parquet table with one row per input record, in input
order: sequence_id, length, chunks, uracils, digest, mate. Memory is bounded: 16 bytes a record, and no record is held
but a read.

With `--refused note` bad input leaves empty files of chunks, and a table that no program takes for that of a sample
without sequences: read_sequences() ends with what is wrong with the input.
"""

import argparse
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.shards import Files
from virnucflow.files.tables import REFUSED, SEQUENCES, TableWriter, write_parquet
from virnucflow.sequences.batches import Batch, with_ended
from virnucflow.sequences.chunk_files import ChunkWriter, digest_path
from virnucflow.sequences.chunks import MOST_CHUNKS, chunk_totals
from virnucflow.sequences.compressed import Stored
from virnucflow.sequences.cutter import Cutter
from virnucflow.sequences.inputs import Input, add_inputs, paths_of
from virnucflow.sequences.mates import pair_of_mate
from virnucflow.sequences.names import Names
from virnucflow.sequences.records import Contents, changed, stream_batches, stream_records
from virnucflow.sequences.subsample import Subsample, draw

MOST_CHUNK_LENGTH = 1_000_000
PLACES_NAMED = 10  # of duplicates, in an error
PLACES_PER_NAME = 5
RENAMED_TOLD = 1000
ROWS, NAME_LETTERS = 1 << 16, 1 << 24  # that are held before they are written
LENGTH_BYTES = 8


@dataclass
class Survey:
    """What the first pass finds: the files of each input as they are stored, the names, and the bases of all chunks."""

    inputs: list[tuple[Stored, ...]] = field(default_factory=list)
    names: Names = field(default_factory=Names)
    bases: int = 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_inputs(parser, "They are read twice, with --subsample-reads three times.")
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
    parser.add_argument(
        "--subsample-reads", type=int, default=0, help="draw so many reads or pairs, where there are more; 0: take all"
    )
    parser.add_argument("--subsample-seed", type=int, default=0, help="random seed for --subsample-reads")
    parser.add_argument(
        "--refused", choices=["stop", "note"], default="stop", help="what to do with bad input: end with it, or note it"
    )
    arguments = parser.parse_args()
    if not arguments.inputs:
        parser.error("no input; give --fasta, --reads, --interleaved or --paired")
    for option in ("subsample_reads", "subsample_seed"):
        if not 0 <= getattr(arguments, option) < 2**63:
            parser.error(
                f"--{option.replace('_', '-')} {getattr(arguments, option)}: give a number that is not negative"
            )
    if not 3 <= arguments.chunk_length <= MOST_CHUNK_LENGTH:
        raise InputError(
            f"--chunk-length {arguments.chunk_length}: a chunk holds at least one codon, 3 bases, and at most "
            f"{MOST_CHUNK_LENGTH:,}"
        )
    outputs = {path.resolve() for path in (*arguments.chunks, arguments.sequences)}
    for path in paths_of(arguments.inputs):
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: not a regular file; the input is read twice, so give a file and not a pipe")
        if path.resolve() in outputs:
            raise InputError(f"{path}: the input is also named as an output; give another output")
    return arguments


def draw_reads(inputs: list[Input], number: int, seed: int) -> tuple[Subsample, int]:
    """The subsample of all reads, and of how many it was drawn, pairs counted as one."""
    read = 0

    def names() -> Iterator[str]:
        nonlocal read
        for one in inputs:
            for heading, _ in stream_records(one) if one.layout != "fasta" else ():
                read += heading.mate < 2
                yield pair_of_mate(heading.name, heading.mate)

    return draw(names(), number, seed), read


def survey(inputs: list[Input], chunk_length: int, subsample: Subsample | None, lengths: BinaryIO) -> Survey:
    """The first pass: everything that can be wrong with the input comes out here; each record's length is written."""
    overview = Survey()
    for one in inputs:
        overview.inputs.append(tuple(map(Stored, one.paths)))
        for batch, ended in with_ended(stream_batches(one, overview.inputs[-1], subsample)):
            overview.names.add(batch.names)
            chunks, bases = chunk_totals(ended.lengths, chunk_length)
            for number in np.flatnonzero(chunks > MOST_CHUNKS):
                path, where = one.place(ended.lines[number], ended.mates[number])
                raise InputError(f"{path}, {where}: more than {MOST_CHUNKS:,} chunks; make them longer")
            overview.bases += int(bases.sum())
            lengths.write(ended.lengths.tobytes())
    overview.names.sort()
    return overview


def describe_duplicates(inputs: list[Input], subsample: Subsample | None, names: Names) -> str:
    """Some of the names that come more than once, and where; the files are read again for it."""
    places: dict[str, list[str]] = {}
    first_headers: dict[str, str] = {}
    blank_matters, named = False, 0
    for one in inputs:
        for heading, _ in stream_records(one, check_letters=False, subsample=subsample):
            name = heading.name
            if names.times(name) < 2 or (named == PLACES_NAMED and name not in places):
                continue
            blank_matters |= first_headers.setdefault(name, heading.header) != heading.header
            if named < PLACES_NAMED and len(places.setdefault(name, [])) < PLACES_PER_NAME:
                path, where = one.place(heading.line, heading.mate)
                places[name].append(f"{path} {where}")
                named += 1
    shown = "; ".join(f"{name!r} in {', '.join(lines)}" for name, lines in places.items())
    several, times = names.repeated()
    more = f", and {times - named:,} more" if times > named else ""
    of_names = f", of {several:,} names" if several > len(places) else ""
    blank = " (names end at the first blank)" if blank_matters else ""
    return f"duplicate sequence names: {shown}{more}{of_names}; rename them or use duplicate_ids: rename{blank}"


class SequenceTable:
    """Writes the table of sequences, in parts of at most ROWS rows, and counts."""

    def __init__(self, writer: TableWriter) -> None:
        self._writer = writer
        self._columns: list[list] = [[] for _ in SEQUENCES]
        self._letters = 0  # of the names held
        self.sequences = self.chunks = self.with_uracil = 0

    def add(
        self, ids: list[str], lengths: np.ndarray, chunks: np.ndarray, uracils: np.ndarray, digests: list[str],
        mates: np.ndarray,
    ) -> None:  # fmt: skip
        """Add rows: values of each column, (rows)."""
        self.sequences += len(ids)
        self.chunks += int(chunks.sum())
        self.with_uracil += int((uracils > 0).sum())
        columns = ids, lengths.tolist(), chunks.tolist(), uracils.tolist(), digests, mates.tolist()
        first = 0
        for end, sequence_id in enumerate(ids, start=1):
            self._letters += len(sequence_id)
            if len(self._columns[0]) + end - first == ROWS or self._letters > NAME_LETTERS:
                self._hold(columns, first, end)
                self.flush()
                first = end
        self._hold(columns, first, len(ids))

    def _hold(self, columns: Iterable[list], first: int, end: int) -> None:
        for held, column in zip(self._columns, columns, strict=True):
            held += column[first:end]

    def flush(self) -> None:
        """Must come after the last row, too."""
        self._writer.write(pa.table(dict(zip(SEQUENCES.names, self._columns, strict=True)), schema=SEQUENCES))
        self._columns, self._letters = [[] for _ in SEQUENCES], 0


class Renaming:
    """The sequences' ids: their names, made unique. What is renamed is logged, up to a number."""

    def __init__(self, names: Names) -> None:
        self._names, self._needed = names, names.repeated() > (0, 0)
        self.number = 0

    def __call__(self, one: Input, batch: Batch) -> list[str]:
        if not self._needed:
            return batch.names
        ids = list(map(self._names.unique, batch.names))
        for name, new, line, mate in zip(batch.names, ids, batch.lines, batch.mates, strict=True):
            if new != name:
                self.number += 1
                if self.number <= RENAMED_TOLD:
                    path, where = one.place(line, mate)
                    log.warning("%s, %s: duplicate name %r is renamed to %r", path, where, name, new)
        return ids


def split(
    inputs: list[Input], overview: Survey, subsample: Subsample | None, lengths: BinaryIO, chunk_length: int, rna: str,
    cutter: Cutter, table: SequenceTable,
) -> None:  # fmt: skip
    """The second pass: write the chunks and the table; InputError where a file is not what it was in the first."""
    rename = Renaming(overview.names)
    for one, before in zip(inputs, overview.inputs, strict=True):
        now = tuple(map(Stored, one.paths))
        contents = Contents()
        ids: list[str] = []  # of records that have not ended, as are their lengths in the first pass
        expected = np.empty(0, dtype=np.int64)
        for batch, ended in with_ended(stream_batches(one, now, subsample, check_letters=False)):
            begun, number = rename(one, batch), len(ended.lengths)
            of_begun = np.frombuffer(lengths.read(LENGTH_BYTES * len(begun)), dtype=np.int64)
            ids, expected = ids + begun, np.append(expected, of_begun)
            if len(expected) != len(ids) or (ended.lengths != expected[:number]).any():
                raise changed(one.paths[-1])
            cutter.add(batch.in_dna() if rna == "as_dna" else batch, begun, of_begun)
            uracils, digests = contents.follow(batch, number)
            chunks, _ = chunk_totals(ended.lengths, chunk_length)
            table.add(ids[:number], ended.lengths, chunks, uracils, digests, ended.mates)
            ids, expected = ids[number:], expected[number:]
        for file, as_before in zip(now, before, strict=True):
            if file != as_before:
                raise changed(file.path)
    cutter.cut()
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


def describe_file(file: Stored) -> dict[str, Any]:
    """What the table notes of an input file."""
    noted = {"path": str(file.path), "sha256": file.sha256, "bytes": file.bytes}
    return noted | ({"left_out": dict(file.left_out)} if file.left_out else {})


def split_inputs(arguments: argparse.Namespace) -> None:
    """Write the files of chunks and the table of sequences."""
    inputs, chunk_length = arguments.inputs, arguments.chunk_length
    digests = [digest_path(path) for path in arguments.chunks]
    number = len(digests)
    with (
        staged(*arguments.chunks, *digests, arguments.sequences) as (*partial, sequences),
        tempfile.TemporaryFile(dir=sequences.parent) as lengths,  # without a name, so that it goes away by itself
    ):
        subsample, drawn = None, {}
        if wanted := arguments.subsample_reads:
            subsample, read = draw_reads(inputs, wanted, arguments.subsample_seed)
            drawn = {"subsample": {"reads": wanted, "of": read} | asdict(subsample)}
            log.info("%d of %d reads, pairs counted as one, are drawn", min(wanted, read), read)
        overview = survey(inputs, chunk_length, subsample, lengths)
        if arguments.duplicate_ids == "error" and overview.names.repeated() > (0, 0):
            raise InputError(describe_duplicates(inputs, subsample, overview.names))
        lengths.seek(0)
        with (
            ChunkWriter(partial[:number], partial[number:], overview.bases) as chunks,
            TableWriter(sequences, SEQUENCES) as writer,
        ):
            table = SequenceTable(writer)
            cutter = Cutter(chunks, chunk_length)
            split(inputs, overview, subsample, lengths, chunk_length, arguments.rna, cutter, table)
            files = [file for stored in overview.inputs for file in stored]
            counts = {"records": table.sequences, "rna_records": table.with_uracil, "shards": number}
            writer.provenance = {"inputs": list(map(describe_file, files)), "rna": arguments.rna} | drawn | counts
    for file in files:
        if file.left_out:
            counted = ", ".join(f"{times} {kind}" for kind, times in file.left_out.items())
            log.info("%s: left out by their flags: %s", file.path, counted)
    note = describe_uracil(table.with_uracil, arguments.rna)
    log.info("%d sequences, %d chunks in %d files%s", table.sequences, table.chunks, number, note)


def note_refusal(arguments: argparse.Namespace, reason: str) -> None:
    """Write empty files of chunks and a table that says why there are none."""
    digests = [digest_path(path) for path in arguments.chunks]
    with (
        staged(*arguments.chunks, *digests, arguments.sequences) as (*partial, sequences),
        ChunkWriter(partial[: len(digests)], partial[len(digests) :], 0),
    ):
        write_parquet(SEQUENCES.empty_table(), sequences, {REFUSED: reason})


def main() -> None:
    arguments = parse_arguments()
    try:
        split_inputs(arguments)
    except InputError as error:
        if arguments.refused == "stop":
            raise
        note_refusal(arguments, str(error))
        log.error("%s", error)


if __name__ == "__main__":
    run(main)
