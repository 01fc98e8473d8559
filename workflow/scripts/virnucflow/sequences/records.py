"""The sequences of a sample's files, FASTA or GenBank, as `split_fasta` reads them and as it named them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from virnucflow.cli import InputError
from virnucflow.files.digests import Hasher
from virnucflow.sequences.compressed import Stored
from virnucflow.sequences.fasta import Record, Streamed, by_record, read_fasta_parts, whole
from virnucflow.sequences.genbank import is_genbank, read_genbank_parts


class Content:
    """What is known of a record when all its letters have gone by: how many, how many of them U, and their digest.

    The digest is of the name, a line end, and the letters, as the file has them.
    """

    def __init__(self, name: str) -> None:
        self._hasher = Hasher(f"{name}\n".encode())
        self.length = self.uracils = 0

    @property
    def digest(self) -> str:
        """32 hexadecimal digits, as `sequences.parquet` has them."""
        return self._hasher.hexdigest()

    def follow(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the pieces of a record as they are, and count what is in them."""
        for piece in pieces:
            self._hasher.update(piece)
            self.length += len(piece)
            self.uracils += piece.count(b"U") + piece.count(b"u")
            yield piece


def stream_records(
    path: Path, check_letters: bool = True, stored: Stored | None = None, annotation: bool = False
) -> Iterator[Streamed]:
    """Yield the records of a FASTA or GenBank file; its first bytes decide, not its name. The letters of each go by in
    pieces. Arguments and errors as of `read_fasta_parts` and `read_genbank_parts`.
    """
    if is_genbank(path):
        parts = read_genbank_parts(path, check_letters, stored, annotation)
    else:
        parts = read_fasta_parts(path, check_letters, stored)
    return by_record(parts)


def records_of(paths: list[Path], sequences: pd.DataFrame, annotation: bool = False) -> Iterator[tuple[Any, Record]]:
    """Each row of a table of a sample's sequences (with sequence_id, length and digest) and its record.

    They are paired by their order, because `duplicate_ids: rename` gives other names than the files do. Raises
    InputError as soon as a record is not the one that was split.
    """
    rows = sequences.itertuples()
    for path in paths:
        for heading, pieces in stream_records(path, check_letters=False, annotation=annotation):
            content, row = Content(heading.name), next(rows, None)
            record = whole(heading, content.follow(pieces))
            if row is None or (content.length, content.digest) != (row.length, row.digest):
                raise changed(path)
            yield row, record
    if next(rows, None) is not None:
        raise changed(paths[-1])


def changed(path: Path) -> InputError:
    """The error where a file is not what was read before."""
    return InputError(f"{path}: not what was split into chunks: the file changed while the run was on; run again")
