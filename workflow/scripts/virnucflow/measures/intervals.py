"""95 % intervals of shares, means and areas under ROC curves, where rows of one unit are not independent.

A unit is what is drawn when data are collected: a genome, a family, a cluster. Its rows are alike, so that a thousand
chunks of one genome tell little more of other genomes than that genome does.
"""

import math

import numpy as np
import pandas as pd

Z = 1.959963984540054  # of a two-sided 95 % interval
DRAWS = 1000  # of a bootstrap


def wilson(share: float, number: float) -> tuple[float, float]:
    """Wilson's interval (Journal of the American Statistical Association 1927, 22:209) of a share of `number`."""
    centre = share + Z**2 / (2 * number)
    spread = Z * math.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    return (centre - spread) / (1 + Z**2 / number), (centre + spread) / (1 + Z**2 / number)


def share_interval(hits: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Interval of a share of rows, sum of `hits` by sum of `rows`, both (units): of each unit how many.

    Wilson's, with as many independent rows as have the share's variance among units (Korn and Graubard, Survey
    Methodology 1998, 24:193), and no more than there are. Where none or all rows are hits, nothing tells how units
    vary, and each counts as one row. NaN where there are fewer than two units.
    """
    hits, rows = hits[rows > 0], rows[rows > 0]
    units, total = len(rows), rows.sum()
    if units < 2:
        return np.nan, np.nan
    share = hits.sum() / total
    if share in (0, 1):
        return wilson(share, units)
    variance = units / (units - 1) * ((hits - share * rows) ** 2).sum() / total**2
    return wilson(share, share * (1 - share) / max(variance, share * (1 - share) / total))


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Interval of the mean of `values` (units), by the bootstrap; the same values give the same one.

    NaN where there are fewer than two units.
    """
    if len(values) < 2:
        return np.nan, np.nan
    random = np.random.default_rng(0)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(DRAWS)]
    lower, upper = np.quantile(means, [0.025, 0.975])
    return float(lower), float(upper)


def auroc_interval(viral: np.ndarray, score: np.ndarray, unit: np.ndarray) -> tuple[float, float]:
    """Interval of the AUROC of rows of which those of one unit are not independent.

    DeLong's (Biometrics 1988, 44:837) for clustered data (Obuchowski, Biometrics 1997, 53:567), on the logit scale.
    `viral` (rows) bool, `score` (rows), and `unit` (rows) a name or number; a unit may have rows of both labels. NaN
    where nothing tells how far the AUROC may be off: it is 0 or 1, or a label has fewer than two units.
    """
    codes, names = pd.factorize(unit)
    rank, auroc, variance = pd.Series(score).rank(), np.nan, 0.0
    deviations = np.zeros((2, len(names)))  # of each label: how much each unit moves the AUROC
    number = [len(np.unique(codes[chosen])) for chosen in (~viral, viral)]
    if min(number) < 2:
        return np.nan, np.nan
    for label, (chosen, units) in enumerate(zip((~viral, viral), number)):
        below = (rank[chosen] - rank[chosen].rank()).to_numpy() / (~chosen).sum()  # share of the other label's rows
        auroc = below.mean()  # in the end, of the viral
        summed = np.bincount(codes[chosen], weights=below - auroc, minlength=len(names))
        deviations[label] = (summed if label else -summed) / len(below)  # others above viruses make it less
        variance += units / (units - 1) * (deviations[label] ** 2).sum()
    variance += 2 * len(names) / (len(names) - 1) * (deviations[0] * deviations[1]).sum()
    if not 0 < auroc < 1:
        return np.nan, np.nan
    spread = Z * math.sqrt(max(variance, 0)) / (auroc * (1 - auroc))
    odds = [auroc / (1 - auroc) * math.exp(by) for by in (-spread, spread)]
    return odds[0] / (1 + odds[0]), odds[1] / (1 + odds[1])
