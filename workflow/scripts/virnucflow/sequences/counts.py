"""How many sequences, chunks and frames files have: counted in all of a small file, and on a sample of a large one.

A plain file is sampled in windows that lie evenly in it, a compressed one at its beginning, whose compression is taken
for that of the whole. The error is that of a mean of windows (95 %).
"""

import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc

from virnucflow.cli import InputError
from virnucflow.files.kinds import LONGEST
from virnucflow.sequences.batches import Heading, Part
from virnucflow.sequences.chunks import chunk_coordinates
from virnucflow.sequences.compressed import BGZF_END, first_bytes
from virnucflow.sequences.fasta import (
    BLANKS,
    BYTE_ORDER_MARK,
    NUCLEOTIDES,
    Streamed,
    by_record,
    read_fasta_parts,
)  # fmt: skip
from virnucflow.sequences.frames import kept_frames
from virnucflow.sequences.genbank import START, read_genbank_parts
from virnucflow.sequences.inputs import Input
from virnucflow.sequences.reads import BAM, read_reads_parts

# What is counted. `reads` are those of FASTQ and BAM, a pair as one; `rows` are frames of either kind; the last three
# are of the frames that a pack takes.
FIELDS = ("reads", "sequences", "bases", "chunks", "rows", "frames", "residues", "nucleotides")
Values = np.ndarray  # (FIELDS), float64

BLOCK = 1 << 20  # letters that are translated at a time
LEAST_WINDOW, MOST_WINDOW = 1 << 16, 1 << 20  # bytes
WINDOWS = 64  # of a sample, as far as that leaves them large enough
# Of what is counted at the beginning of a compressed file, when it is taken for the whole: the part that its windows
# cannot tell. An assumption.
UNSEEN = 0.1
# Of chunks and frames, where windows cut records: the last chunk of a record may be short, and has more frames then.
CUT = 0.003
BAM_SHARE = 4  # of BAM, whose reads pysam gives one by one, only this part of the budget is read
RNA_TO_DNA = bytes.maketrans(b"Uu", b"Tt")
SEQUENCE_LINE = re.compile(rb"^ *\d+((?: [A-Za-z-]+)+) *$", re.MULTILINE)  # of GenBank
LINES_OF_READ = 4
BOTH = 2  # ends of a record
_NAMELESS = Heading("", "", 0)


@dataclass(frozen=True)
class Rules:
    """How sequences are cut, and which frames count; `as_dna` reads U as T."""

    chunk_length: int
    frames: str  # WHOLE, or LONGEST ones as well
    as_dna: bool = True


class Estimate(NamedTuple):
    """Values and their 95 % errors, both (FIELDS); an error of 0 says that all was counted."""

    values: Values
    errors: Values


class Piece(NamedTuple):
    """Letters of a record, as far as they lie in a window, and how many of the record's two ends lie there."""

    letters: bytes
    ends: int

    @property
    def is_whole(self) -> bool:
        """Whether these are all letters of a record."""
        return self.ends == BOTH


class Window(NamedTuple):
    """What is found in so many bytes of a file."""

    bytes: float
    reads: float
    sequences: float
    pieces: list[Piece]


def count_file(path: Path, layout: str, rules: Rules, budget: int) -> Estimate:
    """What a file has, given as this `layout` of an Input, of whose text about so many bytes are read.

    Raises InputError where what is read of it is damaged.
    """
    size = path.stat().st_size
    start, taken = first_bytes(path, 1)
    is_plain = taken == len(start) <= 1  # of a compressed file, it takes more
    if start.startswith(BAM):
        budget //= BAM_SHARE
    text, taken = (start, taken) if is_plain and size > budget else first_bytes(path, budget)
    if taken == size:
        values, errors = count_records(_all_records(path, layout, text), rules), np.zeros(len(FIELDS))
    elif is_plain:
        values, errors = _extrapolate(_spread_windows(path, layout, budget, rules), size, rules)
        errors[3:] = np.hypot(errors[3:], CUT * values[3:])
    else:
        values, errors = _extrapolate(_first_windows(path, layout, text, taken, rules), size, rules)
        errors = np.hypot(errors, UNSEEN * values)
    share = {"fasta": 0.0, "paired": 0.5, "interleaved": 0.5}.get(layout)  # of BAM, each read says it
    if share is not None:
        values[0], errors[0] = share * values[1], share * errors[1]
    return Estimate(values, errors)


def count_records(records: Iterable[Streamed], rules: Rules) -> Values:
    """What some records have, exactly."""
    values, chunks, held = np.zeros(len(FIELDS)), list[bytes](), 0
    for heading, pieces in records:
        letters = b"".join(pieces)
        of_record = [letters[start:end] for start, end in chunk_coordinates(len(letters), rules.chunk_length)]
        values[:4] += heading.mate < 2, 1, len(letters), len(of_record)
        chunks += of_record
        held += len(letters)
        if held > BLOCK:
            values[4:] += _count_frames(chunks, rules)
            chunks, held = [], 0
    values[4:] += _count_frames(chunks, rules)
    return values


def _count_frames(chunks: list[bytes], rules: Rules) -> Values:
    """The last four of FIELDS."""
    if not chunks:
        return np.zeros(4)
    letters = b"".join(chunks)
    kept = kept_frames(letters.translate(RNA_TO_DNA) if rules.as_dna else letters, np.cumsum(list(map(len, chunks))))
    taken = np.ones(len(kept.chunks), dtype=bool) if rules.frames == LONGEST else ~kept.longest
    nucleotides = pc.binary_length(kept.nucleotides).to_numpy()
    return np.array([len(taken), taken.sum(), kept.residues[taken].sum(), nucleotides[taken].sum()], dtype=np.float64)


def _all_records(path: Path, layout: str, text: bytes) -> Iterator[Streamed]:
    parts: Iterator[Part]
    if layout != "fasta":
        parts = read_reads_parts(Input("reads", (path,)), check_letters=False)
    elif START.match(text[:100]):
        parts = read_genbank_parts(path, check_letters=False)
    else:
        parts = read_fasta_parts(path, check_letters=False)
    return by_record(parts)


def _extrapolate(windows: Iterable[Window], size: int, rules: Rules) -> Estimate:
    """From windows to a file of so many bytes."""
    counted = [(window.bytes, _count_window(window, rules)) for window in windows]
    lengths = np.array([length for length, _ in counted])
    found = np.array([values for _, values in counted])
    values = found.sum(0) / lengths.sum() * size
    number = len(counted)
    if number < 2:
        return Estimate(values, values.copy())
    # Of a ratio of sums: windows may differ in bytes.
    deviations = found - lengths[:, None] * (values / size)
    error = np.sqrt((deviations**2).sum(0) / (number - 1) / number) / lengths.mean() * size
    unread = math.sqrt(max(0.0, 1 - lengths.sum() / size))
    student = 1.96 + 3.66 / (number - 1)  # of 95 %, from four windows on, or more
    return Estimate(values, student * unread * error)


def _count_window(window: Window, rules: Rules) -> Values:
    """What a window has. Of a record that reaches beyond it, whole chunks stand for all that is in the window.

    The number of a record's chunks is rounded up, on average by a half, which its two ends share.
    """
    whole = [piece.letters for piece in window.pieces if piece.is_whole]
    values = count_records(((_NAMELESS, iter([letters])) for letters in whole), rules)
    length = rules.chunk_length
    cuts = [
        piece.letters[start : start + length]
        for piece in window.pieces
        if not piece.is_whole
        for start in range(0, len(piece.letters) - length + 1, length)
    ]
    rounded = 1 + sum(piece.ends for piece in window.pieces if not piece.is_whole) / 4 / max(1, len(cuts))
    values[3] += len(cuts) * rounded
    values[4:] += _count_frames(cuts, rules) * rounded
    bases = sum(len(piece.letters) for piece in window.pieces)
    if used := values[2] + len(cuts) * length:
        values[3:] *= bases / used
    values[:3] = window.reads, window.sequences, bases
    return values


def _spread_windows(path: Path, layout: str, budget: int, rules: Rules) -> Iterator[Window]:
    """Windows that lie evenly in a plain file."""
    size, width = path.stat().st_size, _width(budget, rules)
    number = max(2, budget // width)
    with path.open("rb") as file:
        parse = _parser_of(layout, file.read(100))
        for place in range(number):
            file.seek(first := place * (size - width) // (number - 1))
            text = file.read(width)
            yield parse(text, first == 0, first + len(text) >= size)


def _first_windows(path: Path, layout: str, text: bytes, taken: int, rules: Rules) -> Iterator[Window]:
    """Windows one after the other at the beginning of a compressed file; their bytes are those that are stored."""
    if text.startswith(BAM):
        yield from _windows_of_bam(path, taken)
        return
    width = _width(len(text), rules)
    parse = _parser_of(layout, text[:100])
    for first in range(0, max(1, len(text) - width + 1), width):
        window = parse(text[first : first + width], first == 0, False)
        yield window._replace(bytes=window.bytes * taken / len(text))


def _width(budget: int, rules: Rules) -> int:
    return max(4 * rules.chunk_length, min(MOST_WINDOW, max(LEAST_WINDOW, budget // WINDOWS)))


def _parser_of(layout: str, start: bytes) -> Callable[[bytes, bool, bool], Window]:
    if layout != "fasta":
        return _parse_fastq
    return _parse_genbank if START.match(start) else _parse_fasta


def _parse_fasta(text: bytes, begins: bool, ends: bool) -> Window:
    """A window of FASTA; it may begin and end with the file."""
    number, text = len(text), _with_plain_lines(text)
    if begins:
        text = b"\n" + text.removeprefix(BYTE_ORDER_MARK)
    elif (line := text.partition(b"\n"))[0].translate(None, NUCLEOTIDES + BLANKS):  # the end of a header
        text = line[2]
    before, *records = text.split(b"\n>")
    letters = [record.partition(b"\n")[2] for record in records]
    return _window(number, [before] if not begins else [], letters, ends)


def _parse_genbank(text: bytes, begins: bool, ends: bool) -> Window:
    """A window of GenBank, whose letters are in lines of their own."""
    number, text = len(text), _with_plain_lines(text)
    before, *records = (b"\n" + text if begins else text).split(b"\nLOCUS ")
    of_record = [b"".join(SEQUENCE_LINE.findall(record)) for record in (before, *records)]
    return _window(number, of_record[:1] if not begins else [], of_record[1:], ends)


def _window(number: int, before: list[bytes], records: list[bytes], ends: bool) -> Window:
    """Of what belongs to a record before the window, and of the records that begin in it."""
    pieces = [Piece(lines, int(bool(records) or ends)) for lines in before] + [Piece(lines, BOTH) for lines in records]
    if records and not ends:
        pieces[-1] = pieces[-1]._replace(ends=1)
    pieces = [piece._replace(letters=piece.letters.translate(None, BLANKS + b"\n")) for piece in pieces]
    return Window(number, 0, len(records), [piece for piece in pieces if piece.letters])


def _parse_fastq(text: bytes, begins: bool, ends: bool) -> Window:
    """A window of FASTQ, as far as its whole records reach."""
    lines = _with_plain_lines(text).split(b"\n")
    if not ends or not lines[-1]:
        lines.pop()
    first = next((at for at in range(len(lines) - LINES_OF_READ + 1) if _is_read(lines[at : at + LINES_OF_READ])), 0)
    lines = lines[first : first + (len(lines) - first) // LINES_OF_READ * LINES_OF_READ]
    reads = [Piece(letters, BOTH) for letters in lines[1::LINES_OF_READ]]
    return Window(sum(map(len, lines)) + len(lines), len(reads), len(reads), reads)


def _is_read(lines: list[bytes]) -> bool:
    return lines[0].startswith(b"@") and lines[2].startswith(b"+") and len(lines[1]) == len(lines[3])


def _with_plain_lines(text: bytes) -> bytes:
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def _windows_of_bam(path: Path, taken: int) -> Iterator[Window]:
    """The reads in the first blocks of a BAM file, which pysam is given as a file of its own."""
    reads: list[tuple[int, bytes]] = []
    with tempfile.NamedTemporaryFile(suffix=".bam") as beginning, path.open("rb") as file, suppress(InputError):
        blocks = _whole_blocks(file.read(taken))
        taken = len(blocks)
        beginning.write(blocks + BGZF_END)
        beginning.flush()
        parts = read_reads_parts(Input("reads", (Path(beginning.name),)), check_letters=False)
        for heading, pieces in by_record(parts):
            reads.append((heading.mate, b"".join(pieces)))
    in_window = max(1, len(reads) // WINDOWS)
    for first in range(0, len(reads) - in_window + 1, in_window):
        some = reads[first : first + in_window]
        stored = taken * len(some) / len(reads)
        yield Window(stored, sum(mate < 2 for mate, _ in some), len(some), [Piece(read, BOTH) for _, read in some])


def _whole_blocks(stored: bytes) -> bytes:
    """Those of bgzip, as far as they are whole; each says its size less one after a header of 16 bytes."""
    end = 0
    while (size := int.from_bytes(stored[end + 16 : end + 18], "little") + 1) > 1 and end + size <= len(stored):
        end += size
    return stored[:end]
