"""95 % intervals over units: how often they hold the truth, and what they are where units tell nothing."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from virnucflow.measures.intervals import auroc_interval, mean_interval, share_interval, wilson


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_the_interval_of_a_share_holds_the_truth_where_units_differ(spread: float) -> None:
    """Each genome has a share of its own (a beta distribution, the flatter the smaller `spread`)."""
    random = np.random.default_rng(0)
    truth, held, believed = 0.2, [], []
    for _ in range(500):
        rows = random.integers(20, 200, size=40)
        hits = random.binomial(rows, random.beta(truth * spread, (1 - truth) * spread, size=40))
        lower, upper = share_interval(hits, rows)
        held.append(lower <= truth <= upper)
        lower, upper = wilson(hits.sum() / rows.sum(), rows.sum())
        believed.append(lower <= truth <= upper)
    assert 0.91 <= np.mean(held) <= 0.98
    assert np.mean(believed) < 0.7, "as if chunks of one genome were independent"


def test_a_share_that_units_do_not_vary_counts_each_unit_once() -> None:
    rows = np.array([100, 200, 300, 0])
    assert share_interval(np.zeros(4), rows) == wilson(0, 3)
    assert share_interval(rows, rows) == wilson(1, 3)
    assert np.isnan(share_interval(np.array([3, 0]), np.array([9, 0]))).all(), "one unit with a row"
    assert share_interval(np.full(50, 5), np.full(50, 10)) == pytest.approx(wilson(0.5, 500)), "no more than all rows"


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert mean_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 8)
    assert mean_interval(values) == mean_interval(values)
    assert np.isnan(mean_interval(values[:1])).all()


def test_a_unit_may_have_rows_of_both_labels() -> None:
    """A genome whose prophages and whose other genes are scored high alike: the bootstrap of whole genomes tells."""
    random = np.random.default_rng(0)
    unit = np.arange(60).repeat(20)
    viral = random.random(len(unit)) < 0.4
    score = 2 * random.normal(size=60)[unit] + random.normal(size=len(unit)) + viral
    lower, upper = auroc_interval(viral, score, unit)
    rows = [np.flatnonzero(unit == number) for number in range(60)]
    drawn = [np.concatenate([rows[i] for i in random.integers(60, size=60)]) for _ in range(600)]
    reference = np.quantile([roc_auc_score(viral[of], score[of]) for of in drawn], [0.025, 0.975])
    assert (lower, upper) == pytest.approx(tuple(reference), abs=0.15 * (reference[1] - reference[0]))
    apart = np.char.add(viral.astype(str), unit.astype(str))  # as if they were two genomes
    wide_lower, wide_upper = auroc_interval(viral, score, apart)
    assert wide_upper - wide_lower > 1.5 * (upper - lower)
