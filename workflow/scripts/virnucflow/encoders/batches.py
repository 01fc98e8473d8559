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
