"""How well scores tell virus from others: metrics over all, by group, and by what might be a shortcut."""

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from virnucflow.measures.intervals import auroc_interval
from virnucflow.measures.reliability import calibration_error, reliability
from virnucflow.measures.thresholds import rates_reached, threshold_finding

FALSE_POSITIVE_RATES = (0.01, 0.05)
SENSITIVITY = 0.9  # at which false positives are counted
GC_EDGES, GC = (0.4, 0.5, 0.6), ("below 40 %", "40 to 50 %", "50 to 60 %", "60 % and more")  # a bin has its lower end
FRAMES = ("1", "2", "3 and more")
KINDS = ("whole", "longest")  # the kind of frame by which a chunk is scored
SEQUENCE_LENGTHS = (1000, 3000, 5000, 10_000)  # least bases
STRANDS = {"forward": "F", "reverse": "R"}  # and how their frames' names begin


def compute_metrics(table: pd.DataFrame, unit: str = "sequence") -> dict[str, float]:
    """AUROC, AUPRC, sensitivity at 1 % and 5 % false positives and the reverse, accuracy at 0.5, calibration error.

    `table` has viral (bool), score, and the column `unit`, a name or number that is the same for rows that are not
    independent: those of a sequence, a genome or a family. AUROC and false positives at 90 % sensitivity have a 95 %
    interval over these units. What needs both labels is NaN where there is one, and all but the numbers where there is
    no row.
    """
    viral, score = table["viral"].to_numpy(dtype=bool), table["score"].to_numpy()
    units = table[unit].to_numpy()
    metrics: dict[str, float] = {"number": len(viral), "viral": int(viral.sum())}
    both = 0 < viral.sum() < len(viral)
    metrics["auroc"] = roc_auc_score(viral, score) if both else np.nan
    metrics["auroc_lower"], metrics["auroc_upper"] = auroc_interval(viral, score, units)
    metrics["auprc"] = average_precision_score(viral, score) if both else np.nan
    false, true, _ = roc_curve(viral, score) if both else (np.zeros(1), np.full(1, np.nan), None)
    for rate in FALSE_POSITIVE_RATES:
        metrics[f"sensitivity_at_{rate:.0%}_false_positives".replace("%", "_percent")] = float(
            true[false <= rate].max()
        )
    threshold = threshold_finding(score[viral], SENSITIVITY)
    reached = rates_reached(score[~viral], units[~viral], (threshold,)).iloc[0] if both else {}
    name = f"false_positives_at_{SENSITIVITY:.0%}_sensitivity".replace("%", "_percent")
    for column, figure in ((name, "share"), (f"{name}_lower", "lower"), (f"{name}_upper", "upper")):
        metrics[column] = reached.get(figure, np.nan)
    metrics["accuracy"] = float(((score >= 0.5) == viral).mean()) if len(viral) else np.nan
    metrics["calibration_error"] = calibration_error(reliability(viral, score))
    return metrics


def by_group(table: pd.DataFrame, unit: str = "sequence") -> pd.DataFrame:
    """One row over all, and one per group: a group of one label against all of the other label, a mixed one by itself.

    `table` has group and what compute_metrics() takes, to which `unit` goes; a row without a group counts in the first
    row alone.
    """
    rows = [{"by": "all", "value": "all"} | compute_metrics(table, unit)]
    for group, members in table[table["group"] != ""].groupby("group"):
        mixed = members["viral"].nunique() == 2
        chosen = members if mixed else pd.concat([members, table[table["viral"] != members["viral"].iloc[0]]])
        rows.append({"by": "group", "value": group} | compute_metrics(chosen, unit))
    return pd.DataFrame(rows)


def by_stratum(chunks: pd.DataFrame, unit: str = "sequence") -> pd.DataFrame:
    """A row for each GC content, number of frames, strand and kind of frame: chunks that are alike in it.

    `chunks` has what compute_metrics() takes, to which `unit` goes; gc, from 0 to 1; frames, how many without a stop
    (the more, the denser the coding may be, or the higher the GC content); forward and reverse, the best score of the
    frames of one strand, NaN where there are none; and, where it differs among chunks, kind, one of KINDS. A strand's
    metrics are of its own scores, over the chunks that have one.
    """
    strata = {
        "gc": pd.cut(chunks["gc"], [-np.inf, *GC_EDGES, np.inf], right=False, labels=GC),
        "frames": pd.cut(chunks["frames"], [1, 2, 3, np.inf], right=False, labels=FRAMES),
    }
    if "kind" in chunks:
        strata["kind"] = pd.Categorical(chunks["kind"], KINDS)
    rows = [
        {"by": by, "value": value} | compute_metrics(members, unit)
        for by, stratum in strata.items()
        for value, members in chunks.groupby(stratum, observed=True)
    ]
    for strand in STRANDS:
        scored = chunks.assign(score=chunks[strand]).dropna(subset="score")
        if len(scored):
            rows.append({"by": "strand", "value": strand} | compute_metrics(scored, unit))
    return pd.DataFrame(rows)


def by_sequence_length(sequences: pd.DataFrame, unit: str) -> pd.DataFrame:
    """A row for the sequences of at least so many bases, for each of SEQUENCE_LENGTHS that one has.

    `sequences` has one row per sequence: sequence_length in bases, and what compute_metrics() takes, to which `unit`
    goes; the score is of all its chunks, 0 where none has one.
    """
    rows = [
        {"by": "sequence_length", "value": f"{least} and more"} | compute_metrics(members, unit)
        for least in SEQUENCE_LENGTHS
        if len(members := sequences[sequences["sequence_length"] >= least])
    ]
    return pd.DataFrame(rows)
