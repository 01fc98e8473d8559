"""What the scores of frames say about chunks, as in VirNucPro v1, and about sequences."""

import numpy as np
import pandas as pd

from virnucflow.packs.pack import SequenceScaling

LEAST_PROBABILITY = 2.0**-24  # of a score in float32, which may be rounded to 0 or 1


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
    """One row per sequence of these chunks, by sequence_id: frames, counted_chunks, viral_chunks, logits, best_score.

    A chunk whose longest frame has fewer than `min_residues` residues tells too little: it counts neither for nor
    against. With 0 every chunk that has a frame counts. `logits` is the sum of the logits of the best scores.
    """
    counted = chunks["residues"] >= min_residues
    probability = chunks["best_score"].astype(float).clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    logit = np.log(probability / (1 - probability))
    return (
        chunks.assign(counted=counted, viral=chunks["viral"] & counted, logit=logit.where(counted, 0.0))
        .groupby("sequence_id", sort=False)
        .agg(
            frames=("frames", "sum"),
            counted_chunks=("counted", "sum"),
            viral_chunks=("viral", "sum"),
            logits=("logit", "sum"),
            best_score=("best_score", "max"),
        )
    )


def score_sequences(counted_chunks: np.ndarray, logits: np.ndarray, scaling: SequenceScaling | None) -> np.ndarray:
    """Each sequence's probability to be viral, float64 (sequences); NaN where no chunk counts or nothing scales it.

    `logits` are the sums over the chunks that count. Four decimals, so that the order of the sum is not seen.
    """
    if scaling is None:
        return np.full(len(counted_chunks), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_number = np.log(np.minimum(counted_chunks, scaling.most_chunks))
        mean = logits / counted_chunks
        logit = (scaling.scale + scaling.scale_log * log_number) * mean + scaling.shift + scaling.shift_log * log_number
    return np.where(counted_chunks > 0, 1 / (1 + np.exp(-logit)), np.nan).round(4)


def call(counted_chunks: np.ndarray, viral_chunks: np.ndarray) -> np.ndarray:
    """Each sequence's call: `virus` when at least half of the chunks that count are viral; "" where none counts."""
    calls = np.where(2 * viral_chunks >= counted_chunks, "virus", "others")
    return np.where(counted_chunks == 0, "", calls)
