"""Chunks of a sequence: where they begin and end, and how they are named (VirNucPro v1, split_fasta_chunk)."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SEPARATOR = "_chunk_"
MOST_CHUNKS = 2**31 - 1  # of a sequence, as the table of frames counts them
NAME = f"(?s)^(?P<sequence_id>.*){SEPARATOR}(?P<chunk>[1-9][0-9]{{0,{len(str(MOST_CHUNKS)) - 1}}})$"


def chunk_coordinates(length: int, chunk_length: int) -> Iterator[tuple[int, int]]:
    """Yield 0-based start and end of the chunks that cover a sequence of `length` bases.

    n = ceil(L / c) chunks share the overlap R = n*c - L: each begins q or q + 1 bases before the end of the one before
    it, where q = floor(R / n). v1 divides by n, not by the n - 1 overlaps there are, so the last chunk may be short.
    """
    n = -(-length // chunk_length)
    overlap = n * chunk_length - length
    q = overlap // n if n else 0
    for k in range(n):
        start = k * (chunk_length - q) - min(k, overlap - q * (n - 1))
        yield start, min(start + chunk_length, length)


def chunk_places(lengths: np.ndarray, numbers: np.ndarray, chunk_length: int) -> tuple[np.ndarray, np.ndarray]:
    """0-based start and end of single chunks: of each the length of its sequence, and its number in that, from 1.

    As chunk_coordinates gives them: before chunk k + 1 are k overlaps, of q + 1 bases while there is need, then of q.
    """
    lengths, k = lengths.astype(np.int64), numbers.astype(np.int64) - 1
    n = -(-lengths // chunk_length)
    overlap = n * chunk_length - lengths
    q = overlap // n
    start = k * (chunk_length - q) - np.minimum(k, overlap - q * (n - 1))
    return start, np.minimum(start + chunk_length, lengths)


def chunk_totals(lengths: np.ndarray, chunk_length: int) -> tuple[np.ndarray, np.ndarray]:
    """How many chunks `chunk_coordinates` yields of sequences of these lengths, and how many bases they have together.

    All but the last are full. That lacks what no q + 1 of an overlap makes up for.
    """
    n = -(-lengths // chunk_length)
    overlap = n * chunk_length - lengths
    q = overlap // np.maximum(n, 1)
    return n, n * chunk_length - np.maximum(0, overlap - (q + 1) * np.maximum(n - 1, 0))


def chunk_name(sequence_id: str, chunk: int) -> str:
    """The name v1 gives a sequence's chunk; chunks count from 1."""
    return f"{sequence_id}{SEPARATOR}{chunk}"


def chunk_names(sequence_ids: pa.StringArray, chunks: pa.Int64Array) -> pa.StringArray:
    """The names of chunks: of each its sequence's id and its number."""
    return pc.binary_join_element_wise(sequence_ids, chunks.cast(pa.string()), SEPARATOR)


class WrongName(ValueError):
    """A name that is not a chunk's; `place` is its place among those that were given, from 0."""

    def __init__(self, place: int, name: str) -> None:
        super().__init__(f"{name!r} is not the name of a chunk")
        self.place = place


def chunk_identities(names: pa.StringArray) -> tuple[pa.StringArray, pa.Int32Array]:
    """The sequences and chunk numbers that `chunk_name` made names of: two arrays (names).

    It is the exact inverse, whatever the sequences' names. Raises WrongName for the first that is not a chunk's.
    """
    parts = pc.extract_regex(names, NAME)
    numbers = pc.cast(pc.struct_field(parts, "chunk"), pa.int64())
    is_name = pc.fill_null(pc.less_equal(numbers, MOST_CHUNKS), False).to_numpy(zero_copy_only=False)
    if not is_name.all():
        raise WrongName(int(is_name.argmin()), names[is_name.argmin()].as_py())
    return pc.struct_field(parts, "sequence_id"), numbers.cast(pa.int32())
