"""ESM-2's flash path on a GPU: packed batches, few kernels between the matrix products, fp8 where it is asked for.

Triton's kernels never add biases to the residual stream: what they add up to is a vector for each norm, its `shift`,
which that norm adds.
"""

from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.functional import ScalingType

from virnucflow.encoders import torch_kernels
from virnucflow.encoders.attention_kernels import kernels_beside
from virnucflow.encoders.esm2 import ALPHABET, TOKEN, FlashModel, rotary_table
from virnucflow.encoders.packed import Batch, Forward, embed_packed
from virnucflow.encoders.parts import KEEP_NOTHING, Progress

FP8 = torch.float8_e4m3fn
# Signs that no protein has stand for the first and the last token of a packed sequence.
PACKED_TOKEN = TOKEN.copy()
PACKED_TOKEN[[ord("<"), ord(">")]] = ALPHABET.cls_idx, ALPHABET.eos_idx


class Fp8Linear(nn.Module):
    """A linear layer with its weight in fp8."""

    weight: torch.Tensor  # (outputs, inputs)
    scale: torch.Tensor  # float32 (1, outputs), by which the weight's rows are to be multiplied

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / torch.finfo(FP8).max
        self.register_buffer("weight", (linear.weight / scale).to(FP8))
        self.register_buffer("scale", scale.t().contiguous())
        self.bias = linear.bias

    def forward(self, x: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        """Fp8 (rows, inputs) and their scales, (rows, 1), to the product without bias: bfloat16 (rows, outputs).

        That is the one result that PyTorch gives for scaled rows on every GPU that knows fp8.
        """
        rows = ScalingType.RowWise
        return F.scaled_mm(
            x, self.weight.t(), scales, rows, self.scale, rows, output_dtype=torch.bfloat16, use_fast_accum=True
        )


class PackedModel(NamedTuple):
    """The flash path's encoder, prepared for an attention kernel, what is still to be added before each norm, and
    whether its products are in fp8."""

    encoder: FlashModel
    kernel: str
    shifts: list[torch.Tensor] | list[None]
    fp8: bool


@torch.inference_mode()
def packed_model(encoder: FlashModel, kernel: str, fp8: bool) -> PackedModel:
    """Prepare the flash path's encoder, in place, for packed batches and an attention kernel; `fp8` replaces its linear
    layers."""
    shifts: list[torch.Tensor] | list[None] = [None] * (2 * len(encoder.layers) + 1)
    if kernel == "sdpa":
        torch_kernels.pair_up_(encoder)
    else:
        shifts = residual_shifts(encoder)
    if fp8:
        quantize_weights(encoder)
    return PackedModel(encoder, kernel, shifts, fp8)


def quantize_weights(encoder: FlashModel) -> None:
    """Replace the encoder's linear layers, one by one, so that two copies of all weights are never there."""
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Fp8Linear(child))


def residual_shifts(encoder: FlashModel) -> list[torch.Tensor]:
    """For each norm the float32 vector that the biases before it have added to the residual stream.

    The weights of a softmax add up to one, so the bias of the values passes through attention to the output projection.
    """
    shift = torch.zeros_like(encoder.norm.weight, dtype=torch.float32)
    shifts = []
    for layer in encoder.layers:
        attention, mlp = layer.attention, layer.mlp
        value_bias = attention.qkv.bias.float().chunk(3)[2]
        shifts.append(shift)
        shifts.append(shift + attention.out.bias.float() + attention.out.weight.float() @ value_bias)
        shift = shifts[-1] + mlp.fc2.bias.float()
    return [*shifts, shift]


def embed_esm2(
    model: PackedModel, proteins: list[str], token_budget: int, progress: Progress = KEEP_NOTHING
) -> torch.Tensor:
    """(proteins, width) float32 embeddings on the CPU."""
    encoder = model.encoder
    tables = rotary_table(encoder.inv_freq, max(map(len, proteins), default=0) + 2)
    cos, sin = (table[:, : table.shape[1] // 2].contiguous() for table in tables)

    def make_forward(rows: int) -> Forward:
        if model.fp8:
            fp8_buffers = Fp8Buffers.make(encoder, rows)
            return lambda batch: fp8_forward(model, batch, cos, sin, fp8_buffers)
        buffers = Buffers.make(encoder, rows)
        return lambda batch: half_forward(model, batch, cos, sin, buffers)

    return embed_packed(
        proteins, tokenize, make_forward, encoder.width, token_budget, encoder.device, progress, model.kernel == "sdpa"
    )


def tokenize(proteins: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of all proteins, each with <cls> and <eos>, one behind the other, and the number of each."""
    letters = "".join(f"<{protein}>" for protein in proteins).encode("ascii")
    lengths = np.array([len(protein) + 2 for protein in proteins])
    return PACKED_TOKEN[np.frombuffer(letters, dtype=np.uint8)], lengths


class Buffers(NamedTuple):
    """What each layer writes over: (rows, width), (rows, 3 * width), (rows, width), (rows, 4 * width)."""

    normed: torch.Tensor
    qkv: torch.Tensor
    attended: torch.Tensor
    hidden: torch.Tensor

    @classmethod
    def make(cls, encoder: FlashModel, rows: int) -> "Buffers":
        """Buffers for batches of so many rows, in the encoder's precision."""
        return cls(*(encoder.letters.weight.new_zeros(rows, times * encoder.width) for times in (1, 3, 1, 4)))


def half_forward(
    model: PackedModel, batch: Batch, cos: torch.Tensor, sin: torch.Tensor, buffers: Buffers
) -> torch.Tensor:
    """(sequences, width) float32: the mean of each sequence's last layer over its residues."""
    normed, qkv, attended, hidden = buffers
    encoder, shifts, kernels = model.encoder, model.shifts, kernels_beside(model.kernel)
    x = encoder.letters(batch.tokens)  # (rows, width)
    for index, layer in enumerate(encoder.layers):
        attention, mlp = layer.attention, layer.mlp
        if index == 0:
            torch.index_select(encoder.first_qkv, 0, batch.tokens, out=qkv)
            kernels.bias_rotary_(qkv, attention.qkv.bias, cos, sin, batch.positions, encoder.heads)
        else:
            y = kernels.layer_norm(x, shifts[2 * index], attention.norm, normed)
            kernels.linear_rotary(y, attention.qkv, cos, sin, batch.positions, encoder.heads, qkv)
        attend(model.kernel, qkv, batch, encoder.heads, attended)
        kernels.add_linear_(x, attended, attention.out, normed)
        y = kernels.layer_norm(x, shifts[2 * index + 1], mlp.norm, normed)
        kernels.linear_gelu(y, mlp.fc1, hidden)
        kernels.add_linear_(x, hidden, mlp.fc2, normed)
    y = kernels.layer_norm(x, shifts[-1], encoder.norm, normed)
    return cast(torch.Tensor, kernels.sequence_mean(y, batch, ends=1))


class Fp8Buffers(NamedTuple):
    """(rows, width) twice, (rows, 4 * width) in fp8, the float32 scale of each row, and (rows, width) in bfloat16."""

    normed: torch.Tensor
    quantized: torch.Tensor
    hidden: torch.Tensor
    scales: torch.Tensor
    attended: torch.Tensor

    @classmethod
    def make(cls, encoder: FlashModel, rows: int) -> "Fp8Buffers":
        """Buffers for batches of so many rows."""
        width, new = encoder.width, encoder.letters.weight.new_zeros
        return cls(
            normed=new(rows, width),
            quantized=new(rows, width, dtype=FP8),
            hidden=new(rows, 4 * width, dtype=FP8),
            scales=new(rows, 1, dtype=torch.float32),
            attended=new(rows, width, dtype=torch.bfloat16),
        )


def fp8_forward(
    model: PackedModel, batch: Batch, cos: torch.Tensor, sin: torch.Tensor, buffers: Fp8Buffers
) -> torch.Tensor:
    """As `half_forward`, with both operands of every product but the first in fp8, scaled row by row."""
    normed, quantized, wide, scales, attended = buffers
    encoder, shifts, kernels = model.encoder, model.shifts, kernels_beside(model.kernel)
    x = encoder.letters(batch.tokens)  # (rows, width)
    added = None
    for index, layer in enumerate(encoder.layers):
        attention, mlp = layer.attention, layer.mlp
        if index == 0:
            qkv = encoder.first_qkv.bfloat16()[batch.tokens]
        else:
            kernels.layer_norm(x, shifts[2 * index], attention.norm, quantized, added=added, scales=scales)
            qkv = attention.qkv(quantized, scales)
        kernels.bias_rotary_(qkv, attention.qkv.bias, cos, sin, batch.positions, encoder.heads)
        attend(model.kernel, qkv, batch, encoder.heads, attended)
        kernels.quantize(attended, quantized, scales)
        added = attention.out(quantized, scales)
        kernels.layer_norm(x, shifts[2 * index + 1], mlp.norm, quantized, added=added, scales=scales)
        hidden = mlp.fc1(quantized, scales)
        kernels.quantize(hidden, wide, scales, bias=mlp.fc1.bias)
        added = mlp.fc2(wide, scales)
    kernels.layer_norm(x, shifts[-1], encoder.norm, normed, added=added)
    return cast(torch.Tensor, kernels.sequence_mean(normed, batch, ends=1))


def attend(kernel: str, qkv: torch.Tensor, batch: Batch, heads: int, out: torch.Tensor) -> None:
    """Attention within each sequence of (rows, 3 * width) projections, by the kernel of that name."""
    if kernel in ("triton", "sdpa"):
        kernels_beside(kernel).attention(qkv, batch, heads, out)
        return
    q, k, v = (part.view(len(qkv), heads, -1) for part in qkv.chunk(3, dim=1))
    edges, longest = (batch.cu_seqlens, batch.cu_seqlens), (batch.max_length, batch.max_length)
    if kernel == "varlen":
        from torch.nn.attention.varlen import varlen_attn

        result = cast(torch.Tensor, varlen_attn(q, k, v, *edges, *longest))  # more only where it is asked for
    else:
        from flash_attn import flash_attn_varlen_func

        result = flash_attn_varlen_func(q, k, v, *edges, *longest)
    out.copy_(result.reshape(out.shape))
