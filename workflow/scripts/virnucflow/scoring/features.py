"""Features of frames: the embeddings of both encoders side by side, DNABERT-S's first, then ESM-2's."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from virnucflow.cli import InputError
from virnucflow.files.json_files import parse_json
from virnucflow.files.tables import digest
from virnucflow.files.tensors import load_rows, load_tensor
from virnucflow.packs.encoders import ENCODERS, ESM2
from virnucflow.packs.pack import ModelPack

SHARED = ("attention", "names_sha256")  # what both embeddings of a shard must have in common

# What each encoder's embeddings say of how they were made, by encoder.
Made = Mapping[str, Mapping[str, str]]


def load_embeddings(paths: Sequence[Path], rows: np.ndarray | None = None) -> tuple[np.ndarray, Made]:
    """Features, float32 (rows, width), from both embeddings of a shard, and what made these.

    `paths` are in the order of ENCODERS. With `rows`, the features are of the frames with these numbers, in this order,
    and little else is read.
    Raises InputError when a file is damaged or of the other encoder, or when the two are of other frames or attentions.
    """
    loaded = [load_tensor(path, "embedding") if rows is None else load_rows(path, "embedding", rows) for path in paths]
    made = dict(zip(ENCODERS, (metadata for _, metadata in loaded), strict=True))
    _check_alike(made, paths)
    (one, _), (other, _) = loaded
    if len(one) != len(other):
        raise InputError(f"{paths[1]}: {len(other)} rows, not {len(one)} as {paths[0]}; make it again")
    return np.concatenate([one, other], axis=1), made


def load_features(path: Path) -> tuple[np.ndarray, Made]:
    """Features, float32 (frames, width), from a file of concat_features.py, and what made the embeddings in it."""
    features, metadata = load_tensor(path, "features")
    made = {encoder: parse_json(metadata.get(encoder, ""), path, dict[str, str]) for encoder in ENCODERS}
    _check_alike(made, [path] * len(ENCODERS))
    return features, made


def check_frames(made: Made, names: Iterable[str], path: Path, table: Path) -> None:
    """InputError unless the embeddings in `path` are of the frames with these names, which are those of `table`."""
    if made[ESM2.name]["names_sha256"] != digest(names):
        raise InputError(f"{path}: not of the frames in {table}; give files of one shard, or embed these frames")


def check_pack(made: Made, width: int, path: Path, pack: ModelPack) -> None:
    """InputError unless the features in `path`, which have this width, are of the pack's encoders."""
    for name, encoder in ENCODERS.items():
        for key, file in encoder.files.items():
            if made[name].get(key) != pack.sha256[file]:
                raise InputError(f"{path}: not made with {file} of {pack.directory}; embed with this pack")
    if width != pack.feature_width:
        raise InputError(f"{path}: {width} values per frame, not {pack.feature_width}; embed with this pack")


def _check_alike(made: Made, paths: Sequence[Path]) -> None:
    """InputError unless both embeddings say that they are of the same frames and by the same attention."""
    for encoder, path in zip(ENCODERS, paths, strict=True):
        if (said := made[encoder].get("encoder")) != encoder:
            raise InputError(f"{path}: embeddings of {said}, not of {encoder}; swap the files")
    one, other = made.values()
    if differing := [key for key in SHARED if one.get(key) != other.get(key)]:
        raise InputError(
            f"{paths[0]} and {paths[1]}: {', '.join(differing)} differ, so the rows are not of the same frames and "
            "run; embed the same frames table with both encoders"
        )
    if missing := [key for key in SHARED if key not in one]:
        raise InputError(f"{paths[0]}: does not say its {', '.join(missing)}; make it again")
