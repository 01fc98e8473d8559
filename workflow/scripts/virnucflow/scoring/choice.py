"""Which sequences are published as viral, by the row that users see of each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from virnucflow.files.kinds import FILES


@dataclass(frozen=True)
class Choice:
    """What a sequence must have at least to be published as viral (0: no matter what it has), and what decides then.

    With `max_fdr` the most probable ones are published, as many as have this expected false discovery rate; else those
    called virus.
    """

    min_score: float = 0
    min_length: int = 0
    min_scored_chunks: int = 0
    max_fdr: float | None = None

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in vars(self).items() if value)


def meets(table: pd.DataFrame, choice: Choice) -> np.ndarray:
    """Whether each row (score, length, scored_chunks) has what it must. An unknown score is below any but 0."""
    return (
        (table["score"].fillna(0) >= choice.min_score)
        & (table["length"] >= choice.min_length)
        & (table["scored_chunks"] >= choice.min_scored_chunks)
    ).to_numpy()


def choose_files(table: pd.DataFrame, choice: Choice) -> np.ndarray:
    """The name in FILES of where each row (call, expected_fdr, and those of meets) is published.

    `viral` as the choice says; else `others` when it has a call, and `unscored` when not.
    """
    is_virus = table["call"] == "virus" if choice.max_fdr is None else table["expected_fdr"] <= choice.max_fdr
    return np.select([is_virus & meets(table, choice), table["call"] != ""], FILES[:2], FILES[2])
