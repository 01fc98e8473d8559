"""Sequences that share much of their DNA, by sampled k-mers (Ondov et al. 2016, Genome Biology 17:132)."""

from collections.abc import Iterable

import numpy as np

from virnucflow.frames import COMPLEMENT_BIT, OTHER_LETTER

K = 21
SCALED = 8  # one k-mer in so many is looked at
SHARE = 0.2  # of the k-mers of the smaller sequence; of a copy with the share i of its letters, i**21 are left
BLOCK = 1 << 18  # letters at a time, so that what is computed with stays in the cache


def sketch(letters: np.ndarray) -> np.ndarray:
    """The sampled k-mers of a sequence, each the smaller of both strands; `letters` are codes of frames.LETTER_CODE."""
    blocks = [_sketch(letters[start : start + BLOCK + K - 1]) for start in range(0, len(letters) - K + 1, BLOCK)]
    return np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *blocks]))


def _sketch(letters: np.ndarray) -> np.ndarray:
    number = len(letters) - K + 1
    codes = letters.astype(np.uint64)
    forward, reverse = np.zeros(number, np.uint64), np.zeros(number, np.uint64)
    pure = np.ones(number, dtype=bool)
    for i in range(K):
        at = codes[i : i + number]
        pure &= at < OTHER_LETTER
        forward |= (at & np.uint64(3)) << np.uint64(2 * (K - 1 - i))
        reverse |= ((at & np.uint64(3)) ^ np.uint64(COMPLEMENT_BIT)) << np.uint64(2 * i)
    mixed = np.minimum(forward, reverse)
    mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return mixed[pure & (mixed % np.uint64(SCALED) == 0)]


def cluster(sketches: Iterable[np.ndarray], share: float = SHARE) -> np.ndarray:
    """(sequences) The cluster of each, named by the number of one of its sequences; without a k-mer one of its own.

    From the largest sequence to the smallest: each joins the clusters that hold this share of its k-mers, and makes
    them one. A k-mer of several clusters counts for the one that had it last.
    """
    sketches = list(sketches)
    sizes = np.array([len(found) for found in sketches], dtype=np.int64)
    hashes, numbers = np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *sketches]), return_inverse=True)
    numbers = np.split(numbers, np.cumsum(sizes)[:-1])
    holder = np.full(len(hashes), -1)  # the sequence that had the k-mer last
    parent = np.arange(len(sketches))

    def roots(of: np.ndarray) -> np.ndarray:
        while (parent[of] != of).any():
            of = parent[of]
        return of

    for i in np.argsort(-sizes, kind="stable"):
        holders = holder[numbers[i]]
        found, shared = np.unique(roots(holders[holders >= 0]), return_counts=True)
        joined = found[shared >= share * sizes[i]]
        parent[[i, *joined]] = joined[0] if len(joined) else i
        holder[numbers[i]] = i
    return roots(np.arange(len(sketches)))
