"""What lies between the encoders' matrix products on a GPU, fused: Triton kernels bound by memory, float32 inside.

Tensors are packed: (tokens, width), the sequences one behind the other, as a batch's `cu_seqlens` say. Every kernel
computes a row, or a sequence, from itself alone: its neighbours cannot change it.
"""

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from virnucflow.encoders.packed import Batch

LOG2E = tl.constexpr(1.4426950408889634)
FP8_MAX = tl.constexpr(448.0)  # of float8_e4m3fn
NORM_ROWS, GELU_ROWS, BLOCK = 4, 2, 64  # the fastest of those tried on an H200
TILE, TILE_GROUP, TILE_WARPS, TILE_STAGES = (128, 256, 64), 16, 8, 3  # rows, columns and depth of a product's tile


@triton.jit
def _layer_norm(
    x,
    added,
    shift,
    weight,
    bias,
    out,
    scales,
    eps,
    width: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ADDED: tl.constexpr,
    QUANTIZE: tl.constexpr,
):
    columns = tl.arange(0, COLUMNS)
    inside = columns < width
    rows = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)
    place = rows[:, None] * width + columns[None, :]
    values = tl.load(x + place, mask=inside[None, :], other=0.0).to(tl.float32)
    if ADDED:
        values += tl.load(added + place, mask=inside[None, :], other=0.0).to(tl.float32)
        tl.store(x + place, values.to(x.dtype.element_ty), mask=inside[None, :])
    values += tl.load(shift + columns, mask=inside, other=0.0)[None, :]
    centred = tl.where(inside[None, :], values - (tl.sum(values, 1) / width)[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1) / width + eps)
    normed = centred * scale[:, None] * tl.load(weight + columns, mask=inside, other=0.0)[None, :]
    normed += tl.load(bias + columns, mask=inside, other=0.0)[None, :]
    if QUANTIZE:
        unit = tl.maximum(tl.max(tl.abs(normed), 1), 1e-12) / FP8_MAX
        tl.store(scales + rows, unit)
        normed /= unit[:, None]
    tl.store(out + place, normed.to(out.dtype.element_ty), mask=inside[None, :])


def layer_norm(
    x: torch.Tensor,
    shift: torch.Tensor,
    norm: torch.nn.LayerNorm,
    out: torch.Tensor,
    added: torch.Tensor | None = None,
    scales: torch.Tensor | None = None,
) -> torch.Tensor:
    """Layer norm of `x` plus the vector `shift` into `out`, which may be `x`, and which it gives.

    `added`, of the shape of `x`, is first added to `x` in place. With `scales` (tokens, 1) float32, `out` is
    float8_e4m3fn, and a row of it times its scale the norm.
    """
    tokens, width = x.shape
    columns = triton.next_power_of_2(width)
    flags = {"ADDED": added is not None, "QUANTIZE": scales is not None}
    _layer_norm[(tokens // NORM_ROWS,)](
        x, added, shift, norm.weight, norm.bias, out, scales, norm.eps, width, NORM_ROWS, columns, **flags, num_warps=4
    )
    return out


def add_linear_(x: torch.Tensor, y: torch.Tensor, linear: torch.nn.Linear, buffer: torch.Tensor) -> None:
    """Add the linear layer's product with (tokens, depth) `y` to (tokens, width) `x`, without bias or `buffer`."""
    x.addmm_(y, linear.weight.t())


@triton.jit
def _gelu(x):
    # Half of erf(x / sqrt(2)) as x times an even polynomial, fitted on |x| <= 4.5 with the value 1/2 at the end. GELU
    # is off by at most 1.6e-5 up to |x| = 100, a tenth of what rounding to half precision does to a value near 1.
    z = tl.clamp(x, -4.5, 4.5)
    v = z * z * (2 / 4.5**2) - 1.0
    p = -0.0009484122274443507 * v + 0.0042315395548939705
    p = p * v - 0.007786096073687077
    p = p * v + 0.010817187838256359
    p = p * v - 0.017519749701023102
    p = p * v + 0.028296807780861855
    p = p * v - 0.0404285304248333
    p = p * v + 0.054720353335142136
    p = p * v - 0.07717622816562653
    p = p * v + 0.15690425038337708
    return x * (z * p + 0.5)


@triton.jit
def _bias_gelu(x, bias, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    shift = tl.load(bias + columns, mask=inside)
    for row in tl.static_range(ROWS):
        place = x + (tl.program_id(1) * ROWS + row).to(tl.int64) * width + columns
        values = tl.load(place, mask=inside).to(tl.float32) + shift
        tl.store(place, _gelu(values).to(x.dtype.element_ty), mask=inside)


def bias_gelu_(x: torch.Tensor, bias: torch.Tensor) -> None:
    """erf GELU of `x` plus the vector `bias`, in place."""
    tokens, width = x.shape
    columns = min(1024, triton.next_power_of_2(width))
    _bias_gelu[(triton.cdiv(width, columns), tokens // GELU_ROWS)](x, bias, width, GELU_ROWS, columns, num_warps=4)


@triton.jit
def _linear_gelu(
    x,
    weight,
    out,
    bias,
    tokens,
    width,
    depth,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    GROUP: tl.constexpr,
    PROGRAMS: tl.constexpr,
):
    down, across = tl.cdiv(tokens, ROWS), tl.cdiv(width, COLUMNS)
    # Each program computes many tiles, and loads the next one's operands while it writes one. Tiles go down GROUP rows,
    # then to the next column, so that the programs at work share operands in the L2 cache.
    for tile in tl.range(tl.program_id(0), down * across, PROGRAMS, flatten=True):
        first = tile // (GROUP * across) * GROUP
        high = min(down - first, GROUP)
        row = (first + tile % (GROUP * across) % high) * ROWS
        column = tile % (GROUP * across) // high * COLUMNS
        sums = tl.zeros((ROWS, COLUMNS), tl.float32)
        for step in range(tl.cdiv(depth, DEPTH)):
            left = x.load([row, step * DEPTH])
            right = weight.load([column, step * DEPTH])
            sums = tl.dot(left, right.T, sums)
        # In two halves: both at once need more registers and shared memory than there are.
        half: tl.constexpr = COLUMNS // 2
        one, two = tl.split(tl.permute(tl.reshape(sums, (ROWS, 2, half)), (0, 2, 1)))
        columns = column + tl.arange(0, half)
        one += tl.load(bias + columns, mask=columns < width, other=0.0)[None, :]
        out.store([row, column], _gelu(one).to(out.dtype))
        columns += half
        two += tl.load(bias + columns, mask=columns < width, other=0.0)[None, :]
        out.store([row, column + half], _gelu(two).to(out.dtype))


def linear_gelu(x: torch.Tensor, linear: torch.nn.Linear, out: torch.Tensor) -> None:
    """erf GELU of what the linear layer gives of (tokens, depth) `x`, into (tokens, width) `out`."""
    if torch.cuda.get_device_capability(x.device) != (9, 0):  # the fused kernel is made for Hopper
        torch.mm(x, linear.weight.t(), out=out)
        bias_gelu_(out, linear.bias)
        return
    (tokens, depth), width = x.shape, out.shape[1]
    rows, columns, deep = TILE
    programs = torch.cuda.get_device_properties(x.device).multi_processor_count
    blocks = ((x, [rows, deep]), (linear.weight, [columns, deep]), (out, [rows, columns // 2]))
    operands = (TensorDescriptor.from_tensor(tensor, block) for tensor, block in blocks)
    _linear_gelu[(programs,)](
        *operands,
        linear.bias,
        tokens,
        width,
        depth,
        *TILE,
        TILE_GROUP,
        programs,
        num_warps=TILE_WARPS,
        num_stages=TILE_STAGES,
    )


@triton.jit
def _gated_gelu(x, out, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    for row in tl.static_range(ROWS):
        token = (tl.program_id(1) * ROWS + row).to(tl.int64)
        gate = tl.load(x + token * (2 * width) + columns, mask=inside).to(tl.float32)
        value = tl.load(x + token * (2 * width) + width + columns, mask=inside).to(tl.float32)
        tl.store(out + token * width + columns, (_gelu(gate) * value).to(out.dtype.element_ty), mask=inside)


def gated_gelu(x: torch.Tensor, out: torch.Tensor) -> None:
    """erf GELU of the first half of each row of `x` times the second half, into (tokens, width) `out`."""
    tokens, width = out.shape
    columns = min(1024, triton.next_power_of_2(width))
    _gated_gelu[(triton.cdiv(width, columns), tokens // GELU_ROWS)](x, out, width, GELU_ROWS, columns, num_warps=4)


@triton.jit
def _quantize(x, bias, out, scales, width, COLUMNS: tl.constexpr, GELU: tl.constexpr):
    columns = tl.arange(0, COLUMNS)
    inside = columns < width
    row = tl.program_id(0).to(tl.int64)
    values = tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    if GELU:
        values = _gelu(values + tl.load(bias + columns, mask=inside, other=0.0))
    unit = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / FP8_MAX
    tl.store(scales + row, unit)
    tl.store(out + row * width + columns, (values / unit).to(out.dtype.element_ty), mask=inside)


def quantize(x: torch.Tensor, out: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None = None) -> None:
    """Each row of `x` as float8_e4m3fn `out` times a float32 scale; given a bias, of the erf GELU of `x` plus it."""
    tokens, width = x.shape
    columns = triton.next_power_of_2(width)
    warps = 8 if columns > 4096 else 4
    _quantize[(tokens,)](x, bias, out, scales, width, columns, GELU=bias is not None, num_warps=warps)


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


def linear_rotary(
    x: torch.Tensor,
    linear: torch.nn.Linear,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    heads: int,
    out: torch.Tensor,
) -> None:
    """Queries, keys and values of (tokens, width) `x` into (tokens, 3 * width) `out`: queries and keys with their bias
    and rotated as by `bias_rotary_`, values without bias."""
    torch.mm(x, linear.weight.t(), out=out)
    bias_rotary_(out, linear.bias, cos, sin, positions, heads)


@triton.jit
def _attention(
    qkv,
    slopes,
    cu_seqlens,
    out,
    scale,
    WIDTH: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    ROWS: tl.constexpr,
    ALIBI: tl.constexpr,
):
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
        scores = tl.dot(q, tl.trans(k)) * (scale * LOG2E)
        if ALIBI:
            scores -= tl.load(slopes + head) * LOG2E * tl.abs(rows[:, None] - keys[None, :]).to(tl.float32)
        scores = tl.where((keys < length)[None, :], scores, float("-inf"))
        new_best = tl.maximum(best, tl.max(scores, 1))
        weights = tl.exp2(scores - new_best[:, None])
        decay = tl.exp2(best - new_best)
        total = total * decay + tl.sum(weights, 1)
        mixed = tl.dot(weights.to(v.dtype), v, mixed * decay[:, None])
        best = new_best
    place = out + (start + rows)[:, None] * WIDTH + head * HEAD_DIM + columns[None, :]
    tl.store(place, (mixed / total[:, None]).to(out.dtype.element_ty), mask=inside)


def attention(
    qkv: torch.Tensor, batch: Batch, heads: int, out: torch.Tensor, slopes: torch.Tensor | None = None
) -> None:
    """softmax(q k^T / sqrt(head_dim) - slope |i - j|) v within each sequence (Dao et al. 2022, algorithm 1).

    `slopes` (heads) float32 are ALiBi's (Press et al. 2022).
    """
    width = out.shape[1]
    grid = (heads, triton.cdiv(batch.max_length, BLOCK), len(batch.lengths))
    scale = (width // heads) ** -0.5
    edges, head_dim, alibi = batch.cu_seqlens, width // heads, slopes is not None
    _attention[grid](qkv, slopes, edges, out, scale, width, head_dim, BLOCK, alibi, num_warps=4, num_stages=3)


@triton.jit
def _sequence_mean(x, cu_seqlens, out, width, ENDS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    first = tl.load(cu_seqlens + tl.program_id(0)).to(tl.int64) + ENDS
    last = tl.load(cu_seqlens + tl.program_id(0) + 1).to(tl.int64) - ENDS
    total = tl.zeros([COLUMNS], tl.float32)
    for row in range(first, last):
        total += tl.load(x + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + tl.program_id(0).to(tl.int64) * width + columns, total / (last - first), mask=inside)


def sequence_mean(x: torch.Tensor, batch: Batch, ends: int) -> torch.Tensor:
    """(sequences, width) float32: the mean of each sequence's rows without its first and last `ends`."""
    out = torch.empty(len(batch.lengths), x.shape[1], device=x.device)
    columns = min(256, triton.next_power_of_2(x.shape[1]))
    grid = (len(out), triton.cdiv(x.shape[1], columns))
    _sequence_mean[grid](x, batch.cu_seqlens, out, x.shape[1], ends, columns, num_warps=2)
    return out
