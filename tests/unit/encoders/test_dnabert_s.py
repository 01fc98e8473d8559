"""DNABERT-S against an independent evaluation of its formulas in float64."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from virnucflow.cli import InputError
from virnucflow.encoders import dnabert_s
from virnucflow.encoders.load import load_dnabert_s
from virnucflow.packs.encoders import DNABERT_S
from virnucflow.packs.pack import DnabertSShape, ModelPack
from virnucflow.packs.weights import published_state

CPU = torch.device("cpu")
ERF = np.vectorize(math.erf, otypes=[np.float64])


def reference(pack: ModelPack, sequence: str) -> np.ndarray:
    """Mean over all tokens of the last layer, one sequence, NumPy in float64, from the papers' formulas."""
    w = {name: tensor.astype(np.float64) for name, tensor in load_file(pack.directory / DNABERT_S.weights).items()}
    shape = pack.dnabert_s
    tokens = Tokenizer.from_file(str(pack.directory / "tokenizer.json")).encode(sequence).ids

    def norm(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + shape.layer_norm_eps) * w[f"{name}.weight"] + w[f"{name}.bias"]

    # ALiBi: n heads have the slopes 2^(-8/n), 2^(-16/n), ..., when n is a power of two. Of 6 heads, 4 have those of
    # n = 4 and the other two the first and third of n = 8.
    assert shape.num_attention_heads == 6
    slopes = [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
    x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    length, width = x.shape
    size = width // shape.num_attention_heads
    for layer in (f"encoder.layer.{i}" for i in range(shape.num_hidden_layers)):
        qkv = x @ w[f"{layer}.attention.self.Wqkv.weight"].T + w[f"{layer}.attention.self.Wqkv.bias"]
        heads = []
        for head, slope in enumerate(slopes):
            q, k, v = (qkv[:, part * width + head * size : part * width + (head + 1) * size] for part in range(3))
            scores = np.empty((length, length))
            for i in range(length):
                for j in range(length):
                    scores[i, j] = q[i] @ k[j] / math.sqrt(size) - slope * abs(i - j)
            weights = np.exp(scores - scores.max(1, keepdims=True))
            heads.append(weights / weights.sum(1, keepdims=True) @ v)
        name = f"{layer}.attention.output"
        x = norm(
            np.concatenate(heads, 1) @ w[f"{name}.dense.weight"].T + w[f"{name}.dense.bias"] + x, f"{name}.LayerNorm"
        )
        gated = x @ w[f"{layer}.mlp.gated_layers.weight"].T
        gate, value = gated[:, : shape.intermediate_size], gated[:, shape.intermediate_size :]
        hidden = gate * 0.5 * (1 + ERF(gate / math.sqrt(2))) * value
        x = norm(hidden @ w[f"{layer}.mlp.wo.weight"].T + w[f"{layer}.mlp.wo.bias"] + x, f"{layer}.mlp.layernorm")
    return x.mean(0)


def embed(pack: ModelPack, attention: str, sequences: list[str], precision="fp32") -> torch.Tensor:
    return load_dnabert_s(pack, attention, "auto", precision, CPU, 2048)[0](sequences)


def test_standard_agrees_with_the_formulas(pack: ModelPack, nucleotides: list[str]) -> None:
    chosen = [*nucleotides[:14], *nucleotides[-3:]]
    for row, sequence in zip(embed(pack, "standard", chosen).numpy(), chosen):
        assert np.abs(row - reference(pack, sequence)).max() < 1e-5


def test_flash_agrees_with_standard(pack: ModelPack, nucleotides: list[str]) -> None:
    flash, standard = embed(pack, "flash", nucleotides), embed(pack, "standard", nucleotides)
    assert F.cosine_similarity(flash.double(), standard.double(), dim=1).min() >= 0.999999
    assert (flash - standard).abs().max() < 1e-5


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_flash_in_half_precision(pack: ModelPack, nucleotides: list[str], precision: str) -> None:
    half, standard = embed(pack, "flash", nucleotides, precision), embed(pack, "standard", nucleotides)
    assert F.cosine_similarity(half.double(), standard.double(), dim=1).min() >= 0.999


def test_padding_and_truncation_of_the_tokenizer_file_are_not_applied(pack: ModelPack, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(pack.directory / "tokenizer.json"))
    sequence = "ACGTTGCA" * 30
    whole = tokenizer.encode(sequence).ids
    tokenizer.enable_padding(length=300)
    tokenizer.enable_truncation(16)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert dnabert_s.load_tokenizer(tmp_path / "tokenizer.json").encode(sequence).ids == whole
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="not a tokenizer"):
        dnabert_s.load_tokenizer(tmp_path / "tokenizer.json")


def test_slopes_of_the_published_twelve_heads() -> None:
    """Eight heads' slopes, then the first, third, fifth and seventh of sixteen heads'."""
    expected = [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8, 2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert dnabert_s.alibi_slopes(12) == pytest.approx(expected, abs=0)


def test_published_shape_has_the_published_tensors() -> None:
    """`zhihan1996/DNABERT-S`: 12 layers of 768, 12 heads, gated linear units of 3072, 4096 tokens."""
    with torch.device("meta"):
        model = dnabert_s.DnabertS(DnabertSShape(4096, 12, 768, 12, 3072, 1e-12))
    shapes = {name: list(tensor.shape) for name, tensor in published_state(model).items()}
    assert shapes.pop("embeddings.word_embeddings.weight") == [4096, 768]
    assert shapes.pop("embeddings.token_type_embeddings.weight") == [2, 768]
    assert shapes.pop("embeddings.LayerNorm.weight") == shapes.pop("embeddings.LayerNorm.bias") == [768]
    for layer in range(12):
        assert {name: shapes.pop(f"encoder.layer.{layer}.{name}") for name in LAYER} == LAYER
    assert shapes == {}


LAYER = {
    "attention.self.Wqkv.weight": [2304, 768],
    "attention.self.Wqkv.bias": [2304],
    "attention.output.dense.weight": [768, 768],
    "attention.output.dense.bias": [768],
    "attention.output.LayerNorm.weight": [768],
    "attention.output.LayerNorm.bias": [768],
    "mlp.gated_layers.weight": [6144, 768],
    "mlp.wo.weight": [768, 3072],
    "mlp.wo.bias": [768],
    "mlp.layernorm.weight": [768],
    "mlp.layernorm.bias": [768],
}
