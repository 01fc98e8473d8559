"""Files of embeddings and features: one tensor, aligned with a frames table, and what made it."""

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from virnucflow.cli import InputError

DTYPES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32", torch.int64: "I64"}


def save_tensors(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
    """Write a safetensors file whose bytes depend on its content alone.

    The library's own writer puts the metadata in another order each time and copies every tensor. The format: header
    length as 8 bytes, a JSON header padded to a multiple of 8, the tensors' bytes.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)))
        file.write(encoded)
        for tensor in tensors.values():
            file.write(tensor.reshape(-1).view(torch.uint8).numpy())


def load_tensor(path: Path, name: str) -> tuple[torch.Tensor, dict[str, str]]:
    """The tensor `name` of a safetensors file and the file's metadata."""
    try:
        with safe_open(path, framework="pt") as file:
            if name not in file.keys():  # noqa: SIM118 - not a mapping
                raise InputError(f"{path}: no tensor {name!r}; give a file that this workflow wrote")
            return file.get_tensor(name), file.metadata() or {}
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error}); make it again") from None
