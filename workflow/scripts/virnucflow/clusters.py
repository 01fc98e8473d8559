"""Sequences that share much of their DNA, by sketches of their k-mers (Ondov et al. 2016, Genome Biology 17:132)."""

from collections import Counter

import numpy as np

from virnucflow.frames import COMPLEMENT_BIT, OTHER_LETTER

K = 21
SCALED = 64  # one k-mer in so many is looked at
LEAST_SHARED = 2
MOST_PAIRED = 12  # sequences of one k-mer up to which all pairs of them are counted; above, neighbours alone
TOO_COMMON = 400


def sketch(letters: np.ndarray) -> np.ndarray:
    """The sampled k-mers of a sequence, each the smaller of both strands; `letters` are codes of frames.LETTER_CODE."""
    number = len(letters) - K + 1
    if number < 1:
        return np.empty(0, dtype=np.uint64)
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
    return np.unique(mixed[pure & (mixed % np.uint64(SCALED) == 0)])


def cluster(sequences: list[np.ndarray], share: float = 0.2) -> np.ndarray:
    """The cluster of each sequence: linked are those that share this much of the smaller one's sketch."""
    sketches = [sketch(letters) for letters in sequences]
    sizes = np.array([len(found) for found in sketches])
    hashes = np.concatenate(sketches)
    owners = np.repeat(np.arange(len(sequences)), sizes)
    order = np.argsort(hashes, kind="stable")
    parent = np.arange(len(sequences))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for (a, b), shared in shared_hashes(hashes[order], owners[order]).items():
        if shared >= max(LEAST_SHARED, share * min(sizes[a], sizes[b])):
            parent[root(a)] = root(b)
    return np.array([root(x) for x in range(len(sequences))])


def shared_hashes(hashes: np.ndarray, owners: np.ndarray) -> Counter:
    """How many hashes two sequences share; `hashes` are sorted, `owners` the sequences that they are of."""
    shared: Counter = Counter()
    ends = np.flatnonzero(np.r_[hashes[1:] != hashes[:-1], True]) + 1
    for start, end in zip(np.r_[0, ends[:-1]], ends):
        members = owners[start:end]
        if 2 <= len(members) <= TOO_COMMON:
            reach = len(members) if len(members) <= MOST_PAIRED else 2
            for i in range(len(members)):
                for j in range(i + 1, min(i + reach, len(members))):
                    shared[members[i], members[j]] += 1
    return shared
