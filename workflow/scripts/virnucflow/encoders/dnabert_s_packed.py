"""DNABERT-S's flash path on a GPU: packed batches, fused kernels between the matrix products."""

from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer

from virnucflow.encoders import triton_kernels as kernels
from virnucflow.encoders.dnabert_s import DnabertS, alibi_slopes
from virnucflow.encoders.packed import Batch, Forward, embed_packed


class Buffers(NamedTuple):
    """What each layer writes over: (rows, 3 * width), (rows, width), (rows, 2 * intermediate), (rows, intermediate)."""

    qkv: torch.Tensor
    attended: torch.Tensor
    gated: torch.Tensor
    hidden: torch.Tensor


def embed_dnabert_s(
    model: DnabertS, kernel: str, tokenizer: Tokenizer, sequences: list[str], token_budget: int
) -> torch.Tensor:
    """(N, hidden_size) float32 on the CPU."""
    device, width = model.device_and_width()
    intermediate = model.encoder["layer"][0].mlp["wo"].in_features
    slopes = torch.tensor(alibi_slopes(model.heads), device=device)

    def make_forward(rows: int) -> Forward:
        like = model.embeddings["word_embeddings"].weight
        buffers = Buffers(*(like.new_zeros(rows, size) for size in (3 * width, width, 2 * intermediate, intermediate)))
        return lambda batch: packed_forward(model, kernel, batch, slopes, buffers)

    def tokenize(some: list[str]) -> tuple[np.ndarray, np.ndarray]:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch_fast(some)]
        return np.concatenate([np.array(ids) for ids in tokens]), np.array([len(ids) for ids in tokens])

    return embed_packed(sequences, tokenize, make_forward, width, token_budget, device)


def packed_forward(model: DnabertS, kernel: str, batch: Batch, slopes: torch.Tensor, buffers: Buffers) -> torch.Tensor:
    """(sequences, hidden_size) float32: the mean of each sequence's last layer over all its tokens."""
    qkv, attended, gated, hidden = buffers
    x = model.embed(batch.tokens)
    for layer in model.encoder["layer"]:
        projection, output, mlp = layer.attention["self"]["Wqkv"], layer.attention["output"], layer.mlp
        torch.addmm(projection.bias, x, projection.weight.t(), out=qkv)
        attend(kernel, qkv, batch, slopes, attended)
        x.addmm_(attended, output["dense"].weight.t())
        add_norm_(x, output["dense"].bias, output["LayerNorm"])
        torch.mm(x, mlp["gated_layers"].weight.t(), out=gated)
        kernels.gated_gelu(gated, hidden)
        x.addmm_(hidden, mlp["wo"].weight.t())
        add_norm_(x, mlp["wo"].bias, mlp["layernorm"])
    return kernels.sequence_mean(x, batch.cu_seqlens, ends=0)


def add_norm_(x: torch.Tensor, bias: torch.Tensor, norm: torch.nn.LayerNorm) -> None:
    kernels.layer_norm(x, bias, (norm.weight, norm.bias), norm.eps, x)


def attend(kernel: str, qkv: torch.Tensor, batch: Batch, slopes: torch.Tensor, out: torch.Tensor) -> None:
    """Attention with ALiBi within each sequence of (rows, 3 * width) projections, by the kernel of that name."""
    if kernel == "triton":
        kernels.attention(qkv, batch.cu_seqlens, batch.max_length, len(slopes), out, slopes)
        return
    from flash_attn import flash_attn_varlen_func

    q, k, v = (part.view(len(qkv), len(slopes), -1) for part in qkv.chunk(3, dim=1))
    edges, longest = (batch.cu_seqlens, batch.cu_seqlens), (batch.max_length, batch.max_length)
    out.copy_(flash_attn_varlen_func(q, k, v, *edges, *longest, alibi_slopes=slopes).reshape(out.shape))
