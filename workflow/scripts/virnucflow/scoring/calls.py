"""What the scores of frames say about chunks, as in VirNucPro v1, and about sequences."""

import numpy as np
import pandas as pd


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
    """One row per sequence of these chunks, by sequence_id: frames, counted_chunks, viral_chunks, best_score.

    A chunk whose longest frame has fewer than `min_residues` residues tells too little: it counts neither for nor
    against. With 0 every chunk that has a frame counts.
    """
    counted = chunks["residues"] >= min_residues
    return (
        chunks.assign(counted=counted, viral=chunks["viral"] & counted)
        .groupby("sequence_id", sort=False)
        .agg(
            frames=("frames", "sum"),
            counted_chunks=("counted", "sum"),
            viral_chunks=("viral", "sum"),
            best_score=("best_score", "max"),
        )
    )


def call(counted_chunks: np.ndarray, viral_chunks: np.ndarray) -> np.ndarray:
    """Each sequence's call: `virus` when at least half of the chunks that count are viral; "" where none counts."""
    calls = np.where(2 * viral_chunks >= counted_chunks, "virus", "others")
    return np.where(counted_chunks == 0, "", calls)
