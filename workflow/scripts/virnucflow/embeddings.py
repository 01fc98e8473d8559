"""Files of tensors: embeddings, features and weights, with what made them."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from virnucflow.cli import InputError

DTYPES = {np.dtype(np.float16): "F16", np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}


def save_tensors(tensors: Mapping[str, np.ndarray], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file whose bytes depend on its content alone.

    The library's own writer puts the metadata in another order each time and copies every tensor. The format: header
    length as 8 bytes, a JSON header padded to a multiple of 8, the tensors' bytes.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in sorted(tensors.items()):
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for _, tensor in sorted(tensors.items()):
            tensor.tofile(file)


def load_rows(path: Path, name: str, rows: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Some rows of the tensor `name`, (rows, width), and the file's metadata; nothing else is read."""
    try:
        with safe_open(path, framework="np") as file:
            tensor = file.get_slice(name)
            found = [tensor[int(row) : int(row) + 1] for row in rows]
            empty = np.empty((0, tensor.get_shape()[1]), dtype=np.float32)
            return np.concatenate([empty, *found]), file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file of this workflow ({error}); make it again") from None


def load_tensor(path: Path, name: str) -> tuple[np.ndarray, dict[str, str]]:
    """The tensor `name` of a safetensors file and the file's metadata."""
    try:
        with safe_open(path, framework="np") as file:
            if name not in file.keys():  # noqa: SIM118 - not a mapping
                raise InputError(f"{path}: no tensor {name!r}; give a file that this workflow wrote")
            return file.get_tensor(name), file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error}); make it again") from None
