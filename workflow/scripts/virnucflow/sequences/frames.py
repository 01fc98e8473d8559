"""Six-frame translation of a chunk, keeping the frames without a stop codon (VirNucPro v1, six frames and filter)."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

# The standard genetic code (NCBI table 1), codons in the order of the letters below.
LETTERS = "TCAG"
COMPLEMENT_BIT = 2  # the one in which the numbers of T and A, of C and G differ
STANDARD_CODE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
STOP = ord("*")
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


def stop_free_frames(chunk: str) -> Iterator[Frame]:
    """Yield the frames of a chunk whose translation is not empty and holds no stop, in the order F1 to F3, R1 to R3.

    The nucleotides are v1's slice, `1 + 3 * len(protein)` letters from where the frame begins: one letter more than
    the codons where the chunk has it, and a misaligned prefix after a dropped codon. The published classifier was
    trained on it.
    """
    forward = chunk.upper()
    for direction, strand in (("F", forward), ("R", forward.translate(COMPLEMENT)[::-1])):
        letters = letter_codes(strand)
        residues = RESIDUE[letters[:-2], letters[1:-1], letters[2:]]
        for offset in range(3):
            translated = residues[offset::3]
            if (translated == STOP).any():
                continue
            protein = translated[translated != DROPPED].tobytes().decode("ascii")
            if protein:
                yield Frame(f"{direction}{offset + 1}", strand[offset : offset + 1 + 3 * len(protein)], protein)
