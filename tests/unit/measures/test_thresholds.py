"""What a score means as a threshold."""

import numpy as np
import pandas as pd
import pytest

from virnucflow.measures.intervals import share_interval
from virnucflow.measures.thresholds import SCORES, by_threshold, rates_reached, threshold_finding


def test_the_threshold_is_the_highest_that_finds_the_share() -> None:
    score = np.array([0.1, 0.9, 0.3, 0.7, 0.5])
    assert threshold_finding(score, 0.6) == 0.5, "three of five"
    assert threshold_finding(score, 0.61) == 0.3
    assert threshold_finding(score, 1) == 0.1 and threshold_finding(score, 0.01) == 0.9
    assert threshold_finding(np.arange(100.0), 0.07) == 93, "seven of a hundred, whatever rounding says"
    assert np.isnan(threshold_finding(score[:0], 0.6))
    assert threshold_finding(np.array([0.2, 0.8, 0.8, 0.8]), 0.5) == 0.8, "equal ones are found together"
    scores = np.random.default_rng(0).random(997)
    for share in (0.6, 0.9):
        threshold = threshold_finding(scores, share)
        assert (scores >= threshold).mean() >= share > (scores > threshold).mean()


def test_rates_of_a_small_table() -> None:
    """Ten viral chunks of two families and a hundred others of two genomes; the score 0.5 itself is a call."""
    chunks = pd.DataFrame(
        {
            "viral": [True] * 10 + [False] * 100,
            "unit": ["a"] * 5 + ["b"] * 5 + ["g"] * 50 + ["h"] * 50,
            "score": [0.995, 0.96, 0.92, 0.85, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2] + [0.5, 0.8] + [0.1] * 98,
        }
    )
    rates = by_threshold(chunks, "unit").set_index("score")
    assert list(rates.index) == list(SCORES) == [0.5, 0.7, 0.8, 0.9, 0.95, 0.99]
    assert list(rates["sensitivity"]) == [0.7, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert list(rates["false_positive_rate"]) == [0.02, 0.01, 0.01, 0, 0, 0]
    assert rates.loc[0.5, "precision_at_1_percent_viruses"] == pytest.approx(0.007 / (0.007 + 0.0198))
    assert rates.loc[0.9, "precision_at_1_percent_viruses"] == 1
    lower, upper = share_interval(np.array([5, 2]), np.array([5, 5]))
    assert (rates.loc[0.5, "sensitivity_lower"], rates.loc[0.5, "sensitivity_upper"]) == pytest.approx((lower, upper))
    limit = rates.loc[0.9, "precision_at_1_percent_viruses_lower"]
    low, high = rates.loc[0.9, ["sensitivity_lower", "false_positive_rate_upper"]]
    assert limit == pytest.approx(0.01 * low / (0.01 * low + 0.99 * high)) and limit < 0.5, "none seen is not none"


def test_limits_hold_for_the_thresholds_beyond() -> None:
    """No false positive in few genomes says less than one in many chunks does of the lower threshold."""
    score, unit = np.full(4000, 0.1), np.arange(4000) % 20
    score[7] = 0.6
    rates = rates_reached(score, unit, (0.5, 0.9))
    assert rates["upper"].iloc[0] < 0.01 and rates["upper"].iloc[1] <= rates["upper"].iloc[0]
    assert rates_reached(score[:0], unit[:0], (0.5,)).isna().all(axis=None)
