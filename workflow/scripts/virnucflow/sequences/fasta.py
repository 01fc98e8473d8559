"""FASTA files: reading them in bounded memory with errors that name the line, and writing them as v1 did.

A file is read in blocks, and what is long, a record as much as a line, goes by in pieces of at most a block.
"""

import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

import numpy as np

from virnucflow.cli import InputError, log
from virnucflow.sequences.batches import Batch, Heading, Part, batched
from virnucflow.sequences.compressed import Stored, decompressed

LINE_WIDTH = 60  # letters a line, as Biopython writes and v1 therefore has it

# The nucleotide codes of IUPAC (Nucleic Acids Res 1985, 13:3021), U for RNA and '-' for a gap, in either case.
NUCLEOTIDES = b"ACGTURYSWKMBDHVN-acgturyswkmbdhvn"
OLD_COMMENT = bytes(code for code in range(ord("!"), ord("~") + 1) if code != ord(">"))  # begins with ';'
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
TABS_AND_LINE_ENDS = str.maketrans("\t\n", "  ")
BLANKS = b" \t\v\f"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # of UTF-8

BLOCK = 1 << 20  # bytes
PART = 1 << 18  # bytes of a batch, of which every two may be a record
MOST_HEADER = 1_000_000  # bytes
SHOWN = 1000  # bytes of a line of something else that are looked at to say what it may be


@dataclass(frozen=True, slots=True)
class Record:
    """A record that is held as a whole: what `Heading` has, and the sequence."""

    name: str
    header: str
    sequence: str
    line: int
    proteins: tuple[str, ...] | None = None


Streamed = tuple[Heading, Iterator[bytes]]  # a record whose letters go by in pieces


def read_fasta(path: Path, check_letters: bool = True) -> Iterator[Record]:
    """Yield the records of a FASTA file in order, each as a whole. Arguments and errors as of `read_fasta_parts`."""
    for heading, letters in by_record(read_fasta_parts(path, check_letters)):
        yield whole(heading, letters)


def read_fasta_parts(path: Path, check_letters: bool = True, stored: Stored | None = None) -> Iterator[Part]:
    """Yield the parts of the records of a FASTA file in order.

    Read are UTF-8 with or without byte-order mark, LF, CRLF and CR, blank lines, and blanks inside sequences, which
    are dropped. `check_letters=False` is for files that a program of this workflow wrote or has checked. Raises
    InputError, naming file and line, for what is not FASTA; of a bad line no more than a block is read.
    """
    with decompressed(path, stored) as stream:
        yield from _Parser(path, check_letters).parts(blocks(stream))


def read_fasta_batches(path: Path, check_letters: bool = True, stored: Stored | None = None) -> Iterator[Batch]:
    """Yield the records of a FASTA file in order, many at a time. Arguments and errors as of `read_fasta_parts`."""
    with decompressed(path, stored) as stream:
        yield from _Parser(path, check_letters).batches(_whole_headers(blocks(stream)))


def by_record(parts: Iterator[Part]) -> Iterator[Streamed]:
    """Records one by one; the letters of one are gone when the next is asked for."""
    heading = next(parts, None)
    while isinstance(heading, Heading):
        following: Heading | None = None

        def letters() -> Iterator[bytes]:
            nonlocal following
            for part in parts:
                if isinstance(part, Heading):
                    following = part
                    return
                yield part

        pieces = letters()
        yield heading, pieces
        for _ in pieces:  # that nobody asked for
            pass
        heading = following


def whole(heading: Heading, letters: Iterator[bytes]) -> Record:
    """A record that is held as a whole."""
    sequence = b"".join(letters).decode("latin-1")
    return Record(heading.name, heading.header, sequence, heading.line, heading.proteins)


def blocks(stream: io.BufferedIOBase) -> Iterator[bytes]:
    """A file's content in blocks, without byte-order mark and with every line end (LF, CRLF or CR) made LF."""
    block, held = stream.read(BLOCK).removeprefix(BYTE_ORDER_MARK), b""
    while block:
        if held or b"\r" in block:
            block, held = held + block, b""
            if block.endswith(b"\r"):  # whether an LF follows is seen in the next block
                block, held = block[:-1], b"\r"
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield block
        block = stream.read(BLOCK)
    if held:
        yield b"\n"


def _whole_headers(content: Iterator[bytes]) -> Iterator[bytes]:
    """The content in parts none of which ends within a header, unless that is too long or the file ends there."""
    held = b""
    for block in content:
        for start in range(0, len(block), PART):
            part = held + block[start : start + PART]
            header = part.rfind(b"\n>") + 1  # or the beginning, which may be a header as well
            unfinished = part.startswith(b">", header) and part.find(b"\n", header) < 0
            end = header if unfinished and len(part) - header <= MOST_HEADER else len(part)
            if end:
                yield part[:end]
            held = part[end:]
    if held:
        yield held


class _Parser:
    """Goes through the blocks of a FASTA file and knows on which line it is, and what this line is so far."""

    def __init__(self, path: Path, check_letters: bool) -> None:
        self.path, self.check_letters = path, check_letters
        self.line = 1
        self.line_is_empty = True  # so far; a header can begin
        self.line_is_blank = True  # so far, nothing but blanks; a comment can begin
        self.in_comment = False
        self.comment_was_told = False
        self.header: bytearray | None = None  # the part of an unfinished header line that was read
        self.has_begun = False  # there was a header

    def parts(self, content: Iterator[bytes]) -> Iterator[Part]:
        for block in content:
            at = 0
            while at < len(block):
                if self.header is None and self.line_is_empty and block.startswith(b">", at):
                    self.header, at = bytearray(), at + 1
                if self.header is not None:
                    end = block.find(b"\n", at) + 1 or len(block)
                    self.header += block[at:end]
                    if heading := self._end_header(self.header):
                        yield heading
                else:
                    end = self._end_of_text(block, at)
                    if letters := self._letters(block[at:end]):
                        yield letters
                at = end
        if self.header is not None and (heading := self._end_header(self.header, file_ends=True)):
            yield heading

    def batches(self, content: Iterator[bytes]) -> Iterator[Batch]:
        """The records of blocks none of which ends within a header, many at a time."""
        for block in content:
            if batch := self._plain_batch(block):
                yield batch
            else:
                yield from batched(self.parts(iter([block])))

    def _plain_batch(self, block: bytes) -> Batch | None:
        """The records of a block; None, with all as it was, if there is something in it that needs a closer look."""
        begins = self.line_is_empty and block.startswith(b">")
        before, *records = (b"\n" + block if begins else block).split(b"\n>")
        if self.in_comment or (before and not self.has_begun):
            return None
        headers = [record.split(b"\n", 1)[0] for record in records]
        texts = [before, *(record[len(header) :] for header, record in zip(headers, records, strict=True))]
        pieces = [text.translate(None, b"\n") for text in texts]
        letters = b"".join(pieces)
        if any(blank in letters for blank in BLANKS) or (self.check_letters and letters.translate(None, NUCLEOTIDES)):
            return None
        if (names := _plain_names(headers)) is None:
            return None
        ends = np.cumsum([len(piece) for piece in pieces])
        line_ends = np.cumsum([len(text) for text in texts]) - ends + np.arange(len(texts)) - begins
        lines = self.line + line_ends[:-1] + 1
        self.has_begun = self.has_begun or bool(records)
        self._go_on(block, int(line_ends[-1]))
        return Batch(letters, names, lines, np.zeros_like(lines), ends[:-1])

    def _end_of_text(self, block: bytes, at: int) -> int:
        """Where, after a place that is not in a header, the next line begins that is one; else the block's end."""
        end = at
        while (end := block.find(b">", end)) >= 0:  # in a valid file a header's
            if block.endswith(b"\n", at, end):
                return end
            end += 1
        return len(block)

    def _end_header(self, header: bytearray, file_ends: bool = False) -> Heading | None:
        """The heading, if all of its line was read."""
        if len(header) > MOST_HEADER:
            self._refuse(f"the header is longer than {MOST_HEADER:,} bytes; shorten it")
        if not header.endswith(b"\n") and not file_ends:
            return None
        heading = self._heading(bytes(header))
        self.header, self.has_begun = None, True
        self.line += 1
        self.line_is_empty = self.line_is_blank = True
        self.in_comment = False
        return heading

    def _heading(self, header: bytes) -> Heading:
        try:
            text = header.rstrip(BLANKS + b"\n").decode("utf-8")
        except UnicodeDecodeError:
            self._refuse("the header is not UTF-8; convert the file, for example with 'iconv -f latin1 -t utf-8'")
        if not text.isprintable() and CONTROL.search(text.replace("\t", " ")):
            self._refuse("a control character in the header; remove it")
        words = text.split(None, 1)
        return Heading(words[0] if words else "", text.strip(), self.line)

    def _letters(self, text: bytes) -> bytes:
        """The letters of lines, or parts of lines, none of which is a header's."""
        if not self.has_begun:
            self._check_nothing_before_first_header(text)
            letters = b""
        else:
            letters = text.translate(None, BLANKS + b"\n")
            if self.check_letters and (self.in_comment or letters.translate(None, NUCLEOTIDES)):
                self._check_lines(text)
                return letters
        self._go_on(text, text.count(b"\n"))
        return letters

    def _go_on(self, text: bytes, line_ends: int) -> None:
        """Be behind a text, which has so many line ends and no unfinished header."""
        last = text[text.rfind(b"\n") + 1 :]
        if line_ends:
            self.line += line_ends
            self.line_is_empty = self.line_is_blank = True
        self.line_is_empty = self.line_is_empty and not last
        self.line_is_blank = self.line_is_blank and not last.strip(BLANKS)

    def _check_lines(self, text: bytes) -> None:
        """Look at lines one by one, because they have more than nucleotides, and be where they end."""
        for number, raw in enumerate(text.split(b"\n")):
            if number:
                self.line += 1
                self.line_is_empty = self.line_is_blank = True
                self.in_comment = False
            line = raw.translate(None, BLANKS)
            if line and self.line_is_blank:
                self.in_comment = line.startswith(b";")
            self.line_is_empty = self.line_is_empty and not raw
            self.line_is_blank = self.line_is_blank and not line
            if wrong := line.translate(None, OLD_COMMENT if self.in_comment else NUCLEOTIDES):
                letter = ";" if self.in_comment else chr(wrong[0])
                self._refuse(
                    f"{letter!r} is not a nucleotide; give DNA or RNA in IUPAC letters, with N for an unknown one"
                )
            if self.in_comment and not self.comment_was_told:
                # v1 takes an old-style comment line for sequence, and v1's results are the reference.
                log.warning("%s, line %d: a line that begins with ';' is read as sequence", self.path, self.line)
                self.comment_was_told = True

    def _check_nothing_before_first_header(self, text: bytes) -> None:
        for number, line in enumerate(text.split(b"\n")):
            if line.strip(BLANKS):
                self.line += number
                self._refuse(_describe_start(line[:SHOWN].rstrip(BLANKS).decode("latin-1")))

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"{self.path}, line {self.line}: {what}")


def _plain_names(headers: Sequence[bytes]) -> list[str] | None:
    """The names of records with these headers; None if there may be something wrong with one."""
    if max(map(len, headers), default=0) >= MOST_HEADER:
        return None
    try:
        text = b"\n".join(headers).decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not text.isprintable() and CONTROL.search(text.translate(TABS_AND_LINE_ENDS)):
        return None
    return [(header.split(None, 1) or [""])[0] for header in text.split("\n")] if headers else []


def _describe_start(line: str) -> str:
    if line.startswith("BAM\1"):
        return "this is BAM; give it in the column reads of the sample sheet"
    if not line.isprintable():
        return "not a FASTA file but binary data; give a FASTA file, plain or compressed with gzip, bzip2, xz or zstd"
    if line.startswith("@"):
        return "this looks like FASTQ; give it in the column reads of the sample sheet"
    return f"text before the first header: {line[:40]!r}; a FASTA file begins with '>'"


@contextmanager
def open_to_write(path: Path, compressed: bool) -> Iterator[TextIO]:
    """A FASTA file to write records to. One that is compressed, by gzip, notes neither name nor time, so that the same
    records give the same bytes.
    """
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if compressed else raw as stream,
        io.TextIOWrapper(stream, encoding="utf-8", newline="\n") as file,
    ):
        yield file


def write_record(file: TextIO, header: str, sequence: str, width: int = LINE_WIDTH) -> None:
    """Write one record with `width` letters a line."""
    file.write(f">{header}\n")
    for start in range(0, len(sequence), width):
        file.write(f"{sequence[start : start + width]}\n")
