"""A stratified sample of the frames of a run, and how many of them each sampled one stands for."""

import numpy as np

LENGTHS, LENGTH_EDGES = ("short", "medium", "long"), (1 / 3, 2 / 3)  # of the longest protein that a chunk can have
MARGINS, MARGIN_EDGES = ("near", "middle", "far"), (0.05, 0.25)  # distance of score_virus from the decision line


def stratify(residues: np.ndarray, score_virus: np.ndarray, chunk_length: int) -> np.ndarray:
    """The stratum of each frame, such as `long/near`: its length, and how close its score is to the decision line."""
    lengths = np.array(LENGTHS)[np.searchsorted(LENGTH_EDGES, residues / (chunk_length // 3), side="right")]
    margins = np.array(MARGINS)[np.searchsorted(MARGIN_EDGES, np.abs(score_virus - 0.5), side="right")]
    return np.char.add(np.char.add(lengths, "/"), margins)


def draw(strata: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Rows of about `number` frames, in order: all of them if there are no more.

    Half of the sample is spread over the strata by their size, half equally, and none is without a frame: labels change
    near the decision line if anywhere, but frames that stand for many others make the estimate less certain.
    """
    if len(strata) <= number:
        return np.arange(len(strata))
    names, sizes = np.unique(strata, return_counts=True)
    shares = np.maximum(1, number / 2 * (sizes / len(strata) + 1 / len(names)))
    while (spare := number - np.minimum(shares, sizes).sum()) > 1 and (open_ := shares < sizes).any():
        shares[open_] *= 1 + spare / shares[open_].sum()  # what small strata leave goes to the others
    random = np.random.default_rng(seed)
    rows = [
        random.permutation(np.flatnonzero(strata == name))[: int(share)]
        for name, share in zip(names, shares, strict=True)
    ]
    return np.sort(np.concatenate(rows))


def weigh(strata: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many frames of the run each of the drawn rows stands for: its stratum's, shared among those drawn from it."""
    _, stratum, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    drawn = np.bincount(stratum[rows], minlength=len(sizes))
    weights: np.ndarray = sizes[stratum[rows]] / drawn[stratum[rows]]
    return weights
