"""Batches hold every row once, keep their limits, and equal sequences are embedded once."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch

from virnucflow.cli import Failure
from virnucflow.encoders.batches import equal_length_batches
from virnucflow.encoders.packed import ahead, fill_batches
from virnucflow.encoders.parts import Progress
from virnucflow.encoders.program import LOADERS, embed_once, main, parse_arguments
from virnucflow.files.tables import FRAMES, write_parquet
from virnucflow.packs.encoders import ESM2

LENGTHS = np.random.default_rng(0).integers(3, 173, size=500)


@pytest.mark.parametrize("budget", [1, 200, 4096, 10**6])
def test_batches_of_equal_length(budget: int) -> None:
    batches = list(equal_length_batches(LENGTHS, budget))
    assert sorted(np.concatenate(batches)) == list(range(500))
    for batch in batches:
        assert len(set(LENGTHS[batch])) == 1
        assert len(batch) == 1 or LENGTHS[batch].sum() <= budget


@pytest.mark.parametrize("rows", [172, 200, 4096, 10**6])
@pytest.mark.parametrize("size", [1, 7, 500])
def test_packed_batches_hold_whole_sequences_in_order(rows: int, size: int) -> None:
    tokens = np.arange(LENGTHS.sum())
    ends = np.cumsum(LENGTHS)
    slices = [
        (tokens[ends[i] - LENGTHS[i] : ends[min(i + size, 500) - 1]], LENGTHS[i : i + size])
        for i in range(0, 500, size)
    ]
    batches = list(fill_batches(iter(slices), rows))
    assert np.array_equal(np.concatenate([lengths for _, lengths in batches]), LENGTHS)
    assert np.array_equal(np.concatenate([tokens for tokens, _ in batches]), tokens)
    for (batch, lengths), (_, following) in pairwise(batches):
        assert len(batch) == lengths.sum() <= rows
        assert lengths.sum() + following[0] > rows, "a batch could hold one more"


def test_nothing_gives_no_batches() -> None:
    assert list(equal_length_batches(np.empty(0, dtype=np.int64), 100)) == []
    assert list(fill_batches(iter([]), 100)) == []


def test_ahead_keeps_order_and_passes_errors_on() -> None:
    assert list(ahead(iter(range(1, 50)))) == list(range(1, 50))

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("bad tokens")

    with pytest.raises(ValueError, match="bad tokens"):
        list(ahead(failing()))


def test_equal_sequences_are_embedded_once() -> None:
    seen = []

    def encoder(sequences: list[str]) -> torch.Tensor:
        seen.extend(sequences)
        return torch.tensor([[float(len(sequence))] for sequence in sequences])

    assert embed_once(encoder, ["AA", "B", "AA", "CCC", "B"]).flatten().tolist() == [2, 1, 2, 3, 1]
    assert seen == ["AA", "B", "CCC"]


def test_out_of_memory_begins_again_with_half_the_budget(pack, tmp_path, caplog, monkeypatch) -> None:
    budgets = []

    def load(pack, attention, kernel, precision, device, budget):
        def scarce(sequences: list[str], progress: Progress) -> torch.Tensor:
            budgets.append(budget)
            if budget > least:
                raise torch.OutOfMemoryError("no")
            return torch.ones(len(sequences), 3)

        return scarce, "none"

    columns = [["a_chunk_1F1"], ["a"], [1], ["F1"], ["whole"], ["GCC"], ["A"], [1]]
    write_parquet(pa.table(columns, schema=FRAMES), tmp_path / "frames")
    words = ["embed", "--frames", tmp_path / "frames", "--model", pack.directory, "--attention", "standard"]
    words += ["--precision", "fp32", "--device", "cpu", "--embeddings", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    monkeypatch.setitem(LOADERS, "esm2", load)
    least = 512
    main(parse_arguments(""), ESM2)
    assert budgets == [2048, 1024, 512] and (tmp_path / "out").exists()
    assert "beginning again with --token-budget 512" in caplog.text
    least = 0
    with pytest.raises(Failure, match="even with --token-budget 256"):
        main(parse_arguments(""), ESM2)
