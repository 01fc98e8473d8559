"""DNABERT-S (Zhou et al. 2024, arXiv:2402.08777): mean of the last layer over all tokens of each nucleotide sequence.

The architecture is MosaicBERT (Portes et al. 2023, arXiv:2312.17482): ALiBi attention (Press et al. 2022,
arXiv:2108.12409) with the symmetric bias -slope * |i - j|, a gated linear unit with erf GELU, and norms after
the residuals. `standard` runs one sequence at a time through one softmax, as VirNucPro v1 did; `flash` runs batches
without padding: here of equal length, on any device; packed, for GPUs, in dnabert_s_packed.py.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn

from virnucflow.cli import reading
from virnucflow.encoders.batches import equal_length_batches
from virnucflow.packs.pack import DnabertSShape

SPECIAL_TOKENS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]  # in the published tokenizer's order

STANDARD_KERNEL = "softmax"
TOKEN_TYPES = 2  # the published model has two, and inference uses the first

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def add_ends(tokenizer: Tokenizer) -> None:
    """Make a new tokenizer put [CLS] before and [SEP] behind each sequence."""
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer without the padding and truncation that its file may ask for: v1 encodes whole sequences alone."""
    with reading(path, "a tokenizer", "restore the pack"):
        tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@torch.inference_mode()
def embed_standard(model: "DnabertS", tokenizer: Tokenizer, sequences: list[str]) -> torch.Tensor:
    """v1: one sequence at a time, [CLS] and [SEP] in the mean."""
    device, width = model.device_and_width()
    result = torch.empty(len(sequences), width)
    for row, sequence in enumerate(sequences):
        tokens = torch.tensor([tokenizer.encode(sequence).ids], device=device)
        result[row] = model(tokens, softmax_attention)[0].mean(0).float()
    return result


@torch.inference_mode()
def embed_flash(model: "DnabertS", tokenizer: Tokenizer, sequences: list[str], token_budget: int) -> torch.Tensor:
    """Embed in batches of equal token number, so that nothing is padded or masked."""
    device, width = model.device_and_width()
    result = torch.empty(len(sequences), width)
    tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(sequences)]
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
    for batch in equal_length_batches(lengths, token_budget):
        hidden = model(torch.tensor([tokens[row] for row in batch], device=device), fused_attention)
        result[batch] = hidden.mean(1, dtype=torch.float32).cpu()
    return result


class DnabertS(nn.Module):
    """The encoder; its parameters have the names of the published checkpoint."""

    def __init__(self, shape: DnabertSShape) -> None:
        super().__init__()
        self.heads = shape.num_attention_heads
        width, eps = shape.hidden_size, shape.layer_norm_eps
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(shape.vocab_size, width),
                "token_type_embeddings": nn.Embedding(TOKEN_TYPES, width),
                "LayerNorm": nn.LayerNorm(width, eps=eps),
            }
        )
        layers = [Layer(width, shape.intermediate_size, eps) for _ in range(shape.num_hidden_layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def device_and_width(self) -> tuple[torch.device, int]:
        weight = self.embeddings["word_embeddings"].weight
        return weight.device, weight.shape[1]

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens of any shape to (..., hidden_size): what the first layer is given."""
        x = self.embeddings["word_embeddings"](tokens) + self.embeddings["token_type_embeddings"].weight[0]
        return self.embeddings["LayerNorm"](x)

    def forward(self, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        """(batch, length) tokens without padding to (batch, length, hidden_size)."""
        x = self.embed(tokens)
        bias = alibi_bias(self.heads, tokens.shape[1], tokens.device).to(x.dtype)
        for layer in self.encoder["layer"]:
            x = layer(x, bias, self.heads, attend)
        return x


class Layer(nn.Module):
    """Attention and gated linear unit, each followed by the residual and then its norm."""

    def __init__(self, width: int, intermediate: int, eps: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({"Wqkv": nn.Linear(width, 3 * width)}),
                "output": nn.ModuleDict({"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps=eps)}),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gated_layers": nn.Linear(width, 2 * intermediate, bias=False),
                "wo": nn.Linear(intermediate, width),
                "layernorm": nn.LayerNorm(width, eps=eps),
            }
        )

    def forward(self, x: torch.Tensor, bias: torch.Tensor, heads: int, attend: Attend) -> torch.Tensor:
        """(batch, length, width) to the same, with the (heads, length, length) attention bias."""
        batch, length, width = x.shape
        qkv = self.attention["self"]["Wqkv"](x).view(batch, length, 3, heads, width // heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = attend(q, k, v, bias).transpose(1, 2).reshape(batch, length, width)
        output = self.attention["output"]
        x = output["LayerNorm"](output["dense"](attended) + x)
        gate, value = self.mlp["gated_layers"](x).chunk(2, dim=-1)
        return self.mlp["layernorm"](self.mlp["wo"](F.gelu(gate) * value) + x)


def softmax_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d) + bias) v, written out, as the published model computes it without Triton."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
    return scores.softmax(dim=-1) @ v


def fused_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The same in one kernel of PyTorch."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])  # of three dimensions it has no fast kernel


def alibi_slopes(heads: int) -> list[float]:
    """The heads' slopes: 2^(-8/n), 2^(-16/n), ... for n heads, n a power of two.

    Otherwise those of the power of two below, followed by every second one of the power of two above.
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (head + 1) / below) for head in range(below)]
    return slopes + [2 ** (-4 * (2 * head + 1) / below) for head in range(heads - below)]


def alibi_bias(heads: int, length: int, device: torch.device) -> torch.Tensor:
    """(heads, length, length) float32: -slope * |i - j|."""
    positions = torch.arange(length, device=device)
    distance = (positions[:, None] - positions).abs()
    return -torch.tensor(alibi_slopes(heads), device=device)[:, None, None] * distance
