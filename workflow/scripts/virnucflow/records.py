"""The sequences of a sample's files, FASTA or GenBank, as `split_fasta` reads them and as it named them."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from virnucflow.cli import InputError
from virnucflow.fasta import Record, read_fasta
from virnucflow.genbank import is_genbank, read_genbank


def read_records(path: Path, check_letters: bool = True) -> Iterator[Record]:
    """Yield the records of a FASTA or GenBank file; its first bytes decide, not its name. Errors as of the readers."""
    yield from (read_genbank if is_genbank(path) else read_fasta)(path, check_letters)


def records_of(paths: list[Path], sequences: pd.DataFrame) -> Iterator[tuple[Any, Record]]:
    """Each row of a table of a sample's sequences (with sequence_id and length) and its record.

    They are paired by their order, because `duplicate_ids: rename` gives other names than the files do.
    """
    records = (record for path in paths for record in read_records(path, check_letters=False))
    for row, record in zip_longest(sequences.itertuples(), records):
        if record is None or row is None or len(record.sequence) != row.length:
            raise InputError(f"{paths[0]}: not what was split into chunks; give the input of split_fasta.py, in order")
        yield row, record
