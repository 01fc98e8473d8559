"""ESM-2 (Lin et al., Science 2023, 379:1123): mean of the last layer over the residues of each protein.

`standard` is fair-esm's own model on padded batches, as VirNucPro v1 ran it. `flash` computes the same numbers without
padding, from the same tensors: here in batches of equal length, on any device; packed, for GPUs, in esm2_packed.py.
"""

import re
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from esm.data import Alphabet, FastaBatchedDataset
from esm.model.esm2 import ESM2
from torch import nn

from virnucflow.cli import InputError
from virnucflow.encoders.batches import equal_length_batches
from virnucflow.encoders.parts import KEEP_NOTHING, Progress
from virnucflow.packs.pack import Esm2Shape
from virnucflow.packs.weights import meta_device

STANDARD_KERNEL = "fair-esm"

# The names of fair-esm's modules by ours; the tensors of several become one, each below the one before.
FAIR_ESM_NAMES = {"letters": ["embed_tokens"], "norm": ["emb_layer_norm_after"]}
FAIR_ESM_LAYER_NAMES = {
    "attention.norm": ["self_attn_layer_norm"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.out": ["self_attn.out_proj"],
    "mlp.norm": ["final_layer_norm"],
    "mlp.fc1": ["fc1"],
    "mlp.fc2": ["fc2"],
}

ALPHABET = Alphabet.from_architecture("ESM-1b")
LAYER_NORM_EPS = 1e-5
TOKEN_DROPOUT = 1 - 0.15 * 0.8  # fair-esm scales embeddings by this at inference, when no token is masked

TOKEN = np.full(256, ALPHABET.unk_idx, dtype=np.int64)
TOKEN[[ord(token) for token in ALPHABET.tok_to_idx if len(token) == 1]] = [
    index for token, index in ALPHABET.tok_to_idx.items() if len(token) == 1
]


class Attention(nn.Module):
    """Attention with rotary positions (Su et al. 2021, arXiv:2104.09864) among all tokens of a protein."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.qkv = nn.Linear(width, 3 * width)  # queries, keys and values in one product
        self.out = nn.Linear(width, width)

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """(frames, length, width) to queries, keys and values beside one another, (frames, length, 3 * width)."""
        return self.qkv(self.norm(x))

    def forward(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """The projections, (frames, length, 3 * width), to what is added to the tokens, (frames, length, width)."""
        frames, length, _ = qkv.shape
        parts = (part.view(frames, length, self.heads, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        q, k, v = parts  # (frames, heads, length, head_dim)
        attended = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        return self.out(attended.transpose(1, 2).reshape(frames, length, -1))


class Mlp(nn.Module):
    """A perceptron of each token, with erf GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(frames, length, width) to what is added to it."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class Layer(nn.Module):
    """One of the encoder's equal layers."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.mlp = Mlp(width)

    def forward(self, x: torch.Tensor, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """(frames, length, width) to the same, with the attention's projections of it."""
        x = x + self.attention(qkv, cos, sin)
        return x + self.mlp(x)


class FlashModel(nn.Module):
    """The encoder of the flash path, in one precision but for the rotary frequencies in float32.

    Before the first attention a token depends on nothing but its letter, so one table has what the first layer is
    given, and another its projections, without bias.
    """

    inv_freq: torch.Tensor  # (head_dim / 2)
    first_qkv: torch.Tensor  # (letters, 3 * width)

    def __init__(self, shape: Esm2Shape) -> None:
        super().__init__()
        self.width, self.heads = shape.embed_dim, shape.attention_heads
        self.letters = nn.Embedding(len(ALPHABET.all_toks), self.width)
        layers = nn.ModuleList(Layer(self.width, self.heads) for _ in range(shape.num_layers))
        self.layers = cast(Sequence[Layer], layers)
        self.norm = nn.LayerNorm(self.width, eps=LAYER_NORM_EPS)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.inv_freq.device

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(frames, length) tokens without padding to (frames, length, width): the last layer after its norm."""
        cos, sin = rotary_table(self.inv_freq, tokens.shape[1])
        x = self.letters(tokens)
        for index, layer in enumerate(self.layers):
            if index == 0:
                qkv = F.embedding(tokens, self.first_qkv + layer.attention.qkv.bias)
            else:
                qkv = layer.attention.project(x)
            x = layer(x, qkv, cos, sin)
        return self.norm(x)


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


def fair_esm_model(shape: Esm2Shape, device: str = "meta") -> ESM2:
    """fair-esm's ESM2 without the two heads that no embedding needs; on the meta device it has no weights."""
    with meta_device() if device == "meta" else torch.device(device):
        model = ESM2(shape.num_layers, shape.embed_dim, shape.attention_heads, alphabet=ALPHABET)
    model.lm_head = torch.nn.Identity()
    model.contact_head = torch.nn.Identity()
    return model


@torch.inference_mode()
def embed_standard(
    model: ESM2, proteins: list[str], token_budget: int, progress: Progress = KEEP_NOTHING
) -> torch.Tensor:
    """(proteins, width) float32 embeddings on the CPU, as in v1.

    Batches come in ascending length and have up to `token_budget` tokens, of which each sequence counts one more than
    it has residues.
    """
    device = model.embed_tokens.weight.device
    dataset = FastaBatchedDataset(range(len(proteins)), proteins)
    convert = ALPHABET.get_batch_converter()
    result = torch.empty(len(proteins), model.embed_dim)
    batches = map(np.array, dataset.get_batch_indices(token_budget, extra_toks_per_seq=1))
    for batch in progress.remaining(result, batches):
        rows, sequences, tokens = convert([dataset[i] for i in batch])
        output = model(tokens.to(device), repr_layers=[model.num_layers])["representations"][model.num_layers]
        for row, sequence, hidden in zip(rows, sequences, output, strict=True):
            result[row] = hidden[1 : len(sequence) + 1].mean(0).float()
    return result


@torch.inference_mode()
def flash_model(model: ESM2, dtype: torch.dtype, device: torch.device) -> FlashModel:
    """The flash path's encoder from the tensors of fair-esm's, which stay where they are if they can.

    Raises InputError when the layers have different rotary frequencies: each has its own copy of them.
    """
    with meta_device():
        flash = FlashModel(Esm2Shape(model.num_layers, model.embed_dim, model.attention_heads))
    theirs, tensors = model.state_dict(), {}
    for name in flash.state_dict():
        parts = [theirs[part] for part in fair_esm_names(name)]
        tensors[name] = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(device=device, dtype=dtype)
    tensors["letters.weight"] = tensors["letters.weight"] * TOKEN_DROPOUT
    flash.load_state_dict(tensors, assign=True)
    # A checkpoint in half precision has the frequencies rounded, and v1 used them so.
    inv_freq = [theirs[f"layers.{number}.self_attn.rot_emb.inv_freq"] for number in range(model.num_layers)]
    if any(not torch.equal(inv_freq[0], other) for other in inv_freq):
        raise InputError("esm2.safetensors: the rotary frequencies differ between layers; restore the pack")
    first = flash.layers[0].attention
    flash.register_buffer("inv_freq", inv_freq[0].to(device=device, dtype=torch.float32))
    flash.register_buffer("first_qkv", F.linear(first.norm(flash.letters.weight), first.qkv.weight))
    return flash.eval().requires_grad_(False)


def fair_esm_names(name: str) -> list[str]:
    """The names that fair-esm has for one of our tensors, or for its parts."""
    layer = re.match(r"layers\.\d+\.", name)
    prefix, names = (layer[0], FAIR_ESM_LAYER_NAMES) if layer else ("", FAIR_ESM_NAMES)
    module, _, tensor = name.removeprefix(prefix).rpartition(".")
    return [f"{prefix}{part}.{tensor}" for part in names[module]]


@torch.inference_mode()
def embed_flash(
    model: FlashModel, proteins: list[str], token_budget: int, progress: Progress = KEEP_NOTHING
) -> torch.Tensor:
    """(proteins, width) float32 embeddings on the CPU, in batches of equal length: nothing is padded or masked."""
    result = torch.empty(len(proteins), model.width)
    lengths = np.array([len(protein) for protein in proteins], dtype=np.int64)
    for batch in progress.remaining(result, equal_length_batches(lengths + 2, token_budget)):
        hidden = model(tokenize(proteins, batch).to(model.device))
        result[batch] = hidden[:, 1:-1].mean(1, dtype=torch.float32).cpu()
    return result


def tokenize(proteins: list[str], rows: np.ndarray) -> torch.Tensor:
    """(rows, length + 2) tokens of proteins that are all of one length: <cls>, the residues, <eos>."""
    letters = np.frombuffer("".join(proteins[row] for row in rows).encode("ascii"), dtype=np.uint8)
    tokens = np.empty((len(rows), len(letters) // len(rows) + 2), dtype=np.int64)
    tokens[:, 0], tokens[:, -1] = ALPHABET.cls_idx, ALPHABET.eos_idx
    tokens[:, 1:-1] = TOKEN[letters].reshape(len(rows), -1)
    return torch.from_numpy(tokens)
