"""Lines of a table sorted by their first column, in bounded memory."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

LINES = 1 << 18  # that are held and sorted at a time


class SortedLines:
    """Takes lines `first column, tab, others` and gives them back in the order of the first column's characters.

    What does not fit into `most` lines waits, sorted, in temporary files of `folder`, which nobody else sees.
    """

    def __init__(self, folder: Path, most: int = LINES) -> None:
        self._folder, self._most = folder, most
        self._lines: list[str] = []
        self._files: list[TextIO] = []

    def add(self, lines: Iterable[str]) -> None:
        """Take lines without their ends, in any order."""
        for line in lines:
            self._lines.append(line)
            if len(self._lines) >= self._most:
                self._put_aside()

    def __iter__(self) -> Iterator[str]:
        for file in self._files:
            file.seek(0)
        waiting = ((line.removesuffix("\n") for line in file) for file in self._files)
        yield from heapq.merge(*waiting, sorted(self._lines, key=_first_column), key=_first_column)

    def _put_aside(self) -> None:
        file = TemporaryFile("w+", encoding="utf-8", newline="\n", dir=self._folder)  # noqa: SIM115
        file.writelines(f"{line}\n" for line in sorted(self._lines, key=_first_column))
        self._files.append(file)
        self._lines.clear()


def _first_column(line: str) -> str:
    return line.partition("\t")[0]
