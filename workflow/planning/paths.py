"""Paths as users write them, and as programs and Snakemake take them."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


def plain(path: str) -> str:
    """The same path without `./`, `//` and a slash at its end; `..` stays, as links may lie before it."""
    if not path or "://" in path:
        return path
    return re.sub("^//", "/", str(PurePosixPath(path)))


def argument(path: str) -> str:
    """A path as it is given to a program, which takes what begins with a hyphen for an option."""
    return f"./{path}" if path.startswith("-") else path


def arguments(paths: Iterable[str]) -> list[str]:
    """Paths as a parameter of a rule, to be given by a function: what a function returns, Snakemake does not format."""
    return list(map(argument, paths))


def identity(path: str) -> object:
    """The same for each name of a file, however it is written."""
    try:
        status = Path(path).stat()
        return status.st_dev, status.st_ino
    except (OSError, ValueError):
        return os.path.normpath(path)


def same_directory(one: str, other: str) -> bool:
    """Whether two paths are one directory, also through links, and also before it is there."""
    return os.path.realpath(one) == os.path.realpath(other)


def hint(path: str) -> str:
    """What may be wrong with a path that leads nowhere, and what to do."""
    if path.startswith("~") or re.search(r"\$\w|\$\{", path):
        return "a home folder or variable is not expanded here; write the path out"
    if re.search(r"[*?]", path):
        return "a pattern is not expanded here; give each file a row of its own"
    if re.search(r"[,;]", path):
        return "give each file a row of its own"
    if "\\" in path:
        return "separate folders with /"
    if re.search("[\"'`\u2018-\u201f]", path):
        return "remove the quotes"
    return "check the path"
