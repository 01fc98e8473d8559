"""What the scores of frames say about chunks, as in VirNucPro v1, and about sequences."""

import numpy as np
import pandas as pd


def call_chunks(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a chunk that has a frame: sequence_id, chunk, frames, best_score, viral."""
    chunks = scores.groupby(["sequence_id", "chunk"], sort=False).agg(
        frames=("name", "size"), best_others=("score_others", "max"), best_score=("score_virus", "max")
    )
    chunks["viral"] = chunks["best_score"] >= chunks["best_others"]
    return chunks.drop(columns="best_others").reset_index()


def call_sequences(chunks: pd.DataFrame) -> pd.DataFrame:
    """One row a sequence that has a frame, by sequence_id: frames, viral_chunks, best_score, call."""
    calls = chunks.groupby("sequence_id", sort=False).agg(
        frames=("frames", "sum"),
        scored_chunks=("chunk", "size"),
        viral_chunks=("viral", "sum"),
        best_score=("best_score", "max"),
    )
    calls["call"] = np.where(2 * calls["viral_chunks"] >= calls["scored_chunks"], "virus", "others")
    return calls.drop(columns="scored_chunks")
