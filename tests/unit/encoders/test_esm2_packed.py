"""ESM-2 in packed batches by PyTorch's own kernels, on the CPU, against the computation of v1."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from virnucflow.encoders import esm2_packed, torch_kernels
from virnucflow.encoders.esm2 import flash_model, rotary_table
from virnucflow.encoders.esm2_packed import Buffers, half_forward, packed_model
from virnucflow.encoders.load import load_esm2
from virnucflow.encoders.packed import Batch, embed_packed
from virnucflow.encoders.parts import KEEP_NOTHING
from virnucflow.packs.pack import ModelPack

CPU = torch.device("cpu")
TOLERANCE = {"rtol": 2e-5, "atol": 2e-5}
LENGTHS = [4, 9, 9, 9, 30, 166, 166]  # residues, in order, as the kernel wants them


@pytest.fixture(scope="module")
def few() -> list[str]:
    letters = random.Random(3)
    return ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWYX", k=length)) for length in LENGTHS]


def batch_of(proteins: list[str], rows: int) -> Batch:
    """What `pack` moves to a GPU, with unused rows behind the last protein."""
    tokens, lengths = esm2_packed.tokenize(proteins)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.arange(len(tokens)) - np.repeat(starts[:-1], lengths)
    arrays = np.zeros((2, rows), dtype=np.int64)
    arrays[:, : len(tokens)] = tokens, positions
    return Batch(*map(torch.from_numpy, [arrays[0], arrays[1].astype(np.int32), starts.astype(np.int32)]), lengths)


@torch.inference_mode()
def embed(pack: ModelPack, proteins: list[str], rows: int = 512) -> torch.Tensor:
    embed_standard = load_esm2(pack, "standard", "auto", "fp32", CPU, 2048)[0]
    encoder = flash_model(embed_standard.args[0], torch.float32, CPU)
    cos, sin = (table[:, : table.shape[1] // 2] for table in rotary_table(encoder.inv_freq, 200))
    model = packed_model(encoder, "sdpa", fp8=False)
    return half_forward(model, batch_of(proteins, rows), cos, sin, Buffers.make(encoder, rows))


def test_agrees_with_standard(pack: ModelPack, few: list[str]) -> None:
    standard = load_esm2(pack, "standard", "auto", "fp32", CPU, 2048)[0](few)
    torch.testing.assert_close(embed(pack, few), standard, **TOLERANCE)


@pytest.mark.parametrize("name", ["layer_norm", "add_linear_", "linear_gelu", "_rotary_", "attention", "sequence_mean"])
def test_each_kernel_matters(name: str, pack: ModelPack, few: list[str], monkeypatch) -> None:
    """A small fault in any of them is seen at the tolerance of the test above."""
    real = getattr(torch_kernels, name)
    faults = {
        "layer_norm": lambda x, shift, norm, out: real(x + 1e-3, shift, norm, out) * 1.001,
        "add_linear_": lambda x, y, linear, buffer: x.addmm_(y, linear.weight.t()),
        "linear_gelu": lambda x, linear, out: (
            torch.addmm(linear.bias, x, linear.weight.t(), out=out),
            out.copy_(F.gelu(out, approximate="tanh")),
        ),
        "_rotary_": lambda qkv, cos, sin, positions, heads: real(qkv, cos, -sin, positions + 1, heads),
        "attention": lambda qkv, batch, heads, out: real(
            qkv, batch._replace(lengths=np.array([batch.lengths.sum()])), heads, out
        ),
        "sequence_mean": lambda x, batch, ends: real(x, batch, 0),
    }
    expected = embed(pack, few)
    monkeypatch.setattr(torch_kernels, name, faults[name])
    with pytest.raises(AssertionError):
        torch.testing.assert_close(embed(pack, few), expected, **TOLERANCE)


def test_runs_are_of_one_length() -> None:
    batch = Batch(*[torch.empty(0)] * 3, np.array([5, 5, 7, 5]))
    assert list(batch.runs()) == [(slice(0, 10), 5), (slice(10, 17), 7), (slice(17, 22), 5)]


def test_shorter_sequences_come_first_and_rows_stay_in_place(monkeypatch) -> None:
    """What is computed is the sequence's number of letters, by which rows and order are seen."""
    seen: list[int] = []

    def embeddings(sequences, tokenize, forward, rows, device):
        for sequence in sequences:
            seen.append(len(sequence))
            yield torch.tensor([[float(len(sequence))]])

    monkeypatch.setattr("virnucflow.encoders.packed._embeddings", embeddings)
    sequences = ["A" * length for length in (7, 3, 9, 3, 5)]
    result = embed_packed(sequences, None, lambda rows: None, 1, 128, CPU, KEEP_NOTHING, by_length=True)
    assert seen == [3, 3, 5, 7, 9] and result[:, 0].tolist() == [7, 3, 9, 3, 5]
