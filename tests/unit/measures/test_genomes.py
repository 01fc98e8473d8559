"""Figures by genome."""

import time

import numpy as np
import pandas as pd
import pytest

from virnucflow.measures.discrimination import by_group, by_stratum
from virnucflow.measures.genomes import by_genome, genome_shares, worst_genomes
from virnucflow.measures.intervals import wilson
from virnucflow.measures.thresholds import by_threshold


def genome(name: str, group: str, viral: bool, high: int, low: int, score: float = 0.9) -> pd.DataFrame:
    """A genome of which so many chunks have this score, and so many 0.1."""
    return pd.DataFrame(
        {"viral": viral, "group": group, "unit": name, "score": [score] * high + [0.1] * low},
    )


@pytest.fixture
def chunks() -> pd.DataFrame:
    return pd.concat(
        [
            genome("clean", "bacteria", False, 0, 40),
            genome("at the limit", "bacteria", False, 1, 19),  # 5 % are not more than 5 %
            genome("bad", "bacteria", False, 2, 18),
            genome("worst", "bacteria", False, 4, 6),
            genome("too small", "bacteria", False, 9, 0),
            genome("fungus", "fungi", False, 1, 9),
            genome("herpes", "herpes", True, 9, 1),
            genome("pox", "pox", True, 4, 6, score=0.7),
        ],
        ignore_index=True,
    )


def test_figures_by_genome_of_a_small_table(chunks: pd.DataFrame) -> None:
    rows = by_genome(genome_shares(chunks, "unit")).set_index(["threshold_for", "viral", "group"])
    bacteria = rows.loc["score 0.5", False, "bacteria"]
    assert (bacteria["genomes"], bacteria["left_out"], bacteria["chunks"]) == (4, 1, 90)
    assert bacteria["median"] == pytest.approx(0.075) and bacteria["mean"] == pytest.approx(0.1375)
    assert bacteria["mean_lower"] < 0.1375 < bacteria["mean_upper"]
    assert (bacteria["worst"], bacteria["worst_genome"]) == (0.4, "worst")
    assert bacteria["above_5_percent"] == 0.5 and bacteria["above_15_percent"] == 0.25
    assert tuple(bacteria[["above_5_percent_lower", "above_5_percent_upper"]]) == wilson(0.5, 4)
    over_all = rows.loc["score 0.5", False, "all"]
    assert (over_all["genomes"], over_all["above_5_percent"], over_all["left_out"]) == (5, 0.6, 1)
    pox = rows.loc["score 0.5", True, "pox"]
    assert (pox["worst"], pox["worst_genome"]) == (0.4, "pox") and np.isnan(pox["above_5_percent"])
    assert np.isnan(pox["mean_lower"]), "one genome"
    viruses = rows.loc["score 0.5", True, "all"]
    assert (viruses["worst"], viruses["worst_genome"], viruses["median"]) == (0.4, "pox", pytest.approx(0.65))
    # 12 of 20 viral chunks have 0.7 or more, and no other threshold finds them.
    found = rows.loc["60 % of viral chunks"]
    assert set(found["threshold"]) == {0.7} and found.loc[(True, "pox"), "mean"] == 0.4


def test_a_group_without_a_genome_of_enough_chunks_is_told() -> None:
    table = pd.concat([genome("a", "small", False, 3, 6), genome("v", "v", True, 10, 0)])
    row = by_genome(genome_shares(table, "unit")).query("group == 'small'").iloc[0]
    assert (row["genomes"], row["left_out"], row["worst_genome"]) == (0, 1, "") and np.isnan(row["median"])
    only = by_genome(genome_shares(table[~table["viral"]], "unit"))
    assert list(only["threshold_for"].unique()) == ["score 0.5"], "no virus to find"


def test_a_genome_of_two_groups_is_one_over_all() -> None:
    table = pd.concat([genome("g", "chromosome", False, 2, 18), genome("g", "plasmid", False, 8, 2)])
    rows = by_genome(genome_shares(table, "unit")).set_index("group")
    assert (rows.loc["all", "genomes"], rows.loc["all", "mean"]) == (1, pytest.approx(1 / 3))
    assert (rows.loc["plasmid", "mean"], rows.loc["chromosome", "mean"]) == (0.8, 0.1)


def test_the_worst_genomes_come_first(chunks: pd.DataFrame) -> None:
    more = [genome(f"g{i}", "many", False, i, 20 - i) for i in range(8)]
    worst = worst_genomes(genome_shares(pd.concat([chunks, *more]), "unit")).query("threshold_for == 'score 0.5'")
    named = worst.groupby("group", sort=False)["genome"].agg(list)
    assert named["bacteria"] == ["worst", "bad", "at the limit", "clean"]
    assert named["many"] == ["g7", "g6", "g5", "g4", "g3"]
    assert list(worst.query("group == 'many'")["share"]) == [0.35, 0.3, 0.25, 0.2, 0.15]
    viral = worst_genomes(genome_shares(pd.concat([chunks.assign(group="x"), *more]), "unit"))
    assert list(viral.query("viral and threshold_for == 'score 0.5'")["genome"]) == ["pox", "herpes"]


def test_hundreds_of_thousands_of_chunks_take_seconds() -> None:
    random, number = np.random.default_rng(0), 300_000
    table = pd.DataFrame({"unit": random.integers(1000, size=number), "score": random.random(number)})
    table = table.assign(
        viral=table["unit"] % 4 == 0, group=(table["unit"] % 12).astype(str), unit=table["unit"].astype(str),
        gc=random.random(number), frames=random.integers(1, 7, size=number), forward=table["score"], reverse=np.nan,
    )  # fmt: skip
    began = time.process_time()
    shares = genome_shares(table, "unit")
    by_genome(shares), worst_genomes(shares), by_threshold(table, "unit")
    seconds = time.process_time() - began
    by_group(table, "unit"), by_stratum(table, "unit")
    whole = time.process_time() - began
    assert seconds < 10 and whole < 40
