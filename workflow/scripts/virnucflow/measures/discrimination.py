"""How well scores tell virus from others: metrics over all, by group, and by what might be a shortcut."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from virnucflow.measures.intervals import auroc_interval
from virnucflow.measures.reliability import calibration_error, reliability

FALSE_POSITIVE_RATES = (0.01, 0.05)
GC_EDGES, GC = (0.4, 0.5, 0.6), ("below 40 %", "40 to 50 %", "50 to 60 %", "60 % and more")  # a bin has its lower end
FRAMES = ("1", "2", "3 and more")
STRANDS = {"forward": "F", "reverse": "R"}  # and how their frames' names begin


def compute_metrics(table: pd.DataFrame) -> dict[str, float]:
    """AUROC with its interval, AUPRC, sensitivity at 1 % and 5 % false positives, accuracy at 0.5, calibration error.

    `table` has viral (bool), score, and sequence, a number that rows of one sequence share. What needs both labels is
    NaN where there is one, and all but the numbers where there is no row.
    """
    viral, score = table["viral"].to_numpy(dtype=bool), table["score"].to_numpy()
    metrics: dict[str, float] = {"number": len(viral), "viral": int(viral.sum())}
    both = 0 < viral.sum() < len(viral)
    metrics["auroc"] = roc_auc_score(viral, score) if both else np.nan
    metrics["auroc_lower"], metrics["auroc_upper"] = auroc_interval(viral, score, table["sequence"].to_numpy())
    metrics["auprc"] = average_precision_score(viral, score) if both else np.nan
    false, true, _ = roc_curve(viral, score) if both else (np.zeros(1), np.full(1, np.nan), None)
    for rate in FALSE_POSITIVE_RATES:
        metrics[f"sensitivity_at_{rate:.0%}_false_positives".replace("%", "_percent")] = float(
            true[false <= rate].max()
        )
    metrics["accuracy"] = float(((score >= 0.5) == viral).mean()) if len(viral) else np.nan
    metrics["calibration_error"] = calibration_error(reliability(viral, score))
    return metrics


def by_group(table: pd.DataFrame) -> pd.DataFrame:
    """One row over all, and one per group: a group of one label against all of the other label, a mixed one by itself.

    `table` has group and what compute_metrics() takes; a row without a group counts in the first row alone.
    """
    rows = [{"by": "all", "value": "all"} | compute_metrics(table)]
    for group, members in table[table["group"] != ""].groupby("group"):
        mixed = members["viral"].nunique() == 2
        chosen = members if mixed else pd.concat([members, table[table["viral"] != members["viral"].iloc[0]]])
        rows.append({"by": "group", "value": group} | compute_metrics(chosen))
    return pd.DataFrame(rows)


def by_stratum(chunks: pd.DataFrame) -> pd.DataFrame:
    """A row for each GC content, number of frames and strand: viruses and others that are alike in it.

    `chunks` has what compute_metrics() takes; gc, from 0 to 1; frames, how many without a stop (the more, the denser
    the coding may be, or the higher the GC content); forward and reverse, the best score of the frames of one strand,
    NaN where there are none. A strand's metrics are of its own scores, over the chunks that have one.
    """
    strata = {
        "gc": pd.cut(chunks["gc"], [-np.inf, *GC_EDGES, np.inf], right=False, labels=GC),
        "frames": pd.cut(chunks["frames"], [1, 2, 3, np.inf], right=False, labels=FRAMES),
    }
    rows = [
        {"by": by, "value": value} | compute_metrics(members)
        for by, stratum in strata.items()
        for value, members in chunks.groupby(stratum, observed=True)
    ]
    for strand in STRANDS:
        scored = chunks.assign(score=chunks[strand]).dropna(subset="score")
        if len(scored):
            rows.append({"by": "strand", "value": strand} | compute_metrics(scored))
    return pd.DataFrame(rows)
