"""Six frames against Biopython's translation."""

import random
import re

import pytest
from Bio.Seq import Seq

from virnucflow.sequences.frames import kept_frames, stop_free_frames


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


def longest_by_hand(chunk: str) -> tuple[str, str, str]:
    """Of all stretches without a stop the longest, codon by codon; the first of equal ones."""
    best = ("", "", "")
    for direction, strand in (("F", chunk), ("R", str(Seq(chunk).reverse_complement()))):
        for offset in range(3):
            codons = re.findall("...", strand[offset:])
            stretch = ""
            for codon in [*codons, "TAA"]:
                residue = str(Seq(codon).translate()) if set(codon) <= set("ACGT") else ""
                if residue != "*":
                    stretch += residue
                    continue
                if len(stretch) > len(best[2]):
                    best = (f"{direction}{offset + 1}", strand[offset:][: 3 * len(codons) + 1], stretch)
                stretch = ""
    return best


def test_a_chunk_without_a_stop_free_frame_has_its_longest_stretch() -> None:
    """If it has 30 residues; among the chunks are some with 29, with 30, and with N in the stretch."""
    letters, seen = random.Random(1), set()
    for _ in range(600):
        chunk = "".join(
            letters.choices("ACGTN", weights=[3, 3, 3, 3, letters.choice([0, 0.1])], k=letters.randrange(60, 501))
        )
        kind, frames = kept_frames(chunk)
        if whole := list(stop_free_frames(chunk)):
            assert kind == "whole" and frames == whole
        else:
            longest = longest_by_hand(chunk)
            assert kind == "longest" and list(map(tuple, frames)) == [longest] * (len(longest[2]) >= 30)
            seen |= {len(longest[2]), len(longest[2]) >= 30 and "N" in longest[1]}
    assert {29, 30, True} <= seen
