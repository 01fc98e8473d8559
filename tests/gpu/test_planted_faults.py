"""The faults of tests/unit/test_divergence.py, planted in the packed path in half precision, are caught by the gate.

Without tanh GELU: in half precision its difference to erf GELU is below rounding.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from trial import LOADERS, Trial, make_trial, one_lost_one_doubled, other_names_after_a_resume, second_batch_too_large

from virnucflow.encoders import esm2, packed

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
if torch.cuda.is_available():
    from virnucflow.encoders import dnabert_s_packed, esm2_packed
    from virnucflow.encoders import triton_kernels as kernels
else:
    dnabert_s_packed = esm2_packed = kernels = None


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return make_trial(tmp_path_factory.mktemp("trial") / "pack", "cuda")


def mean_of(first: int, last: int) -> Callable:
    """The mean over each sequence's rows without the first `first` and the last `last`."""

    def plant(_: Callable) -> Callable:
        def wrong(x: torch.Tensor, batch: packed.Batch, ends: int) -> torch.Tensor:
            edges = batch.cu_seqlens.tolist()
            rows = [x[start + first : max(end - last, start + first + 1)] for start, end in pairwise(edges)]
            return torch.stack([part.float().mean(0) for part in rows])

        return wrong

    return plant


def tables(change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable:
    """Rotary tables of changed angles, as a function of positions and frequencies."""

    def plant(_: Callable) -> Callable:
        def wrong(inv_freq: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
            angles = change(torch.arange(length, device=inv_freq.device), inv_freq).float().repeat(1, 2)
            return angles.cos(), angles.sin()

        return wrong

    return plant


def half_of_the_head(positions: torch.Tensor, inv_freq: torch.Tensor) -> torch.Tensor:
    first = torch.arange(len(inv_freq), device=inv_freq.device) < len(inv_freq) // 2
    return torch.outer(positions.float(), inv_freq * first)


def positions_not_reset(pack: Callable) -> Callable:
    """They run on over the batch, around the end of the tables."""

    def wrong(*arguments: object) -> packed.Batch:
        batch = pack(*arguments)
        rows = torch.arange(len(batch.positions), dtype=torch.int32, device=batch.positions.device)
        return batch._replace(positions=rows % batch.max_length)

    return wrong


def padded_with_cls(attend: Callable) -> Callable:
    """Each sequence sees as many rows behind its end as the longest has: other tokens, as padding would be."""

    def wrong(kernel: str, qkv: torch.Tensor, batch: packed.Batch, heads: object, out: torch.Tensor) -> None:
        edges = batch.cu_seqlens.tolist()
        for start, end in pairwise(edges):
            length = end - start
            part = qkv.new_zeros(batch.max_length, qkv.shape[1])
            part[:length] = qkv[start:end]
            alone = torch.tensor([0, batch.max_length], dtype=torch.int32, device=qkv.device)
            result = out.new_zeros(batch.max_length, out.shape[1])
            one = batch._replace(cu_seqlens=alone, lengths=np.array([batch.max_length]))
            attend(kernel, part, one, heads, result)
            out[start:end] = result[:length]

    return wrong


def across_sequences(attend: Callable) -> Callable:
    def wrong(kernel: str, qkv: torch.Tensor, batch: packed.Batch, heads: object, out: torch.Tensor) -> None:
        whole = batch.cu_seqlens[[0, -1]].contiguous()
        attend(kernel, qkv, batch._replace(cu_seqlens=whole, lengths=np.array([int(whole[1])])), heads, out)

    return wrong


def without_last_layer(make: Callable) -> Callable:
    def wrong(*arguments: object) -> object:
        model = make(*arguments)
        model.encoder.layers = model.encoder.layers[:-1]
        return model._replace(shifts=model.shifts[:-2])

    return wrong


def without_alibi(attend: Callable) -> Callable:
    return lambda kernel, qkv, batch, slopes, out: attend(kernel, qkv, batch, torch.zeros_like(slopes), out)


def slopes_of_one_series(attend: Callable) -> Callable:
    def wrong(kernel: str, qkv: torch.Tensor, batch: packed.Batch, slopes: torch.Tensor, out: torch.Tensor) -> None:
        heads = torch.arange(len(slopes), device=slopes.device)
        attend(kernel, qkv, batch, 2 ** (-8 * (heads + 1) / len(slopes)), out)

    return wrong


FAULTS = {
    "1 <eos> in the mean": (kernels, "sequence_mean", mean_of(1, 0)),
    "2 no scaling by 0.88": (esm2, "TOKEN_DROPOUT", lambda _: 1.0),
    "4 rotary tables in half precision": (
        esm2_packed,
        "rotary_table",
        tables(lambda positions, inv_freq: torch.outer(positions.bfloat16(), inv_freq.bfloat16())),
    ),
    "5 positions not reset": (packed, "pack", positions_not_reset),
    "6 no rotary positions": (
        esm2_packed,
        "rotary_table",
        tables(lambda positions, inv_freq: torch.outer(0 * positions, inv_freq)),
    ),
    "7 rotary of half the head": (esm2_packed, "rotary_table", tables(half_of_the_head)),
    "9 padding, attended": (esm2_packed, "attend", padded_with_cls),
    "10 batches read before they are there": (esm2_packed, "embed_esm2", second_batch_too_large),
    "11 one sequence lost, one doubled": (esm2_packed, "embed_esm2", one_lost_one_doubled),
    "12 other names after a resume": (esm2_packed, "embed_esm2", other_names_after_a_resume),
    "14 last residue left out": (kernels, "sequence_mean", mean_of(1, 2)),
    "15 the layer before the last": (esm2_packed, "packed_model", without_last_layer),
    "16 attention across sequences": (esm2_packed, "attend", across_sequences),
}
DNABERT_S_FAULTS = {
    "[CLS] and [SEP] left out of the mean": (kernels, "sequence_mean", mean_of(1, 1)),
    "no ALiBi": (dnabert_s_packed, "attend", without_alibi),
    "ALiBi slopes of one series": (dnabert_s_packed, "attend", slopes_of_one_series),
    "one sequence lost, one doubled": (dnabert_s_packed, "embed_dnabert_s", one_lost_one_doubled),
    "attention across sequences": (dnabert_s_packed, "attend", across_sequences),
}
ALL = {"esm2": FAULTS, "dnabert_s": DNABERT_S_FAULTS}


@pytest.mark.parametrize(("encoder", "fault"), [(encoder, fault) for encoder in ALL for fault in ALL[encoder]])
def test_planted_fault_is_caught(encoder: str, fault: str, trial: Trial, monkeypatch, tmp_path: Path) -> None:
    assert trial.judge_planted(monkeypatch, tmp_path, encoder, fault, ALL[encoder], "fp16") != "accept"


def test_bf16_throughout_is_caught(trial: Trial, tmp_path: Path) -> None:
    fast = trial.embed("esm2", "flash", "bf16")
    assert trial.judge(tmp_path, "esm2: 8 bf16 throughout", "esm2", fast, "bf16") != "accept"


@pytest.mark.parametrize("encoder", LOADERS)
def test_untouched_path_is_accepted(encoder: str, trial: Trial, tmp_path: Path) -> None:
    fast = trial.embed(encoder, "flash", "fp16")
    assert trial.judge(tmp_path, f"{encoder}: nothing", encoder, fast, "fp16") == "accept"
