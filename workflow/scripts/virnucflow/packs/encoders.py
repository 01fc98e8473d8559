"""The encoders of a model pack, in the order in which a frame's features have their values.

Everything that names the encoders, or differs between them outside of their own computation, takes it from here. The
standard library is enough to import this: what plans a run may have nothing else.
"""

from dataclasses import dataclass

# Tokens that go into one batch, by the kind of attention: 2048 is what VirNucPro v1 puts into one.
TOKEN_BUDGET = {"flash": 33792, "standard": 2048}


@dataclass(frozen=True)
class Encoder:
    """What is known of an encoder without its weights."""

    name: str  # the key of its shape in pack.json; also in paths, metadata and the names of columns
    title: str  # for people
    column: str  # of the frames table, that it embeds
    width_field: str  # the name that its shape has for the width
    heads_field: str  # the name that its shape has for the number of attention heads
    weights: str  # the file with its weights
    tokenizer: str  # the file with its tokenizer; empty where it has none
    fp8: bool  # whether it computes in fp8 where that is asked; the products of others are too small a part of the work
    takes_kernel: bool  # whether the setting attention_kernel is for it; others take the fastest that is there

    @property
    def files(self) -> dict[str, str]:
        """Its files in a pack, by the key under which the metadata of embeddings has their SHA-256."""
        tokenizer = {"tokenizer_sha256": self.tokenizer} if self.tokenizer else {}
        return {"weights_sha256": self.weights} | tokenizer

    def width(self, shape: object) -> int:
        """The values that it gives for each frame when it has this shape."""
        return getattr(shape, self.width_field)

    def heads(self, shape: object) -> int:
        """The number of attention heads of this shape, which divides the width."""
        return getattr(shape, self.heads_field)

    def precision(self, asked: str) -> str:
        """The precision in which it computes where this one is asked of both encoders."""
        return "fp16" if asked == "fp8" and not self.fp8 else asked

    def kernel(self, asked: str) -> str:
        """The attention kernel to ask for where the settings name this one."""
        return asked if self.takes_kernel else "auto"


DNABERT_S = Encoder(
    name="dnabert_s",
    title="DNABERT-S",
    column="nucleotide",
    width_field="hidden_size",
    heads_field="num_attention_heads",
    weights="dnabert_s.safetensors",
    tokenizer="tokenizer.json",
    fp8=False,
    takes_kernel=False,
)
ESM2 = Encoder(
    name="esm2",
    title="ESM-2",
    column="protein",
    width_field="embed_dim",
    heads_field="attention_heads",
    weights="esm2.safetensors",
    tokenizer="",
    fp8=True,
    takes_kernel=True,
)
ENCODERS = {encoder.name: encoder for encoder in (DNABERT_S, ESM2)}


def feature_widths(shapes: object) -> dict[str, int]:
    """Each encoder's values per frame; `shapes` is a pack, or whatever else has a shape under each encoder's name."""
    return {name: encoder.width(getattr(shapes, name)) for name, encoder in ENCODERS.items()}
