"""What the scores of frames say about chunks, as in VirNucPro v1, and about sequences."""

import numpy as np
import pandas as pd


def call_chunks(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per chunk that has a frame: sequence_id, chunk, frames, residues (of the longest), best_score, viral."""
    chunks = scores.groupby(["sequence_id", "chunk"], sort=False).agg(
        frames=("name", "size"),
        residues=("residues", "max"),
        best_others=("score_others", "max"),
        best_score=("score_virus", "max"),
    )
    chunks["viral"] = chunks["best_score"] >= chunks["best_others"]
    return chunks.drop(columns="best_others").reset_index()


def call_sequences(chunks: pd.DataFrame, min_residues: int = 0) -> pd.DataFrame:
    """One row per sequence that has a frame, by sequence_id: frames, viral_chunks, best_score, call.

    A chunk whose longest frame has fewer than `min_residues` residues tells too little: it counts neither for nor
    against. Where all are such, the sequence has no call (""). With 0 every chunk that has a frame counts.
    """
    counted = chunks["residues"] >= min_residues
    calls = (
        chunks.assign(counted=counted, viral=chunks["viral"] & counted)
        .groupby("sequence_id", sort=False)
        .agg(
            frames=("frames", "sum"),
            counted_chunks=("counted", "sum"),
            viral_chunks=("viral", "sum"),
            best_score=("best_score", "max"),
        )
    )
    calls["call"] = np.where(2 * calls["viral_chunks"] >= calls["counted_chunks"], "virus", "others")
    calls.loc[calls["counted_chunks"] == 0, "call"] = ""
    return calls.drop(columns="counted_chunks")
