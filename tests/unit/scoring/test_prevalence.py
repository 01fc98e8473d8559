"""What a share of viruses makes of scores that are calibrated for another."""

import numpy as np
import pytest

from virnucflow.scoring.prevalence import LEAST, estimate_prevalence, expected_fdr, shift


def draw(prevalence: float, calibrated: float, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of so many sequences are viruses, and the logits of scores that are calibrated for another share."""
    random = np.random.default_rng(seed)
    viral = random.random(number) < prevalence
    x = random.normal(np.where(viral, 1.5, -1.5), 1)  # the likelihoods' ratio is exp(3 x)
    return viral, 3 * x + np.log(calibrated / (1 - calibrated))


@pytest.mark.parametrize("prevalence", [0.01, 0.1, 0.5])
def test_the_estimated_interval_has_the_true_share(prevalence: float) -> None:
    """In about 95 % of the draws; and the estimate is the share of the highest likelihood, by another way."""
    hits = 0
    for seed in range(100):
        _, logits = draw(prevalence, 0.25, 1000, seed)
        found = estimate_prevalence(logits, 0.25)
        hits += found.lower <= prevalence <= found.upper
        assert found.lower < found.share < found.upper
    assert 88 <= hits <= 100
    shares = np.linspace(0.001, 0.999, 999)
    ratio = np.exp(logits) / (0.25 / 0.75)
    likelihood = [np.log(share * ratio + 1 - share).sum() for share in shares]
    assert found.share == pytest.approx(shares[np.argmax(likelihood)], abs=0.003)


@pytest.mark.parametrize("prevalence", [0.01, 0.1, 0.5])
def test_the_expected_share_of_false_ones_is_the_true_one(prevalence: float) -> None:
    viral, logits = draw(prevalence, 0.25, 200_000, 0)
    probability = 1 / (1 + np.exp(-shift(logits, prevalence, 0.25)))
    chosen = expected_fdr(probability) <= 0.1
    assert chosen.sum() > 100 and (~viral)[chosen].mean() == pytest.approx(0.1, abs=0.02)


def test_few_or_clear_scores_give_no_share_of_0_or_1() -> None:
    for logits in ([], [9.0], [-9.0], [40.0] * 50, [-40.0] * 50, [800.0, -800.0]):
        found = estimate_prevalence(np.array(logits), 0.25)
        assert LEAST < found.share < 1 and 0 <= found.lower < found.share < found.upper <= 1
    assert found.lower < 0.3 and found.upper > 0.7, "two sequences tell little"


def test_equal_probabilities_have_equal_expectations_and_the_unknown_none() -> None:
    probability = np.array([0.5, np.nan, 0.9, 0.5, 1.0])
    assert expected_fdr(probability) == pytest.approx([0.275, np.nan, 0.05, 0.275, 0.0], nan_ok=True)
    assert np.isnan(expected_fdr(np.array([np.nan]))).all() and not len(expected_fdr(np.array([])))
