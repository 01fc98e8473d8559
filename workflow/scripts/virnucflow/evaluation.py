"""How well scores tell virus from others: figures over all and by group."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

FALSE_POSITIVE_RATES = (0.01, 0.05)
BINS = 10  # of equal width, for the calibration error


def figures(viral: pd.Series, score: pd.Series) -> dict[str, float]:
    """AUROC, AUPRC, sensitivity at 1 % and 5 % false positives, accuracy at 0.5, and calibration error.

    The expected calibration error is the mean distance of a bin's mean score from its share of viruses (Naeini et al.
    2015). What needs both labels is NaN where there is one.
    """
    viral, score = viral.to_numpy(dtype=bool), score.to_numpy()
    found = {"number": len(viral), "viral": int(viral.sum())}
    both = 0 < viral.sum() < len(viral)
    found["auroc"] = roc_auc_score(viral, score) if both else np.nan
    found["auprc"] = average_precision_score(viral, score) if both else np.nan
    false, true, _ = roc_curve(viral, score) if both else (np.zeros(1), np.full(1, np.nan), None)
    for rate in FALSE_POSITIVE_RATES:
        found[f"sensitivity_at_{rate:.0%}_false_positives".replace("%", "_percent")] = float(true[false <= rate].max())
    found["accuracy"] = float(((score >= 0.5) == viral).mean())
    found["calibration_error"] = sum(
        len(members) * abs(members["score"].mean() - members["viral"].mean()) for members in reliability(viral, score)
    ) / len(viral)
    return found


def reliability(viral: np.ndarray, score: np.ndarray) -> list[pd.DataFrame]:
    """The rows (viral, score) of each of ten bins of the score that is not empty."""
    rows = pd.DataFrame({"viral": viral, "score": score})
    return [members for _, members in rows.groupby(np.minimum((rows["score"] * BINS).astype(int), BINS - 1))]


def by_group(table: pd.DataFrame) -> pd.DataFrame:
    """A row over all, and one a group: a group of one label against all of the other label, a mixed one by itself.

    `table` has viral (bool), score and group; a row without a group counts in the first row alone.
    """
    rows = [{"group": "all"} | figures(table["viral"], table["score"])]
    for group, members in table[table["group"] != ""].groupby("group"):
        mixed = members["viral"].nunique() == 2
        chosen = members if mixed else pd.concat([members, table[table["viral"] != members["viral"].iloc[0]]])
        rows.append({"group": group} | figures(chosen["viral"], chosen["score"]))
    return pd.DataFrame(rows)
