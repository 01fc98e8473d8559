"""Model packs: a directory that holds both encoders, the tokenizer, the classifier, and what is known about them."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import asdict

from virnucflow.cli import InputError, log
from virnucflow.files.json_files import read_published_json
from virnucflow.files.kinds import LONGEST
from virnucflow.packs.check import wrong_chunk_length
from virnucflow.packs.encoders import ENCODERS, feature_widths
from virnucflow.packs.pack_files import not_named

# Bounds of what a description may ask for: far above any model, and what a shape costs before its weights are read.
Width = Annotated[int, Meta(ge=1, le=1 << 20)]
Layers = Annotated[int, Meta(ge=1, le=1000)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class Esm2Shape:
    """ESM-2's shape, by the names of fair-esm's ESM2; the feed-forward width is 4 * embed_dim."""

    num_layers: Layers
    embed_dim: Width
    attention_heads: Width


@dataclass(frozen=True)
class DnabertSShape:
    """DNABERT-S's shape, by the names of its published configuration."""

    vocab_size: Width
    num_hidden_layers: Layers
    hidden_size: Width
    num_attention_heads: Width
    intermediate_size: Width
    layer_norm_eps: Annotated[float, Meta(gt=0, lt=1)]


class Scaling(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a probability of a logit d, the virus logit less the other: the sigmoid of scale * d + shift."""

    scale: Annotated[float, Meta(gt=0)]
    shift: float


class Spread(Struct, frozen=True, forbid_unknown_fields=True):
    """How far the logits of a sequence's chunks lie from each other, in the sequences that calibrate.

    `deviation` is what to expect of a sequence before any of its chunks is seen, which is as good to know as a standard
    deviation of `degrees` degrees of freedom (Smyth, Stat Appl Genet Mol Biol 2004, 3:3). Neighbours are alike: their
    logits have the correlation `neighbours`.
    """

    deviation: Annotated[float, Meta(gt=0)]
    degrees: Annotated[float, Meta(gt=0)]
    neighbours: Annotated[float, Meta(ge=0, lt=1)]


class SequenceScaling(Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a probability of a sequence's mean logit m over n chunks, n counting no more than `most_chunks`.

    It is the sigmoid of (scale + scale_log * ln n) * m + shift + shift_log * ln n: the more chunks, the more their mean
    says. `spread`, where it is known, gives the probability an interval.
    """

    scale: Annotated[float, Meta(gt=0)]
    scale_log: Annotated[float, Meta(ge=0)]
    shift: float
    shift_log: float
    most_chunks: Annotated[int, Meta(ge=1)]
    spread: Spread | None = None


class Calibration(Struct, frozen=True, forbid_unknown_fields=True):
    """How the classifier's logits are scaled, by the kind of a frame, and the mean of a sequence's chunks, where known.

    `prevalence` is the share of viruses that all of them suit. A pack that takes whole frames alone has no `longest`.
    """

    prevalence: Annotated[float, Meta(gt=0, lt=1)]
    whole: Scaling
    longest: Scaling | None = None
    sequences: SequenceScaling | None = None


class Description(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pack's `pack.json` says.

    `trained` is False for random weights, whose scores mean nothing. A pack without a classifier has no chunk lengths:
    its encoders are for a classifier of one's own. `frames` are those that the pack was trained for: whole ones, as in
    VirNucPro v1, or also the longest stretch of each chunk that has none. `sha256` is by the names of the pack's other
    files.
    """

    name: str
    trained: bool
    chunk_lengths: tuple[Annotated[int, Meta(ge=3)], ...]
    frames: Literal["whole", "longest"] = "whole"
    calibration: Calibration | None = None
    esm2: Esm2Shape
    dnabert_s: DnabertSShape
    provenance: str
    licence: str
    quality: dict[str, Any] | None
    sha256: dict[str, Sha256]


class ModelPack(Description, frozen=True, kw_only=True):
    """A pack's description, and where the pack is."""

    directory: Path

    @property
    def feature_width(self) -> int:
        """Values per frame of both encoders together."""
        return sum(feature_widths(self).values())

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """The path of one of the pack's files, to read from.

        While it is read, a thread takes its SHA-256. The block ends, well or not, when that was found to be the one
        that `pack.json` records; so the time of it is seldom felt, and a damaged file is always called that. Raises
        InputError for another one.
        """
        path = self.directory / name
        with ThreadPoolExecutor(1) as thread:
            digest = thread.submit(file_sha256, path)
            try:
                yield path
            finally:
                if (sha256 := digest.result()) != self.sha256[name]:
                    expected = self.sha256[name]
                    raise InputError(f"{path}: SHA-256 {sha256} is not the {expected} of pack.json; restore the pack")


def read_model_pack(directory: Path, chunk_length: int | None = None) -> ModelPack:
    """Read a pack's description, and warn when its weights are random.

    Raises InputError when it is no description of a pack, or the pack is not for chunks of `chunk_length` bases.
    """
    path = directory / "pack.json"
    pack = ModelPack(directory=directory, **asdict(read_published_json(path, Description, "restore the pack")))
    for name, encoder in ENCODERS.items():
        shape = getattr(pack, name)
        width, heads = encoder.width(shape), encoder.heads(shape)
        if width % heads:
            raise InputError(f"{path}: {name}: {heads} heads do not share a width of {width}; restore the pack")
    if pack.frames == LONGEST and pack.calibration and not pack.calibration.longest:
        raise InputError(f"{path}: calibration: not of longest stretches, which it takes; restore the pack")
    if missing := not_named(pack.sha256, pack.chunk_lengths):
        raise InputError(f"{path}: no SHA-256 of {', '.join(missing)}; restore the pack")
    if chunk_length and (problem := wrong_chunk_length(str(path), chunk_length, pack.chunk_lengths)):
        raise InputError(problem)
    if not pack.trained:
        log.warning("model pack %r is untrained: its weights are random and its scores mean nothing", pack.name)
    return pack


def describe(content: dict[str, Any], files: Mapping[str, Path]) -> str:
    """The text of `pack.json`: `content`, and the SHA-256 of the pack's files by their names."""
    sha256 = {name: file_sha256(path) for name, path in files.items()}
    return json.dumps(content | {"sha256": sha256}, indent=2) + "\n"


def file_sha256(path: Path) -> str:
    """A file's SHA-256, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
