"""What lies between ESM-2's matrix products by PyTorch's own kernels, for GPUs without Triton and for float32.

Tensors and functions are those of triton_kernels.py. Every product takes its bias along, what can be is written in
place, and attention and mean take sequences of one length together, so that nothing is padded.
"""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from virnucflow.encoders.packed import Batch

# Not cuDNN's, which makes a plan for each new shape, and that takes longer than the attention.
BACKENDS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def layer_norm(x: torch.Tensor, shift: torch.Tensor, norm: torch.nn.LayerNorm, out: torch.Tensor) -> torch.Tensor:
    """Layer norm of `x` plus the vector `shift`; `out` is written over meanwhile."""
    torch.add(x, shift.to(x.dtype), out=out)
    return F.layer_norm(out, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


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
    """Queries, keys and values of (tokens, width) `x` into (tokens, 3 * width) `out`: queries and keys with their bias
    and rotated, values without bias."""
    bias = linear.bias.clone()
    bias[2 * x.shape[1] :] = 0
    torch.addmm(bias, x, linear.weight.t(), out=out)
    _rotary_(out, cos, sin, positions, heads)


def bias_rotary_(
    qkv: torch.Tensor, bias: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor, heads: int
) -> None:
    """Add the bias to the queries and keys of (tokens, 3 * width) `qkv` and rotate them, in place.

    `positions` (tokens) int32 counts from the beginning of each sequence; `cos` and `sin` are (length, head_dim / 2).
    """
    both = 2 * (qkv.shape[1] // 3)
    qkv[:, :both] += bias[:both]
    _rotary_(qkv, cos, sin, positions, heads)


def _rotary_(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, positions: torch.Tensor, heads: int) -> None:
    both = 2 * (qkv.shape[1] // 3)
    first, second = qkv[:, :both].view(len(qkv), 2 * heads, 2, -1).unbind(2)  # (tokens, 2 * heads, head_dim / 2)
    c, s = (table.to(qkv.dtype)[positions][:, None] for table in (cos, sin))
    turned = first * s
    first.mul_(c).addcmul_(second, s, value=-1)
    torch.addcmul(turned, second, c, out=second)


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
