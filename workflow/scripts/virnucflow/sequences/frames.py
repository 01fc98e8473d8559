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
OPPOSITE = [number ^ COMPLEMENT_BIT for number in range(len(LETTERS))]
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
OTHER_CODON = len(STANDARD_CODE)
RESIDUE_OF_CODON = STANDARD_CODE.encode() + bytes([DROPPED]) * (256 - OTHER_CODON)
# As the strand opposite to a codon gives it: each letter's complement, from the third to the first.
REVERSED_CODE = RESIDUE[:OTHER_LETTER, :OTHER_LETTER, :OTHER_LETTER][np.ix_(*[OPPOSITE] * 3)].T
RESIDUE_OF_REVERSED = REVERSED_CODE.tobytes() + RESIDUE_OF_CODON[OTHER_CODON:]


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
    residues = six.residues_before(six.ends) - six.residues_before(six.places)
    whole = np.flatnonzero((six.first_stops == six.last_stops) & (residues > 0))
    without = np.ones(len(ends), dtype=bool)
    without[six.chunks[whole]] = False
    stretches = _longest_stretches(six, np.flatnonzero(without[six.chunks] & (six.ends > six.places)))

    kept = np.concatenate([whole, stretches.frames])
    places = np.concatenate([six.places[whole], stretches.places])  # of what gives the protein
    codons = np.concatenate([six.ends[whole], stretches.ends]) - places
    residues = np.concatenate([residues[whole], stretches.residues])
    of_frames = np.concatenate([residues[: len(whole)], (six.ends - six.places)[stretches.frames]])
    order = np.argsort(six.chunks[kept] * len(FRAMES) + six.numbers[kept])
    kept, places, codons, residues, of_frames = (one[order] for one in (kept, places, codons, residues, of_frames))

    translated, _ = gathered(six.translated, places, codons)
    protein = translated.tobytes().translate(None, bytes([DROPPED])) if len(six.dropped) else translated
    strands = np.frombuffer(letters + letters.translate(COMPLEMENT)[::-1], dtype=np.uint8)
    chunks, numbers = six.chunks[kept], six.numbers[kept]
    firsts, strand_ends = _of_strands(numbers, ends[chunks], np.diff(ends, prepend=0)[chunks], len(letters))
    return KeptFrames(
        chunks=chunks,
        frames=numbers,
        longest=without[chunks],
        residues=residues,
        nucleotides=texts(*gathered(strands, firsts, np.minimum(1 + 3 * of_frames, strand_ends - firsts))),
        proteins=texts(protein, np.concatenate([[0], np.cumsum(residues)])),
    )


def _of_strands(
    numbers: np.ndarray, ends: np.ndarray, lengths: np.ndarray, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where frames begin, and where their strands of their chunks end, in the chunks' letters and then their reverse
    complement, of `total` letters each: of each frame its number among FRAMES, and end and length of its chunk.
    """
    starts = np.where(numbers < 3, ends - lengths, 2 * total - ends)
    return starts + numbers % 3, starts + lengths


class _SixFrames:
    """All six frames of chunks: slices of one array, `translated`, which has a residue for each codon.

    A codon of the reverse strand is one of the forward strand that is read with another table, so codons are numbered
    once. As a frame has every third codon, `translated` has first those that begin at the letters 0, 3, 6, ..., then
    those at 1, 4, ... and at 2, 5, ...; and then all of them backwards, for the reverse strand. What lies between two
    frames are codons of two chunks, and at the end is a STOP. `stops` and `dropped` are the places of STOP and DROPPED.

    The other arrays (frames) say of each frame, in the order of their places: its chunk, its number among FRAMES, where
    its codons begin and end, and how many of `stops` are before both.
    """

    def __init__(self, letters: bytes, ends: np.ndarray) -> None:
        total = len(letters)
        width = -(-total // 3)
        codes = np.zeros(3 * width + 2, dtype=np.uint8)
        codes[:total] = np.frombuffer(letters.translate(LETTER_CODE.tobytes()), dtype=np.uint8)
        first, second, third = codes[:-2], codes[1:-1], codes[2:]
        codon = first << 4 | second << 2 | third
        has_other = bool(codes.max() == OTHER_LETTER)
        if has_other:
            codon[((first | second | third) & OTHER_LETTER) > 0] = OTHER_CODON
        by_phase = codon.reshape(width, 3).T.ravel()
        forward, reverse = by_phase.tobytes(), by_phase[::-1].tobytes()
        residues = forward.translate(RESIDUE_OF_CODON) + reverse.translate(RESIDUE_OF_REVERSED) + bytes([STOP])
        self.translated = np.frombuffer(residues, dtype=np.uint8)
        self.stops = np.flatnonzero(self.translated == STOP)
        self.dropped = np.flatnonzero(self.translated == DROPPED) if has_other else np.empty(0, dtype=np.int64)

        phases, chunks, lengths = np.arange(3)[:, None], np.arange(len(ends)), np.diff(ends, prepend=0)
        offsets = (phases - (ends - lengths)) % 3, (ends - phases) % 3  # of the frames with codons at these phases
        codons = [np.maximum(0, (lengths - of_strand) // 3) for of_strand in offsets]
        ahead = phases * width + (ends - lengths + offsets[0]) // 3
        behind = phases * width + (ends - offsets[1]) // 3  # where the codons of reverse frames end
        self.places = np.concatenate([ahead.ravel(), 6 * width - behind.ravel()[::-1]])
        self.ends = self.places + np.concatenate([codons[0].ravel(), codons[1].ravel()[::-1]])
        self.numbers = np.concatenate([offsets[0].ravel(), 3 + offsets[1].ravel()[::-1]])
        self.chunks = np.concatenate([np.tile(chunks, 3), np.tile(chunks[::-1], 3)])
        self.first_stops, self.last_stops = np.searchsorted(self.stops, [self.places, self.ends])

    def residues_before(self, places: np.ndarray) -> np.ndarray:
        """How many codons before these places give a residue or a stop."""
        return places - np.searchsorted(self.dropped, places) if len(self.dropped) else places


class _Stretches(NamedTuple):
    """Stretches without a stop: of which frame, where in `translated`, and of how many residues; (stretches)."""

    frames: np.ndarray
    places: np.ndarray
    ends: np.ndarray
    residues: np.ndarray


def _longest_stretches(six: _SixFrames, frames: np.ndarray) -> _Stretches:
    """Of chunks, all of whose frames with a codon are given, the longest stretches that are long enough."""
    if not len(frames):
        return _Stretches(frames, frames, frames, frames)
    first_stops = six.first_stops[frames]
    number = six.last_stops[frames] - first_stops + 1  # of the frame's stretches, each but the last ended by a stop
    last = np.cumsum(number) - 1
    first = last - number + 1
    ends = six.stops.take(np.repeat(first_stops - first, number) + np.arange(last[-1] + 1))
    ends[last] = six.ends[frames]
    places = np.concatenate([[0], ends[:-1] + 1])
    places[first] = six.places[frames]
    residues = six.residues_before(ends) - six.residues_before(places)
    most = np.maximum.reduceat(residues, first)

    chunks, numbers = six.chunks[frames], six.numbers[frames]
    of_chunks = np.zeros((chunks.max() + 1, len(FRAMES)), dtype=np.int64)
    of_chunks[chunks, numbers] = most
    is_first = numbers == of_chunks.argmax(axis=1)[chunks]
    chosen = np.flatnonzero(is_first & (most >= LEAST_RESIDUES))
    longest = np.flatnonzero(residues == np.repeat(most, number))
    stretch = longest[np.searchsorted(longest, first[chosen])]
    return _Stretches(frames[chosen], places[stretch], ends[stretch], residues[stretch])
