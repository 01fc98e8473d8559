"""Files of chunks: FASTA as v1 wrote it, each with the digest of its content in a file beside it."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from virnucflow.cli import InputError
from virnucflow.files.digests import Hasher, digest_file
from virnucflow.sequences.chunks import chunk_coordinates
from virnucflow.sequences.fasta import LINE_WIDTH, Record, read_fasta

DIGEST = ".xxh3"  # appended to the name of the file of chunks
BLOCK = 1 << 20


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


def read_chunks(path: Path) -> Iterator[Record]:
    """Yield the chunks of a file; InputError where it is not what `ChunkWriter` wrote."""
    _check_digest(path)
    yield from read_fasta(path, check_letters=False)


def _check_digest(path: Path) -> None:
    digest = digest_file(path)
    beside = digest_path(path)
    if not beside.exists():
        raise InputError(f"{path}: no digest beside it ({beside.name}); make both again with split_fasta.py")
    with beside.open("rb") as file:
        written = file.read(BLOCK)
    if written != f"{digest}\n".encode():
        raise InputError(f"{path}: damaged: not what {beside.name} beside it says; make both again with split_fasta.py")
