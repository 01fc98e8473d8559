"""Six frames against Biopython's translation, and of many chunks at a time against the plain spelling of one."""

import random
import re

import numpy as np
import pytest
from Bio.Seq import Seq
from hypothesis import given
from hypothesis import strategies as st
from plain_frames import kept_frames

from virnucflow.sequences.frames import FRAMES, stop_free_frames
from virnucflow.sequences.frames import kept_frames as kept_frames_of_many


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


# Chunks of all letters or of few, with much that is no nucleotide, with stops and without, and with ties of stretches.
ALPHABETS = ("ACGT", "ACGTN", "ACGTacgtnRYu-;*", "GC", "AC", "T", "N", "TAN")
CHUNK = st.sampled_from(ALPHABETS).flatmap(lambda letters: st.text(letters, max_size=200))
REPEATED = st.tuples(st.text("ACGTN", min_size=1, max_size=30), st.integers(1, 40)).map(lambda part: part[0] * part[1])


@given(st.lists(CHUNK | REPEATED, max_size=8))
def test_many_chunks_have_the_frames_that_each_has_alone(chunks: list[str]) -> None:
    letters, ends = "".join(chunks).encode(), np.cumsum([len(chunk) for chunk in chunks], dtype=np.int64)
    many = kept_frames_of_many(letters, ends)
    texts = zip(many.nucleotides.to_pylist(), many.proteins.to_pylist(), strict=True)
    kinds = ["longest" if longest else "whole" for longest in many.longest]
    found = [
        (chunk, kind, (FRAMES[frame], *text))
        for chunk, kind, frame, text in zip(many.chunks, kinds, many.frames, texts, strict=True)
    ]
    plain = [kept_frames(chunk) for chunk in chunks]
    assert found == [(at, kind, tuple(frame)) for at, (kind, frames) in enumerate(plain) for frame in frames]
    assert list(many.residues) == [len(protein) for protein in many.proteins.to_pylist()]
