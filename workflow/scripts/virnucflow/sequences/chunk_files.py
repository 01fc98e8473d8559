"""Files of chunks: FASTA as v1 wrote it, each with the digest of its content in a file beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from virnucflow.cli import InputError
from virnucflow.files.digests import Hasher, digest_file
from virnucflow.files.slices import gathered, texts
from virnucflow.sequences.fasta import LINE_WIDTH

DIGEST = ".xxh3"  # appended to the name of the file of chunks
BLOCK = 1 << 20
DELETE = 0x7F  # the last letter of ASCII, a control character


def digest_path(chunks: Path) -> Path:
    """The file that holds the digest of a file of chunks: 32 hexadecimal digits and a line end."""
    return chunks.with_name(chunks.name + DIGEST)


class ChunkWriter:
    """Writes chunks one after the other to files of about equal bases, and a digest for each file.

    A chunk's file is the one in which its first base lies among all `total` bases of all chunks.
    """

    def __init__(self, files: list[Path], digests: list[Path], total: int) -> None:
        self._outputs = list(zip(files, digests, strict=True))
        self._ends = np.array([-(-shard * total // len(files)) for shard in range(1, len(files))], dtype=np.int64)
        self._written = 0  # bases of chunks, so far
        self._shard = -1
        self._file: BinaryIO  # of this shard

    def __enter__(self) -> Self:
        self._begin_next()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        while error is None and self._shard + 1 < len(self._outputs):
            self._begin_next()
        self._end()

    def write(self, names: pa.StringArray, letters: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
        """Write the next chunks, one at least, with LINE_WIDTH letters a line.

        They are slices of `letters` (uint8), which must have LINE_WIDTH more behind the last of them.
        """
        lines = -(-lengths // LINE_WIDTH)
        first_lines = np.cumsum(lines) - lines
        whole_lines, _ = gathered(letters, starts, lines * LINE_WIDTH)
        ended_lines = np.full((len(whole_lines) // LINE_WIDTH, LINE_WIDTH + 1), ord("\n"), dtype=np.uint8)
        ended_lines[:, :-1] = whole_lines.reshape(-1, LINE_WIDTH)
        bodies = texts(*gathered(ended_lines.ravel(), first_lines * (LINE_WIDTH + 1), lengths + lines - 1))
        headers = pc.binary_join_element_wise(">", names, "")
        _, offsets, records = pc.binary_join_element_wise(headers, bodies, "", "\n").buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)

        before = self._written + np.cumsum(lengths) - lengths  # bases, of each chunk
        self._written += int(lengths.sum())
        of_shards = np.searchsorted(self._ends, before, side="right")
        for shard in range(self._shard, int(of_shards[-1]) + 1):
            if shard > self._shard:
                self._begin_next()
            first, end = np.searchsorted(of_shards, [shard, shard + 1])
            text = memoryview(records)[ends[first] : ends[end]]
            self._file.write(text)
            self._hasher.update(text)

    def _begin_next(self) -> None:
        self._end()
        self._shard += 1
        self._file, self._hasher = self._outputs[self._shard][0].open("wb"), Hasher()

    def _end(self) -> None:
        if self._shard >= 0:
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
