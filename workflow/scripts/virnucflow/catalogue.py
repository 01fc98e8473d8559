"""config/models.yaml: the packs that can be made of published files, and where these files are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from virnucflow.cli import InputError
from virnucflow.model_pack import DnabertSShape, Esm2Shape


@dataclass(frozen=True)
class PublishedFile:
    """A file, by its name in a folder, with what is known of it."""

    name: str
    url: str
    licence: str
    citation: str
    size: int | None = None
    sha256: str | None = None
    git_blob: str | None = None

    @property
    def has_checksum(self) -> bool:
        return bool(self.sha256 or self.git_blob)


@dataclass(frozen=True)
class Run:
    """The files of a run of VirNucPro v1: its input and what it gave."""

    fasta: str
    embeddings: str
    predictions: str


@dataclass(frozen=True)
class Recipe:
    """How one pack is made: names of files, the shapes that they must have, and the reference values to take over."""

    name: str
    chunk_length: int | None
    esm2: Esm2Shape
    esm2_weights: str
    dnabert_s: DnabertSShape
    dnabert_s_weights: str
    dnabert_s_config: str
    tokenizer: str
    classifier: str | None
    reference: list[str]
    reference_source: str
    reference_chunk_length: int
    reference_runs: list[Run]
    files: dict[str, PublishedFile]


def read_recipe(path: Path, name: str) -> Recipe:
    """The recipe of one pack, with the files that it needs."""
    try:
        catalogue = yaml.safe_load(path.read_text(encoding="utf-8"))
        known = ", ".join(catalogue["packs"])
        if name not in catalogue["packs"]:
            raise InputError(f"{path}: knows no pack {name!r}; set model to one of {known}")
        return _recipe(name, catalogue["packs"][name], catalogue["reference"], catalogue["files"])
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise InputError(f"{path}: not a table of models ({said}); compare with the workflow's own") from None


def _recipe(name: str, pack: dict[str, Any], reference: dict[str, Any], files: dict[str, Any]) -> Recipe:
    esm2, dnabert_s = dict(pack["esm2"]), dict(pack["dnabert_s"])
    runs = [Run(**run) for run in reference["runs"]] if pack.get("reference") else []
    recipe = Recipe(
        name=name,
        chunk_length=pack.get("chunk_length"),
        esm2_weights=esm2.pop("weights"),
        esm2=Esm2Shape(**esm2),
        dnabert_s_weights=dnabert_s.pop("weights"),
        dnabert_s_config=dnabert_s.pop("config"),
        tokenizer=dnabert_s.pop("tokenizer"),
        dnabert_s=DnabertSShape(**dnabert_s),
        classifier=pack.get("classifier"),
        reference=pack.get("reference", []),
        reference_source=reference["source"],
        reference_chunk_length=reference["chunk_length"],
        reference_runs=runs,
        files={},
    )
    names = [recipe.esm2_weights, recipe.dnabert_s_weights, recipe.dnabert_s_config, recipe.tokenizer]
    names += [recipe.classifier] if recipe.classifier else []
    names += [file for run in runs for file in (run.fasta, run.embeddings, run.predictions)]
    recipe.files.update({file: PublishedFile(file, **files[file]) for file in names})
    return recipe
