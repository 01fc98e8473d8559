"""Files of tensors: embeddings and features, with digests of what they hold, and the weights of model packs."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
from safetensors import safe_open

from virnucflow.cli import InputError, reading
from virnucflow.files.digests import digest_bytes, digest_json
from virnucflow.files.json_files import parse_json

DTYPES = {np.dtype(np.float16): "F16", np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
DIGESTS = "digests"  # the key in a file's metadata under which it has them
BLOCK = 1 << 20  # bytes of the rows that have one digest: few enough that reading a few rows reads little besides


class Digests(TypedDict):
    """What a file says of itself as JSON: a digest of name, shape and metadata, and one for each block of rows."""

    header: str
    blocks: list[str]


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
            file.write(np.ascontiguousarray(tensor).data)  # unlike tofile, it says why a write failed


def save_rows(rows: np.ndarray, name: str, path: Path, metadata: dict[str, str]) -> None:
    """Write float32 `rows` (rows, width) as the tensor `name` of a file for another program, with their digests."""
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    blocks = [digest_bytes(rows[block].data) for block in _blocks(*rows.shape)]
    digests = {"header": _header_digest(name, rows.shape, metadata), "blocks": blocks}
    save_tensors({name: rows}, path, metadata | {DIGESTS: json.dumps(digests)})


def load_tensor(path: Path, name: str) -> tuple[np.ndarray, dict[str, str]]:
    """All rows that save_rows wrote, float32 (rows, width), and the metadata.

    Raises InputError when the file is not as it was written, or has a value that is not finite.
    """
    with _File(path, name) as file:
        rows = np.empty(file.shape, dtype=np.float32)
        for number, block in enumerate(file.blocks):
            file.read(number, rows[block])
        return rows, file.metadata


def load_rows(path: Path, name: str, rows: np.ndarray) -> tuple[np.ndarray, dict[str, str]]:
    """Some of the rows that save_rows wrote, in the order of their numbers `rows`, and the metadata.

    Only the blocks that hold them are read and checked.
    """
    with _File(path, name) as file:
        if len(rows) and rows.max() >= file.shape[0]:
            raise InputError(f"{path}: has {file.shape[0]} rows, not {rows.max() + 1}; make it again")
        selection = np.empty((len(rows), file.shape[1]), dtype=np.float32)
        for number, block in enumerate(file.blocks):
            inside = (rows >= block.start) & (rows < block.stop)
            if inside.any():
                part = np.empty((block.stop - block.start, file.shape[1]), dtype=np.float32)
                file.read(number, part)
                selection[inside] = part[rows[inside] - block.start]
        return selection, file.metadata


class _File:
    """A file of save_rows, open to read, whose header is as it was written: shape, blocks of rows and metadata."""

    def __init__(self, path: Path, name: str) -> None:
        with reading(path, "a safetensors file of this workflow"), safe_open(path, framework="np") as file:
            names, metadata = list(file.keys()), dict(file.metadata() or {})
            tensors = [(tensor.get_dtype(), tuple(tensor.get_shape())) for tensor in map(file.get_slice, names)]
        if names != [name]:
            raise InputError(f"{path}: no tensor {name!r} alone; give a file that this workflow wrote")
        ((dtype, shape),) = tensors
        if dtype != "F32" or len(shape) != 2 or not shape[1]:
            raise InputError(f"{path}: {name} is {dtype} {list(shape)}, not rows of F32; make it again")
        if DIGESTS not in metadata:
            raise InputError(f"{path}: has no digests, as files of this workflow have; make it again")
        digests = parse_json(metadata.pop(DIGESTS), path, Digests)
        self.path, self.shape, self.metadata = path, shape, metadata
        self.blocks, self._digests = _blocks(*shape), digests["blocks"]
        if digests["header"] != _header_digest(name, shape, metadata) or len(self._digests) != len(self.blocks):
            raise InputError(f"{path}: damaged: its header is not as it was written; make it again")

    def __enter__(self) -> Self:
        self._file = self.path.open("rb")
        self._start = self._file.seek(0, os.SEEK_END) - 4 * self.shape[0] * self.shape[1]  # the rows are at the end
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, number: int, rows: np.ndarray) -> None:
        """Read a block into `rows` of its shape; not by mapping, which a file that is cut short meanwhile would end."""
        self._file.seek(self._start + 4 * self.blocks[number].start * self.shape[1])
        data = rows.data.cast("B")
        if self._file.readinto(data) != len(data) or digest_bytes(data) != self._digests[number]:
            block = self.blocks[number]
            which = f"rows {block.start} to {block.stop - 1}"
            raise InputError(f"{self.path}: damaged: {which} are not as they were written; make it again")
        if not np.isfinite(rows).all():
            row = self.blocks[number].start + int(np.isfinite(rows).all(axis=1).argmin())
            raise InputError(f"{self.path}: a value of row {row} is not finite; make it again")


def _blocks(number: int, width: int) -> list[slice]:
    """The rows of each block of a tensor (number, width) of float32."""
    rows = max(1, BLOCK // (4 * width))
    return [slice(start, min(start + rows, number)) for start in range(0, number, rows)]


def _header_digest(name: str, shape: tuple[int, ...], metadata: dict[str, str]) -> str:
    return digest_json([name, list(shape), metadata])
