"""Records of any format, in parts or many at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

RNA_TO_DNA = bytes.maketrans(b"Uu", b"Tt")
LETTERS, RECORDS = 1 << 20, 1 << 14  # of which a batch has not many more


class Heading(NamedTuple):
    """What a record says of itself: `name` is the header's first word, `header` all of it.

    `line` is its line number, or of a read the number of its record. `proteins` are those of its annotation, where it
    is from a file that has one; `mate` is 1 or 2 for a read of a pair.
    """

    name: str
    header: str
    line: int
    proteins: tuple[str, ...] | None = None
    mate: int = 0


Part = Heading | bytes  # a record's heading, and then some of its letters, and more of them


@dataclass(frozen=True, slots=True)
class Batch:
    """What comes next of a file: `letters`, the first of which may be of the record that began last before, while the
    last record may go on in the next batch.

    Of the records that begin here it has the names, the lines and mates as `Heading` has them, and where in `letters`
    each begins: (records).
    """

    letters: bytes
    names: list[str]
    lines: np.ndarray
    mates: np.ndarray
    starts: np.ndarray

    def in_dna(self) -> "Batch":
        """The same with T for each U."""
        if b"U" in self.letters or b"u" in self.letters:
            return replace(self, letters=self.letters.translate(RNA_TO_DNA))
        return self


def batched(parts: Iterator[Part]) -> Iterator[Batch]:
    """The parts of records, many at a time."""
    headings: list[Heading] = []
    pieces: list[bytes] = []
    starts: list[int] = []
    letters = 0
    for part in parts:
        if isinstance(part, Heading):
            headings.append(part)
            starts.append(letters)
        else:
            pieces.append(part)
            letters += len(part)
        if letters >= LETTERS or len(headings) >= RECORDS:
            yield _batch(headings, pieces, starts)
            headings, pieces, starts, letters = [], [], [], 0
    if headings or pieces:
        yield _batch(headings, pieces, starts)


def _batch(headings: list[Heading], pieces: list[bytes], starts: list[int]) -> Batch:
    lines, mates = ([getattr(heading, name) for heading in headings] for name in ("line", "mate"))
    columns = (np.array(column, dtype=np.int64) for column in (lines, mates, starts))
    return Batch(b"".join(pieces), [heading.name for heading in headings], *columns)


class Ended(NamedTuple):
    """Records all of whose letters have come: their lines, mates and lengths, (records)."""

    lines: np.ndarray
    mates: np.ndarray
    lengths: np.ndarray


def with_ended(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Ended]]:
    """Each batch, and the records that end in it, as the next one begins there; then nothing, and the last record."""
    begun = Ended(*[np.empty(0, dtype=np.int64)] * 3)
    for batch in batches:
        sizes = np.diff(batch.starts, prepend=0, append=len(batch.letters))
        columns = batch.lines, batch.mates, sizes[1:]
        begun = begun._replace(lengths=begun.lengths + sizes[0])
        begun = Ended(*(np.concatenate(pair) for pair in zip(begun, columns, strict=True)))
        yield batch, Ended(*(column[:-1] for column in begun))
        begun = Ended(*(column[-1:] for column in begun))
    yield _batch([], [], []), begun
