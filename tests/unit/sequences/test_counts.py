"""What is counted of a file: exact where all of it is read, within the error that is said where a sample is."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pysam
import pytest
from helpers import EXAMPLE

from virnucflow.files.kinds import KINDS, LONGEST, WHOLE
from virnucflow.sequences.chunks import chunk_coordinates, chunk_totals
from virnucflow.sequences.counts import FIELDS, Estimate, Rules, count_file
from virnucflow.sequences.fasta import read_fasta
from virnucflow.sequences.frames import kept_frames

RULES = Rules(500, LONGEST)
BUDGET = 1 << 19
CODONS = [a + b + c for a in "TCAG" for b in "TCAG" for c in "TCAG" if a + b + c not in ("TAA", "TAG", "TGA")]
SAMPLED = 4_000_000  # bases of a file that is sampled


@cache
def genome(bases: int, seed: int = 0) -> bytes:
    """Open reading frames and what has stops between them."""
    draw, parts, length = np.random.default_rng(seed), list[bytes](), 0
    codons = np.frombuffer("".join(CODONS).encode(), dtype=np.uint8).reshape(-1, 3)
    while length < bases:
        parts.append(codons[draw.integers(len(codons), size=draw.integers(150, 450))].tobytes())
        parts.append(np.frombuffer(b"ACGT", dtype=np.uint8)[draw.integers(4, size=draw.integers(300))].tobytes())
        length += len(parts[-1]) + len(parts[-2])
    return b"".join(parts)[:bases]


def pieces(least: int, most: int) -> list[bytes]:
    letters, draw, found, start = genome(SAMPLED), np.random.default_rng(1), list[bytes](), 0
    while start < len(letters):
        length = int(draw.integers(least, most))
        found.append(letters[start : start + length])
        start += length
    return found


def wrapped(letters: bytes, width: int = 70) -> bytes:
    return b"\n".join(letters[start : start + width] for start in range(0, len(letters), width))


def fasta(least: int, most: int, width: int = 70) -> bytes:
    return b"".join(b">s%d of a test\n%s\n" % (i, wrapped(p, width)) for i, p in enumerate(pieces(least, most)))


def fastq() -> bytes:
    return b"".join(b"@r%d\n%s\n+\n%s\n" % (i, p, b"@" * len(p)) for i, p in enumerate(pieces(80, 151)))


def genbank() -> bytes:
    text = ""
    for number, letters in enumerate(pieces(20_000, 60_000)):
        lines = range(0, len(letters), 60)
        groups = (" ".join(wrapped(letters[at : at + 60], 10).decode().lower().split()) for at in lines)
        origin = "\n".join(f"{at + 1:9d} {group}" for at, group in zip(lines, groups))
        text += (
            f"LOCUS       G{number:06d}  {len(letters)} bp    DNA     linear   BCT 01-JAN-2020\nDEFINITION  x.\n"
            f"ACCESSION   G{number:06d}\nVERSION     G{number:06d}.1\nFEATURES             Location/Qualifiers\n"
            f"     gene            1..900\nORIGIN\n{origin}\n//\n"
        )
    return text.encode()


def write_bam(path: Path) -> None:
    header = pysam.AlignmentHeader.from_dict({"HD": {"VN": "1.6"}})
    draw = np.random.default_rng(0)
    with pysam.AlignmentFile(str(path), "wb", header=header) as file:
        for number, letters in enumerate(pieces(80, 151)):
            read = pysam.AlignedSegment(header)
            read.query_name, read.flag = f"r{number // 2}", 13 | (128 if number % 2 else 64)
            read.query_sequence = letters.decode()
            read.query_qualities = pysam.qualitystring_to_array("".join(map(chr, draw.integers(60, 74, len(letters)))))
            file.write(read)


FILES: dict[str, tuple[str, Callable[[], bytes] | None]] = {
    "contigs.fa": ("fasta", lambda: fasta(200, 9000)),
    "fragments.fa": ("fasta", lambda: fasta(400, 600)),
    "chromosome.fa": ("fasta", lambda: fasta(1_500_000, 2_000_000)),
    "one_line.fa": ("fasta", lambda: fasta(1_500_000, 2_000_000, SAMPLED)),
    "crlf.fa": ("fasta", lambda: fasta(200, 9000).replace(b"\n", b"\r\n")),
    "contigs.fa.gz": ("fasta", lambda: gzip.compress(fasta(200, 9000), 1)),
    "contigs.fa.xz": ("fasta", lambda: lzma.compress(fasta(200, 9000), preset=0)),
    "contigs.fa.bz2": ("fasta", lambda: bz2.compress(fasta(200, 9000))),
    "many_members.fa.gz": (
        "fasta",
        lambda: b"".join(gzip.compress(b">s%d\n%s\n" % (i, p), 1) for i, p in enumerate(pieces(200, 9000))),
    ),
    "records.gb": ("fasta", genbank),
    "reads.fastq": ("reads", fastq),
    "pairs.fastq.gz": ("interleaved", lambda: gzip.compress(fastq(), 1)),
    "reads.bam": ("reads", None),
}


def count(path: Path, layout: str, budget: int, rules: Rules = RULES) -> Estimate:
    return count_file(path, layout, rules, budget)


@pytest.mark.parametrize("name", FILES)
def test_sample_has_the_true_counts_within_its_error(name: str, tmp_path: Path) -> None:
    layout, make = FILES[name]
    path = tmp_path / name
    if make is None:
        write_bam(path)
    else:
        path.write_bytes(make())
    true, no_error = count(path, layout, 1 << 26)
    sampled = count(path, layout, BUDGET)
    assert not no_error.any()
    for field, value, error, exact in zip(FIELDS, *sampled, true):
        # 95 % of the samples are within the error; each of these is within one and a half of it, as it is printed.
        assert abs(value - exact) <= 1.5 * error + 5e-4 * exact, (field, value, error, exact)
        assert field == "sequences" or exact == 0 or error < 0.15 * exact, (field, error)
    assert sampled.errors[FIELDS.index("frames")] > 0


@pytest.mark.parametrize("frames", KINDS)
@pytest.mark.parametrize("name", ["escherichia_coli.fasta", "phage_lambda.fasta.gz"])
def test_whole_file_is_counted_as_it_is_split_and_translated(name: str, frames: str) -> None:
    records = [record.sequence.encode() for record in read_fasta(EXAMPLE / name)]
    chunks = [letters[start:end] for letters in records for start, end in chunk_coordinates(len(letters), 300)]
    kept = kept_frames(b"".join(chunks), np.cumsum(list(map(len, chunks))))
    taken = ~kept.longest if frames == WHOLE else np.ones(len(kept.longest), dtype=bool)
    values, errors = count(EXAMPLE / name, "fasta", 1 << 20, Rules(300, frames))
    bases = sum(map(len, records))
    letters = sum(len(text) for text, is_taken in zip(kept.nucleotides.to_pylist(), taken) if is_taken)
    expected = [0, len(records), bases, len(chunks), len(taken), taken.sum(), kept.residues[taken].sum(), letters]
    assert values.tolist() == expected and not errors.any()
    assert len(chunks) == chunk_totals(np.array(list(map(len, records))), 300)[0].sum()


def test_empty_files_have_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.fa").touch()
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b""))
    for name in ("a.fa", "a.fa.gz"):
        assert not np.any(count(tmp_path / name, "fasta", BUDGET))


def test_uracil_is_what_the_setting_says(tmp_path: Path) -> None:
    (tmp_path / "a.fa").write_text(">a\n" + "GCUGCU" * 100 + "\n")
    as_dna, kept = (count(tmp_path / "a.fa", "fasta", BUDGET, Rules(500, WHOLE, rna)).values for rna in (True, False))
    assert as_dna[FIELDS.index("residues")] > kept[FIELDS.index("residues")]
