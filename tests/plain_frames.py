"""The frames of one chunk by the plain spelling of the rules, with which what translates many at a time is compared."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from virnucflow.files.tables import LONGEST, WHOLE
from virnucflow.sequences.frames import DROPPED, LEAST_RESIDUES, RESIDUE, STOP, Frame, letter_codes

COMPLEMENT = str.maketrans("ACGT", "TGCA")  # any other letter stays as it is


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
