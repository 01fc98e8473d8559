"""What a score means as a threshold: what is found, what is wrongly called, and how many calls are right."""

import numpy as np
import pandas as pd

from virnucflow.measures.intervals import share_interval

SCORES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
RARE = 0.01  # share of viruses for which the precision is given


def threshold_finding(score: np.ndarray, share: float) -> float:
    """The highest threshold that at least this share of `score` (rows) reaches; NaN without a row."""
    if not len(score):
        return np.nan
    reached = max(int(np.ceil(share * len(score) - 1e-9)), 1)  # 0.07 * 100 is a little more than 7
    return float(np.partition(score, len(score) - reached)[len(score) - reached])


def rates_reached(score: np.ndarray, unit: np.ndarray, thresholds: tuple[float, ...]) -> pd.DataFrame:
    """For each threshold the share of rows with this score or more, and its 95 % interval: share, lower, upper.

    `score` (rows), `unit` (rows) a name or number; the interval is over units. NaN where there is no row.
    """
    codes, names = pd.factorize(unit)
    rows = np.bincount(codes, minlength=len(names))
    hits = [np.bincount(codes, weights=score >= threshold, minlength=len(names)) for threshold in thresholds]
    shares = [of_units.sum() / len(score) if len(score) else np.nan for of_units in hits]
    lower, upper = np.array([share_interval(of_units, rows) for of_units in hits]).T
    # A higher threshold is never reached by more: so a limit for one threshold holds for those beyond it.
    lower, upper = np.maximum.accumulate(lower[::-1])[::-1], np.minimum.accumulate(upper)
    return pd.DataFrame({"share": shares, "lower": lower, "upper": upper})


def precision(sensitivity: pd.Series, false_positive_rate: pd.Series, viruses: float) -> pd.Series:
    """Share of the calls that are viruses where `viruses` of all are (Bayes' rule); NaN where nothing is called."""
    true, false = sensitivity * viruses, false_positive_rate * (1 - viruses)
    return true / (true + false)


def by_threshold(chunks: pd.DataFrame, unit: str) -> pd.DataFrame:
    """One row per score of SCORES as the threshold: sensitivity, false positive rate, and precision at RARE viruses.

    Each with a 95 % interval, `_lower` and `_upper`, over the units that the column `unit` names. That of the precision
    has the worst and the best of both rates' intervals, and so is rather too wide. `chunks` has viral (bool) and score.
    """
    viral = chunks["viral"].to_numpy(dtype=bool)
    score, units = chunks["score"].to_numpy(), chunks[unit].to_numpy()
    found, wrong = (rates_reached(score[chosen], units[chosen], SCORES) for chosen in (viral, ~viral))
    rare = f"precision_at_{RARE:.0%}_viruses".replace("%", "_percent")
    return pd.DataFrame(
        {
            "score": SCORES,
            "sensitivity": found["share"],
            "sensitivity_lower": found["lower"],
            "sensitivity_upper": found["upper"],
            "false_positive_rate": wrong["share"],
            "false_positive_rate_lower": wrong["lower"],
            "false_positive_rate_upper": wrong["upper"],
            rare: precision(found["share"], wrong["share"], RARE),
            f"{rare}_lower": precision(found["lower"], wrong["upper"], RARE),
            f"{rare}_upper": precision(found["upper"], wrong["lower"], RARE),
        }
    )
