"""Batches hold every row once, keep their limits, and equal sequences are embedded once."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from virnucflow.batches import equal_length_batches, packed_batches
from virnucflow.embed_program import embed_once

LENGTHS = np.random.default_rng(0).integers(3, 173, size=500)


@pytest.mark.parametrize("budget", [1, 200, 4096, 10**6])
def test_batches_of_equal_length(budget: int) -> None:
    batches = list(equal_length_batches(LENGTHS, budget))
    assert sorted(np.concatenate(batches)) == list(range(500))
    for batch in batches:
        assert len(set(LENGTHS[batch])) == 1
        assert len(batch) == 1 or LENGTHS[batch].sum() <= budget


@pytest.mark.parametrize("tokens", [172, 200, 4096, 10**6])
def test_packed_batches(tokens: int) -> None:
    batches = list(packed_batches(LENGTHS, tokens))
    assert sorted(np.concatenate(batches)) == list(range(500))
    assert all(LENGTHS[batch].sum() <= tokens for batch in batches)
    for batch, following in pairwise(batches):
        assert LENGTHS[batch].sum() + LENGTHS[following[0]] > tokens, "a batch could hold one more"


@pytest.mark.parametrize("batches", [equal_length_batches, packed_batches])
def test_nothing_gives_no_batches(batches) -> None:
    assert list(batches(np.empty(0, dtype=np.int64), 100)) == []


def test_equal_sequences_are_embedded_once() -> None:
    seen = []

    def encoder(sequences: list[str]) -> torch.Tensor:
        seen.extend(sequences)
        return torch.tensor([[float(len(sequence))] for sequence in sequences])

    assert embed_once(encoder, ["AA", "B", "AA", "CCC", "B"]).flatten().tolist() == [2, 1, 2, 3, 1]
    assert seen == ["AA", "B", "CCC"]
