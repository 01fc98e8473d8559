"""Six frames against Biopython's translation."""

import random

import pytest
from Bio.Seq import Seq

from virnucflow.sequences.frames import stop_free_frames


def expected_frames(chunk: str) -> list[tuple[str, str, str]]:
    frames = []
    for direction, strand in (("F", chunk), ("R", str(Seq(chunk).reverse_complement()))):
        for offset in range(3):
            codons = (len(strand) - offset) // 3
            protein = str(Seq(strand[offset : offset + 3 * codons]).translate())
            if protein and "*" not in protein:
                frames.append((f"{direction}{offset + 1}", strand[offset : offset + 3 * codons + 1], protein))
    return frames


def test_random_chunks_agree_with_biopython() -> None:
    letters, kept = random.Random(0), 0
    for length in [*range(1, 40), *letters.choices(range(40, 501), k=400)]:
        chunk = "".join(letters.choices("ACGT", weights=[1, 3, 3, 1], k=length))
        frames = list(map(tuple, stop_free_frames(chunk)))
        assert frames == expected_frames(chunk)
        kept += len(frames)
    assert kept > 300


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ("", []),
        ("AC", []),
        ("TAA", [("R1", "TTA", "L")]),
        (
            "ATGTAA",
            [
                ("F2", "TGTA", "C"),
                ("F3", "GTAA", "V"),
                ("R1", "TTACAT", "LH"),
                ("R2", "TACA", "Y"),
                ("R3", "ACAT", "T"),
            ],
        ),
        ("NNN", []),
    ],
)
def test_short_chunks(chunk: str, expected: list) -> None:
    assert list(map(tuple, stop_free_frames(chunk))) == expected


def test_dropped_codon_leaves_a_misaligned_prefix() -> None:
    frame = next(stop_free_frames("GCCNCCGCCGCC"))
    assert frame == ("F1", "GCCNCCGCCG", "AAA")
