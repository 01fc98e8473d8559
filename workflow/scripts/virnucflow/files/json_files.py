"""JSON files: read within bounds, with the keys and types that the reader needs, and with a digest between programs."""

import json
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from virnucflow.cli import InputError, reading
from virnucflow.files.digests import digest_json
from virnucflow.files.foreign import read_text

Kind = TypeVar("Kind")

DIGEST = "digest"  # the key that write_json adds: of everything else
MOST_BYTES = 1 << 26  # of a JSON file


def write_json(value: dict[str, Any], path: Path) -> None:
    """Write a file for another program; the same value gives the same bytes."""
    publish_json(value | {DIGEST: digest_json(value)}, path)


def publish_json(value: dict[str, Any], path: Path) -> None:
    """Write a file for users."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[Kind]) -> Kind:
    """What write_json wrote, which has the keys and types of the TypedDict `kind`, and maybe others.

    Raises InputError when it has not, or when the file was changed since.
    """
    value = _parse(path, "make it again")
    digest = value.pop(DIGEST, None)
    with reading(path, "a JSON file"):
        computed = digest_json(value)
    if digest != computed:
        raise InputError(f"{path}: damaged or edited: its digest is not that of its content; make it again")
    _convert(value, path, kind, "make it again")
    return cast(Kind, value)


def read_published_json(path: Path, kind: type[Kind], advice: str) -> Kind:
    """A file from elsewhere as an object of `kind`; `advice` says what to do when it is not one."""
    return _convert(_parse(path, advice), path, kind, advice)


def parse_json(text: str | bytes, path: Path, kind: type[Kind]) -> Kind:
    """A JSON text that the file `path` holds, which has the keys and types of `kind`, and maybe others."""
    with reading(path, "a JSON text that this workflow wrote"):
        value = json.loads(text, parse_constant=_refuse_constant)
    _convert(value, path, kind, "make it again")
    return cast(Kind, value)


def _parse(path: Path, advice: str) -> dict[str, Any]:
    text = read_text(path, advice, MOST_BYTES)
    with reading(path, "a JSON file", advice):
        value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON file with keys and values; {advice}")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _convert(value: Any, path: Path, kind: type[Kind], advice: str) -> Kind:  # noqa: ANN401
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: not as expected: {error}; {advice}") from None
