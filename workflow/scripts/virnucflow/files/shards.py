"""Files of many shards on one command line: `scores/00001..05000.parquet` stands for 5,000 files.

Linux takes no command of more than 131,072 bytes from Snakemake, which is less than 2,000 shards have names.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from virnucflow.cli import InputError

DIGITS = 5
SHARD = re.compile(rf"(.*/|)(\d{{{DIGITS}}})(\..*)")  # folder, number, and how the name ends
RANGE = re.compile(rf"(.*/|)(\d{{{DIGITS}}})\.\.(\d{{{DIGITS}}})(\..*)")  # folder, first and last number, end


def shard_name(number: int) -> str:
    """The name of a shard, which are counted from 1."""
    return f"{number:0{DIGITS}d}"


def as_ranges(paths: Iterable[str]) -> list[str]:
    """Paths of shards as ranges: one word for all shards that follow each other and lie in one folder.

    Any other path stays as it is.
    """
    words = []
    for (_, end, _), group in groupby(enumerate(paths), _run_of):
        files = [path for _, path in group]
        last = files[-1].rpartition("/")[2]
        words.append(f"{files[0].removesuffix(end)}..{last}" if len(files) > 1 else files[0])
    return words


def _run_of(item: tuple[int, str]) -> tuple[str, str, int]:
    """The same for paths of shards that follow each other, whose place in the list and number grow alike."""
    place, path = item
    if not (match := SHARD.fullmatch(path)):
        return (path, "", place)
    folder, number, end = match.groups()
    return (folder, end, int(number) - place)


def expand(word: str) -> list[Path]:
    """The paths that a word of as_ranges() stands for."""
    if not (match := RANGE.fullmatch(word)):
        return [Path(word)]
    folder, first, last, end = match.groups()
    return [Path(f"{folder}{shard_name(number)}{end}") for number in range(int(first), int(last) + 1)]


class Files(argparse.Action):
    """An option that takes files, and ranges of them as as_ranges() writes them."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, *_: object) -> None:  # noqa: ANN401
        """Store the list of all paths."""
        setattr(namespace, self.dest, [path for word in values for path in expand(word)])


class FilesOfSamples(Files):
    """An option that is given once for each sample, with all files of the sample."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, *_: object) -> None:  # noqa: ANN401
        """Append the list of a sample's paths."""
        before = getattr(namespace, self.dest) or []
        super().__call__(parser, namespace, values)
        setattr(namespace, self.dest, [*before, getattr(namespace, self.dest)])


def in_step(arguments: argparse.Namespace, *names: str) -> Iterator[tuple[Any, ...]]:
    """What options of these names have in the first place, then in the second and so on: files that belong together.

    InputError where one has more than another.
    """
    values = [getattr(arguments, name) for name in names]
    if len(set(map(len, values))) > 1:
        options = ", ".join(
            f"--{name.replace('_', '-')} ({len(value)})" for name, value in zip(names, values, strict=True)
        )
        raise InputError(f"{options}: not as many of each; give them in the same order")
    return zip(*values, strict=True)
