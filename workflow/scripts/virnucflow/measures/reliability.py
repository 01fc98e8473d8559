"""Whether a score is a probability: what share of those with about that score are viruses."""

import numpy as np
import pandas as pd

from virnucflow.measures.intervals import wilson

BINS = 10  # of the score, of equal width; a bin has its lower end, the last both


def reliability(viral: np.ndarray, score: np.ndarray) -> pd.DataFrame:
    """One row per bin of the score that is not empty.

    Its columns: score_from, score_to, number, mean_score, share_viral, and Wilson's 95 % interval of that, share_lower
    and share_upper, as if all were independent. `viral` (rows) bool, `score` (rows) from 0 to 1.
    """
    table = pd.DataFrame({"viral": viral, "score": score})
    rows = []
    for bin_, members in table.groupby(np.minimum((table["score"] * BINS).astype(int), BINS - 1)):
        share = float(members["viral"].mean())
        lower, upper = wilson(share, len(members))
        rows.append((bin_ / BINS, (bin_ + 1) / BINS, len(members), float(members["score"].mean()), share, lower, upper))
    columns = ["score_from", "score_to", "number", "mean_score", "share_viral", "share_lower", "share_upper"]
    return pd.DataFrame(rows, columns=columns)


def calibration_error(bins: pd.DataFrame) -> float:
    """Mean distance of a bin's mean score from its share of viruses, the expected calibration error (Naeini 2015).

    NaN without a bin.
    """
    if bins.empty:
        return np.nan
    return float(np.average((bins["mean_score"] - bins["share_viral"]).abs(), weights=bins["number"]))
