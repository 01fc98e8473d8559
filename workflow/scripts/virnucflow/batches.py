"""Batches of sequences that need neither padding nor a mask."""

from collections.abc import Iterator

import numpy as np


def equal_length_batches(lengths: np.ndarray, token_budget: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch: rows of one length, at most `token_budget` tokens, but at least one row.

    Rows come in ascending length, and within a length in their own order.
    """
    order = np.argsort(lengths, kind="stable")
    ends = np.flatnonzero(np.diff(lengths[order])) + 1
    for group in np.split(order, ends) if len(order) else []:
        rows = max(1, token_budget // int(lengths[group[0]]))
        for start in range(0, len(group), rows):
            yield group[start : start + rows]


def packed_batches(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Yield the row numbers of each batch: in ascending length, as many as fit into `tokens`."""
    order = np.argsort(lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    first = 0
    while first < len(order):
        before = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, before + tokens, side="right"))
        yield order[first:last]
        first = last
