"""Which sequences are published as viral, by the row that users see of each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from virnucflow.files.kinds import FILES


@dataclass(frozen=True)
class Least:
    """What a sequence must have at least to be published as viral; 0: no matter what it has."""

    min_score: float = 0
    min_length: int = 0
    min_scored_chunks: int = 0

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items() if value)


def meets(table: pd.DataFrame, least: Least) -> np.ndarray:
    """Whether each row (score, length, scored_chunks) has all of it. An unknown score is below any but 0."""
    return (
        (table["score"].fillna(0) >= least.min_score)
        & (table["length"] >= least.min_length)
        & (table["scored_chunks"] >= least.min_scored_chunks)
    ).to_numpy()


def choose_files(table: pd.DataFrame, least: Least) -> np.ndarray:
    """The name in FILES of where each row is published.

    `viral` when it is called virus and has what it must; else `others` when it has a call, and `unscored` when not.
    """
    viral = (table["call"] == "virus") & meets(table, least)
    return np.select([viral, table["call"] != ""], FILES[:2], FILES[2])
