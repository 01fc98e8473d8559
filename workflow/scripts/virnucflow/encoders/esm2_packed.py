"""ESM-2's flash path on a GPU: packed batches, fused kernels between the matrix products, fp8 where it is asked for.

Biases are never added to the residual stream: what they add up to is a vector a layer, its `shift`, that the next norm
adds.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.functional import ScalingType

from virnucflow.encoders import triton_kernels as kernels
from virnucflow.encoders.esm2 import ALPHABET, LAYER_NORM_EPS, TOKEN, FlashLayer, FlashModel, rotary_table
from virnucflow.encoders.packed import Batch, Forward, embed_packed

FP8 = torch.float8_e4m3fn
# Signs that no protein has stand for the first and the last token of a packed sequence.
PACKED_TOKEN = TOKEN.copy()
PACKED_TOKEN[[ord("<"), ord(">")]] = ALPHABET.cls_idx, ALPHABET.eos_idx


class Scales(NamedTuple):
    """float32 (1, outputs): a row of a layer's fp8 weight times its scale is the row of the weight."""

    qkv: torch.Tensor
    out: torch.Tensor
    fc1: torch.Tensor
    fc2: torch.Tensor


class PackedModel(NamedTuple):
    """The flash path's tensors, FlashModel's, as packed batches need them."""

    letters: torch.Tensor
    first_qkv: torch.Tensor
    layers: list[FlashLayer]
    scales: list[Scales] | None
    shifts: list[torch.Tensor]
    final_norm: tuple[torch.Tensor, torch.Tensor]
    inv_freq: torch.Tensor
    attention_heads: int


@torch.inference_mode()
def packed_model(model: FlashModel, fp8: bool) -> PackedModel:
    """Prepare the flash path's model, in half precision, for packed batches; `fp8` quantizes the weights."""
    layers, scales = model.layers, None
    if fp8:
        quantized = [quantize_weights(layer) for layer in layers]
        layers, scales = [layer for layer, _ in quantized], [scale for _, scale in quantized]
    return PackedModel(
        letters=model.letters,
        first_qkv=model.first_qkv,
        layers=layers,
        scales=scales,
        shifts=residual_shifts(model),
        final_norm=model.final_norm,
        inv_freq=model.inv_freq,
        attention_heads=model.attention_heads,
    )


def residual_shifts(model: FlashModel) -> list[torch.Tensor]:
    """For each norm the float32 vector that the biases before it have added to the residual stream.

    The weights of a softmax add up to one, so the bias of the values passes through attention to the output projection.
    """
    shift = torch.zeros_like(model.final_norm[0], dtype=torch.float32)
    shifts = []
    for layer in model.layers:
        value_bias = layer.qkv[1].float().chunk(3)[2]
        shifts.append(shift)
        shifts.append(shift + layer.out[1].float() + layer.out[0].float() @ value_bias)
        shift = shifts[-1] + layer.fc2[1].float()
    return [*shifts, shift]


def quantize_weights(layer: FlashLayer) -> tuple[FlashLayer, Scales]:
    """The layer with its four weights in fp8, and their scales."""
    weights, scales = {}, {}
    for name in Scales._fields:
        weight, bias = getattr(layer, name)
        scale = weight.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / torch.finfo(FP8).max
        weights[name], scales[name] = ((weight / scale).to(FP8), bias), scale.t().contiguous()
    return layer._replace(**weights), Scales(**scales)


def embed_esm2(model: PackedModel, kernel: str, proteins: list[str], token_budget: int) -> torch.Tensor:
    """(N, embed_dim) float32 on the CPU."""
    device, width = model.letters.device, model.letters.shape[1]
    tables = rotary_table(model.inv_freq, max(map(len, proteins), default=0) + 2)
    cos, sin = (table[:, : table.shape[1] // 2].contiguous() for table in tables)

    def make_forward(rows: int) -> Forward:
        buffers = Fp8Buffers.make(model, rows) if model.scales else Buffers.make(model, rows)
        forward = fp8_forward if model.scales else half_forward
        return lambda batch: forward(model, kernel, batch, cos, sin, buffers)

    return embed_packed(proteins, tokenize, make_forward, width, token_budget, device)


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
    def make(cls, model: PackedModel, rows: int) -> "Buffers":
        return cls(*(model.letters.new_zeros(rows, times * model.letters.shape[1]) for times in (1, 3, 1, 4)))


def half_forward(
    model: PackedModel, kernel: str, batch: Batch, cos: torch.Tensor, sin: torch.Tensor, buffers: Buffers
) -> torch.Tensor:
    """(sequences, embed_dim) float32: the mean of each sequence's last layer over its residues."""
    normed, qkv, attended, hidden = buffers
    heads, shifts = model.attention_heads, model.shifts
    x = F.embedding(batch.tokens, model.letters)
    for index, layer in enumerate(model.layers):
        if index == 0:
            torch.index_select(model.first_qkv, 0, batch.tokens, out=qkv)
        else:
            kernels.layer_norm(x, shifts[2 * index], layer.attention_norm, LAYER_NORM_EPS, normed)
            torch.mm(normed, layer.qkv[0].t(), out=qkv)
        kernels.bias_rotary_(qkv, layer.qkv[1], cos, sin, batch.positions, heads)
        attend(kernel, qkv, batch, heads, attended)
        x.addmm_(attended, layer.out[0].t())
        kernels.layer_norm(x, shifts[2 * index + 1], layer.final_norm, LAYER_NORM_EPS, normed)
        kernels.linear_gelu(normed, layer.fc1, hidden)
        x.addmm_(hidden, layer.fc2[0].t())
    kernels.layer_norm(x, shifts[-1], model.final_norm, LAYER_NORM_EPS, normed)
    return kernels.sequence_mean(normed, batch.cu_seqlens, ends=1)


class Fp8Buffers(NamedTuple):
    """(rows, width) twice, (rows, 4 * width) in fp8, the float32 scale of each row, and (rows, width) in bfloat16."""

    normed: torch.Tensor
    quantized: torch.Tensor
    hidden: torch.Tensor
    scales: torch.Tensor
    attended: torch.Tensor

    @classmethod
    def make(cls, model: PackedModel, rows: int) -> "Fp8Buffers":
        width, new = model.letters.shape[1], model.letters.new_zeros
        return cls(
            normed=new(rows, width),
            quantized=new(rows, width, dtype=FP8),
            hidden=new(rows, 4 * width, dtype=FP8),
            scales=new(rows, 1, dtype=torch.float32),
            attended=new(rows, width, dtype=torch.bfloat16),
        )


def fp8_forward(
    model: PackedModel, kernel: str, batch: Batch, cos: torch.Tensor, sin: torch.Tensor, buffers: Fp8Buffers
) -> torch.Tensor:
    """As `half_forward`, with both operands of every product but the first in fp8, scaled row by row."""
    normed, quantized, wide, scales, attended = buffers
    heads, shifts = model.attention_heads, model.shifts
    x = F.embedding(batch.tokens, model.letters)
    added = None
    for index, (layer, scale) in enumerate(zip(model.layers, model.scales, strict=True)):
        if index == 0:
            qkv = model.first_qkv.bfloat16()[batch.tokens]
        else:
            kernels.layer_norm(
                x, shifts[2 * index], layer.attention_norm, LAYER_NORM_EPS, quantized, added=added, scales=scales
            )
            qkv = fp8_product(quantized, scales, layer.qkv[0], scale.qkv)
        kernels.bias_rotary_(qkv, layer.qkv[1], cos, sin, batch.positions, heads)
        attend(kernel, qkv, batch, heads, attended)
        kernels.quantize(attended, quantized, scales)
        added = fp8_product(quantized, scales, layer.out[0], scale.out)
        kernels.layer_norm(
            x, shifts[2 * index + 1], layer.final_norm, LAYER_NORM_EPS, quantized, added=added, scales=scales
        )
        hidden = fp8_product(quantized, scales, layer.fc1[0], scale.fc1)
        kernels.quantize(hidden, wide, scales, bias=layer.fc1[1])
        added = fp8_product(wide, scales, layer.fc2[0], scale.fc2)
    kernels.layer_norm(x, shifts[-1], model.final_norm, LAYER_NORM_EPS, normed, added=added)
    return kernels.sequence_mean(normed, batch.cu_seqlens, ends=1)


def fp8_product(
    x: torch.Tensor, x_scales: torch.Tensor, weight: torch.Tensor, weight_scales: torch.Tensor
) -> torch.Tensor:
    """(rows, outputs) bfloat16, the one result that PyTorch gives for scaled rows on every GPU that knows fp8."""
    rows = ScalingType.RowWise
    return F.scaled_mm(
        x, weight.t(), x_scales, rows, weight_scales, rows, output_dtype=torch.bfloat16, use_fast_accum=True
    )


def attend(kernel: str, qkv: torch.Tensor, batch: Batch, heads: int, out: torch.Tensor) -> None:
    """Attention within each sequence of (rows, 3 * width) projections, by the kernel of that name."""
    if kernel == "triton":
        kernels.attention(qkv, batch.cu_seqlens, batch.max_length, heads, out)
        return
    q, k, v = (part.view(len(qkv), heads, -1) for part in qkv.chunk(3, dim=1))
    edges, longest = (batch.cu_seqlens, batch.cu_seqlens), (batch.max_length, batch.max_length)
    if kernel == "varlen":
        from torch.nn.attention.varlen import varlen_attn

        result = varlen_attn(q, k, v, *edges, *longest)
    else:
        from flash_attn import flash_attn_varlen_func

        result = flash_attn_varlen_func(q, k, v, *edges, *longest)
    out.copy_(result.reshape(out.shape))
