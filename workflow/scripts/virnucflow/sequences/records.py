"""The sequences of a sample's files, of any format, as `split_fasta` reads them and as it named them."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from virnucflow.cli import InputError
from virnucflow.files.digests import Hasher, digest_bytes
from virnucflow.files.tables import read_provenance
from virnucflow.sequences.batches import Batch, batched
from virnucflow.sequences.compressed import Stored
from virnucflow.sequences.fasta import Record, Streamed, by_record, read_fasta_batches, read_fasta_parts, whole
from virnucflow.sequences.genbank import is_genbank, read_genbank_parts
from virnucflow.sequences.inputs import Input
from virnucflow.sequences.reads import read_reads_parts
from virnucflow.sequences.subsample import Subsample


class Contents:
    """What is known of the records of a file when all their letters have gone by, many at a time.

    A record's digest is of its name, a line end, and its letters, as the file has them: 32 hexadecimal digits.
    """

    def __init__(self) -> None:
        self._last: list[Hasher] = []  # of the record that began last, if one did
        self._uracils = np.empty(0, dtype=np.int64)  # in it

    def follow(self, batch: Batch, ended: int) -> tuple[np.ndarray, list[str]]:
        """The numbers of U, and the digests, of so many records as end with this batch (`with_ended`)."""
        places = np.empty(0, dtype=np.int64)
        if b"U" in batch.letters or b"u" in batch.letters:
            places = np.flatnonzero(np.isin(np.frombuffer(batch.letters, dtype=np.uint8), list(b"Uu")))
        numbers = np.diff(np.searchsorted(places, batch.starts), prepend=0, append=len(places))
        numbers = np.append(self._uracils + numbers[0], numbers[1:])

        bounds = [*batch.starts.tolist(), len(batch.letters)]
        begun = zip(batch.names, pairwise(bounds), strict=True)
        texts = [b"%s\n%s" % (name.encode(), batch.letters[start:end]) for name, (start, end) in begun]
        for hasher in self._last:
            hasher.update(batch.letters[: bounds[0]])
        digests = [hasher.hexdigest() for hasher in self._last] if ended else []
        digests += [digest_bytes(text) for text in texts[:-1]]
        if ended or texts:
            self._last = [Hasher(text) for text in texts[-1:]]
        self._uracils = numbers[ended:]
        return numbers[:ended], digests


def stream_records(
    one: Input, check_letters: bool = True, annotation: bool = False, subsample: Subsample | None = None
) -> Iterator[Streamed]:
    """Yield the records of what is read together; a file's first bytes decide its format. The letters of each go by in
    pieces. Reads that are not of the subsample are left out. Other arguments, and errors, as of `read_fasta_parts`,
    `read_genbank_parts` and `read_reads_parts`.
    """
    if one.layout != "fasta":
        return by_record(read_reads_parts(one, check_letters, subsample=subsample))
    path = one.paths[0]
    if is_genbank(path):
        return by_record(read_genbank_parts(path, check_letters, annotation=annotation))
    return by_record(read_fasta_parts(path, check_letters))


def stream_batches(
    one: Input, stored: tuple[Stored, ...], subsample: Subsample | None, check_letters: bool = True
) -> Iterator[Batch]:
    """The same records, many at a time. `stored` are the files, of which the rest is known then."""
    if one.layout != "fasta":
        return batched(read_reads_parts(one, check_letters, stored, subsample))
    path = one.paths[0]
    if is_genbank(path):
        return batched(read_genbank_parts(path, check_letters, stored[0]))
    return read_fasta_batches(path, check_letters, stored[0])


def records_of(
    inputs: list[Input], sequences: pd.DataFrame, subsample: Subsample | None = None, annotation: bool = False
) -> Iterator[tuple[Any, Record]]:
    """Each row of a table of a sample's sequences (with sequence_id, length and digest) and its record.

    They are paired by their order, because `duplicate_ids: rename` gives other names than the files do. Raises
    InputError as soon as a record is not the one that was split.
    """
    rows = sequences.itertuples()
    for one in inputs:
        for heading, pieces in stream_records(one, check_letters=False, annotation=annotation, subsample=subsample):
            record, row = whole(heading, pieces), next(rows, None)
            if row is None or (len(record.sequence), _digest(record)) != (row.length, row.digest):
                raise changed(one.place(heading.line, heading.mate)[0])
            yield row, record
    if next(rows, None) is not None:
        raise changed(inputs[-1].paths[-1])


def _digest(record: Record) -> str:
    """A record's digest, as `Contents` has it."""
    hasher = Hasher(f"{record.name}\n".encode())
    hasher.update(record.sequence.encode("latin-1"))
    return hasher.hexdigest()


def read_subsample(sequences: Path) -> Subsample | None:
    """The reads that were drawn for a table of sequences; None where all of them were taken."""
    noted = read_provenance(sequences).get("subsample")
    return Subsample(noted["seed"], noted["largest_hash"]) if noted else None


def changed(path: Path) -> InputError:
    """The error where a file is not what was read before."""
    return InputError(f"{path}: not what was split into chunks: the file changed while the run was on; run again")
