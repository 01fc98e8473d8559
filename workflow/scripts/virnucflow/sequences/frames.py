"""Six-frame translation of chunks, keeping the frames without a stop codon (VirNucPro v1, six frames and filter).

A chunk without such a frame is represented by its longest stretch without a stop. Many chunks are translated at a time:
their letters lie one after another in an array, and what is computed of them are operations on whole arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from virnucflow.files.slices import gathered, texts

# The standard genetic code (NCBI table 1), codons in the order of the letters below.
LETTERS = "TCAG"
COMPLEMENT_BIT = 2  # the one in which the numbers of T and A, of C and G differ
STANDARD_CODE = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
STOP = ord("*")
LEAST_RESIDUES = 30  # of a longest stretch; below, chance has many
DROPPED = 0  # a codon that is not purely A, C, G, T gives no residue
FRAMES = ("F1", "F2", "F3", "R1", "R2", "R3")

# Any other letter stays as it is.
COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")

OTHER_LETTER = len(LETTERS)
LETTER_CODE = np.full(256, OTHER_LETTER, dtype=np.uint8)
LETTER_CODE[[ord(letter) for letter in LETTERS]] = range(len(LETTERS))
RESIDUE = np.full((OTHER_LETTER + 1,) * 3, DROPPED, dtype=np.uint8)
for codon, residue in zip(product(range(len(LETTERS)), repeat=3), STANDARD_CODE, strict=True):
    RESIDUE[codon] = ord(residue)

# A codon has the number of its place in STANDARD_CODE; one with another letter, OTHER_CODON.
STOP_CODONS = tuple(number for number, residue in enumerate(STANDARD_CODE) if ord(residue) == STOP)
OTHER_CODON = len(STANDARD_CODE)
RESIDUE_OF_CODON = STANDARD_CODE.encode() + bytes([DROPPED]) * (256 - OTHER_CODON)


def letter_codes(sequence: str) -> np.ndarray:
    """The number of each upper-case letter among LETTERS, OTHER_LETTER for any other: uint8 (letters)."""
    return LETTER_CODE[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]


class Frame(NamedTuple):
    """One kept reading frame: `frame` is F1 to F3 or R1 to R3."""

    frame: str
    nucleotide: str
    protein: str


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """The frames by which chunks are scored, in the order of the chunks and then of FRAMES.

    `chunks` says of which chunk each is, `frames` which of FRAMES, `longest` whether it is a longest stretch and not a
    whole frame, `residues` how many letters its protein has: arrays (frames).
    """

    chunks: np.ndarray
    frames: np.ndarray
    longest: np.ndarray
    residues: np.ndarray
    nucleotides: pa.StringArray
    proteins: pa.StringArray


def stop_free_frames(chunk: str) -> Iterator[Frame]:
    """Yield the frames of a chunk whose translation is not empty and holds no stop, in the order F1 to F3, R1 to R3."""
    kept = kept_frames(chunk.encode("ascii"), np.array([len(chunk)]))
    if not kept.longest.any():
        for frame, nucleotide, protein in zip(kept.frames, kept.nucleotides, kept.proteins, strict=True):
            yield Frame(FRAMES[frame], nucleotide.as_py(), protein.as_py())


def kept_frames(letters: bytes, ends: np.ndarray) -> KeptFrames:
    """The frames by which chunks are scored; their ASCII `letters` lie one after another, each ends at its `ends`.

    They are `whole`: those whose translation is not empty and holds no stop. A chunk that has none is represented by
    its `longest` stretch without one, if this has LEAST_RESIDUES: of equal ones the first frame's, and there the first.
    The protein is then the stretch's. The nucleotides are the whole frame's, stops included, as what surrounds the
    stretch also tells what the chunk is of.

    The nucleotides of a whole frame are v1's slice, `1 + 3 * residues` letters from where the frame begins: one letter
    more than the codons where the chunk has it, and a misaligned prefix after a dropped codon. The published
    classifier was trained on it.
    """
    letters = letters.upper()
    six = _SixFrames(letters, ends)
    places, codons = six.places.copy(), six.codons.copy()  # of what gives the protein
    residues = codons - six.count(six.dropped)
    taken = 1 + 3 * residues  # letters
    whole = np.flatnonzero((six.count(six.stops) == 0) & (residues > 0))
    without = np.ones(len(ends), dtype=bool)
    without[six.chunks[whole]] = False
    stretches = _longest_stretches(six, np.flatnonzero(without[six.chunks] & (codons > 0)))
    of = stretches.frames
    taken[of] = 1 + 3 * codons[of]
    places[of], codons[of], residues[of] = stretches.places, stretches.codons, stretches.residues
    taken = np.minimum(taken, six.strand_ends - six.firsts)

    kept = np.concatenate([whole, of])
    kept = kept[np.argsort(six.chunks[kept] * len(FRAMES) + six.numbers[kept])]
    strands = np.frombuffer(letters + letters.translate(COMPLEMENT)[::-1], dtype=np.uint8)
    translated, _ = gathered(six.by_phase, places[kept], codons[kept])
    protein = translated.tobytes().translate(RESIDUE_OF_CODON, bytes([OTHER_CODON]))
    return KeptFrames(
        chunks=six.chunks[kept],
        frames=six.numbers[kept],
        longest=without[six.chunks[kept]],
        residues=residues[kept],
        nucleotides=texts(*gathered(strands, six.firsts[kept], taken[kept])),
        proteins=texts(protein, np.concatenate([[0], np.cumsum(residues[kept])])),
    )


class _SixFrames:
    """The codons of all six frames of chunks, those of each frame one after another.

    The letters of both strands are one array: those of the chunks in order, and then their reverse complement. As a
    frame has every third codon of it, `by_phase` (codons) has first the codons at 0, 3, 6, ..., then those at 1, 4, ...
    and at 2, 5, ...; there a frame is a slice. The other arrays (frames) say of each, in the order of these slices:
    its chunk and its number among FRAMES, where in the letters it begins and its strand of the chunk ends, where in
    `by_phase` it begins, and how many codons it has. What lies between two frames are codons of two chunks.
    """

    def __init__(self, letters: bytes, ends: np.ndarray) -> None:
        number, total = len(ends), len(letters)
        width = -(-2 * total // 3)
        codes = np.zeros(3 * width + 2, dtype=np.uint8)
        codes[:total] = np.frombuffer(letters.translate(LETTER_CODE.tobytes()), dtype=np.uint8)
        codes[total : 2 * total] = codes[:total][::-1] ^ COMPLEMENT_BIT  # another letter stays another
        first, second, third = codes[:-2], codes[1:-1], codes[2:]
        codon = first << 4 | second << 2 | third
        if (codes & OTHER_LETTER).any():
            codon[((first | second | third) & OTHER_LETTER) > 0] = OTHER_CODON
        self.by_phase = np.zeros(3 * width + 1, dtype=np.uint8)  # one more, so that each slice's end is a place, too
        self.by_phase[:-1].reshape(3, width)[:] = codon.reshape(width, 3).T
        self.dropped = self.by_phase == OTHER_CODON
        self.stops = np.zeros(3 * width + 1, dtype=bool)
        for stop in STOP_CODONS:
            self.stops |= self.by_phase == stop

        starts = np.concatenate([[0], ends[:-1]])[:number]
        strand_starts = np.concatenate([starts, 2 * total - ends[::-1]])
        phases = np.arange(3)[:, None]
        offsets = (phases - strand_starts) % 3  # of the frames with these places in the letters, modulo 3
        chunks, strand = np.arange(number), np.repeat([0, 3], number)
        self.chunks = np.tile(np.concatenate([chunks, chunks[::-1]]), 3)
        self.numbers = (strand + offsets).ravel()
        self.firsts = (strand_starts + offsets).ravel()
        self.strand_ends = np.tile(np.concatenate([ends, 2 * total - starts[::-1]]), 3)
        self.places = (phases * width + (strand_starts + offsets) // 3).ravel()
        self.codons = np.maximum(0, (self.strand_ends - self.firsts) // 3)

    def count(self, flags: np.ndarray) -> np.ndarray:
        """How many of some flags of all codons are set in each frame: (frames)."""
        if not flags.any():
            return np.zeros(len(self.places), dtype=np.int64)
        bounds = np.stack([self.places, self.places + self.codons], axis=1).ravel()
        number: np.ndarray = np.add.reduceat(flags, bounds, dtype=np.int64)[::2]
        return np.where(self.codons > 0, number, 0)  # of an empty slice reduceat gives the value at its place


class _Stretches(NamedTuple):
    """Stretches without a stop: of which frame, where in `by_phase`, of how many codons and residues; (stretches)."""

    frames: np.ndarray
    places: np.ndarray
    codons: np.ndarray
    residues: np.ndarray


def _longest_stretches(six: _SixFrames, frames: np.ndarray) -> _Stretches:
    """Of chunks, all of whose frames with a codon are given, the longest stretches that are long enough."""
    if not len(frames):
        return _Stretches(frames, frames, frames, frames)
    lengths = six.codons[frames] + 1  # and one that is taken for a stop, so that every stretch ends with one
    frame_ends = np.cumsum(lengths)
    frame_starts = frame_ends - lengths
    stops = gathered(six.stops.view(np.uint8), six.places[frames], lengths)[0].copy()
    stops[frame_ends - 1] = True
    ends = np.flatnonzero(stops)
    starts = np.concatenate([[0], ends[:-1] + 1])
    residues = ends - starts
    if six.dropped.any():
        dropped, _ = gathered(six.dropped.view(np.uint8), six.places[frames], lengths)
        before = np.concatenate([[0], np.cumsum(dropped, dtype=np.int64)])
        residues -= before[ends] - before[starts]
    firsts = np.searchsorted(starts, frame_starts)  # stretch of each frame
    most = np.maximum.reduceat(residues, firsts)

    of_chunks = np.zeros((six.chunks[frames].max() + 1, len(FRAMES)), dtype=np.int64)
    of_chunks[six.chunks[frames], six.numbers[frames]] = most
    is_first = six.numbers[frames] == of_chunks.argmax(axis=1)[six.chunks[frames]]
    chosen = np.flatnonzero(is_first & (most >= LEAST_RESIDUES))
    longest = np.flatnonzero(residues == np.repeat(most, np.diff(firsts, append=len(residues))))
    stretch = longest[np.searchsorted(longest, firsts[chosen])]
    places = six.places[frames[chosen]] + starts[stretch] - frame_starts[chosen]
    return _Stretches(frames[chosen], places, (ends - starts)[stretch], residues[stretch])
