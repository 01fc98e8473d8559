"""How well scores tell virus from others, how sure that is, and whether they are probabilities."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from virnucflow.measures.discrimination import (
    by_group,
    by_sequence_length,
    by_stratum,
    compute_metrics,
)
from virnucflow.measures.figures import draw_figure, save_reliability
from virnucflow.measures.intervals import auroc_interval
from virnucflow.measures.reliability import calibration_error, reliability


def scored(viral: object, score: object) -> pd.DataFrame:
    """One row per sequence."""
    return pd.DataFrame({"viral": np.asarray(viral, dtype=bool), "score": np.asarray(score)}).reset_index(
        names="sequence"
    )


def test_figures_of_a_small_table() -> None:
    table = scored([True, True, False, False], [0.9, 0.4, 0.6, 0.1])
    found = compute_metrics(table)
    assert found["auroc"] == 0.75 and found["accuracy"] == 0.5 and found["number"] == 4
    assert found["sensitivity_at_1_percent_false_positives"] == 0.5
    assert found["false_positives_at_90_percent_sensitivity"] == 0.5, "of two viruses, 90 % are both"
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert np.isnan(compute_metrics(table[:2])["auroc"])


@pytest.mark.parametrize(("shift", "rows_each"), [(1.0, 1), (1.0, 12), (2.5, 12)])
def test_auroc_interval_holds_the_truth_in_95_of_100_samples(shift: float, rows_each: int) -> None:
    """Half of what a score varies is its sequence's, so many rows of few sequences tell less than as many of many."""
    random = np.random.default_rng(0)

    def draw(sequences: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sequence = np.arange(sequences).repeat(rows_each)
        viral = sequence % 2 == 1
        return viral, random.normal(size=sequences)[sequence] + random.normal(size=len(viral)) + shift * viral, sequence

    truth = roc_auc_score(*draw(100_000)[:2])
    held, believed = [], []
    for _ in range(400):
        viral, score, sequence = draw(60)
        low, high = auroc_interval(viral, score, sequence)
        held.append(low <= truth <= high)
        low, high = auroc_interval(viral, score, np.arange(len(score)))
        believed.append(low <= truth <= high)
    assert 0.92 <= np.mean(held) <= 0.98
    assert rows_each == 1 or np.mean(believed) < 0.75, "as if chunks of one sequence were independent"


def test_reliability_of_a_small_table() -> None:
    """A bin has its lower end, the last both; those without a chunk are not there."""
    score = [0.0, 0.05, 0.1, 0.3, 0.6, 0.7, 0.89, 0.9, 0.99, 1.0]
    found = reliability(np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 0], dtype=bool), np.array(score))
    assert list(found["score_from"]) == [0, 0.1, 0.3, 0.6, 0.7, 0.8, 0.9]
    assert list(found["score_to"]) == [0.1, 0.2, 0.4, 0.7, 0.8, 0.9, 1]
    assert list(found["number"]) == [2, 1, 1, 1, 1, 1, 3]
    last = found.iloc[-1]
    assert last["mean_score"] == pytest.approx(2.89 / 3) and last["share_viral"] == pytest.approx(2 / 3)
    assert (last["share_lower"], last["share_upper"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)  # Wilson's, 2 of 3
    assert found["number"].sum() == 10 and ((found["share_lower"] >= -1e-9) & (found["share_upper"] <= 1 + 1e-9)).all()


def test_reliability_of_probabilities_is_the_line() -> None:
    random = np.random.default_rng(0)
    score = random.random(20_000)
    found = reliability(random.random(20_000) < score, score)
    inside = (found["share_lower"] <= found["mean_score"]) & (found["mean_score"] <= found["share_upper"])
    assert inside.sum() >= 8 and calibration_error(found) < 0.015
    sure = reliability(random.random(20_000) < 0.25 + score / 2, score)
    assert calibration_error(sure) == pytest.approx(0.125, abs=0.015)
    assert sure["share_viral"].iloc[0] > 0.2 > found["share_viral"].iloc[0]


def test_figure_of_reliability_shows_each_set_and_length(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    score = random.random(500)
    parts = {
        (name, n): reliability(random.random(n) < score[:n], score[:n])
        for name, n in (("a", 400), ("a", 300), ("b", 500))
    }
    table = pd.concat(parts, names=["set", "length"]).droplevel(-1).reset_index()
    panels = draw_figure(table).axes
    assert [panel.get_legend().get_title().get_text() for panel in panels] == ["a", "b"]
    said = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert said == ["400 bases: 400 chunks", "300 bases: 300 chunks"]
    points, line = panels[1].containers[0].lines[0], parts["b", 500]
    assert np.array_equal(points.get_xydata(), line[["mean_score", "share_viral"]])
    assert [bar.get_height() for bar in panels[1].patches] == pytest.approx(list(line["number"] / 500))
    assert [bar.get_x() for bar in panels[1].patches] == pytest.approx(list(line["score_from"]))
    for name in ("one.svg", "other.svg"):
        save_reliability(table, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_auroc_without_an_interval() -> None:
    viral = np.array([True, True, False, False])
    assert np.isnan(auroc_interval(viral, np.array([3.0, 4.0, 1.0, 2.0]), np.arange(4))).all(), "an AUROC of 1"
    assert np.isnan(auroc_interval(viral, np.array([3.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 2]))).all(), "one virus"
    assert np.isnan(auroc_interval(viral[:2], np.array([3.0, 1.0]), np.arange(2))).all(), "no other"


def test_a_group_of_one_label_is_held_against_all_of_the_other() -> None:
    table = scored([True, True, False, False, True, False], [0.5] * 6).assign(group=["a", "b", "c", "c", "", "d"])
    found = by_group(table)
    assert list(found["by"]) == ["all"] + ["group"] * 4
    assert dict(zip(found["value"], found["number"])) == {"all": 6, "a": 4, "b": 4, "c": 5, "d": 4}
    mixed = by_group(table.assign(group=["m", "m", "m", "c", "c", "c"])).set_index("value")
    assert mixed.loc["m", "number"] == 3


def test_strata_are_what_they_say() -> None:
    chunks = scored([True, False] * 4, [0.9, 0.1, 0.2, 0.8, 0.9, 0.1, 0.9, 0.1]).assign(
        gc=[0.1, 0.399, 0.4, 0.499, 0.5, 0.599, 0.6, 0.9],
        frames=[1, 1, 2, 2, 3, 4, 5, 6],
        forward=[0.9, 0.1, 0.2, np.nan, 0.9, 0.1, np.nan, 0.1],
        reverse=[0.3, np.nan, 0.1, 0.8, np.nan, np.nan, 0.9, np.nan],
    )
    found = by_stratum(chunks).set_index(["by", "value"])
    assert dict(found["number"]) == {
        ("gc", "below 40 %"): 2, ("gc", "40 to 50 %"): 2, ("gc", "50 to 60 %"): 2, ("gc", "60 % and more"): 2,
        ("frames", "1"): 2, ("frames", "2"): 2, ("frames", "3 and more"): 4,
        ("strand", "forward"): 6, ("strand", "reverse"): 4,
    }  # fmt: skip
    auroc = found["auroc"]
    assert list(auroc["gc"]) == [1, 0, 1, 1] and list(auroc["frames"]) == [1, 0, 1]
    assert auroc["strand", "forward"] == 1 and auroc["strand", "reverse"] == pytest.approx(1 / 3)
    one = by_stratum(chunks[chunks["gc"] > 0.6].assign(forward=np.nan))
    assert list(zip(one["by"], one["value"])) == [("gc", "60 % and more"), ("frames", "3 and more")]


def test_kind_is_a_stratum_where_it_is_known() -> None:
    chunks = scored([True, False] * 4, [0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.1]).assign(
        gc=0.3,
        frames=1,
        forward=0.5,
        reverse=np.nan,
        kind=["whole"] * 4 + ["longest"] * 4,
    )
    auroc = by_stratum(chunks).set_index(["by", "value"])["auroc"]
    assert dict(auroc["kind"]) == {"whole": 1, "longest": 0.5}
    assert "kind" not in set(by_stratum(chunks.drop(columns="kind"))["by"])


def test_intervals_are_over_the_unit_that_is_named() -> None:
    random = np.random.default_rng(0)
    table = scored(np.arange(400) % 2, random.random(400) + 0.3 * (np.arange(400) % 2)).assign(
        genome=[f"g{i // 2 % 10}" for i in range(400)], group="g", gc=0.3, frames=1, forward=0.5, reverse=np.nan
    )
    for tabulate in (by_group, by_stratum):
        rows, default, of_sequence = tabulate(table, "genome"), tabulate(table), tabulate(table, "sequence")
        assert default.equals(of_sequence)
        assert (rows["auroc"] == default["auroc"]).all()
        varied = (default["by"] != "strand").to_numpy()
        for limit in ("auroc_lower", "false_positives_at_90_percent_sensitivity_upper"):
            assert (rows[limit] != default[limit])[varied].all(), "each row's interval is over genomes"
        assert rows.loc[0, "auroc_lower"] == compute_metrics(table, "genome")["auroc_lower"]


def test_sequences_of_at_least_so_many_bases() -> None:
    sequences = pd.DataFrame(
        {
            "sequence_length": [999, 1000, 3000, 4999, 5000, 9999, 20_000],
            "viral": [True, False, True, False, True, False, False],
            "score": [0.0, 0.9, 0.8, 0.5, 0.6, 0.7, 0.1],
            "unit": list("abcdefg"),
        }
    )
    rows = by_sequence_length(sequences, "unit").set_index("value")
    assert dict(rows["number"]) == {"1000 and more": 6, "3000 and more": 5, "5000 and more": 3, "10000 and more": 1}
    assert list(rows["auroc"])[:3] == [0.625, pytest.approx(5 / 6), 0.5] and np.isnan(rows["auroc"].iloc[3])
    # 90 % of two viruses are both, so that the threshold is 0.6: of 0.9, 0.5, 0.7 and 0.1 two reach it.
    assert rows.loc["1000 and more", "false_positives_at_90_percent_sensitivity"] == 0.5
    assert by_sequence_length(sequences.head(1), "unit").empty
