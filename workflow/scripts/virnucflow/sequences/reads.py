"""Reads: FASTQ, read by dnaio, and BAM, read by pysam. Quality values are not used."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pysam
from Bio.Seq import reverse_complement
from dnaio import FastqReader, FileFormatError

from virnucflow.cli import InputError, reading
from virnucflow.sequences.batches import Heading, Part
from virnucflow.sequences.compressed import Stored, decompressed
from virnucflow.sequences.fasta import BLOCK, CONTROL, NUCLEOTIDES, blocks
from virnucflow.sequences.inputs import Input
from virnucflow.sequences.mates import mate_name, pair_of_mate, pair_of_names
from virnucflow.sequences.subsample import Subsample

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_LINE = 20_000_000  # bytes, of FASTQ; the longest reads of nanopores have 4 million bases
BAM = b"BAM\1"
SAM_HEADERS = (b"@HD\t", b"@SQ\t", b"@RG\t", b"@PG\t", b"@CO\t")
PAIRED, REVERSE, FIRST, SECOND = 0x1, 0x10, 0x40, 0x80  # flags of SAM's specification, 1.4
LEFT_OUT = {"secondary": 0x100, "supplementary": 0x800, "qc_failed": 0x200, "duplicate": 0x400}


class Read(NamedTuple):
    """A read as it was sequenced. `name` is its own, or its pair's where it is a `mate`."""

    name: str
    description: str
    letters: bytes
    path: Path
    number: int  # in its file, from 1
    mate: int = 0

    def error(self, what: str) -> InputError:
        """What is wrong with this read."""
        return InputError(f"{self.path}, record {self.number}: {what}")


def read_reads_parts(
    one: Input, check_letters: bool = True, stored: tuple[Stored, ...] = (), subsample: Subsample | None = None
) -> Iterator[Part]:
    """Yield the parts of reads in order: of each its heading, and its letters in one piece.

    Only reads of the subsample are yielded, where there is one. `check_letters` as in `read_fasta_parts`. Raises
    InputError, naming file and line or record, for what is cut or damaged, and for reads that are not mates.
    """
    for read in _reads(one, stored or (None,) * len(one.paths)):
        if subsample and read.name not in subsample:
            continue
        name = mate_name(read.name, read.mate)
        header = f"{name} {read.description}" if read.description else name
        if check_letters:
            if not header.isprintable() and CONTROL.search(header.replace("\t", " ")):
                raise read.error("a control character in the name; remove it")
            if wrong := read.letters.translate(None, NUCLEOTIDES):
                raise read.error(f"{chr(wrong[0])!r} is not a nucleotide; give DNA or RNA in IUPAC letters")
        yield Heading(name, header, read.number, mate=read.mate)
        yield read.letters


def _reads(one: Input, stored: tuple[Stored | None, ...]) -> Iterator[Read]:
    if any(map(is_bam, one.paths)):
        return _read_bam(one, stored[0])
    files = [_read_fastq(path, its) for path, its in zip(one.paths, stored, strict=True)]
    if one.layout == "reads":
        return files[0]
    return _mates(files[0], files[-1], one.paths)


def _mates(firsts: Iterator[Read], seconds: Iterator[Read], paths: tuple[Path, ...]) -> Iterator[Read]:
    """Both reads of each pair, which are in two files or, where these are the same, one after the other."""
    for first, second in zip_longest(firsts, seconds):
        if not first or not second:
            lonely, ended = (first, paths[-1]) if first else (second, paths[0])
            raise lonely.error(f"{lonely.name!r} has no mate, as {ended} ends before; give both reads of each pair")
        pair = pair_of_names(first.name, second.name)
        if pair is None:
            other = f"{second.path}, record {second.number}: {second.name!r}"
            raise first.error(f"{first.name!r} has no mate, as {other} is none; give both reads in the same order")
        yield first._replace(name=pair, mate=1)
        yield second._replace(name=pair, mate=2)


def _read_fastq(path: Path, stored: Stored | None) -> Iterator[Read]:
    with decompressed(path, stored) as stream:
        try:
            with FastqReader(io.BufferedReader(_Lines(path, stream), BLOCK), buffer_size=BLOCK) as file:
                for number, record in enumerate(file, start=1):
                    name, description = [*record.name.split(None, 1), "", ""][:2]
                    yield Read(name, description.rstrip(), record.sequence.encode(), path, number)
        except FileFormatError as error:
            line = "" if error.line is None else f", line {error.line + 1}"
            message = " ".join(error.message.split()).rstrip(".")
            raise InputError(f"{path}{line}: not FASTQ ({message}); restore the file") from None


class _Lines(io.RawIOBase):
    """The content of a FASTQ file, with every line end made LF; a line without end is refused, as dnaio holds it."""

    def __init__(self, path: Path, stream: io.BufferedIOBase) -> None:
        self._path, self._blocks = path, blocks(stream)
        self._block = memoryview(b"")
        self._line, self._length = 1, 0  # where the block ends, and how much of that line there is
        self._check_start(first := next(self._blocks, b""))
        self._take(first)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._block:
            if (block := next(self._blocks, None)) is None:
                return 0
            self._take(block)
        room = memoryview(buffer)
        number = min(len(room), len(self._block))
        room[:number] = self._block[:number]
        self._block = self._block[number:]
        return number

    def _take(self, block: bytes) -> None:
        self._block = memoryview(block)
        self._line += block.count(b"\n")
        last = block.rfind(b"\n") + 1
        self._length = len(block) - last + (0 if last else self._length)
        if self._length > MOST_LINE:
            raise InputError(f"{self._path}, line {self._line}: longer than {MOST_LINE:,} bytes; restore the file")

    def _check_start(self, block: bytes) -> None:
        """dnaio cannot say what a file is that is not FASTQ."""
        if block.startswith((b">", b"LOCUS ")):
            what = "this looks like FASTA or GenBank; give it in the column fasta of the sample sheet"
        elif block.startswith(SAM_HEADERS) or block.startswith(b"CRAM"):
            what = "this looks like SAM or CRAM; convert it to BAM with 'samtools view -b'"
        elif block and not block.startswith(b"@"):
            what = "not a FASTQ file, which begins with '@', and not BAM; give one of them"
        else:
            return
        raise InputError(f"{self._path}, line 1: {what}")


def is_bam(path: Path) -> bool:
    """Whether a file is BAM by its first bytes."""
    with decompressed(path) as stream:
        return stream.read(len(BAM)) == BAM


@contextmanager
def _alignments(path: Path) -> Iterator[pysam.AlignmentFile]:
    pysam.set_verbosity(0)
    file = pysam.AlignmentFile(str(path), "rb", check_sq=False)
    try:
        yield file
    finally:
        with suppress(OSError):  # as of a damaged file, of which reading has told
            file.close()


def _read_bam(one: Input, stored: Stored | None) -> Iterator[Read]:
    """The reads of a BAM file, aligned or not, in its order, each as it was sequenced; mates may be anywhere.

    Alignments with one of the flags LEFT_OUT are counted in `stored`, by the first of these that they have.
    """
    path = one.paths[0]
    if one.layout != "reads":
        raise InputError(f"{path}: BAM says itself which reads are mates; leave reads_2 and interleaved empty")
    if path.suffix != ".bam":  # by which the workflow knows that there may be pairs
        raise InputError(f"{path}: this is BAM; give it a name that ends in .bam")
    with reading(path, "a BAM file that can be read", "copy it again"), _alignments(path) as file:
        for number, alignment in enumerate(file.fetch(until_eof=True), start=1):
            flag = alignment.flag
            if kind := next((kind for kind, bit in LEFT_OUT.items() if flag & bit), None):
                if stored:
                    stored.left_out[kind] += 1
                continue
            sequence = alignment.query_sequence or ""
            letters = reverse_complement(sequence) if flag & REVERSE else sequence
            mate = (1 if flag & FIRST else 0) + (2 if flag & SECOND else 0) if flag & PAIRED else 0
            read = Read(alignment.query_name or "", "", letters.encode(), path, number, mate)
            if len(read.name.split()) != 1:
                raise read.error(f"{read.name!r} is no name of a read; give each one without blanks")
            if flag & PAIRED and mate not in (1, 2):
                raise read.error(
                    f"{read.name!r} is of a pair, but neither its first nor its second read; repair the flags"
                )
            yield read._replace(name=pair_of_mate(read.name, mate))
    if stored:
        with path.open("rb") as raw:
            stored.sha256, stored.bytes = hashlib.file_digest(raw, "sha256").hexdigest(), path.stat().st_size
