"""ESM-2 (Lin et al., Science 2023, 379:1123): mean of the last layer over the residues of each protein.

`standard` is fair-esm's own model on padded batches, as VirNucPro v1 ran it. `flash` computes the same numbers without
padding, from the same tensors: here in batches of equal length, on any device; packed, for GPUs, in esm2_packed.py.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from esm.data import Alphabet, FastaBatchedDataset
from esm.model.esm2 import ESM2

from virnucflow.cli import InputError
from virnucflow.encoders.batches import equal_length_batches
from virnucflow.packs.pack import Esm2Shape
from virnucflow.packs.weights import meta_device

STANDARD_KERNEL = "fair-esm"

ALPHABET = Alphabet.from_architecture("ESM-1b")
LAYER_NORM_EPS = 1e-5
TOKEN_DROPOUT = 1 - 0.15 * 0.8  # fair-esm scales embeddings by this at inference, when no token is masked

TOKEN = np.full(256, ALPHABET.unk_idx, dtype=np.int64)
TOKEN[[ord(token) for token in ALPHABET.tok_to_idx if len(token) == 1]] = [
    index for token, index in ALPHABET.tok_to_idx.items() if len(token) == 1
]


def fair_esm_model(shape: Esm2Shape, device: str = "meta") -> ESM2:
    """fair-esm's ESM2 without the two heads that no embedding needs; on the meta device it has no weights."""
    with meta_device() if device == "meta" else torch.device(device):
        model = ESM2(shape.num_layers, shape.embed_dim, shape.attention_heads, alphabet=ALPHABET)
    model.lm_head = torch.nn.Identity()
    model.contact_head = torch.nn.Identity()
    return model


@torch.inference_mode()
def embed_standard(model: ESM2, proteins: list[str], token_budget: int) -> torch.Tensor:
    """v1: batches in ascending length of up to `token_budget` tokens, counting one extra token a sequence."""
    device = model.embed_tokens.weight.device
    dataset = FastaBatchedDataset(range(len(proteins)), proteins)
    convert = ALPHABET.get_batch_converter()
    result = torch.empty(len(proteins), model.embed_dim)
    for batch in dataset.get_batch_indices(token_budget, extra_toks_per_seq=1):
        rows, sequences, tokens = convert([dataset[i] for i in batch])
        output = model(tokens.to(device), repr_layers=[model.num_layers])["representations"][model.num_layers]
        for row, sequence, hidden in zip(rows, sequences, output, strict=True):
            result[row] = hidden[1 : len(sequence) + 1].mean(0).float()
    return result


class FlashLayer(NamedTuple):
    """One layer's tensors; the projections to queries, keys and values are one matrix of (3 * embed_dim, embed_dim)."""

    attention_norm: tuple[torch.Tensor, torch.Tensor]
    qkv: tuple[torch.Tensor, torch.Tensor]
    out: tuple[torch.Tensor, torch.Tensor]
    final_norm: tuple[torch.Tensor, torch.Tensor]
    fc1: tuple[torch.Tensor, torch.Tensor]
    fc2: tuple[torch.Tensor, torch.Tensor]


class FlashModel(NamedTuple):
    """All tensors of the flash path, on one device, in one precision but for the rotary frequencies in float32.

    Before the first attention a token depends on nothing but its letter, so a table (letters, embed_dim) has what the
    first layer is given, and another (letters, 3 * embed_dim) its projections, without bias.
    """

    letters: torch.Tensor
    first_qkv: torch.Tensor
    layers: list[FlashLayer]
    final_norm: tuple[torch.Tensor, torch.Tensor]
    inv_freq: torch.Tensor
    attention_heads: int


@torch.inference_mode()
def flash_model(model: ESM2, dtype: torch.dtype, device: torch.device) -> FlashModel:
    """Arrange the tensors of fair-esm's model for the flash path."""

    def tensors(*modules: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias, of several modules one below the other; of one, where they are if they can stay."""
        parts = [m.weight for m in modules], [m.bias for m in modules]
        weight, bias = (part[0] if len(part) == 1 else torch.cat(part) for part in parts)
        return weight.to(device=device, dtype=dtype), bias.to(device=device, dtype=dtype)

    layers = [
        FlashLayer(
            attention_norm=tensors(layer.self_attn_layer_norm),
            qkv=tensors(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
            out=tensors(layer.self_attn.out_proj),
            final_norm=tensors(layer.final_layer_norm),
            fc1=tensors(layer.fc1),
            fc2=tensors(layer.fc2),
        )
        for layer in model.layers
    ]
    # Every layer has its own copy of the frequencies, and a checkpoint in half precision has them rounded.
    inv_freq = [layer.self_attn.rot_emb.inv_freq for layer in model.layers]
    if any(not torch.equal(inv_freq[0], other) for other in inv_freq):
        raise InputError("esm2.safetensors: the rotary frequencies differ between layers; restore the pack")
    letters = model.embed_tokens.weight.to(device=device, dtype=dtype) * TOKEN_DROPOUT
    return FlashModel(
        letters=letters,
        first_qkv=F.linear(layer_norm(letters, layers[0].attention_norm), layers[0].qkv[0]),
        layers=layers,
        final_norm=tensors(model.emb_layer_norm_after),
        inv_freq=inv_freq[0].to(device=device, dtype=torch.float32),
        attention_heads=model.attention_heads,
    )


@torch.inference_mode()
def embed_flash(model: FlashModel, proteins: list[str], token_budget: int) -> torch.Tensor:
    """Embed proteins in batches of equal length, so that nothing is padded or masked."""
    device, width = model.letters.device, model.letters.shape[1]
    result = torch.empty(len(proteins), width)
    lengths = np.array([len(protein) for protein in proteins], dtype=np.int64)
    for batch in equal_length_batches(lengths + 2, token_budget):
        hidden = flash_forward(model, tokenize(proteins, batch).to(device))
        result[batch] = hidden[:, 1:-1].mean(1, dtype=torch.float32).cpu()
    return result


def tokenize(proteins: list[str], rows: np.ndarray) -> torch.Tensor:
    """(rows, length + 2) tokens of proteins that are all of one length: <cls>, the residues, <eos>."""
    letters = np.frombuffer("".join(proteins[row] for row in rows).encode("ascii"), dtype=np.uint8)
    tokens = np.empty((len(rows), len(letters) // len(rows) + 2), dtype=np.int64)
    tokens[:, 0], tokens[:, -1] = ALPHABET.cls_idx, ALPHABET.eos_idx
    tokens[:, 1:-1] = TOKEN[letters].reshape(len(rows), -1)
    return torch.from_numpy(tokens)


def flash_forward(model: FlashModel, tokens: torch.Tensor) -> torch.Tensor:
    """(batch, length) tokens without padding to (batch, length, embed_dim): the last layer after its norm."""
    batch, length = tokens.shape
    width = model.letters.shape[1]
    heads = (batch, length, model.attention_heads, width // model.attention_heads)
    cos, sin = rotary_table(model.inv_freq, length)
    x = F.embedding(tokens, model.letters)
    for index, layer in enumerate(model.layers):
        if index == 0:
            qkv = F.embedding(tokens, model.first_qkv + layer.qkv[1])
        else:
            qkv = F.linear(layer_norm(x, layer.attention_norm), *layer.qkv)
        q, k, v = (part.view(heads).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        x = x + F.linear(attended.transpose(1, 2).reshape(batch, length, width), *layer.out)
        x = x + F.linear(F.gelu(F.linear(layer_norm(x, layer.final_norm), *layer.fc1)), *layer.fc2)
    return layer_norm(x, model.final_norm)


def layer_norm(x: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], *norm, eps=LAYER_NORM_EPS)


def rotary_table(inv_freq: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of the rotary angles, (length, head_dim) in float32, position 0 on <cls> (Su et al. 2021)."""
    positions = torch.arange(length, device=inv_freq.device, dtype=inv_freq.dtype)
    angles = torch.outer(positions, inv_freq).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotate (..., length, head_dim) queries or keys, in float32 whatever their precision."""
    half, whole = x.shape[-1] // 2, x.float()
    signed = torch.cat((-sin[:, :half], sin[:, :half]), dim=-1)
    return torch.addcmul(whole * cos, whole.roll(half, dims=-1), signed).to(x.dtype)
