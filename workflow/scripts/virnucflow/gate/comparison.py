"""How far two computations of the same frames diverge: agreement of labels with its interval, and embeddings."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from virnucflow.files.tables import LABELS, VIRUS
from virnucflow.gate.sampling import LENGTHS
from virnucflow.measures.intervals import Z, wilson
from virnucflow.scoring.calls import call_chunks, call_sequences

STRICT, LENIENT = 0.999, 0.990  # cosines in half precision
LENIENT_SHARE = 0.01  # of the frames, or one, may be between the two
FP32 = 1 - 1e-8  # cosine in fp32, where rounding explains next to nothing
NOTHING = "nothing to compare"  # what is decided for a sample without a frame


def agreement(same: np.ndarray, strata: np.ndarray, weights: np.ndarray, whole: bool) -> dict[str, float | None]:
    """The share of frames with the same label in the run that the sample stands for, with its 95 % interval.

    `weights` are how many frames of the run each stands for. The interval is Wilson's with an effective number of
    frames: Kish's, (sum w)^2 / sum w^2 (Kish, Survey Sampling, 1965), or if that is less, the number of which a simple
    sample would be as uncertain as this one, by the variances within the strata. A sample that is the whole run leaves
    nothing uncertain. Of no frames nothing is known: None.
    """
    if not len(same):
        return {"estimate": None, "lower": None, "upper": None, "effective_number": 0.0}
    estimate = float(np.average(same, weights=weights))
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    if 0 < estimate < 1:
        by_stratum = pd.DataFrame({"same": same, "weight": weights}).groupby(strata)
        number, share = by_stratum.size(), by_stratum["weight"].sum() / weights.sum()
        rate = (by_stratum["same"].sum() + 0.5) / (number + 1)
        effective = min(effective, estimate * (1 - estimate) / float((share**2 * rate * (1 - rate) / number).sum()))
    lower, upper = (estimate, estimate) if whole else wilson(estimate, effective)
    return {"estimate": estimate, "lower": lower, "upper": upper, "effective_number": effective}


def number_needed(accept: float, estimate: float) -> int:
    """The least number of frames at which, for an `estimate` above `accept`, the interval's lower bound is so too.

    Wilson's bounds b of a share p have p's z-score that of the interval: n (p - b)^2 = z^2 b (1 - b).
    """
    return math.floor(Z**2 * accept * (1 - accept) / (estimate - accept) ** 2) + 1


def distances(one: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """Cosine, mean and largest absolute difference of each row, in float64."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    difference = np.abs(one - other)
    return {
        "cosine": np.clip((one * other).sum(1) / np.maximum(norms, 1e-300), -1, 1),
        "mean_difference": difference.mean(1),
        "max_difference": difference.max(1),
    }


def judge_cosines(cosine: np.ndarray, strata: np.ndarray, precision: str) -> dict[str, Any]:
    """Whether embeddings agree: all cosines at least STRICT, but for a few long frames' at least LENIENT.

    In fp32 all must be at least FP32. Of no embeddings it is None.
    """
    if not len(cosine):
        return {"least_cosine": None, "lenient": 0, "failed": 0, "passed": None}
    strict, least = (FP32, FP32) if precision == "fp32" else (STRICT, LENIENT)
    good, long = cosine >= strict, np.char.startswith(strata.astype(str), "long")
    lenient = ~good & (cosine >= least) & long
    failed = ~good & ~lenient
    passed = not failed.any() and lenient.sum() <= max(1, LENIENT_SHARE * len(cosine))
    return {
        "least_cosine": float(cosine.min()),
        "lenient": int(lenient.sum()),
        "failed": int(failed.sum()),
        "passed": bool(passed),
    }


def compare(frames: pd.DataFrame, whole: bool, precisions: dict[str, str]) -> dict[str, Any]:
    """What `divergence.json` says of a table with one row per sampled frame.

    Its columns: name, sequence_id, chunk, residues, stratum, weight; score_virus, score_others and prediction of both
    paths with the suffix `_fast` or `_reference`; and each encoder's cosine. `precisions` are the encoders' on the fast
    path.
    """
    same = (frames["prediction_fast"] == frames["prediction_reference"]).to_numpy()
    weights, strata = frames["weight"].to_numpy(dtype=float), frames["stratum"].to_numpy()
    fast, reference = frames["score_virus_fast"].to_numpy(), frames["score_virus_reference"].to_numpy()
    difference = np.abs(fast - reference)
    varied = len(frames) > 1 and fast.std() > 0 and reference.std() > 0
    calls = [sequence_calls(frames, path) for path in ("fast", "reference")]
    same_calls = (calls[0] == calls[1].reindex(calls[0].index)).to_numpy()
    lengths = frames["stratum"].str.split("/").str[0]

    def share(values: np.ndarray, chosen: np.ndarray | slice = slice(None)) -> float | None:
        """The mean over the frames of the run that the chosen ones stand for."""
        return float(np.average(values[chosen], weights=weights[chosen])) if len(values) else None

    flipped = frames[~same].assign(margin=np.abs(reference[~same] - 0.5))
    return {
        "frames": len(frames),
        "whole": whole,
        "frame_agreement": agreement(same, strata, weights, whole),
        "sequence_agreement": agreement(same_calls, np.zeros(len(same_calls)), np.ones(len(same_calls)), whole),
        "agreement_by_length": {
            name: {"frames": int((lengths == name).sum()), "share": share(same, lengths == name)}
            for name in LENGTHS
            if (lengths == name).any()
        },
        "score_correlation": float(np.corrcoef(fast, reference)[0, 1]) if varied else None,
        "score_difference": {
            "mean": share(difference),
            "max": float(difference.max()) if len(difference) else None,
            "within_1e-2": share(difference <= 1e-2),
            "within_1e-3": share(difference <= 1e-3),
        },
        "embeddings": {
            encoder: judge_cosines(frames[f"{encoder}_cosine"].to_numpy(), strata, precision)
            for encoder, precision in precisions.items()
        },
        "flipped": flipped[["name", "score_virus_fast", "score_virus_reference", "margin"]].to_dict("records"),
    }


def in_words(findings: Mapping[str, Any]) -> str:
    """The agreement of labels, as a sentence without its full stop."""
    agreement = findings["frame_agreement"]
    if not findings["frames"]:
        return f"{NOTHING}: no frame of the sample is without a stop codon"
    return (
        f"labels of {agreement['estimate']:.2%} of the frames agree (95 % interval {agreement['lower']:.2%} to "
        f"{agreement['upper']:.2%}, {findings['frames']} of {findings['run_frames']} frames compared)"
    )


def sequence_calls(frames: pd.DataFrame, path: str) -> pd.Series:
    """The call of each sequence from its sampled frames alone, by one of the two paths."""
    columns = {f"score_virus_{path}": "score_virus", f"score_others_{path}": "score_others"}
    return call_sequences(call_chunks(frames.rename(columns=columns)))["call"]


def compare_with_truth(frames: pd.DataFrame, truth: pd.Series) -> dict[str, Any]:
    """Precision, recall and F1 of both paths' labels of frames whose sequence has a true label, and shared errors."""
    from sklearn.metrics import precision_recall_fscore_support

    known = frames[frames["sequence_id"].isin(truth.index)]
    if known.empty:
        return {"frames": 0}
    labels = known["sequence_id"].map(truth)
    wrong = {}
    result: dict[str, Any] = {"frames": len(known)}
    for path in ("fast", "reference"):
        predicted = known[f"prediction_{path}"]
        figures = precision_recall_fscore_support(labels, predicted, labels=[LABELS[VIRUS]], zero_division=0)
        result[path] = {name: float(value[0]) for name, value in zip(("precision", "recall", "f1"), figures)}
        wrong[path] = set(known["name"][predicted != labels])
        result[path]["errors"] = len(wrong[path])
    result["errors_of_both"] = len(wrong["fast"] & wrong["reference"])
    return result
