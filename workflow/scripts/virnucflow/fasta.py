"""FASTA files: reading them in any compression with errors that name the line, and writing them as v1 did."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

from backports import zstd

from virnucflow.cli import InputError, log

LINE_WIDTH = 60  # letters a line, as Biopython writes and v1 therefore has it

# The nucleotide codes of IUPAC (Nucleic Acids Res 1985, 13:3021), U for RNA and '-' for a gap, in either case.
NOT_A_NUCLEOTIDE = re.compile(r"[^ACGTURYSWKMBDHVN-]", re.IGNORECASE | re.ASCII)
OLD_COMMENT = re.compile(r";[!-=?-~]*")  # printable and without '>'
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BLANKS = " \t\v\f"
DROP_BLANKS = str.maketrans("", "", BLANKS)
UTF8_BYTE_ORDER_MARK = "\xef\xbb\xbf"  # its three bytes read as Latin-1

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One FASTA record: `name` is the header's first word, `header` all of it, `line` the header's line number.

    `proteins` are those of its annotation, where it is from a file that has one.
    """

    name: str
    header: str
    sequence: str
    line: int
    proteins: tuple[str, ...] | None = None


class _Streams(io.RawIOBase):
    """Streams of bzip2 or xz, one after another. The library's own files end silently at a damaged second stream."""

    def __init__(self, path: Path, new: type[bz2.BZ2Decompressor] | type[lzma.LZMADecompressor]) -> None:
        self.file, self.new, self.decompressor = path.open("rb"), new, new()

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:
        while True:
            given = b""
            if self.decompressor.eof:
                given = self.decompressor.unused_data.lstrip(b"\0")  # xz may be padded
                while not given:
                    if not (more := self.file.read(BUFFER)):
                        return 0
                    given = more.lstrip(b"\0")
                self.decompressor = self.new()
            elif self.decompressor.needs_input and not (given := self.file.read(BUFFER)):
                raise EOFError("it ends within a stream")
            if data := self.decompressor.decompress(given, len(buffer)):
                buffer[: len(data)] = data
                return len(data)


def _open_gzip(path: Path) -> BinaryIO:
    """gzip, of one or several members. bgzip ends a file with an empty block, without which it was cut."""
    with path.open("rb") as file:
        bgzip = file.read(14)[12:] == b"BC"
        file.seek(-min(len(BGZF_END), path.stat().st_size), io.SEEK_END)
        if bgzip and file.read() != BGZF_END:
            raise EOFError("it ends before the block that bgzip writes last")
    return gzip.open(path)


OPENERS = {
    b"\x1f\x8b": _open_gzip,
    b"BZh": lambda path: io.BufferedReader(_Streams(path, bz2.BZ2Decompressor)),
    b"\xfd7zXZ\x00": lambda path: io.BufferedReader(_Streams(path, lzma.LZMADecompressor)),
    b"\x28\xb5\x2f\xfd": zstd.open,
}


def open_decompressed(path: Path) -> BinaryIO:
    """Open a file for reading, decompressing gzip, bgzip, bzip2, xz and zstd; its first bytes decide, not its name."""
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in OPENERS.items():
        if start.startswith(magic):
            return opener(path)
    return path.open("rb")


@contextmanager
def decompressed(path: Path) -> Iterator[BinaryIO]:
    """`open_decompressed`, with InputError where the compressed file turns out to be cut or damaged."""
    try:
        with open_decompressed(path) as stream:
            yield stream
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise InputError(f"{path}: the compressed file is cut or damaged ({error}); copy it again") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(f"{path}: the compressed file is cut or damaged ({error}); copy it again") from None


def read_fasta(path: Path, check_letters: bool = True) -> Iterator[Record]:
    """Yield the records of a FASTA file in order.

    Read are UTF-8 with or without byte-order mark, LF, CRLF and CR, blank lines, and blanks inside sequences, which
    are dropped. `check_letters=False` is for files that a program of this workflow wrote. Raises InputError, naming
    file and line, for what is not FASTA.
    """
    with decompressed(path) as stream:
        # Latin-1 keeps every byte, so that a line that is not UTF-8 can still be counted and named.
        yield from _records(path, io.TextIOWrapper(stream, encoding="latin-1", newline=None), check_letters)


def _records(path: Path, lines: TextIO, check_letters: bool) -> Iterator[Record]:
    header, header_line, parts, commented = None, 0, [], False
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix(UTF8_BYTE_ORDER_MARK)
        line = line.rstrip(BLANKS + "\n")  # and not all that Latin-1 calls blank: UTF-8 letters end in such bytes
        if line.startswith(">"):
            if header is not None:
                yield _record(header, parts, header_line)
            header, header_line, parts = _decode_header(path, number, line[1:]), number, []
        elif line and header is None:
            raise InputError(f"{path}, line {number}: {_describe_start(line)}")
        elif line:
            sequence = line.translate(DROP_BLANKS)
            if check_letters and OLD_COMMENT.fullmatch(sequence):
                # v1 takes an old-style comment line for sequence, and v1's results are the reference.
                if not commented:
                    log.warning("%s, line %d: a line that begins with ';' is read as sequence", path, number)
                commented = True
            elif check_letters and (wrong := NOT_A_NUCLEOTIDE.search(sequence)):
                raise InputError(
                    f"{path}, line {number}: {wrong.group()!r} is not a nucleotide; "
                    "give DNA or RNA in IUPAC letters, with N for an unknown one"
                )
            parts.append(sequence)
    if header is not None:
        yield _record(header, parts, header_line)


def _record(header: str, parts: list[str], line: int) -> Record:
    words = header.split(None, 1)
    return Record(words[0] if words else "", header.strip(), "".join(parts), line)


def _decode_header(path: Path, number: int, header: str) -> str:
    try:
        header = header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(
            f"{path}, line {number}: the header is not UTF-8; convert the file, for example with "
            "'iconv -f latin1 -t utf-8'"
        ) from None
    if CONTROL.search(header.replace("\t", " ")):
        raise InputError(f"{path}, line {number}: a control character in the header; remove it")
    return header


def _describe_start(line: str) -> str:
    if not line.isprintable():
        return "not a FASTA file but binary data; give a FASTA file, plain or compressed with gzip, bzip2, xz or zstd"
    if line.startswith("@"):
        return "this looks like FASTQ; convert it to FASTA, for example with 'seqtk seq -a'"
    return f"text before the first header: {line[:40]!r}; a FASTA file begins with '>'"


def write_record(file: TextIO, header: str, sequence: str, width: int = LINE_WIDTH) -> None:
    """Write one record with `width` letters a line."""
    file.write(f">{header}\n")
    for start in range(0, len(sequence), width):
        file.write(f"{sequence[start : start + width]}\n")
