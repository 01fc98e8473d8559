"""What the scores of frames say about chunks, as in VirNucPro v1, and about sequences."""

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from virnucflow.packs.pack import SequenceScaling

LEAST_PROBABILITY = 2.0**-24  # of a score in float32, which may be rounded to 0 or 1
# How much a sequence's call rests on, and from how many scored chunks on. From ten on the intervals of lite's scores
# lie on one side of 0.5 for most sequences, with one chunk for one in six (docs/lite.md).
EVIDENCE = {"one_chunk": 1, "few": 2, "many": 10}


def call_chunks(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per chunk that has a frame, whose frames are of one kind.

    sequence_id, chunk, frames, kind, residues (of the longest frame), best_score, viral.
    """
    chunks = scores.groupby(["sequence_id", "chunk"], sort=False).agg(
        frames=("residues", "size"),
        kind=("kind", "first"),
        residues=("residues", "max"),
        best_others=("score_others", "max"),
        best_score=("score_virus", "max"),
    )
    chunks["viral"] = chunks["best_score"] >= chunks["best_others"]
    return chunks.drop(columns="best_others").reset_index()


def call_sequences(chunks: pd.DataFrame, min_residues: int = 0) -> pd.DataFrame:
    """One row per sequence that has a frame, by sequence_id: frames, counted_chunks, viral_chunks, best_score, call."""
    counts = count_chunks(chunks, min_residues)
    return counts.assign(call=call(counts["counted_chunks"].to_numpy(), counts["viral_chunks"].to_numpy()))


def count_chunks(chunks: pd.DataFrame, min_residues: int = 0) -> pd.DataFrame:
    """One row per sequence of these chunks, by sequence_id: frames, counted_chunks, viral_chunks, logits, squares,
    best_score.

    A chunk whose longest frame has fewer than `min_residues` residues tells too little: it counts neither for nor
    against. With 0 every chunk that has a frame counts. `logits` is the sum of the logits of the best scores, `squares`
    that of their squares.
    """
    counted = chunks["residues"] >= min_residues
    logit = logit_of(chunks["best_score"]).where(counted, 0.0)
    return (
        chunks.assign(counted=counted, viral=chunks["viral"] & counted, logit=logit, square=logit**2)
        .groupby("sequence_id", sort=False)
        .agg(
            frames=("frames", "sum"),
            counted_chunks=("counted", "sum"),
            viral_chunks=("viral", "sum"),
            logits=("logit", "sum"),
            squares=("square", "sum"),
            best_score=("best_score", "max"),
        )
    )


def logit_of(scores: pd.Series) -> pd.Series:
    """The logits of scores, float64; those of 0 and 1 are as of scores that round to them."""
    probability = scores.astype(float).clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return np.log(probability / (1 - probability))


def scale_sequences(counted_chunks: np.ndarray, logits: np.ndarray, scaling: SequenceScaling | None) -> np.ndarray:
    """The logit of each sequence's probability to be viral, float64 (sequences); NaN where no chunk counts or nothing
    scales it. `logits` are the sums over the chunks that count.
    """
    if scaling is None:
        return np.full(len(counted_chunks), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, shift = _line(counted_chunks, scaling)
        return np.where(counted_chunks > 0, slope * logits / counted_chunks + shift, np.nan)


def bound_sequences(
    counted_chunks: np.ndarray, logits: np.ndarray, squares: np.ndarray, scaling: SequenceScaling | None
) -> tuple[np.ndarray, np.ndarray]:
    """The limits of a 95 % interval of what scale_sequences gives, each float64 (sequences); NaN where there is none.

    It says how far the mean logit of the sequence's chunks may be from that of all chunks which a genome like it has:
    t * s * sqrt(design / n) on either side. The variance s² is that of its n chunks, moderated by the one to expect
    before any is seen, d0 and s0 of the pack's `spread`: (d0 * s0² + squared deviations) / (d0 + n - 1), and t has so
    many degrees of freedom (Smyth, Stat Appl Genet Mol Biol 2004, 3:3); one chunk has s0 alone. Neighbours, which are
    alike by r, make the variance of a mean of n 1 + 2 r (n - 1) / n times as large as were they strangers: the design
    effect (Kish, Survey Sampling 1965). Of what the calibration does not know it says nothing. `squares` are the sums
    of the squared logits.
    """
    if scaling is None or scaling.spread is None:
        unknown = np.full(len(counted_chunks), np.nan)
        return unknown, unknown
    spread, number = scaling.spread, np.where(counted_chunks > 0, counted_chunks, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope, shift = _line(number, scaling)
        mean, degrees = logits / number, spread.degrees + number - 1
        deviations = np.maximum(squares - number * mean**2, 0)
        variance = (spread.degrees * spread.deviation**2 + deviations) / degrees
        design = 1 + 2 * spread.neighbours * (number - 1) / number
        margin = stdtrit(degrees, 0.975) * np.sqrt(variance * design / number)
        return slope * (mean - margin) + shift, slope * (mean + margin) + shift


def probability(logit: np.ndarray) -> np.ndarray:
    """The sigmoid of logits (sequences). Four decimals, so that the order of the sums in them is not seen."""
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-logit))).round(4)


def _line(counted_chunks: np.ndarray, scaling: SequenceScaling) -> tuple[np.ndarray, np.ndarray]:
    """What the mean logit of so many chunks is multiplied with, and what is added."""
    log_number = np.log(np.minimum(counted_chunks, scaling.most_chunks))
    return scaling.scale + scaling.scale_log * log_number, scaling.shift + scaling.shift_log * log_number


def call(counted_chunks: np.ndarray, viral_chunks: np.ndarray) -> np.ndarray:
    """Each sequence's call: `virus` when at least half of the chunks that count are viral; "" where none counts."""
    calls = np.where(2 * viral_chunks >= counted_chunks, "virus", "others")
    return np.where(counted_chunks == 0, "", calls)


def weigh_evidence(counted_chunks: np.ndarray) -> np.ndarray:
    """The name in EVIDENCE of what each sequence's call rests on; "" where no chunk counts."""
    names = np.array(["", *EVIDENCE], dtype=object)
    return names[np.searchsorted(list(EVIDENCE.values()), counted_chunks, "right")]


def call_pairs(counted_chunks: np.ndarray, viral_chunks: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Each pair's call, by the chunks of both mates: `virus` when more than half of those that count are viral.

    When it is half of them, as where mates of one chunk each differ, the mean of their logits decides: `virus` when it
    is not negative. "" where none counts. `logits` are the sums of count_chunks.
    """
    is_viral = (2 * viral_chunks > counted_chunks) | ((2 * viral_chunks == counted_chunks) & (logits >= 0))
    return np.where(counted_chunks == 0, "", np.where(is_viral, "virus", "others"))
