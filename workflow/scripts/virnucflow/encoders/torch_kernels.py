"""What lies between ESM-2's matrix products by PyTorch's own kernels, for GPUs without Triton and for float32.

Tensors and functions are those of triton_kernels.py, for a model that `pair_up_` has prepared. Every product takes its
bias along, what can be is written in place, and attention and mean take sequences of one length together, so that
nothing is padded.
"""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from virnucflow.encoders.esm2 import FlashModel
from virnucflow.encoders.packed import Batch

# Not cuDNN's, which makes a plan for each new shape, and that takes longer than the attention.
BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def pair_up_(encoder: FlashModel) -> None:
    """Put the two dimensions of queries and keys that are rotated together beside each other, in place.

    So a pair is one complex number, and a rotation one multiplication. The products of queries and keys stay as they
    are.
    """
    order = torch.arange(3 * encoder.width, device=encoder.device).view(3, encoder.heads, 2, -1)
    order = torch.cat([order[:2].transpose(2, 3).flatten(), order[2].flatten()])
    encoder.first_qkv = encoder.first_qkv[:, order]
    for layer in encoder.layers:
        for tensor in (layer.attention.qkv.weight, layer.attention.qkv.bias):
            tensor.copy_(tensor[order])


def layer_norm(x: torch.Tensor, shift: None, norm: torch.nn.LayerNorm, out: torch.Tensor) -> torch.Tensor:
    """Layer norm of `x`, to which every bias has been added. It can write over no tensor, so `out` is left as it is."""
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def add_linear_(x: torch.Tensor, y: torch.Tensor, linear: torch.nn.Linear, buffer: torch.Tensor) -> None:
    """Add what the linear layer gives of (tokens, depth) `y` to (tokens, width) `x`; `buffer` of its shape is written
    over."""
    torch.addmm(linear.bias, y, linear.weight.t(), out=buffer)
    x.add_(buffer)


def linear_gelu(x: torch.Tensor, linear: torch.nn.Linear, out: torch.Tensor) -> None:
    """erf GELU of what the linear layer gives of (tokens, depth) `x`, into (tokens, width) `out`."""
    torch.addmm(linear.bias, x, linear.weight.t(), out=out)
    torch.ops.aten.gelu_(out)


def linear_rotary(
    x: torch.Tensor,
    linear: torch.nn.Linear,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    heads: int,
    out: torch.Tensor,
) -> None:
    """Queries, keys and values of (tokens, width) `x` into (tokens, 3 * width) `out`, queries and keys rotated."""
    torch.addmm(linear.bias, x, linear.weight.t(), out=out)
    _rotary_(out, cos, sin, positions, heads)


def bias_rotary_(
    qkv: torch.Tensor, bias: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor, heads: int
) -> None:
    """Add the bias to (tokens, 3 * width) `qkv` and rotate queries and keys, in place.

    `positions` (tokens) int32 counts from the beginning of each sequence; `cos` and `sin` are (length, head_dim / 2).
    """
    qkv += bias
    _rotary_(qkv, cos, sin, positions, heads)


def _rotary_(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor, heads: int) -> None:
    both = 2 * (qkv.shape[1] // 3)
    pairs = qkv[:, :both].unflatten(1, (2 * heads, -1, 2))  # (tokens, 2 * heads, head_dim / 2, 2)
    dtype = torch.float32 if qkv.dtype == torch.bfloat16 else qkv.dtype  # bfloat16 has no complex numbers
    turns = torch.stack([cos, sin], dim=-1).to(dtype)[positions]  # (tokens, head_dim / 2, 2)
    exact = pairs.to(dtype)
    torch.view_as_complex(exact).mul_(torch.view_as_complex(turns)[:, None])
    if exact is not pairs:
        pairs.copy_(exact)


def attention(qkv: torch.Tensor, batch: Batch, heads: int, out: torch.Tensor) -> None:
    """softmax(q k^T / sqrt(head_dim)) v within each sequence, for sequences of one length together."""
    with sdpa_kernel(BACKENDS):
        for rows, length in batch.runs():
            q, k, v = qkv[rows].view(-1, length, 3, heads, qkv.shape[1] // 3 // heads).permute(2, 0, 3, 1, 4)
            attended = F.scaled_dot_product_attention(q, k, v)  # (sequences, heads, length, head_dim)
            out[rows].view(-1, length, heads, v.shape[-1]).copy_(attended.transpose(1, 2))


def sequence_mean(x: torch.Tensor, batch: Batch, ends: int) -> torch.Tensor:
    """(sequences, width) float32: the mean of each sequence's rows without its first and last `ends`."""
    means = [
        x[rows].view(-1, length, x.shape[1])[:, ends : length - ends].mean(1, dtype=torch.float32)
        for rows, length in batch.runs()
    ]
    return torch.cat(means)
