"""Sequences whose truth is known: their labels, and how they are split without a leak."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd

from virnucflow.cli import InputError, log
from virnucflow.files.tables import LABELS
from virnucflow.sequences.compressed import decompressed

SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)


def read_labels(path: Path) -> pd.DataFrame:
    """One row per sequence: sequence_id, label (virus or others) and whatever other columns there are, all text.

    Raises InputError, with the line where it is known, for what is no such table.
    """
    table = _read_rows(path)
    for number, label in table["label"].items():
        if label not in LABELS:
            raise InputError(f"{path}, line {number}: label {label!r}; give {' or '.join(LABELS)}")
    table = table.drop_duplicates()
    if (twice := table["sequence_id"].duplicated()).any():
        number, name = table.index[twice][0], table["sequence_id"][twice].iloc[0]
        raise InputError(f"{path}, line {number}: {name!r} is above with other values; give each sequence one row")
    return table.reset_index(drop=True)


def _read_rows(path: Path) -> pd.DataFrame:
    """The table as it is, its index the line of each row. pandas itself would shift or fill rows of other lengths."""
    rows: dict[int, list[str]] = {}
    with decompressed(path) as stream:
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")  # type: ignore[type-var]
        reader = csv.reader(lines, delimiter="\t")
        try:
            columns = next(reader, [])
            if not {"sequence_id", "label"} <= set(columns) or len(set(columns)) < len(columns):
                raise InputError(
                    f"{path}, line 1: needs the columns sequence_id and label, and each once; separate them by tabs"
                )
            for row in filter(None, reader):
                if len(row) != len(columns):
                    raise InputError(
                        f"{path}, line {reader.line_num}: {len(row)} fields, but {len(columns)} columns in line 1; "
                        "separate them by tabs, and leave none out"
                    )
                rows[reader.line_num] = row
        except UnicodeDecodeError:
            raise InputError(
                f"{path}: not UTF-8; convert the file, for example with 'iconv -f latin1 -t utf-8'"
            ) from None
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}: not a table ({error}); restore the file") from None
    return pd.DataFrame(rows.values(), index=list(rows), columns=columns, dtype=str)


def name_genomes(labels: pd.DataFrame, units: pd.Series, unnamed: pd.Series) -> pd.Series:
    """By what figures of each row of `labels` are given: its column genome, else what the split holds together.

    `units` are those of split_sequences(), `unnamed` (bool) those that are one sequence each. Such a one has the name
    of the sequence, a cluster that of its first. `labels` has sequence_id, split, and table, the number of its table.
    """
    name = labels["sequence_id"]
    several = labels.groupby("sequence_id")["table"].transform("nunique") > 1
    name = name.mask(several, name + " (labels " + (labels["table"] + 1).astype(str) + ")")
    if units.name == "cluster":
        genomes = name.mask(~unnamed, "cluster of " + name.groupby(units).transform("first"))
    else:
        genomes = units.mask(unnamed, name)
    if "genome" in labels:
        genomes = genomes.mask(labels["genome"].fillna("") != "", labels["genome"])
    parts = labels[labels["split"] != ""].groupby(genomes)["split"].nunique()
    if (parts > 1).any():
        log.warning(
            "%d genomes have sequences in more than one split, for example %r: figures by genome flatter; "
            "training: split_by: genome holds them together",
            (parts > 1).sum(), parts.index[parts > 1][0],
        )  # fmt: skip
    return genomes


def split_sequences(labels: pd.DataFrame, units: pd.Series, seed: int) -> np.ndarray:
    """The split of each row of `labels`: sequences of one unit stay together, and each split has its share of units.

    A unit counts as viral when half of its sequences are. The units' name is what they are in the log.
    """
    viral = labels["label"].eq("virus").groupby(units).mean().ge(0.5)
    random = np.random.default_rng(seed)
    split = pd.Series(index=viral.index, dtype=object)
    for label in (False, True):
        names = random.permutation(viral.index[viral == label])
        ends = np.round(np.cumsum(SHARES) * len(names)).astype(int)
        for name, part in zip(SPLITS, np.split(names, ends[:-1]), strict=True):
            split[part] = name
    splits = units.map(split)
    for label, elsewhere in units[splits != "train"].groupby(labels["label"]):
        if len(elsewhere) > (total := labels["label"].eq(label).sum()) / 2:
            sizes = elsewhere.value_counts()
            log.warning(
                "%d of %d sequences of label %s are not trained on: %s %r alone has %d, for %s; "
                "split by another column, or take another training: seed",
                len(elsewhere), total, label, units.name, sizes.index[0], sizes.iloc[0], split[sizes.index[0]],
            )  # fmt: skip
    return splits.to_numpy()
