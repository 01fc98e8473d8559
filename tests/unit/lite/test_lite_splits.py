"""Which sequences the lite pack is trained on, and which are held back."""

import random

import pandas as pd
import pytest

from lite_splits import FEW_HOSTS, GROUPS, LEFT_OUT, split, weights


def test_whole_clusters_are_held_back_and_what_is_like_them_left_out() -> None:
    random_ = random.Random(0)
    rows = [("train.fa", 0, "bacteria", True, i, random_.random()) for i in range(200)]
    rows += [("train.fa", 1, "phage", False, 300 + i, 0.5) for i in range(10)]
    rows += [("test.fa", 1, "phage", False, 303, 0.5), ("choose.fa", 1, "phage", False, 400, 0.5)]
    table = pd.DataFrame(rows, columns=["file", "label", "group", "genes", "cluster", "gc"])
    splits = split(table, {"train.fa": "train", "test.fa": "test", "choose.fa": "choose"})
    bacteria = table[table["group"] == "bacteria"].assign(split=splits)
    assert bacteria["split"].value_counts().to_dict() == {"train": 185, "test": 9, "choose": 6}
    lowest, highest = bacteria[bacteria["split"] == "test"]["gc"].agg(["min", "max"])
    assert lowest < 0.2 and highest > 0.8, "spread over GC content"
    assert splits[table["cluster"] == 303].tolist() == [LEFT_OUT, "test"]
    assert (splits[(table["cluster"] >= 300) & (table["cluster"] < 303)] == "train").all()


def test_a_cluster_is_held_back_with_all_its_sequences() -> None:
    """A cluster that has a sequence of another kind than genes is not held back by GC content."""
    random_ = random.Random(1)
    rows = [("train.fa", 0, "bacteria", True, i // 3, random_.random()) for i in range(300)]
    rows += [("train.fa", 0, "bacteria", False, cluster, 0.5) for cluster in range(0, 100, 2)]
    table = pd.DataFrame(rows, columns=["file", "label", "group", "genes", "cluster", "gc"])
    splits = split(table, {"train.fa": "train"})
    assert splits.groupby(table["cluster"]).nunique().max() == 1
    assert splits[table["genes"]].value_counts().to_dict() == {"train": 288, "choose": 6, "test": 6}
    assert (splits[table["cluster"] % 2 == 0] == "train").all()


def test_groups_are_drawn_by_their_shares_and_large_units_for_less() -> None:
    columns = ["label", "group", "genes", "source", "family", "unit", "cluster", "length"]
    rows = [
        (1, "phage", False, "a", "", "p", 0, 90_000), (1, "phage", False, FEW_HOSTS, "", "q", 1, 90_000),
        (1, "euk_virus", False, "a", "f", "f", 2, 1000), (1, "euk_virus", False, "a", "g", "g", 3, 100_000),
        (0, "bacteria", True, "metaphlan2", "", "x", 4, 1000), (0, "plant", False, "a", "", "y", 5, 1000),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    weight = pd.Series(weights(table)).groupby(table["group"] + table["genes"].map({True: " genes", False: ""})).sum()
    assert weight.to_dict() == pytest.approx({name: GROUPS[name] for name in weight.index})
    by_unit = dict(zip(table["unit"], weights(table)))
    assert 1 < by_unit["g"] / by_unit["f"] < 10 and by_unit["p"] > by_unit["q"]
