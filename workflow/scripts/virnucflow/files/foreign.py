"""Text files that may hold anything, read within bounds: whatever they hold ends in content or in one line.

`shown` is what a message may say of a value that such a file holds.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from virnucflow.cli import InputError

MOST_BYTES = 1 << 18  # the largest, a catalogue of models, has 8 kB
MOST_LETTERS, MOST_BITS = 120, 128  # of a text and of a number that a message quotes


def read_text(path: Path, advice: str, most: int = MOST_BYTES) -> str:
    """The text of a file in UTF-8 that has at most so many bytes; else InputError, which ends with `advice`."""
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{path}: has more than {most} bytes, more than any such file; {advice}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); {advice}") from None


def read_json(path: Path, advice: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """The value of a JSON file. Raises InputError when it is none."""
    try:
        return json.loads(read_text(path, advice))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({shown(str(error))}); {advice}") from None


def read_yaml(path: Path, kind: str, advice: str) -> Any:  # noqa: ANN401
    """Lists, tables and texts; numbers and the like are texts too.

    So tags build nothing, no text is taken for a date or a truth, and there are no merge keys, which PyYAML would copy
    as often as they are nested. Aliases are one value, as often as they are used: format none of it unbounded.
    """
    try:
        return yaml.load(read_text(path, advice), Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        said = shown(" ".join(str(error).split()), 300)
        raise InputError(f"{path}: not {kind} ({said}); {advice}") from None


def shown(value: Any, most: int = MOST_LETTERS) -> str:  # noqa: ANN401 - whatever a file holds
    """Text and numbers, shortened and printable; of anything else its type alone.

    Nothing unknown is formatted: a tuple that holds itself twice, 50 times over, takes 200 bytes and has 2**50 items.
    """
    if isinstance(value, str):
        letters = value if len(value) <= most else value[:most] + "…"
        return "".join(letter if letter.isprintable() else "?" for letter in letters)
    if value is None or type(value) in (bool, float) or (type(value) is int and value.bit_length() <= MOST_BITS):
        return str(value)
    return f"a {type(value).__name__}"
