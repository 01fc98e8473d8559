"""Cutting sequences into chunks, many at a time."""

from itertools import pairwise, repeat
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from virnucflow.sequences.batches import Batch
from virnucflow.sequences.chunk_files import ChunkWriter
from virnucflow.sequences.chunks import chunk_names, chunk_places
from virnucflow.sequences.fasta import LINE_WIDTH

BLOCK = 1 << 20  # letters, until chunks are cut of them
SEQUENCES = 1 << 15  # that are held before that
MOST_TEXT = 1 << 22  # bytes of chunks and their names that are written at a time


class _Begun(NamedTuple):
    """A sequence that is being cut: the number of its next chunk, from 1, and where among the letters that are held its
    first base is: below 0 when that has gone by.
    """

    sequence_id: str
    length: int
    chunk: int
    place: int


class Cutter:
    """Cuts sequences, whose letters come in batches, into chunks of `chunk_length`.

    Never more letters are held than a block, a batch and a chunk, and of names no more than a block and a batch.
    """

    def __init__(self, writer: ChunkWriter, chunk_length: int) -> None:
        self._writer, self._chunk_length = writer, chunk_length
        self._begun: list[_Begun] = []
        self._pieces: list[bytes] = []
        self._held = self._of_names = 0  # letters
        self._most = BLOCK  # letters, until the next chunks are cut

    def add(self, batch: Batch, ids: list[str], lengths: np.ndarray) -> None:
        """Add letters of sequences; those that begin in the batch have these ids and lengths."""
        places = self._held + batch.starts
        self._begun += map(_Begun, ids, lengths.tolist(), repeat(1), places.tolist())
        self._pieces.append(batch.letters)
        self._held += len(batch.letters)
        self._of_names += sum(map(len, ids))
        if self._held > self._most or self._of_names > BLOCK or len(self._begun) > SEQUENCES:
            self.cut()

    def cut(self) -> None:
        """Write the chunks all of whose letters have come; it must come after the last letters, too."""
        if not self._begun:
            return
        letters = b"".join(self._pieces)
        ids, *numbers = zip(*self._begun, strict=True)
        lengths, firsts, places = np.array(numbers, dtype=np.int64)
        left = -(-lengths // self._chunk_length) - firsts + 1
        # No more than may be complete of a long sequence: a chunk begins half a chunk after another, or later.
        left = np.minimum(left, 2 * len(letters) // self._chunk_length + 2)
        of = np.repeat(np.arange(len(ids)), left)  # of each chunk, its sequence
        chunks = np.arange(len(of)) + np.repeat(firsts - np.cumsum(left) + left, left)
        starts, ends = (bound + places[of] for bound in chunk_places(lengths[of], chunks, self._chunk_length))
        complete = int((ends <= len(letters)).sum())
        self._write(ids, of[:complete], chunks[:complete], letters, starts[:complete], ends[:complete])
        self._keep(letters, complete - int(left[:-1].sum()))

    def _write(
        self, ids: tuple[str, ...], of: np.ndarray, chunks: np.ndarray, letters: bytes, starts: np.ndarray,
        ends: np.ndarray,
    ) -> None:  # fmt: skip
        """Write chunks in parts that are not too large, however long the names are."""
        names, padded = pa.array(ids, pa.string()), np.frombuffer(letters + bytes(LINE_WIDTH), dtype=np.uint8)
        sizes = np.cumsum(LINE_WIDTH + ends - starts + np.array([len(name.encode()) for name in ids])[of])
        borders = [0, *np.flatnonzero(np.diff(sizes // MOST_TEXT)) + 1, len(of)] if len(of) else []
        for first, end in pairwise(borders):
            part = slice(first, end)
            named = chunk_names(names.take(pa.array(of[part])), pa.array(chunks[part]))
            self._writer.write(named, padded, starts[part], (ends - starts)[part])

    def _keep(self, letters: bytes, number: int) -> None:
        """Keep what the last sequence's other chunks need, when so many of its chunks were written just now."""
        last = self._begun[-1]
        last = last._replace(chunk=last.chunk + number)
        self._begun, self._pieces = [], []
        if last.chunk <= -(-last.length // self._chunk_length):
            (start,), _ = chunk_places(np.array([last.length]), np.array([last.chunk]), self._chunk_length)
            self._begun = [last._replace(place=-int(start))]
            self._pieces = [letters[last.place + int(start) :]]
        self._held = sum(map(len, self._pieces))
        self._of_names = sum(len(one.sequence_id) for one in self._begun)
        self._most = self._held + BLOCK
