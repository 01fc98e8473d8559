"""What calibrated scores mean where viruses are as frequent as among the user's sequences.

A score is a probability for one share of viruses, that of its calibration. At another share the odds of each sequence
are others by one factor, if viruses still score as viruses and others as others (Saerens, Latinne and Decaestecker,
Neural Computation 2002, 14:21; doi:10.1162/089976602753284446).
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri, expit, logit

TOLERANCE = 1e-9  # of the share, between two steps of the estimate
STEPS = 10_000
LEAST = 1e-12  # share at which an interval is looked for


class Prevalence(NamedTuple):
    """The share of viruses, and where it was estimated its 95 % interval."""

    share: float
    lower: float | None = None
    upper: float | None = None


def shift(logits: np.ndarray, prevalence: float, calibrated: float) -> np.ndarray:
    """The logits (sequences) at this share of viruses, of those at the share that they are calibrated for."""
    return logits + logit(prevalence) - logit(calibrated)


def estimate_prevalence(logits: np.ndarray, calibrated: float) -> Prevalence:
    """The share of viruses among sequences with these logits (sequences), which are of the share `calibrated`.

    The expectation-maximization of Saerens, Latinne and Decaestecker: the share is the mean of the probabilities that
    it gives. One sequence more, which is a virus as probably as `calibrated` says, keeps few sequences from a share of
    0 or 1. The interval has the shares whose likelihood is not too far below the best one's (Wilks, Ann Math Stat 1938,
    9:60). It takes the scores for calibrated and the sequences for independent.
    """
    share = calibrated
    for _ in range(STEPS):
        previous = share
        share = (calibrated + expit(shift(logits, previous, calibrated)).sum()) / (len(logits) + 1)
        if abs(share - previous) < TOLERANCE:
            break
    ratio = np.exp(np.minimum(logits - logit(calibrated), 500))  # of the likelihoods of a virus and of another

    def likelihood(share: float) -> float:
        one_more = calibrated * np.log(share) + (1 - calibrated) * np.log1p(-share)
        return float(np.log1p(share * (ratio - 1)).sum() + one_more)

    least = likelihood(share) - chdtri(1, 0.05) / 2
    lower, upper = (brentq(lambda x: likelihood(x) - least, end, share) for end in (LEAST, 1 - LEAST))
    return Prevalence(*(round(float(value), 6) for value in (share, lower, upper)))


def expected_fdr(probability: np.ndarray) -> np.ndarray:
    """For each sequence the mean of 1 - probability over all that are at least as probable, itself among them.

    That is the share of false ones to expect among them (Storey, Ann Stat 2003, 31:2013); NaN where the probability is.
    """
    false = 1 - probability[~np.isnan(probability)]
    ranked = np.sort(false)
    number = np.searchsorted(ranked, false, "right")
    expected = np.full(len(probability), np.nan)
    expected[~np.isnan(probability)] = np.cumsum(ranked)[number - 1] / number
    return expected.round(4)
