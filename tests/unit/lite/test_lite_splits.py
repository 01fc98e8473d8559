"""Which sequences the lite pack is trained on, and which are held back."""

import random

import numpy as np
import pandas as pd
import pytest

from lite_splits import FEW_HOSTS, GROUPS, LEFT_OUT, split, weights

COLUMNS = ["file", "label", "group", "unit", "genes", "cluster", "gc", "length"]
FILES = {"train.fa": "train", "test.fa": "test", "choose.fa": "choose"}
KMERS = 100  # of each sequence here


def split_rows(rows: list[tuple], sketches: dict[int, np.ndarray] | None = None) -> pd.DataFrame:
    """The table with its splits; sequences have k-mers of their own alone, but for those of `sketches`, by row."""
    table = pd.DataFrame(rows, columns=COLUMNS)
    own = np.arange(len(table) * KMERS, dtype=np.uint64).reshape(-1, KMERS)
    return table.assign(split=split(table, FILES, [(sketches or {}).get(i, own[i]) for i in range(len(table))]))


def test_clusters_of_genes_are_held_back_spread_over_gc_content() -> None:
    random_ = random.Random(0)
    rows = [("train.fa", 0, "bacteria", f"b{i}", True, i, random_.random(), 1000) for i in range(200)]
    bacteria = split_rows(rows)
    assert bacteria["split"].value_counts().to_dict() == {"train": 185, "test": 9, "choose": 6}
    lowest, highest = bacteria[bacteria["split"] == "test"]["gc"].agg(["min", "max"])
    assert lowest < 0.2 and highest > 0.8


def test_a_cluster_is_held_back_with_all_its_sequences() -> None:
    """A cluster that has a sequence of another kind than genes is not held back by GC content."""
    random_ = random.Random(1)
    rows = [("train.fa", 0, "bacteria", f"b{i}", True, i // 3, random_.random(), 1000) for i in range(300)]
    rows += [("train.fa", 0, "bacteria", f"c{n}", False, n, 0.5, 1000) for n in range(0, 100, 2)]
    table = split_rows(rows)
    assert table.groupby("cluster")["split"].nunique().max() == 1
    assert table[table["genes"]]["split"].value_counts().to_dict() == {"train": 288, "choose": 6, "test": 6}
    assert (table[table["cluster"] % 2 == 0]["split"] == "train").all()


def test_transcripts_are_held_back_by_organism() -> None:
    rows = [("train.fa", 0, "protozoa", f"o{i % 40}", True, i, 0.3 + i % 40 / 100, 1000) for i in range(400)]
    table = split_rows(rows)
    assert table.groupby("unit")["split"].nunique().max() == 1
    assert table.drop_duplicates("unit")["split"].value_counts().to_dict() == {"train": 37, "test": 2, "choose": 1}


@pytest.mark.parametrize(("shared", "alike"), [(19, False), (20, True)])
@pytest.mark.parametrize("larger", ["train", "test"])
def test_of_two_splits_that_are_alike_the_larger_part_stays(shared: int, alike: bool, larger: str) -> None:
    length = {name: 2000 if name == larger else 900 for name in ("train", "test")}
    rows = [("train.fa", 1, "phage", f"p{i}", False, i, 0.5, length["train"] // 2) for i in range(2)]
    rows += [("test.fa", 1, "phage", "t", False, 2, 0.5, length["test"])]
    like = [np.arange(KMERS, dtype=np.uint64) + KMERS * i for i in range(3)]
    like[0][:shared], like[1][:shared] = like[2][:shared], like[2][shared : 2 * shared]
    splits = split_rows(rows, dict(enumerate(like)))["split"].tolist()
    expected = ["train", "train", "test"]
    if alike:
        expected = ["train", "train", LEFT_OUT] if larger == "train" else [LEFT_OUT, LEFT_OUT, "test"]
    assert splits == expected


def test_test_and_choice_are_not_alike_either_and_small_sequences_join_no_large_ones() -> None:
    """A third genome that shares a few genes with both is no reason for them to be alike."""
    rows = [
        ("choose.fa", 1, "phage", "c", False, 0, 0.5, 500), ("test.fa", 1, "phage", "t", False, 1, 0.5, 1000),
        ("train.fa", 0, "bacteria", "b", False, 2, 0.5, 1000), ("test.fa", 0, "bacteria", "u", False, 3, 0.5, 1000),
        ("train.fa", 0, "bacteria", "v", False, 4, 0.5, 100),
    ]  # fmt: skip
    kmers = [np.arange(KMERS, dtype=np.uint64) + KMERS * i for i in range(4)]
    kmers[0][:50] = kmers[1][:50]
    kmers.append(np.concatenate([kmers[2][:10], kmers[3][:10]]))
    assert split_rows(rows, dict(enumerate(kmers)))["split"].tolist() == [LEFT_OUT, "test", "train", "test", LEFT_OUT]


def test_an_organism_is_in_one_split() -> None:
    """Of others; viruses of one family name may be anything that has no family."""
    rows = [("train.fa", label, "g", "o", False, i, 0.5, 600) for i, label in enumerate((0, 1))]
    rows += [("test.fa", label, "g", "o", False, 2 + i, 0.5, 1000) for i, label in enumerate((0, 1))]
    assert split_rows(rows)["split"].tolist() == [LEFT_OUT, "train", "test", "test"]


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
