"""Model packs: a directory that holds both encoders, the tokenizer, the classifier, and what is known about them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from virnucflow.cli import InputError, log

FILES = ("esm2.safetensors", "dnabert_s.safetensors", "tokenizer.json", "classifier.safetensors")

# What the metadata of an encoder's embeddings says about the pack's files.
HASHES = {
    "esm2": {"weights_sha256": "esm2.safetensors"},
    "dnabert_s": {"weights_sha256": "dnabert_s.safetensors", "tokenizer_sha256": "tokenizer.json"},
}


@dataclass(frozen=True)
class Esm2Shape:
    """ESM-2's shape, by the names of fair-esm's ESM2; the feed-forward width is 4 * embed_dim."""

    num_layers: int
    embed_dim: int
    attention_heads: int


@dataclass(frozen=True)
class DnabertSShape:
    """DNABERT-S's shape, by the names of its published configuration."""

    vocab_size: int
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    layer_norm_eps: float


@dataclass(frozen=True)
class ModelPack:
    """A pack's `pack.json`. `trained` is False for random weights, whose scores mean nothing."""

    directory: Path
    name: str
    trained: bool
    chunk_length: int
    esm2: Esm2Shape
    dnabert_s: DnabertSShape
    provenance: str
    licence: str
    quality: dict[str, Any] | None
    sha256: dict[str, str]

    @property
    def feature_width(self) -> int:
        """Values a frame: DNABERT-S's and ESM-2's together."""
        return self.dnabert_s.hidden_size + self.esm2.embed_dim

    def file(self, name: str) -> Path:
        """The path of one of the pack's files, after its bytes were found to be those that `pack.json` records."""
        path = self.directory / name
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256[name]:
            raise InputError(f"{path}: SHA-256 {found} is not the {self.sha256[name]} of pack.json; restore the pack")
        return path

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors of one of the pack's files, by name, mapped into memory."""
        path = self.file(name)
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: not a safetensors file ({error}); restore the pack") from None


def read_model_pack(directory: Path, chunk_length: int | None = None) -> ModelPack:
    """Read a pack's description; refuse one for another chunk length, and warn when its weights are random."""
    path = directory / "pack.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["esm2"] = Esm2Shape(**content["esm2"])
        content["dnabert_s"] = DnabertSShape(**content["dnabert_s"])
        pack = ModelPack(directory=directory, **content)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: not the description of a model pack ({error}); restore the pack") from None
    if missing := set(FILES) - pack.sha256.keys():
        raise InputError(f"{path}: no SHA-256 of {', '.join(sorted(missing))}; restore the pack")
    if chunk_length not in (None, pack.chunk_length):
        raise InputError(
            f"{path}: the pack is for chunks of {pack.chunk_length} bases, not of {chunk_length}; "
            "change chunk_length, or use a pack for it"
        )
    if not pack.trained:
        log.warning("model pack %r is untrained: its weights are random and its scores mean nothing", pack.name)
    return pack


def describe(content: dict[str, Any], files: dict[str, Path]) -> str:
    """The text of `pack.json`: `content`, and the SHA-256 of the pack's files by their names."""
    sha256 = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    return json.dumps(content | {"sha256": sha256}, indent=2) + "\n"


def load_weights(module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> torch.nn.Module:
    """Give a module built on the meta device its weights; a tensor missing, extra or of a wrong shape is an error."""
    wanted = module.state_dict()
    problems = [f"missing {name}" for name in wanted.keys() - tensors.keys()]
    problems += [f"unknown {name}" for name in tensors.keys() - wanted.keys()]
    problems += [
        f"{name} is {list(tensors[name].shape)}, not {list(wanted[name].shape)}"
        for name in wanted.keys() & tensors.keys()
        if tensors[name].shape != wanted[name].shape
    ]
    if problems:
        raise InputError(
            f"{path}: the tensors do not fit pack.json: {'; '.join(sorted(problems)[:5])}; restore the pack"
        )
    module.load_state_dict(tensors, assign=True)
    return module.eval().requires_grad_(False)
