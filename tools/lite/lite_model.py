"""The lite pack's two encoders and its classifier, to be trained: in batches of one shape, from float32 weights.

Parameters are those of the modules that esm2.py and dnabert_s.py load, so what is trained here is what they compute. A
batch has frames of one length alone, so nothing is padded; weights are rounded to the precision of the tokens' vectors.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lite_data import PIECE, Genomes
from virnucflow.encoders.dnabert_s import DnabertS, Layer, alibi_slopes
from virnucflow.encoders.esm2 import ALPHABET, TOKEN_DROPOUT, fair_esm_model, rotary_table, rotate
from virnucflow.packs.encoders import feature_widths
from virnucflow.packs.pack import DnabertSShape, Esm2Shape
from virnucflow.scoring.classifier import MLPClassifier

CODONS = 64
ALIGNED = 16  # stride of the attention bias, or PyTorch copies it for every sequence


@dataclass(frozen=True)
class LiteShape:
    """Shapes of the encoders, and hidden units of the classifier."""

    esm2: Esm2Shape
    dnabert_s: DnabertSShape
    hidden: int

    @property
    def width(self) -> int:
        """Values per frame of both encoders together."""
        return sum(feature_widths(self).values())


LITE = LiteShape(
    esm2=Esm2Shape(num_layers=3, embed_dim=64, attention_heads=2),
    dnabert_s=DnabertSShape(
        vocab_size=5465,
        num_hidden_layers=3,
        hidden_size=384,
        num_attention_heads=12,
        intermediate_size=512,
        layer_norm_eps=1e-12,
    ),
    hidden=1024,
)


def linear(module: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """A linear layer of (..., inputs), whose weights are rounded to the precision of `x`."""
    return F.linear(x, module.weight.to(x.dtype), None if module.bias is None else module.bias.to(x.dtype))


def norm(module: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    """A layer norm of (..., width), whose weights are rounded to the precision of `x`."""
    return F.layer_norm(x, x.shape[-1:], module.weight.to(x.dtype), module.bias.to(x.dtype), module.eps)


def rotated_parts(
    layer: nn.Module, x: torch.Tensor, heads: int, cos: torch.Tensor, sin: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    """Queries, keys and values of one of fair-esm's layers, of (frames, length, width)."""
    attention = layer.self_attn
    h = norm(layer.self_attn_layer_norm, x)
    q, k, v = (
        linear(module, h).unflatten(-1, (heads, -1)).transpose(1, 2)
        for module in (attention.q_proj, attention.k_proj, attention.v_proj)
    )  # (frames, heads, length, head_dim)
    return rotate(q, cos, sin), rotate(k, cos, sin), v


def finish_protein_layer(
    layer: nn.Module, x: torch.Tensor, attended: torch.Tensor, dropout: float, training: bool
) -> torch.Tensor:
    """What follows the attention of one of fair-esm's layers: (frames, length, width) to the same."""
    attended = linear(layer.self_attn.out_proj, attended.transpose(1, 2).flatten(2))
    x = x + F.dropout(attended, dropout, training)
    h = linear(layer.fc2, F.gelu(linear(layer.fc1, norm(layer.final_layer_norm, x))))
    return x + F.dropout(h, dropout, training)


def finish_nucleotide_layer(
    layer: Layer, x: torch.Tensor, attended: torch.Tensor, dropout: float, training: bool
) -> torch.Tensor:
    """What follows the attention of one of DNABERT-S's layers: (frames, length, width) to the same."""
    attention, mlp = layer.attention, layer.mlp
    attended = linear(attention.out, attended.transpose(1, 2).flatten(2))
    x = norm(attention.norm, F.dropout(attended, dropout, training) + x)
    gate, value = linear(mlp.gate_and_value, x).chunk(2, dim=-1)
    h = linear(mlp.out, F.gelu(gate) * value)
    return norm(mlp.norm, F.dropout(h, dropout, training) + x)


compiled_parts, compiled_protein_end, compiled_nucleotide_end = (
    torch.compile(function, dynamic=True) for function in (rotated_parts, finish_protein_layer, finish_nucleotide_layer)
)


class ProteinEncoder(nn.Module):
    """fair-esm's ESM-2 with a training pass of its own."""

    def __init__(self, shape: Esm2Shape, dropout: float) -> None:
        super().__init__()
        self.esm2 = fair_esm_model(shape, device="cpu")
        self.heads, self.dropout = shape.attention_heads, dropout
        nn.init.normal_(self.esm2.embed_tokens.weight, std=0.5)
        for layer in self.esm2.layers:
            layer.self_attn.rot_emb.inv_freq = layer.self_attn.rot_emb.inv_freq.half().float()  # as the pack has them
            for module in (layer.self_attn.out_proj, layer.fc2):
                nn.init.normal_(module.weight, std=(module.weight.shape[1] * 2 * shape.num_layers) ** -0.5)
                nn.init.zeros_(module.bias)

    def forward(self, tokens: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(frames, length) tokens, some of them <mask>, to (frames, length, embed_dim) in `dtype`."""
        masked = tokens == ALPHABET.mask_idx
        x = F.embedding(tokens, self.esm2.embed_tokens.weight).masked_fill(masked[..., None], 0)
        x = (x * (TOKEN_DROPOUT / (1 - masked.float().mean(1)))[:, None, None]).to(dtype)
        cos, sin = rotary_table(self.esm2.layers[0].self_attn.rot_emb.inv_freq.float(), tokens.shape[1])
        for layer in self.esm2.layers:
            x = self.layer(layer, x, cos, sin)
        return norm(self.esm2.emb_layer_norm_after, x)

    def layer(self, layer: nn.Module, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """One of fair-esm's layers: (frames, length, width) to the same."""
        fast = self.training and x.is_cuda
        q, k, v = (compiled_parts if fast else rotated_parts)(layer, x, self.heads, cos, sin)
        attended = F.scaled_dot_product_attention(q, k, v)
        return (compiled_protein_end if fast else finish_protein_layer)(layer, x, attended, self.dropout, self.training)


class NucleotideEncoder(nn.Module):
    """DNABERT-S with a training pass of its own.

    The vector of a token of six letters is the sum of its two codons', which have a table for each place: what is
    learned of a codon then holds for all tokens that have it, also for those that unseen viruses use more. `hexamers`
    are these tokens, in the order of frames.LETTERS.
    """

    def __init__(self, shape: DnabertSShape, hexamers: torch.Tensor, dropout: float) -> None:
        super().__init__()
        self.dnabert_s = DnabertS(shape)
        self.register_buffer("hexamers", hexamers, persistent=False)
        self.codons = nn.Parameter(torch.empty(2, CODONS, shape.hidden_size).normal_(std=0.05))
        self.dropout = dropout
        nn.init.normal_(self.dnabert_s.words.weight, std=0.05)
        nn.init.zeros_(self.dnabert_s.token_types.weight)
        self.register_buffer("slopes", torch.tensor(alibi_slopes(shape.num_attention_heads)), persistent=False)

    def words(self) -> torch.Tensor:
        """(vocabulary, hidden_size): the vectors of the tokens."""
        own = self.dnabert_s.words.weight
        if self.codons is None:
            return own
        sums = self.codons[0][:, None] + self.codons[1]
        return own.index_copy(0, self.hexamers, sums.flatten(0, 1))

    @torch.no_grad()
    def store_words(self) -> None:
        """Make them the tokens' own for good, as the encoder is saved."""
        self.dnabert_s.words.weight.copy_(self.words())
        self.codons = None

    def forward(self, tokens: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(frames, length) tokens to (frames, length, hidden_size) in `dtype`."""
        length = tokens.shape[1]
        x = F.embedding(tokens, self.words()) + self.dnabert_s.token_types.weight[0]
        x = norm(self.dnabert_s.norm, x.to(dtype))
        positions = torch.arange(length, device=x.device)
        bias = x.new_zeros(1, len(self.slopes), length, math.ceil(length / ALIGNED) * ALIGNED)[..., :length]
        bias.copy_(-self.slopes[:, None, None] * (positions[:, None] - positions).abs())
        for layer in self.dnabert_s.layers:
            x = self.layer(layer, x, bias)
        return x

    def layer(self, layer: Layer, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(frames, length, width) to the same, with the bias of the scores, (1, heads, length, length)."""
        qkv = linear(layer.attention.qkv, x).unflatten(-1, (3, len(self.slopes), -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (frames, heads, length, head_dim)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(len(x), -1, -1, -1))
        finish = compiled_nucleotide_end if self.training and x.is_cuda else finish_nucleotide_layer
        return finish(layer, x, attended, self.dropout, self.training)


class MaskedTokenHead(nn.Module):
    """What was masked, from a token's vector: a layer, its norm, and the embedding's own weights."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.dense, self.norm = nn.Linear(width, width), nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """(..., width) and the embedding, (vocabulary, width), to (..., vocabulary) logits in float32."""
        x = norm(self.norm, F.gelu(linear(self.dense, x)))
        return F.linear(x, embedding.to(x.dtype), self.bias.to(x.dtype)).float()


def small_head(width: int, out: int) -> nn.Sequential:
    """A perceptron from (..., width) to (..., out)."""
    return nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, out))


class LiteModel(nn.Module):
    """Both encoders and the classifier, and the heads that only training needs."""

    def __init__(self, shape: LiteShape, genomes: Genomes, dropout: float) -> None:
        super().__init__()
        self.nucleotide = NucleotideEncoder(shape.dnabert_s, genomes.pieces[PIECE], dropout)
        self.protein = ProteinEncoder(shape.esm2, dropout)
        self.classifier = MLPClassifier(shape.width, shape.hidden)
        self.alone = nn.ModuleList([small_head(shape.dnabert_s.hidden_size, 1), small_head(shape.esm2.embed_dim, 1)])
        self.groups, self.families = small_head(shape.width, genomes.groups), small_head(shape.width, genomes.families)
        self.masked_nucleotide = MaskedTokenHead(shape.dnabert_s.hidden_size, shape.dnabert_s.vocab_size)
        self.masked_protein = MaskedTokenHead(shape.esm2.embed_dim, len(ALPHABET.all_toks))

    def nucleotide_mean(self, tokens: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(frames, width) float32 of (frames, length) tokens, as embed_dnabert_s.py takes it."""
        return self.nucleotide(tokens, dtype).mean(1, dtype=torch.float32)

    def protein_mean(self, tokens: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """(frames, width) float32 of (frames, length) tokens, as embed_esm2.py takes it."""
        return self.protein(tokens, dtype)[:, 1:-1].mean(1, dtype=torch.float32)

    def pack_weights(self) -> dict[str, torch.Tensor]:
        """What a pack and its evaluation need, on the CPU: encoders in half precision, classifier and single heads."""
        parts = {"nucleotide.dnabert_s": True, "protein.esm2": True, "classifier": False, "alone": False}
        return {
            name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous().cpu()
            for part, half in parts.items()
            for name, tensor in self.state_dict().items()
            if name.startswith(part + ".")
        }
