"""What lies between ESM-2's matrix products on a GPU, fused: Triton kernels bound by memory, arithmetic in float32.

Tensors are packed: (tokens, width), the sequences one behind the other, `cu_seqlens` (sequences + 1) int32 the row
where each begins. Every kernel computes a row, or a sequence, from itself alone: its neighbours cannot change it.
"""

import torch
import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)
NORM_ROWS, GELU_ROWS, BLOCK = 4, 2, 64  # the fastest of those tried on an H200
ROW_MULTIPLE = 128  # the number of tokens must be a multiple of this


@triton.jit
def _layer_norm(x, shift, weight, bias, out, eps, width: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.arange(0, COLUMNS)
    inside = columns < width
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    place = rows[:, None] * width + columns[None, :]
    values = tl.load(x + place, mask=inside[None, :], other=0.0).to(tl.float32)
    values += tl.load(shift + columns, mask=inside, other=0.0)[None, :]
    centred = tl.where(inside[None, :], values - (tl.sum(values, 1) / width)[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1) / width + eps)
    scaled = centred * scale[:, None] * tl.load(weight + columns, mask=inside)[None, :]
    scaled += tl.load(bias + columns, mask=inside)[None, :]
    tl.store(out + place, scaled.to(out.dtype.element_ty), mask=inside[None, :])


def layer_norm(
    x: torch.Tensor, shift: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor], eps: float, out: torch.Tensor
) -> None:
    """Layer norm of `x` plus the vector `shift`, into `out`; `shift` in float32."""
    tokens, width = x.shape
    columns = triton.next_power_of_2(width)
    _layer_norm[(tokens // NORM_ROWS,)](x, shift, *norm, out, eps, width, NORM_ROWS, columns, num_warps=4)


@triton.jit
def _bias_gelu(x, bias, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    shift = tl.load(bias + columns, mask=inside)
    for row in tl.static_range(ROWS):
        place = x + (tl.program_id(1) * ROWS + row).to(tl.int64) * width + columns
        values = tl.load(place, mask=inside).to(tl.float32) + shift
        # erf by Abramowitz and Stegun 7.1.26: off by at most 1.5e-7, far below what half precision resolves.
        size = tl.abs(values) * 0.7071067811865476
        t = 1.0 / (1.0 + 0.3275911 * size)
        series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
        tail = 0.5 * series * tl.exp2(-size * size * LOG2E)  # the normal distribution beyond |x|
        gelu = values * tl.where(values < 0, tail, 1.0 - tail)
        tl.store(place, gelu.to(x.dtype.element_ty), mask=inside)


def bias_gelu_(x: torch.Tensor, bias: torch.Tensor) -> None:
    """erf GELU of `x` plus the vector `bias`, in place."""
    tokens, width = x.shape
    columns = min(1024, triton.next_power_of_2(width))
    _bias_gelu[(triton.cdiv(width, columns), tokens // GELU_ROWS)](x, bias, width, GELU_ROWS, columns, num_warps=4)


@triton.jit
def _bias_rotary(
    qkv, bias, cos, sin, positions, WIDTH: tl.constexpr, HALF: tl.constexpr, HEADS: tl.constexpr, MORE: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)
    heads, columns = tl.arange(0, MORE), tl.arange(0, HALF)
    inside = (heads < HEADS)[:, None]
    offset = tl.program_id(1) * WIDTH + heads[:, None] * (2 * HALF) + columns[None, :]
    place = qkv + token * (3 * WIDTH) + offset
    first = tl.load(place, mask=inside, other=0.0).to(tl.float32) + tl.load(bias + offset, mask=inside, other=0.0)
    second = tl.load(place + HALF, mask=inside, other=0.0).to(tl.float32)
    second += tl.load(bias + HALF + offset, mask=inside, other=0.0)
    angle = tl.load(positions + token) * HALF + columns
    c, s = tl.load(cos + angle)[None, :], tl.load(sin + angle)[None, :]
    tl.store(place, (first * c - second * s).to(qkv.dtype.element_ty), mask=inside)
    tl.store(place + HALF, (second * c + first * s).to(qkv.dtype.element_ty), mask=inside)


def bias_rotary_(
    qkv: torch.Tensor, bias: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor, heads: int
) -> None:
    """Add the bias to the queries and keys of (tokens, 3 * width) `qkv` and rotate them, in place.

    `positions` (tokens) int32 counts from the beginning of each sequence; `cos` and `sin` are (length, head_dim / 2).
    """
    tokens, width = qkv.shape[0], qkv.shape[1] // 3
    more = triton.next_power_of_2(heads)
    _bias_rotary[(tokens, 2)](qkv, bias, cos, sin, positions, width, width // heads // 2, heads, more, num_warps=4)


@triton.jit
def _attention(qkv, cu_seqlens, out, scale, WIDTH: tl.constexpr, HEAD_DIM: tl.constexpr, ROWS: tl.constexpr):
    head, sequence = tl.program_id(0), tl.program_id(2)
    start = tl.load(cu_seqlens + sequence).to(tl.int64)
    length = (tl.load(cu_seqlens + sequence + 1) - start).to(tl.int32)
    if tl.program_id(1) * ROWS >= length:
        return
    columns = tl.arange(0, HEAD_DIM)
    base = qkv + start * (3 * WIDTH) + head * HEAD_DIM
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    inside = (rows < length)[:, None]
    q = tl.load(base + rows[:, None] * (3 * WIDTH) + columns[None, :], mask=inside, other=0.0)
    best = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, HEAD_DIM], tl.float32)
    for first in range(0, length, ROWS):
        keys = first + tl.arange(0, ROWS)
        place = base + keys[:, None] * (3 * WIDTH) + columns[None, :]
        k = tl.load(place + WIDTH, mask=(keys < length)[:, None], other=0.0)
        v = tl.load(place + 2 * WIDTH, mask=(keys < length)[:, None], other=0.0)
        scores = tl.where((keys < length)[None, :], tl.dot(q, tl.trans(k)) * (scale * LOG2E), float("-inf"))
        new_best = tl.maximum(best, tl.max(scores, 1))
        weights = tl.exp2(scores - new_best[:, None])
        decay = tl.exp2(best - new_best)
        total = total * decay + tl.sum(weights, 1)
        mixed = tl.dot(weights.to(v.dtype), v, mixed * decay[:, None])
        best = new_best
    place = out + (start + rows)[:, None] * WIDTH + head * HEAD_DIM + columns[None, :]
    tl.store(place, (mixed / total[:, None]).to(out.dtype.element_ty), mask=inside)


def attention(qkv: torch.Tensor, cu_seqlens: torch.Tensor, max_length: int, heads: int, out: torch.Tensor) -> None:
    """softmax(q k^T / sqrt(head_dim)) v within each sequence (Dao et al. 2022, algorithm 1)."""
    width = out.shape[1]
    grid = (heads, triton.cdiv(max_length, BLOCK), len(cu_seqlens) - 1)
    scale = (width // heads) ** -0.5
    _attention[grid](qkv, cu_seqlens, out, scale, width, width // heads, BLOCK, num_warps=4, num_stages=3)


@triton.jit
def _residue_mean(x, cu_seqlens, out, width, COLUMNS: tl.constexpr):
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    first = tl.load(cu_seqlens + tl.program_id(0)).to(tl.int64) + 1
    last = tl.load(cu_seqlens + tl.program_id(0) + 1).to(tl.int64) - 1
    total = tl.zeros([COLUMNS], tl.float32)
    for row in range(first, last):
        total += tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + tl.program_id(0).to(tl.int64) * width + columns, total / (last - first), mask=inside)


def residue_mean(x: torch.Tensor, cu_seqlens: torch.Tensor) -> torch.Tensor:
    """(sequences, width) float32: the mean of each sequence's rows without its first and last, <cls> and <eos>."""
    out = torch.empty(len(cu_seqlens) - 1, x.shape[1], device=x.device)
    columns = min(256, triton.next_power_of_2(x.shape[1]))
    _residue_mean[(len(out), triton.cdiv(x.shape[1], columns))](x, cu_seqlens, out, x.shape[1], columns, num_warps=2)
    return out
