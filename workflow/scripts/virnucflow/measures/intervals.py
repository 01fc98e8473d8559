"""95 % intervals of shares and of areas under ROC curves."""

import math

import numpy as np
import pandas as pd

Z = 1.959963984540054  # of a two-sided 95 % interval


def wilson(share: float, number: float) -> tuple[float, float]:
    """Wilson's interval (Journal of the American Statistical Association 1927, 22:209) of a share of `number`."""
    centre = share + Z**2 / (2 * number)
    spread = Z * math.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    return (centre - spread) / (1 + Z**2 / number), (centre + spread) / (1 + Z**2 / number)


def auroc_interval(viral: np.ndarray, score: np.ndarray, sequence: np.ndarray) -> tuple[float, float]:
    """Interval of the AUROC of rows of which those of one sequence are not independent.

    DeLong's (Biometrics 1988, 44:837) for clustered data (Obuchowski, Biometrics 1997, 53:567), on the logit scale.
    `viral` (rows) bool, `score` (rows), and `sequence` (rows) a number, each sequence of one label. NaN where nothing
    tells how far the AUROC may be off: it is 0 or 1, or a label has fewer than two sequences.
    """
    rank, auroc, variance = pd.Series(score).rank(), np.nan, 0.0
    for chosen in (~viral, viral):
        _, number = np.unique(sequence[chosen], return_inverse=True)
        sequences = len(set(number))
        if sequences < 2:
            return np.nan, np.nan
        below = (rank[chosen] - rank[chosen].rank()) / (~chosen).sum()  # share of the other label's rows
        auroc = below.mean()  # in the end, of the viral
        summed = np.bincount(number, weights=below - auroc)
        variance += sequences / (sequences - 1) * (summed**2).sum() / len(below) ** 2
    if not 0 < auroc < 1:
        return np.nan, np.nan
    spread = Z * math.sqrt(variance) / (auroc * (1 - auroc))
    odds = [auroc / (1 - auroc) * math.exp(by) for by in (-spread, spread)]
    return odds[0] / (1 + odds[0]), odds[1] / (1 + odds[1])
