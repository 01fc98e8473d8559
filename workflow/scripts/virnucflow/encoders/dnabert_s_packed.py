"""DNABERT-S's flash path on a GPU: packed batches, fused kernels between the matrix products."""

from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer

from virnucflow.encoders import triton_kernels as kernels
from virnucflow.encoders.dnabert_s import DnabertS, alibi_slopes
from virnucflow.encoders.packed import Batch, Forward, embed_packed
from virnucflow.encoders.parts import KEEP_NOTHING, Progress


class Buffers(NamedTuple):
    """What each layer writes over: (rows, 3 * width), (rows, width), (rows, 2 * intermediate), (rows, intermediate)."""

    qkv: torch.Tensor
    attended: torch.Tensor
    gated: torch.Tensor
    hidden: torch.Tensor

    @classmethod
    def make(cls, model: DnabertS, rows: int) -> "Buffers":
        """Buffers for batches of so many rows, in the model's precision."""
        width, intermediate = model.width, model.layers[0].mlp.out.in_features
        sizes = (3 * width, width, 2 * intermediate, intermediate)
        return cls(*(model.words.weight.new_zeros(rows, size) for size in sizes))


def embed_dnabert_s(
    model: DnabertS,
    kernel: str,
    tokenizer: Tokenizer,
    sequences: list[str],
    token_budget: int,
    progress: Progress = KEEP_NOTHING,
) -> torch.Tensor:
    """(sequences, width) float32 embeddings on the CPU."""
    slopes = torch.tensor(alibi_slopes(model.heads), device=model.device)

    def make_forward(rows: int) -> Forward:
        buffers = Buffers.make(model, rows)
        return lambda batch: packed_forward(model, kernel, batch, slopes, buffers)

    def tokenize(some: list[str]) -> tuple[np.ndarray, np.ndarray]:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(some)]
        return np.concatenate([np.array(ids) for ids in tokens]), np.array([len(ids) for ids in tokens])

    return embed_packed(sequences, tokenize, make_forward, model.width, token_budget, model.device, progress)


def packed_forward(model: DnabertS, kernel: str, batch: Batch, slopes: torch.Tensor, buffers: Buffers) -> torch.Tensor:
    """(sequences, width) float32: the mean of each sequence's last layer over all its tokens."""
    qkv, attended, gated, hidden = buffers
    x = model.embed(batch.tokens)  # (rows, width)
    for layer in model.layers:
        attention, mlp = layer.attention, layer.mlp
        torch.addmm(attention.qkv.bias, x, attention.qkv.weight.t(), out=qkv)
        attend(kernel, qkv, batch, slopes, attended)
        x.addmm_(attended, attention.out.weight.t())
        kernels.layer_norm(x, attention.out.bias, attention.norm, x)
        torch.mm(x, mlp.gate_and_value.weight.t(), out=gated)
        kernels.gated_gelu(gated, hidden)
        x.addmm_(hidden, mlp.out.weight.t())
        kernels.layer_norm(x, mlp.out.bias, mlp.norm, x)
    return kernels.sequence_mean(x, batch, ends=0)


def attend(kernel: str, qkv: torch.Tensor, batch: Batch, slopes: torch.Tensor, out: torch.Tensor) -> None:
    """Attention with ALiBi within each sequence of (rows, 3 * width) projections, by the kernel of that name."""
    if kernel == "triton":
        kernels.attention(qkv, batch, len(slopes), out, slopes)
        return
    from flash_attn import flash_attn_varlen_func

    q, k, v = (part.view(len(qkv), len(slopes), -1) for part in qkv.chunk(3, dim=1))
    edges, longest = (batch.cu_seqlens, batch.cu_seqlens), (batch.max_length, batch.max_length)
    out.copy_(flash_attn_varlen_func(q, k, v, *edges, *longest, alibi_slopes=slopes).reshape(out.shape))
