"""ESM-2's flash path on a GPU: packed sequences, fused kernels between the matrix products.

Every batch has the same number of rows, whatever is in it, so every matrix product is the same kernel and a frame's
embedding does not depend on what shares its batch. Biases are never added to the residual stream: what they add up to
is a vector a layer, `shift`, that the next norm adds.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from virnucflow import triton_kernels as kernels
from virnucflow.batches import packed_batches
from virnucflow.cli import log
from virnucflow.esm2 import (
    ALPHABET,
    LAYER_NORM_EPS,
    TOKEN,
    TOKEN_DROPOUT,
    FlashModel,
    rotary_table,
)


class Batch(NamedTuple):
    """Sequences one behind the other, and behind the last the unused rows: tokens and positions of each row."""

    tokens: torch.Tensor
    positions: torch.Tensor
    cu_seqlens: torch.Tensor
    max_length: int


class Buffers(NamedTuple):
    """What each layer writes over: (tokens, width), (tokens, 3 * width), (tokens, width), (tokens, 4 * width)."""

    normed: torch.Tensor
    qkv: torch.Tensor
    attended: torch.Tensor
    hidden: torch.Tensor


def embed_packed(model: FlashModel, kernel: str, proteins: list[str], token_budget: int) -> torch.Tensor:
    """(N, embed_dim) float32 on the CPU. Out of memory halves the number of tokens a batch, and goes on."""
    while True:
        try:
            return _embed(model, kernel, proteins, token_budget)
        except torch.OutOfMemoryError:
            if token_budget < 1024:
                raise
            token_budget //= 2
            log.warning("out of GPU memory: going on with %d tokens a batch", token_budget)
        torch.cuda.empty_cache()


@torch.inference_mode()
def _embed(model: FlashModel, kernel: str, proteins: list[str], token_budget: int) -> torch.Tensor:
    device, width = model.embed_tokens.device, model.embed_tokens.shape[1]
    lengths = np.array([len(protein) for protein in proteins], dtype=np.int64) + 2
    if not len(lengths):
        return torch.empty(0, width)
    tokens = -(-max(token_budget, int(lengths.max())) // kernels.ROW_MULTIPLE) * kernels.ROW_MULTIPLE
    buffers = Buffers(*(model.embed_tokens.new_zeros(tokens, times * width) for times in (1, 3, 1, 4)))
    shifts = residual_shifts(model)
    cos, sin = (table[:, : table.shape[1] // 2].contiguous() for table in rotary_table(model.inv_freq, lengths.max()))
    result = torch.empty(len(proteins), width)
    waiting: tuple[np.ndarray, torch.Tensor, torch.cuda.Event] | None = None
    for rows in packed_batches(lengths, tokens):
        batch = pack([proteins[row] for row in rows], lengths[rows], tokens, device)
        means = packed_forward(model, kernel, batch, shifts, cos, sin, buffers)
        arriving = torch.empty(means.shape, pin_memory=True).copy_(means, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        if waiting:  # fetched while the GPU computes the next batch
            _fetch(result, *waiting)
        waiting = rows, arriving, done
    _fetch(result, *waiting)
    return result


def _fetch(result: torch.Tensor, rows: np.ndarray, arriving: torch.Tensor, done: torch.cuda.Event) -> None:
    done.synchronize()
    result[rows] = arriving


def pack(proteins: list[str], lengths: np.ndarray, tokens: int, device: torch.device) -> Batch:
    """Lay sequences one behind the other: <cls>, the residues, <eos>; positions begin at 0 on each <cls>."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    # <cls> and <eos> by the letters that stand for their tokens below.
    letters = np.frombuffer("".join(f"^{protein}$" for protein in proteins).encode("ascii"), dtype=np.uint8)
    packed = np.full(tokens, ALPHABET.padding_idx, dtype=np.int64)
    packed[: len(letters)] = TOKEN[letters]
    packed[starts], packed[ends - 1] = ALPHABET.cls_idx, ALPHABET.eos_idx
    positions = np.zeros(tokens, dtype=np.int32)
    positions[: len(letters)] = np.arange(len(letters)) - np.repeat(starts, lengths)
    cu_seqlens = np.concatenate([[0], ends]).astype(np.int32)
    arrays = (torch.from_numpy(array).pin_memory() for array in (packed, positions, cu_seqlens))
    return Batch(*(array.to(device, non_blocking=True) for array in arrays), max_length=int(lengths.max()))


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


def packed_forward(
    model: FlashModel,
    kernel: str,
    batch: Batch,
    shifts: list[torch.Tensor],
    cos: torch.Tensor,
    sin: torch.Tensor,
    buffers: Buffers,
) -> torch.Tensor:
    """(sequences, embed_dim) float32: the mean of each sequence's last layer over its residues."""
    normed, qkv, attended, hidden = buffers
    x = F.embedding(batch.tokens, model.embed_tokens) * TOKEN_DROPOUT
    for index, layer in enumerate(model.layers):
        kernels.layer_norm(x, shifts[2 * index], layer.attention_norm, LAYER_NORM_EPS, normed)
        torch.mm(normed, layer.qkv[0].t(), out=qkv)
        kernels.bias_rotary_(qkv, layer.qkv[1], cos, sin, batch.positions, model.attention_heads)
        attend(kernel, qkv, batch, model.attention_heads, attended)
        x.addmm_(attended, layer.out[0].t())
        kernels.layer_norm(x, shifts[2 * index + 1], layer.final_norm, LAYER_NORM_EPS, normed)
        torch.mm(normed, layer.fc1[0].t(), out=hidden)
        kernels.bias_gelu_(hidden, layer.fc1[1])
        x.addmm_(hidden, layer.fc2[0].t())
    kernels.layer_norm(x, shifts[-1], model.final_norm, LAYER_NORM_EPS, normed)
    return kernels.residue_mean(normed, batch.cu_seqlens)


def attend(kernel: str, qkv: torch.Tensor, batch: Batch, heads: int, out: torch.Tensor) -> None:
    """Attention within each sequence of (tokens, 3 * width) projections, by the kernel of that name."""
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
