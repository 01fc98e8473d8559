"""config/models.yaml: the packs that can be made of published files, and where these files are."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from virnucflow.cli import InputError
from virnucflow.files.foreign import read_yaml, shown
from virnucflow.packs.encoders import DNABERT_S, ESM2, Encoder
from virnucflow.packs.pack import DnabertSShape, Esm2Shape

ADVICE = "compare with the workflow's own"

Kind = TypeVar("Kind")
Shape = TypeVar("Shape", Esm2Shape, DnabertSShape)
Length = Annotated[int, Meta(ge=3)]  # of a chunk, in bases


class Unfit(Exception):
    """What a catalogue has that no recipe can be read from."""


class PublishedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file, by its name in a folder, with what is known of it."""

    name: str
    url: Annotated[str, Meta(pattern="^https?://[!-~]+$")]
    licence: str
    citation: str
    size: Annotated[int, Meta(ge=0)] | None = None
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    git_blob: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")] | None = None

    @property
    def has_checksum(self) -> bool:
        """Whether the content is known beforehand."""
        return bool(self.sha256 or self.git_blob)


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The files of a run of VirNucPro v1: its input and what it gave."""

    fasta: str
    embeddings: str
    predictions: str


class Runs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Runs of VirNucPro v1, from which packs take reference values."""

    source: str
    chunk_length: Length
    runs: list[Run]


class Pack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pack as the catalogue has it: an encoder's files and its shape are in one table."""

    esm2: dict[str, str]
    dnabert_s: dict[str, str]
    chunk_length: Length | None = None
    classifier: str | None = None
    reference: list[Literal["dnabert_s", "esm2", "scores"]] = []


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All packs and files by their names; one that is not asked for may be anything."""

    files: dict[str, Any]
    packs: dict[str, Any]
    reference: Runs


@dataclass(frozen=True)
class Recipe:
    """How one pack is made: names of files, the shapes that they must have, and the reference values to take over from
    runs of VirNucPro v1."""

    name: str
    chunk_length: int | None
    esm2: Esm2Shape
    esm2_weights: str
    dnabert_s: DnabertSShape
    dnabert_s_weights: str
    dnabert_s_config: str
    tokenizer: str
    classifier: str | None
    reference: Sequence[str]
    v1: Runs
    files: dict[str, PublishedFile]


def read_recipe(path: Path, name: str) -> Recipe:
    """The recipe of one pack, with the files that it needs. Raises InputError."""
    try:
        catalogue = _typed("it", Catalogue, read_yaml(path, "a table of models", ADVICE))
        if name not in catalogue.packs:
            known = shown(", ".join(catalogue.packs))
            raise InputError(f"{path}: knows no pack {shown(name)!r}; set model_pack to one of {known}")
        return _recipe(name, _typed(f"pack {shown(name)}", Pack, catalogue.packs[name]), catalogue)
    except Unfit as error:
        raise InputError(f"{path}: not a table of models ({error}); {ADVICE}") from None


def _recipe(name: str, pack: Pack, catalogue: Catalogue) -> Recipe:
    esm2, dnabert_s = dict(pack.esm2), dict(pack.dnabert_s)
    recipe = Recipe(
        name=name,
        chunk_length=pack.chunk_length,
        esm2_weights=esm2.pop("weights", ""),
        esm2=_shape(ESM2, Esm2Shape, esm2),
        dnabert_s_weights=dnabert_s.pop("weights", ""),
        dnabert_s_config=dnabert_s.pop("config", ""),
        tokenizer=dnabert_s.pop("tokenizer", ""),
        dnabert_s=_shape(DNABERT_S, DnabertSShape, dnabert_s),
        classifier=pack.classifier,
        reference=pack.reference,
        v1=catalogue.reference,
        files={},
    )
    names = [recipe.esm2_weights, recipe.dnabert_s_weights, recipe.dnabert_s_config, recipe.tokenizer]
    names += [recipe.classifier] if recipe.classifier else []
    runs = recipe.v1.runs if recipe.reference else []
    names += [file for run in runs for file in (run.fasta, run.embeddings, run.predictions)]
    recipe.files.update({file: _file(file, catalogue.files) for file in names})
    return recipe


def _typed(where: str, kind: type[Kind], value: Any) -> Kind:  # noqa: ANN401 - whatever the catalogue has
    """A value of the catalogue, in which all is text, as what it has to be."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Unfit(f"{where}: {shown(str(error))}") from None


def _shape(encoder: Encoder, kind: type[Shape], values: dict[str, str]) -> Shape:
    """An encoder's shape, in which the number of heads divides the width. Raises Unfit."""
    if unknown := values.keys() - {field.name for field in fields(kind)}:
        raise Unfit(f"{encoder.name}: unknown {shown(min(unknown))}")
    shape = _typed(encoder.name, kind, values)
    if encoder.width(shape) % (heads := encoder.heads(shape)):
        raise Unfit(f"{encoder.name}: {encoder.heads_field} is {heads}, which does not divide {encoder.width_field}")
    return shape


def _file(name: str, files: dict[str, Any]) -> PublishedFile:
    path = PurePosixPath(name)
    if not path.name or not name.isprintable() or path.is_absolute() or ".." in path.parts:
        raise Unfit(f"{shown(name)!r} is no name of a file in a folder")
    if not isinstance(known := files.get(name), dict):
        raise Unfit(f"files has no {shown(name)}")
    return _typed(f"file {shown(name)}", PublishedFile, known | {"name": name})
