"""GenBank files: their sequences, and the proteins that they are annotated with."""

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from Bio import BiopythonWarning
from Bio.GenBank.Scanner import GenBankScanner
from Bio.SeqRecord import SeqRecord

from virnucflow.cli import InputError, log
from virnucflow.sequences.batches import Heading, Part
from virnucflow.sequences.compressed import Stored, decompressed
from virnucflow.sequences.fasta import BLANKS, BLOCK, CONTROL, MOST_HEADER, NUCLEOTIDES, blocks

LOCUS = b"LOCUS "
END = b"//"
# Of a file's first bytes; the latter stands above the first record in the files of GenBank's releases.
START = re.compile(rb"(\xef\xbb\xbf)?\s*LOCUS |[^>\s]\S*\s+Genetic Sequence Data Bank")
# A feature's first line, which belongs below FEATURES: those of the header are indented by less or by more.
FEATURE = re.compile(r" {5}\S")

# What may stand at the beginning of a line between FEATURES and ORIGIN; anything else is of another record's header.
BELOW_FEATURES = (b"BASE COUNT", b"CONTIG", b"WGS", b"TSA", b"TLS")

MOST_RECORD = 50_000_000  # bytes of text
ODDITIES_TOLD = 10  # per file


def is_genbank(path: Path) -> bool:
    """Whether a file, plain or compressed, begins as GenBank files do."""
    with decompressed(path) as stream:
        return START.match(stream.read(100)) is not None


def read_genbank_parts(
    path: Path, check_letters: bool = True, stored: Stored | None = None, annotation: bool = False
) -> Iterator[Part]:
    """Yield the parts of the records of a GenBank file in order, named as NCBI's FASTA files name them, by accession
    and version; of each record its heading, and its letters, upper-case, in one piece.

    With `annotation` a heading has `proteins`: the translations of the CDS that state one. Raises InputError, naming
    file and line, for what is cut, is longer than MOST_RECORD, has no sequence, has not the sequence that LOCUS and the
    numbers below ORIGIN promise, or cannot be read; what Biopython finds odd is logged. `check_letters` as in
    `read_fasta_parts`.
    """
    told = 0
    with decompressed(path, stored) as stream:
        for text in _texts(path, _lines(blocks(stream))):
            parsed, oddities = _parse(text, annotation)
            for oddity in oddities if check_letters else ():
                if told < ODDITIES_TOLD:
                    log.warning("%s, line %d: %s", path, text.line, oddity)
                told += 1
            if check_letters and (wrong := text.letters.translate(None, NUCLEOTIDES)):
                text.refuse(f"{parsed.id}: {chr(wrong[0])!r} is not a nucleotide; give DNA or RNA records")
            proteins = _proteins(parsed) if annotation else None
            yield Heading(str(parsed.id), f"{parsed.id} {parsed.description}", text.line, proteins)
            yield bytes(text.letters)
    if told > ODDITIES_TOLD:
        log.warning("%s: %d more records are odd in such ways", path, told - ODDITIES_TOLD)


def _proteins(record: SeqRecord) -> tuple[str, ...]:
    return tuple(
        feature.qualifiers["translation"][0]
        for feature in record.features
        if feature.type == "CDS" and "translation" in feature.qualifiers
    )


@dataclass
class _Text:
    """One record: what stands above FEATURES, what from there to ORIGIN, and the letters below."""

    path: Path
    line: int
    header: bytearray = field(default_factory=bytearray)
    features: bytearray = field(default_factory=bytearray)
    letters: bytearray = field(default_factory=bytearray)

    def refuse(self, what: str, line: int | None = None) -> NoReturn:
        raise InputError(f"{self.path}, line {line or self.line}: {what}")


def _lines(content: Iterator[bytes]) -> Iterator[bytes]:
    """Lines without their ends; of one that is longer than a block at least so much, and then whatever follows."""
    rest = b""
    for block in content:
        *lines, rest = (rest + block).split(b"\n")
        yield from lines
        if len(rest) > BLOCK:
            yield rest
            rest = b""
    if rest:
        yield rest


def _texts(path: Path, lines: Iterator[bytes]) -> Iterator[_Text]:
    """The records, each from LOCUS to the line `//` that ends it."""
    text, has_begun, lost = None, False, 0
    for number, line in enumerate(lines, start=1):
        if len(line) > BLOCK:
            raise InputError(f"{path}, line {number}: longer than {BLOCK:,} bytes; restore the file")
        line = line.rstrip(BLANKS)
        if text is None and line.startswith(LOCUS):
            text, has_begun = _Text(path, number), True
            if lost:
                text.refuse("'//' ends a record that does not begin with LOCUS; restore the file", lost)
            section, size = text.header, 0
        elif text is None and has_begun:
            _check_blank(path, number, line)
            continue
        elif text is None:  # what a release says above its first record; but no record's end
            lost = lost or (number if line == END else 0)
            continue
        elif line.startswith(LOCUS):
            text.refuse(f"this record does not end with '//' before the next, in line {number}; restore the file")
        if line == END:
            yield text
            text = None
            continue
        size += len(line) + 1
        if size > MOST_RECORD:
            text.refuse(f"a record of more than {MOST_RECORD:,} bytes; give it as FASTA")
        if section is text.letters:
            _add_letters(text, number, line)
            continue
        if line.startswith(b"ORIGIN"):
            section = text.letters
            continue
        if section is text.header and line.startswith(b"FEATURES"):
            section = text.features
        elif section is text.features and line[:1].isalpha() and not line.startswith(BELOW_FEATURES):
            text.refuse("a line below FEATURES is of another record's header; restore the file", number)
        section += line + b"\n"
        if len(text.header) > MOST_HEADER:
            text.refuse(f"the header is longer than {MOST_HEADER:,} bytes; shorten it, or give FASTA")
    if text:
        text.refuse("this record does not end with '//', so the file is cut; copy it again")
    if not has_begun:
        raise InputError(f"{path}: no line begins with LOCUS, as the records of a GenBank file do; restore the file")


def _check_blank(path: Path, number: int, line: bytes) -> None:
    if shown := line.strip(BLANKS)[:40].decode("latin-1"):
        raise InputError(f"{path}, line {number}: text between records: {shown!r}; a record begins with LOCUS")


def _add_letters(text: _Text, number: int, line: bytes) -> None:
    """Below ORIGIN, each line is the number of its first base, and bases in groups."""
    first, *groups = line.split() or [b""]
    if line and first != b"%d" % (len(text.letters) + 1):
        text.refuse(
            f"after {len(text.letters)} bases the line must begin with the number {len(text.letters) + 1}; "
            "a line is damaged or lost: restore the file",
            number,
        )
    text.letters += b"".join(groups).upper()


def _parse(text: _Text, annotation: bool) -> tuple[SeqRecord, list[str]]:
    """What Biopython makes of a record, of which it is not given the letters, and what it finds odd."""
    try:
        header = text.header.decode()
        features = text.features.decode() if annotation else ""
    except UnicodeDecodeError:
        text.refuse("this record is not UTF-8; convert the file, for example with 'iconv -f latin1 -t utf-8'")
    if any(FEATURE.match(line) for line in header.split("\n")):
        text.refuse("a feature without a line FEATURES above it; restore the file")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BiopythonWarning)
        try:
            record = GenBankScanner().parse(io.StringIO(f"{header}{features}ORIGIN\n//\n"), do_features=annotation)
        except Exception as error:  # of whatever kind: Biopython does not say which it raises for damage
            text.refuse(f"not a GenBank record ({' '.join(str(error).split())}); restore the file")
    if record is None:
        text.refuse("not a GenBank record (LOCUS is not followed by blanks up to column 12); restore the file")
    if len(record.id.split()) != 1:
        text.refuse(f"the name {record.id!r} is not one word; give VERSION one without blanks")
    if CONTROL.search(f"{record.id} {record.description}".replace("\t", " ")):
        text.refuse("a control character in VERSION or DEFINITION; remove it")
    if not text.letters:
        text.refuse(f"{record.id} has no sequence; fetch the record with it (NCBI: GenBank (full))")
    said = len(record.seq)  # without letters, Biopython takes the length from LOCUS
    if said != len(text.letters):
        there = f"{len(text.letters)} are there; restore the file"
        text.refuse(f"{record.id}: LOCUS says {f'{said} bases' if said else 'no number of bases'}, but {there}")
    return record, [" ".join(str(warning.message).split()) for warning in caught]
