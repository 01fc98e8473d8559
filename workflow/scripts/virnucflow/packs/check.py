"""Whether a model pack is whole, found with Python's own library by whoever plans a run.

The checksums of the pack are not computed here, because every program that reads a file of it does so; that a file is
whole is seen by its length.
"""

import json
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

from virnucflow.files.kinds import KINDS
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack_files import not_named

MOST_JSON = 100_000_000  # bytes of a JSON file of a pack, or of the header of a safetensors file
MOST_LENGTHS = 10  # of chunks, that a pack is for, that are named
# What wrong content of any kind leads to, and what the system says.
DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def wrong_chunk_length(model: str, chunk_length: int, chunk_lengths: Collection[int]) -> str:
    """Why a model pack for chunks of these lengths is not for this one; empty when it is, or says no length."""
    if chunk_length in chunk_lengths or not chunk_lengths:
        return ""
    lengths = " or ".join(map(str, chunk_lengths))
    return (
        f"{model}: the pack is for chunks of {lengths} bases, not of {chunk_length}; "
        "change chunk_length, or use a pack for it"
    )


def check_pack(model: Path, chunk_length: int) -> tuple[list[str], int]:
    """What is wrong with a model pack, a line each, and the values that it makes of a frame, 0 if unknown."""
    path = model / "pack.json"
    try:
        pack = read_json(path)
        chunk_lengths, files = pack["chunk_lengths"], pack["sha256"]
        widths = [pack[name][encoder.width_field] for name, encoder in ENCODERS.items()]
        if not isinstance(chunk_lengths, list) or not all(map(is_count, [*chunk_lengths, *widths])):
            raise ValueError("chunk_lengths, embed_dim and hidden_size are whole numbers")
        if not isinstance(files, dict) or not all(re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII) for name in files):
            raise ValueError("sha256 has no names of files")
        if pack.get("frames", "whole") not in KINDS:
            raise ValueError("frames is whole or longest")
        if missing := not_named(files, chunk_lengths):
            raise ValueError(f"sha256 has no {', '.join(missing)}")
    except FileNotFoundError:
        return [f"{path}: no such file; set model_pack to the directory of a model pack"], 0
    except DAMAGE as error:
        return [f"{path}: not the description of a model pack ({cause(error)}); restore the pack"], 0
    problems = [problem for name in files for problem in check_file(model / name)]
    problems += filter(None, [wrong_chunk_length(str(path), chunk_length, chunk_lengths[:MOST_LENGTHS])])
    return problems, sum(widths)


def check_file(path: Path) -> list[str]:
    """What is wrong with a file of a pack, by its length; of safetensors its header says what that must be."""
    try:
        if path.suffix == ".safetensors":
            size, whole = path.stat().st_size, whole_size(path)
            return [] if size == whole else [f"{path}: {size} bytes instead of {whole}; restore the pack"]
        if path.suffix == ".json":
            read_json(path)
        elif not path.is_file():
            path.stat()
            raise ValueError("not a file")
    except FileNotFoundError:
        return [f"{path}: no such file, though pack.json names it; restore the pack"]
    except DAMAGE as error:
        return [f"{path}: cut or damaged ({cause(error)}); restore the pack"]
    return []


def cause(error: Exception) -> str:
    """In a few words, without what the file says."""
    if isinstance(error, KeyError):
        return f"no {error}"
    return (getattr(error, "strerror", None) or str(error))[:100]


def is_count(value: object) -> bool:
    """Whether a value of a JSON file is a positive whole number of at most 63 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63


def read_bounded(path: Path, start: int, size: int) -> bytes:
    """Some bytes of a regular file: others may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    if size > MOST_JSON:
        raise ValueError(f"more than {MOST_JSON} bytes of description")
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds. Raises one of DAMAGE when it holds none."""
    value = json.loads(read_bounded(path, 0, path.stat().st_size))
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def whole_size(path: Path) -> int:
    """The bytes that a safetensors file must have, by its header."""
    length = int.from_bytes(read_bounded(path, 0, 8), "little")
    header = json.loads(read_bounded(path, 8, length))
    ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    if not ends or not all(map(is_count, ends)):
        raise ValueError("its header has no tensor, or one without an end")
    return 8 + length + max(ends)
