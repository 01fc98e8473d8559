"""Sequences that share much of their DNA, by sampled k-mers (Ondov et al. 2016, Genome Biology 17:132)."""

from collections.abc import Iterable

import numpy as np

from virnucflow.sequences.frames import COMPLEMENT_BIT, OTHER_LETTER

K = 21
NO_KMER, NO_CLUSTER = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
SCALED = 8  # one k-mer in so many is looked at
SHARE = 0.2  # of the k-mers of the smaller sequence; of a copy with the share i of its letters, i**21 are left
BLOCK = 1 << 18  # letters at a time, so that what is computed with stays in the cache


def sketch(letters: np.ndarray) -> np.ndarray:
    """The sampled k-mers of a sequence, uint64, sorted and each once: of both strands the smaller, hashed.

    `letters` (letters) uint8 are codes of frames.LETTER_CODE.
    """
    blocks = [_sketch(letters[start : start + BLOCK + K - 1]) for start in range(0, len(letters) - K + 1, BLOCK)]
    return np.unique(np.concatenate([NO_KMER, *blocks]))


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


def cluster(sketches: Iterable[np.ndarray]) -> np.ndarray:
    """The cluster of each sequence, int64 (sequences): the number of one of its members. One without a k-mer is alone.

    From the largest sequence to the smallest: each joins every cluster that holds SHARE of its k-mers, and makes them
    one. A k-mer counts for every cluster that has it.
    """
    sketches = list(sketches)
    sizes = np.array([len(kmers) for kmers in sketches], dtype=np.int64)
    kmers = np.unique(np.concatenate([NO_KMER, *sketches]), return_inverse=True)[1]
    room = np.bincount(kmers)  # a k-mer is held by no more clusters than it has sequences
    first, number = np.cumsum(room) - room, np.zeros_like(room)
    holders = np.empty_like(kmers)  # of each k-mer, from its first on: a sequence of each cluster that has it
    parent = np.arange(len(sketches))

    def roots(members: np.ndarray) -> np.ndarray:
        while (parent[members] != members).any():
            members = parent[members]
        return members

    def places(chosen: np.ndarray) -> np.ndarray:
        """Where in `holders` those of some k-mers are, one k-mer behind the other."""
        ends = np.cumsum(number[chosen])
        return np.arange(ends[-1]) + np.repeat(first[chosen] - ends + number[chosen], number[chosen])

    own_kmers = np.split(kmers, np.cumsum(sizes)[:-1])
    for i in np.argsort(-sizes, kind="stable"):
        own, least, joined = own_kmers[i], SHARE * sizes[i], NO_CLUSTER
        if np.count_nonzero(number[own]) >= least > 0:
            kmer = np.arange(len(own)) * len(parent)  # plus a cluster: the pair of both as one number
            pairs = np.unique(np.repeat(kmer, number[own]) + roots(holders[places(own)]))
            clusters, shared = np.unique(pairs % len(parent), return_counts=True)
            joined = clusters[shared >= least]
        if len(joined):
            parent[[i, *joined]] = joined[0]
            held = pairs - pairs % len(parent) + roots(pairs % len(parent))
            pairs = np.union1d(held, kmer + joined[0])
            number[own] = np.bincount(pairs // len(parent))
            holders[places(own)] = pairs % len(parent)
        else:
            holders[first[own] + number[own]] = i
            number[own] += 1
    return roots(np.arange(len(sketches)))
