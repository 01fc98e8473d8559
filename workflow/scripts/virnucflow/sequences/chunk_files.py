"""Files of chunks: FASTA as v1 wrote it, each with the digest of its content in a file beside it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

import numpy as np
import pyarrow as pa

from virnucflow.cli import InputError
from virnucflow.files.digests import Hasher, digest_file
from virnucflow.files.slices import gathered, texts
from virnucflow.sequences.chunks import chunk_coordinates
from virnucflow.sequences.fasta import LINE_WIDTH

DIGEST = ".xxh3"  # appended to the name of the file of chunks
BLOCK = 1 << 20
DELETE = 0x7F  # the last letter of ASCII, a control character


def digest_path(chunks: Path) -> Path:
    """The file that holds the digest of a file of chunks: 32 hexadecimal digits and a line end."""
    return chunks.with_name(chunks.name + DIGEST)


def cut(pieces: Iterator[bytes], length: int, chunk_length: int) -> Iterator[bytes]:
    """The chunks of a sequence of `length` bases, of which never more than one chunk and one piece are held."""
    held, begin = b"", 0  # bases of the sequence, and where in it they begin
    for start, end in chunk_coordinates(length, chunk_length):
        while begin + len(held) < end and (piece := next(pieces, None)) is not None:
            held, begin = held[start - begin :] + piece, start
        yield held[start - begin : end - begin]


class ChunkWriter:
    """Writes chunks one after the other to files of about equal bases, and a digest for each file.

    A chunk's file is the one in which its first base lies among all `total` bases of all chunks.
    """

    def __init__(self, files: list[Path], digests: list[Path], total: int) -> None:
        self._outputs = list(zip(files, digests, strict=True))
        self._total = total
        self._written = 0  # bases of chunks, so far
        self._shard = -1
        self._full = 0.0  # when so many bases are written, the next file begins
        self._file: BinaryIO  # of this shard

    def __enter__(self) -> Self:
        self._begin_next()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while error is None and self._shard + 1 < len(self._outputs):
            self._begin_next()
        self._end()

    def write(self, name: str, letters: bytes) -> None:
        """Write the next chunk, with LINE_WIDTH letters a line."""
        while self._written >= self._full:
            self._begin_next()
        lines = b"\n".join([letters[start : start + LINE_WIDTH] for start in range(0, len(letters), LINE_WIDTH)])
        self._texts.append(b">%s\n%s\n" % (name.encode(), lines))
        self._held += len(letters) + len(name)
        self._written += len(letters)
        if self._held > BLOCK:
            self._flush()

    def _begin_next(self) -> None:
        self._end()
        self._shard += 1
        is_last = self._shard + 1 == len(self._outputs)
        self._full = math.inf if is_last else -(-(self._shard + 1) * self._total // len(self._outputs))
        self._file, self._hasher = self._outputs[self._shard][0].open("wb"), Hasher()
        self._texts: list[bytes] = []
        self._held = 0  # letters

    def _flush(self) -> None:
        block = b"".join(self._texts)
        self._file.write(block)
        self._hasher.update(block)
        self._texts, self._held = [], 0

    def _end(self) -> None:
        if self._shard >= 0:
            self._flush()
            self._file.close()
            self._outputs[self._shard][1].write_text(f"{self._hasher.hexdigest()}\n", encoding="ascii")


@dataclass(frozen=True, slots=True)
class Chunks:
    """Chunks one after another: their names, all their letters in ASCII, and where in these each ends: (chunks).

    `lines` (chunks) are the lines of their headers in the file.
    """

    names: pa.StringArray
    letters: bytes
    ends: np.ndarray
    lines: np.ndarray


def read_chunks(path: Path) -> Iterator[Chunks]:
    """Yield the chunks of a file, many at a time; InputError where it is not what `ChunkWriter` wrote."""
    _check_digest(path)
    line = 1
    for text in _whole_records(path):
        chunks, lines = _parse(path, text, line)
        yield chunks
        line += lines


def _whole_records(path: Path) -> Iterator[bytes]:
    """The content of a file in parts of whole records, of about a block each."""
    held = b""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            held += block
            if end := held.rfind(b"\n>") + 1:
                yield held[:end]
                held = held[end:]
    if held:
        yield held if held.endswith(b"\n") else held + b"\n"


def _parse(path: Path, text: bytes, line: int) -> tuple[Chunks, int]:
    """The chunks of some whole records, of which the first header is on this line, and the number of lines."""
    content = np.frombuffer(text, dtype=np.uint8)
    line_ends = np.flatnonzero(content == ord("\n"))
    line_starts = np.concatenate([[0], line_ends[:-1] + 1])
    headers = np.flatnonzero(content[line_starts] == ord(">"))
    if not len(headers) or headers[0]:
        _refuse(path, line, "not a header")
    lines = line + headers

    name_starts = line_starts[headers] + 1
    letters, offsets = gathered(content, name_starts, line_ends[headers] - name_starts)
    if len(wrong := np.flatnonzero((letters <= ord(" ")) | (letters == DELETE))):
        at = np.searchsorted(offsets, wrong[0], side="right") - 1
        _refuse(path, lines[at], "a control character or a blank in the header")
    names = texts(letters, offsets)
    try:
        names.validate(full=True)
    except pa.ArrowInvalid:
        _refuse(path, lines[0], "a header from here on is not UTF-8")

    starts, after = line_ends[headers] + 1, np.append(line_starts[headers[1:]], len(content))
    body, offsets = gathered(content, starts, after - starts)
    line_breaks = np.diff(headers, append=len(line_starts)) - 1  # of each chunk
    ends = offsets[1:] - np.cumsum(line_breaks)
    letters = np.frombuffer(body.tobytes().translate(None, b"\n"), dtype=np.uint8)
    if len(letters) and not (letters.min() > ord(" ") and letters.max() < DELETE):
        wrong = np.flatnonzero((letters <= ord(" ")) | (letters >= DELETE))
        _refuse(path, lines[np.searchsorted(ends, wrong[0], side="right")], "not a sequence")
    return Chunks(names, letters.tobytes(), ends, lines), len(line_starts)


def _refuse(path: Path, line: int, what: str) -> NoReturn:
    raise InputError(f"{path}, line {line}: {what}; make chunks with split_fasta.py")


def _check_digest(path: Path) -> None:
    digest = digest_file(path)
    beside = digest_path(path)
    if not beside.exists():
        raise InputError(f"{path}: no digest beside it ({beside.name}); make both again with split_fasta.py")
    with beside.open("rb") as file:
        written = file.read(BLOCK)
    if written != f"{digest}\n".encode():
        raise InputError(f"{path}: damaged: not what {beside.name} beside it says; make both again with split_fasta.py")
