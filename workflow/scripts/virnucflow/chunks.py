"""Chunks of a sequence: where they begin and end, and how they are named (VirNucPro v1, split_fasta_chunk)."""

from collections.abc import Iterator

SEPARATOR = "_chunk_"


def chunk_coordinates(length: int, chunk_length: int) -> Iterator[tuple[int, int]]:
    """Yield 0-based start and end of the chunks that cover a sequence of `length` bases.

    n = ceil(L / c) chunks share the overlap R = n*c - L: each begins q or q + 1 bases before the end of the one before
    it, where q = floor(R / n). v1 divides by n, not by the n - 1 overlaps there are, so the last chunk may be short.
    """
    n = -(-length // chunk_length)
    overlap = n * chunk_length - length
    q = overlap // n if n else 0
    need = overlap - q * (n - 1)
    shift = 0
    for k in range(n):
        start = k * chunk_length - shift
        yield start, min(start + chunk_length, length)
        shift += q + 1 if k < need else q


def chunk_name(sequence_id: str, chunk: int) -> str:
    """The name v1 gives a sequence's chunk; chunks count from 1."""
    return f"{sequence_id}{SEPARATOR}{chunk}"


def chunk_identity(name: str) -> tuple[str, int]:
    """The sequence and chunk number that `chunk_name` made a name of: its exact inverse, whatever the sequence's name.

    Raises ValueError for anything else.
    """
    sequence_id, separator, chunk = name.rpartition(SEPARATOR)
    if not separator or not chunk.isdecimal():
        raise ValueError(f"{name!r} is not the name of a chunk")
    return sequence_id, int(chunk)
