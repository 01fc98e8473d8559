"""How good a trained classifier is: the tables of figures of its test sequences."""

import numpy as np
import pandas as pd
import torch

from virnucflow.measures.discrimination import STRANDS, by_group, by_sequence_length, by_stratum
from virnucflow.measures.genomes import by_genome, genome_shares, worst_genomes
from virnucflow.measures.reliability import reliability
from virnucflow.measures.thresholds import by_threshold
from virnucflow.packs.pack import SequenceScaling
from virnucflow.scoring.calls import probability, scale_sequences

SEQUENCE = ["table", "sequence_id"]  # the number of the table of labels, and the name in it


def evaluate(
    frames: pd.DataFrame, sequences: pd.DataFrame, logit: np.ndarray, scaling: SequenceScaling
) -> dict[str, pd.DataFrame]:
    """The tables of figures of the test sequences, by the names of their files.

    Those of evaluation.tsv are by what is scored (frame, chunk, sequence) and by group, of chunks by stratum too, and
    of sequences by length. A chunk and a sequence have the best score of their frames, and by length a sequence has the
    score of all its chunks, by `scaling`; a sequence without a frame has 0. `logit` (frames) float32 is the calibrated
    difference of the logits.
    """
    score = torch.from_numpy(logit).sigmoid().numpy()
    held_out = frames.assign(score=score, logit=logit)[(frames["split"] == "test").to_numpy()]
    best = held_out.groupby(SEQUENCE)["score"].max()
    test = sequences[sequences["split"] == "test"].set_index(SEQUENCE)
    chunks = best_of_chunks(held_out)
    levels = {"frame": held_out, "chunk": chunks, "sequence": test.assign(score=best.reindex(test.index).fillna(0.0))}
    tables = {level: by_group(table, "genome") for level, table in levels.items()}
    tables["chunk"] = pd.concat([tables["chunk"], by_stratum(chunks, "genome")])
    of_all_chunks = test["sequence"].map(score_by_chunks(chunks, scaling)).fillna(0.0)
    tables["sequence by mean"] = by_sequence_length(test.assign(score=of_all_chunks), "genome")
    bins = reliability(chunks["viral"], chunks["score"])
    shares = genome_shares(chunks, "genome")
    return {
        "evaluation.tsv": pd.concat(tables, names=["scored"]).droplevel(-1).reset_index(),
        "by_genome.tsv": by_genome(shares),
        "worst_genomes.tsv": worst_genomes(shares),
        "thresholds.tsv": by_threshold(chunks, "genome"),
        "reliability.tsv": bins,
    }


def score_by_chunks(chunks: pd.DataFrame, scaling: SequenceScaling) -> pd.Series:
    """The score of each sequence by all its chunks, as the workflow gives it, by the sequence's number; 0 without one.

    `chunks` has `sequence`, a number, and `logit`, the calibrated one, NaN for a chunk without a score.
    """
    logits = chunks.groupby("sequence")["logit"].agg(["count", "sum"])
    score = probability(scale_sequences(logits["count"].to_numpy(), logits["sum"].to_numpy(), scaling))
    return pd.Series(score, logits.index).fillna(0.0)


def best_of_chunks(frames: pd.DataFrame) -> pd.DataFrame:
    """One row per chunk: sequence, viral, group, genome, best score, best score of each strand, frames, their mean gc.

    And logit, the best one, and kind, of the frames, where the frames have it.
    """
    strand = frames["frame"].str[0]
    same = ["sequence", "viral", "group", "genome", *(["kind"] if "kind" in frames else [])]  # in a chunk's frames
    scores = {name: frames["score"].where(strand == letter) for name, letter in STRANDS.items()}
    return (
        frames.assign(frames=1, **scores)
        .groupby([*SEQUENCE, "chunk"])
        .agg(
            dict.fromkeys(same, "first")
            | dict.fromkeys(("score", "logit", *STRANDS), "max")
            | {"frames": "sum", "gc": "mean"}
        )
    )
