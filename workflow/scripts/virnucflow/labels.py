"""Sequences whose truth is known: their labels, and how they are split without a leak."""

from pathlib import Path

import numpy as np
import pandas as pd

from virnucflow.classifier import LABELS
from virnucflow.cli import InputError

SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)


def read_labels(path: Path) -> pd.DataFrame:
    """A row a sequence: sequence_id, label (virus, others) and whatever other columns there are, all of them text."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if not {"sequence_id", "label"} <= set(table):
        raise InputError(f"{path}, line 1: needs the columns sequence_id and label; separate them by tabs")
    for number, label in enumerate(table["label"], start=2):
        if label not in LABELS:
            raise InputError(f"{path}, line {number}: label {label!r}; give {' or '.join(LABELS)}")
    table = table.drop_duplicates()
    if (twice := table["sequence_id"].duplicated()).any():
        number, name = table.index[twice][0] + 2, table["sequence_id"][twice].iloc[0]
        raise InputError(f"{path}, line {number}: {name!r} is above with other values; give each sequence one row")
    return table.reset_index(drop=True)


def split_sequences(labels: pd.DataFrame, units: pd.Series, seed: int) -> np.ndarray:
    """The split of each row of `labels`: sequences of one unit stay together, and each split has its share of labels.

    A unit counts as viral when half of its sequences are. InputError when a split would lack a label.
    """
    viral = labels["label"].eq("virus").groupby(units).mean().ge(0.5)
    random = np.random.default_rng(seed)
    split = pd.Series(index=viral.index, dtype=object)
    for label in (False, True):
        names = random.permutation(viral.index[viral == label])
        ends = np.round(np.cumsum(SHARES) * len(names)).astype(int)
        for name, part in zip(SPLITS, np.split(names, ends[:-1]), strict=True):
            split[part] = name
    return units.map(split).to_numpy()
