"""Reference values of a model pack: a few frames, and what VirNucPro v1's computation gave for them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from safetensors import safe_open

from virnucflow.cli import Failure, log, reading
from virnucflow.files.tensors import save_tensors
from virnucflow.packs.encoders import ENCODERS, feature_widths
from virnucflow.packs.pack import ModelPack
from virnucflow.packs.pack_files import REFERENCE

# The largest difference to v1's values, relative to their size: ten times and more what each precision itself gives.
LARGEST_DIFFERENCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 1e-1, "fp8": 2e-1}
# The same of score_virus, absolute.
LARGEST_SCORE_DIFFERENCE = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2, "fp8": 2e-1}


class _Texts(msgspec.Struct, forbid_unknown_fields=True):
    """What a file of reference values has as metadata."""

    names: list[str]
    nucleotides: list[str]
    proteins: list[str]
    source: str


class Reference(_Texts):
    """Frames and their values: float32 `dnabert_s` and `esm2`, (frames, width), `scores` (frames, 2), where known."""

    values: dict[str, np.ndarray]

    def sequences(self, encoder: str) -> list[str]:
        """What an encoder embeds of the frames."""
        return {"nucleotide": self.nucleotides, "protein": self.proteins}[ENCODERS[encoder].column]


def save_reference(reference: Reference, path: Path) -> None:
    """Write reference values as a pack has them."""
    texts = {name: json.dumps(getattr(reference, name)) for name in _Texts.__struct_fields__}
    save_tensors(reference.values, path, texts)


def load_reference(pack: ModelPack) -> Reference | None:
    """A pack's reference values, or nothing when it has none. Raises InputError when they do not fit the pack."""
    if REFERENCE not in pack.sha256:
        return None
    with pack.file(REFERENCE) as path:
        with reading(path, "reference values of a model pack", "restore the pack"):
            with safe_open(path, framework="np") as file:
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
                texts = {name: json.loads(text) for name, text in (file.metadata() or {}).items()}
            typed = msgspec.convert(texts, _Texts)
            number = len(typed.names)
            if not number == len(typed.nucleotides) == len(typed.proteins):
                raise ValueError("not as many names as nucleotides and proteins")
            widths = feature_widths(pack) | {"scores": 2}
            for name, value in values.items():
                if value.shape != (number, widths[name]) or not np.isfinite(value).all():
                    raise ValueError(f"{name} does not fit its frames and the pack")
        return Reference(**texts, values=values)


class Comparison(NamedTuple):
    """How far computed values are from the reference, and how far they may be."""

    difference: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the difference is allowed; one that is not a number is not."""
        return self.difference <= self.allowed

    def __str__(self) -> str:
        return f"differs by {self.difference:.1e}, may differ by {self.allowed:.0e}"


def compare_embedding(reference: Reference, encoder: str, embedding: torch.Tensor, precision: str) -> Comparison:
    """The largest distance of a row of (frames, width) from its reference value, relative to that value's length."""
    expected = torch.from_numpy(reference.values[encoder]).double()
    distance = (embedding.double() - expected).norm(dim=1) / expected.norm(dim=1)
    return Comparison(distance.max().item(), LARGEST_DIFFERENCE[precision])


def compare_scores(reference: Reference, scores: torch.Tensor, precision: str) -> Comparison:
    """The largest difference of (frames, 2) scores from the reference's."""
    difference = (scores - torch.from_numpy(reference.values["scores"])).abs().max().item()
    return Comparison(difference, LARGEST_SCORE_DIFFERENCE[precision])


def check_encoder(pack: ModelPack, encoder: str, embed: Callable[[list[str]], torch.Tensor], precision: str) -> None:
    """Failure when an encoder does not give the pack's reference values."""
    reference = load_reference(pack)
    if not reference or encoder not in reference.values:
        log.warning("%s has no reference values of %s: nothing is checked", pack.directory, encoder)
        return
    comparison = compare_embedding(reference, encoder, embed(reference.sequences(encoder)), precision)
    if not comparison.passed:
        raise Failure(f"{pack.directory}: {encoder} {comparison} in {precision}; see check_models")
    log.info("%s %s in %s", encoder, comparison, precision)
