"""Six-frame translation of a chunk, keeping the frames without a stop codon (VirNucPro v1, six frames and filter).

A chunk without such a frame is represented by its longest stretch without a stop.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from virnucflow.files.kinds import LONGEST, WHOLE

# The standard genetic code (NCBI table 1), codons in the order of the letters below.
LETTERS = "TCAG"
COMPLEMENT_BIT = 2  # the one in which the numbers of T and A, of C and G differ
STANDARD_CODE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
STOP = ord("*")
LEAST_RESIDUES = 30  # of a longest stretch; below, chance has many
DROPPED = 0  # a codon that is not purely A, C, G, T gives no residue

# Any other letter stays as it is.
COMPLEMENT = str.maketrans("ACGT", "TGCA")

OTHER_LETTER = len(LETTERS)
LETTER_CODE = np.full(256, OTHER_LETTER, dtype=np.uint8)
LETTER_CODE[[ord(letter) for letter in LETTERS]] = range(len(LETTERS))
RESIDUE = np.full((OTHER_LETTER + 1,) * 3, DROPPED, dtype=np.uint8)
for codon, residue in zip(product(range(len(LETTERS)), repeat=3), STANDARD_CODE, strict=True):
    RESIDUE[codon] = ord(residue)


def letter_codes(sequence: str) -> np.ndarray:
    """The number of each upper-case letter among LETTERS, OTHER_LETTER for any other: uint8 (letters)."""
    return LETTER_CODE[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


class Frame(NamedTuple):
    """One kept reading frame: `frame` is F1 to F3 or R1 to R3."""

    frame: str
    nucleotide: str
    protein: str


class SixthOfAChunk(NamedTuple):
    """One of a chunk's six frames: the letters from its first codon on, and uint8 residues, one per codon."""

    frame: str
    letters: str
    residues: np.ndarray


def six_frames(chunk: str) -> list[SixthOfAChunk]:
    """All frames of a chunk, F1 to F3 and R1 to R3, with their stops (STOP) and codons without a residue (DROPPED)."""
    frames = []
    forward = chunk.upper()
    for direction, strand in (("F", forward), ("R", forward.translate(COMPLEMENT)[::-1])):
        letters = letter_codes(strand)
        residues = RESIDUE[letters[:-2], letters[1:-1], letters[2:]]
        frames += [SixthOfAChunk(f"{direction}{n + 1}", strand[n:], residues[n::3]) for n in range(3)]
    return frames


def stop_free_frames(chunk: str) -> Iterator[Frame]:
    """Yield the frames of a chunk whose translation is not empty and holds no stop, in the order F1 to F3, R1 to R3."""
    return _stop_free(six_frames(chunk))


def kept_frames(chunk: str) -> tuple[str, list[Frame]]:
    """The frames by which a chunk is scored, and their kind.

    They are `whole`: those without a stop. A chunk that has none is represented by its `longest` stretch without one,
    if this has LEAST_RESIDUES.
    """
    six = six_frames(chunk)
    if whole := list(_stop_free(six)):
        return WHOLE, whole
    return LONGEST, list(_longest_stretch(six))


def _stop_free(six: list[SixthOfAChunk]) -> Iterator[Frame]:
    """Frames without a stop.

    The nucleotides are v1's slice, `1 + 3 * len(protein)` letters from where the frame begins: one letter more than the
    codons where the chunk has it, and a misaligned prefix after a dropped codon. The published classifier was
    trained on it.
    """
    for frame, letters, residues in six:
        if (residues == STOP).any():
            continue
        if protein := _protein(residues):
            yield Frame(frame, letters[: 1 + 3 * len(protein)], protein)


def _longest_stretch(six: list[SixthOfAChunk]) -> Iterator[Frame]:
    """The longest stretch without a stop, if it is long enough: of equal ones the first frame's, and there the first.

    The protein is the stretch's. The nucleotides are the whole frame's, stops included, as what surrounds the stretch
    also tells what the chunk is of.
    """
    longest, chosen = LEAST_RESIDUES - 1, None
    for frame, letters, residues in six:
        stops = np.flatnonzero(residues == STOP)
        before = np.concatenate([[0], np.cumsum((residues != STOP) & (residues != DROPPED))])
        starts, ends = np.concatenate([[0], stops + 1]), np.concatenate([stops, [len(residues)]])
        numbers = before[ends] - before[starts]
        best = int(numbers.argmax())
        if numbers[best] > longest:
            longest = numbers[best]
            protein = _protein(residues[starts[best] : ends[best]])
            chosen = Frame(frame, letters[: 1 + 3 * len(residues)], protein)
    if chosen:
        yield chosen


def _protein(residues: np.ndarray) -> str:
    """Residues as letters, without those that a codon did not give."""
    return str(residues[residues != DROPPED].tobytes(), "ascii")
