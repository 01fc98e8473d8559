"""DNABERT-S (Zhou et al. 2024, arXiv:2402.08777): mean of the last layer over all tokens of each nucleotide sequence.

The architecture is MosaicBERT (Portes et al. 2023, arXiv:2312.17482): ALiBi attention (Press et al. 2022,
arXiv:2108.12409) with the symmetric bias -slope * |i - j|, a gated linear unit with erf GELU, and norms after
the residuals. `standard` runs one sequence at a time through one softmax, as VirNucPro v1 did; `flash` runs batches
without padding: here of equal length, on any device; packed, for GPUs, in dnabert_s_packed.py.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import nn

from virnucflow.cli import reading
from virnucflow.encoders.batches import equal_length_batches
from virnucflow.encoders.parts import KEEP_NOTHING, Progress
from virnucflow.packs.pack import DnabertSShape

SPECIAL_TOKENS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]  # in the published tokenizer's order

STANDARD_KERNEL = "softmax"
TOKEN_TYPES = 2  # the published model has two, and inference uses the first

# The modules' names in the published checkpoint, by their own.
PUBLISHED_NAMES = {
    "words": "embeddings.word_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
PUBLISHED_LAYER_NAMES = {
    "attention.qkv": "attention.self.Wqkv",
    "attention.out": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "mlp.gate_and_value": "mlp.gated_layers",
    "mlp.out": "mlp.wo",
    "mlp.norm": "mlp.layernorm",
}

# Of queries, keys and values, each (frames, heads, length, head_dim), and the bias of the scores: to the same shape.
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Attention(nn.Module):
    """Attention with ALiBi among all tokens of a sequence, then the residual and its norm."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)  # queries, keys and values in one product
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, attend: Attend) -> torch.Tensor:
        """(frames, length, width) to the same, with the (heads, length, length) bias of the scores."""
        frames, length, width = x.shape
        qkv = self.qkv(x).view(frames, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (frames, heads, length, head_dim)
        attended = attend(q, k, v, bias).transpose(1, 2).reshape(frames, length, width)
        return self.norm(self.out(attended) + x)


class GatedMlp(nn.Module):
    """A gated linear unit, then the residual and its norm."""

    def __init__(self, width: int, intermediate: int, eps: float) -> None:
        super().__init__()
        self.gate_and_value = nn.Linear(width, 2 * intermediate, bias=False)
        self.out = nn.Linear(intermediate, width)
        self.norm = nn.LayerNorm(width, eps=eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(frames, length, width) to the same."""
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)  # (frames, length, intermediate)
        return self.norm(self.out(F.gelu(gate) * value) + x)


class Layer(nn.Module):
    """One of the encoder's equal layers."""

    def __init__(self, shape: DnabertSShape) -> None:
        super().__init__()
        width, eps = shape.hidden_size, shape.layer_norm_eps
        self.attention = Attention(width, shape.num_attention_heads, eps)
        self.mlp = GatedMlp(width, shape.intermediate_size, eps)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, attend: Attend) -> torch.Tensor:
        """(frames, length, width) to the same, with the (heads, length, length) bias of the scores."""
        return self.mlp(self.attention(x, bias, attend))


class DnabertS(nn.Module):
    """The encoder."""

    def __init__(self, shape: DnabertSShape) -> None:
        super().__init__()
        self.width, self.heads = shape.hidden_size, shape.num_attention_heads
        self.words = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.token_types = nn.Embedding(TOKEN_TYPES, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.layers = cast(Sequence[Layer], layers)

    def published_names(self) -> dict[str, str]:
        """The names of its modules in the published checkpoint, by their own."""
        return PUBLISHED_NAMES | {
            f"layers.{number}.{own}": f"encoder.layer.{number}.{published}"
            for number in range(len(self.layers))
            for own, published in PUBLISHED_LAYER_NAMES.items()
        }

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.words.weight.device

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens of any shape to (..., width): what the first layer is given."""
        return self.norm(self.words(tokens) + self.token_types.weight[0])

    def forward(self, tokens: torch.Tensor, attend: Attend) -> torch.Tensor:
        """(frames, length) tokens without padding to (frames, length, width)."""
        x = self.embed(tokens)
        bias = alibi_bias(self.heads, tokens.shape[1], tokens.device).to(x.dtype)
        for layer in self.layers:
            x = layer(x, bias, attend)
        return x


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


@torch.inference_mode()
def embed_standard(
    model: DnabertS, tokenizer: Tokenizer, sequences: list[str], progress: Progress = KEEP_NOTHING
) -> torch.Tensor:
    """(sequences, width) float32 embeddings on the CPU, as in v1: one sequence at a time, with its ends in the mean."""
    result = torch.empty(len(sequences), model.width)
    for row in range(progress.begin(result, np.arange(len(sequences))), len(sequences)):
        tokens = torch.tensor([tokenizer.encode(sequences[row]).ids], device=model.device)
        result[row] = model(tokens, softmax_attention)[0].mean(0).float()
        progress.reached(row + 1)
    return result


@torch.inference_mode()
def embed_flash(
    model: DnabertS,
    tokenizer: Tokenizer,
    sequences: list[str],
    token_budget: int,
    progress: Progress = KEEP_NOTHING,
) -> torch.Tensor:
    """(sequences, width) float32 embeddings on the CPU, in batches of equal token number: nothing is padded."""
    result = torch.empty(len(sequences), model.width)
    tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(sequences)]
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
    for batch in progress.remaining(result, equal_length_batches(lengths, token_budget)):
        hidden = model(torch.tensor([tokens[row] for row in batch], device=model.device), fused_attention)
        result[batch] = hidden.mean(1, dtype=torch.float32).cpu()
    return result


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
