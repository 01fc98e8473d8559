"""GenBank files: their sequences, and the proteins that they are annotated with."""

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from Bio import BiopythonWarning, SeqIO
from Bio.SeqRecord import SeqRecord

from virnucflow.cli import InputError, log
from virnucflow.fasta import BLANKS, CONTROL, NOT_A_NUCLEOTIDE, UTF8_BYTE_ORDER_MARK, Record, decompressed

LOCUS = "LOCUS "
# Of a file's first bytes; the latter stands above the first record in the files of GenBank's releases.
START = re.compile(rb"(\xef\xbb\xbf)?\s*LOCUS |[^>\s]\S*\s+Genetic Sequence Data Bank")


def is_genbank(path: Path) -> bool:
    """Whether a file, plain or compressed, begins as GenBank files do."""
    with decompressed(path) as stream:
        return START.match(stream.read(100)) is not None


def read_genbank(path: Path, check_letters: bool = True) -> Iterator[Record]:
    """Yield the records of a GenBank file in order, named by accession and version as NCBI's FASTA files name them.

    `proteins` are the translations of the CDS that state one. Raises InputError, naming file and line, for what is cut,
    has no sequence or cannot be read; what Biopython finds odd is logged. `check_letters` as in `read_fasta`.
    """
    with decompressed(path) as stream:
        # As in read_fasta: Latin-1 keeps every byte, and a line may end in LF, CRLF or CR.
        for line, text in _texts(path, io.TextIOWrapper(stream, encoding="latin-1", newline=None)):
            parsed = _parse(path, line, text, check_letters)
            sequence = str(parsed.seq)
            if check_letters and (wrong := NOT_A_NUCLEOTIDE.search(sequence)):
                raise InputError(
                    f"{path}, line {line}: {parsed.id}: {wrong.group()!r} is not a nucleotide; give DNA or RNA records"
                )
            proteins = tuple(
                feature.qualifiers["translation"][0]
                for feature in parsed.features
                if feature.type == "CDS" and "translation" in feature.qualifiers
            )
            yield Record(parsed.id, f"{parsed.id} {parsed.description}", sequence, line, proteins)


def _texts(path: Path, stream: TextIO) -> Iterator[tuple[int, str]]:
    """The text of each record, from LOCUS to the line `//` that ends it, and the number of its first line."""
    lines, first = [], 0
    for number, line in enumerate(stream, start=1):
        if number == 1:
            line = line.removeprefix(UTF8_BYTE_ORDER_MARK)
        if not lines and not line.startswith(LOCUS):
            if first and (text := line.strip(BLANKS + "\n")):
                raise InputError(
                    f"{path}, line {number}: text between records: {text[:40]!r}; a record begins with LOCUS"
                )
            continue  # a blank line, or what a release says above its first record
        if not lines:
            first = number
        lines.append(line)
        if line.rstrip(BLANKS + "\n") == "//":
            try:
                yield first, "".join(lines).encode("latin-1").decode()
            except UnicodeDecodeError:
                raise InputError(
                    f"{path}, line {first}: this record is not UTF-8; convert the file, for example with "
                    "'iconv -f latin1 -t utf-8'"
                ) from None
            lines = []
    if not first:
        raise InputError(f"{path}: no line begins with LOCUS, as the records of a GenBank file do; restore the file")
    if lines:
        raise InputError(f"{path}, line {first}: this record does not end with '//', so the file is cut; copy it again")


def _parse(path: Path, line: int, text: str, report: bool) -> SeqRecord:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BiopythonWarning)
        try:
            record = SeqIO.read(io.StringIO(text), "genbank")
        except (ValueError, LookupError, AssertionError, AttributeError) as error:
            raise InputError(
                f"{path}, line {line}: not a GenBank record ({' '.join(str(error).split())}); restore the file"
            ) from None
    if len(record.id.split()) != 1:
        raise InputError(
            f"{path}, line {line}: the name {record.id!r} is not one word; give VERSION one without blanks"
        )
    if CONTROL.search(f"{record.id} {record.description}".replace("\t", " ")):
        raise InputError(f"{path}, line {line}: a control character in VERSION or DEFINITION; remove it")
    for warning in caught if report else []:
        log.warning("%s, line %d: %s", path, line, " ".join(str(warning.message).split()))
    if not record.seq.defined or not record.seq:
        raise InputError(
            f"{path}, line {line}: {record.id} has no sequence; fetch the record with it (NCBI: GenBank (full))"
        )
    return record
