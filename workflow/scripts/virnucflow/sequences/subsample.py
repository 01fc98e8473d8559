"""A random part of a sample's reads: those whose names have the smallest hashes.

So both mates are drawn or none, wherever they are in a file; the same seed draws the same reads, and a smaller part is
a part of a larger one. samtools view --subsample takes a share of the reads in this way.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xxhash

LEAST_HELD = 1 << 20  # hashes, until the smallest of them are looked for
LARGEST = 2**64 - 1


@dataclass(frozen=True)
class Subsample:
    """The reads whose names, or whose pairs' names, have a hash (xxh3_64 with this seed) of at most `largest_hash`."""

    seed: int
    largest_hash: int

    def __contains__(self, name: str) -> bool:
        return hash_name(name, self.seed) <= self.largest_hash


def draw(names: Iterable[str], number: int, seed: int) -> Subsample:
    """The subsample of so many of these names; of all, where there are no more. A name that comes again counts once.

    Memory is in proportion to the number that is drawn, not to that of all names.
    """
    smallest, held = np.empty(0, dtype=np.uint64), array("Q")
    for name in names:
        held.append(hash_name(name, seed))
        if len(held) >= max(LEAST_HELD, number):
            smallest, held = _smallest(smallest, held, number), array("Q")
    smallest = _smallest(smallest, held, number)
    return Subsample(seed, int(smallest[-1]) if len(smallest) == number else LARGEST)


def _smallest(known: np.ndarray, new: "array[int]", number: int) -> np.ndarray:
    return np.unique(np.concatenate([known, np.array(new, dtype=np.uint64)]))[:number]


def hash_name(name: str, seed: int) -> int:
    """64 bits by which a name is drawn or not."""
    return xxhash.xxh3_64_intdigest(name.encode(), seed)
