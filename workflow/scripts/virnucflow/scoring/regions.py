"""Viral stretches inside sequences: where along the chunks of a sequence there is virus, and where there is none.

A hidden Markov model has two states, virus and others. Each chunk that has a score speaks for one of them: its
calibrated logit, less that of the share of viruses that it is calibrated for, is the logarithm of how much more
probable such a score is in viruses (Bayes). Neighbours are alike, so that n chunks tell as much as n / (1 + 2 r)
strangers would, the design effect of bound_sequences, and each speaks with that weight. The regions are the stretches
of virus in the most probable path of states (Viterbi, IEEE Trans Inf Theory 1967, 13:260; Durbin, Eddy, Krogh and
Mitchison, Biological Sequence Analysis, 1998, chapter 3).

A region has the score and the interval of a sequence of as many chunks with the same logits. It was looked for, which
these do not know: where many chunks were looked at, some will look viral by chance.
"""

from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.special import logit

from virnucflow.files.results import Regions, columns_of
from virnucflow.files.tables import write_tsv
from virnucflow.packs.pack import Calibration
from virnucflow.scoring.calls import bound_sequences, probability, scale_sequences
from virnucflow.sequences.chunks import chunk_places

# What it costs a path to become viral at a chunk, and to become it no more: minus the logarithms of how probable either
# is. A sequence begins as virus for the difference, as the middle of a longer one would. So 5 % of all chunks are
# viral, in stretches of 55 in the mean. On held-back sequences costs from 6 and 3 to 8 and 4 do alike
# (docs/validation.md).
ENTER, LEAVE = 7.0, 4.0
MOST_WEIGHT = 5.0  # as if one chunk in 150 were scored as the other kind: no region inside has fewer than three chunks
COLUMNS = columns_of(Regions)


def weigh_chunks(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """How much each chunk (chunks) speaks for virus, in nats, by its calibrated logit; at most MOST_WEIGHT."""
    spread = calibration.sequences.spread if calibration.sequences else None
    design = 1 + 2 * spread.neighbours if spread else 1.0
    return np.clip((logits - logit(calibration.prevalence)) / design, -MOST_WEIGHT, MOST_WEIGHT)


def find_viral(weights: np.ndarray, is_first: np.ndarray, enter: float = ENTER, leave: float = LEAVE) -> np.ndarray:
    """Whether each chunk (chunks) is virus in the most probable path along its sequence.

    `weights` are those of weigh_chunks, of scored chunks in order; `is_first` says which are the first of a sequence.

    Of two states, the path needs one number for each chunk, by how much the best path that ends there as virus is above
    the best one that does not: d = min(max(d before, -enter), leave) + weight. Where d is above `leave`, or below
    -`enter`, no chunk that follows can change the state; elsewhere it is that of the next chunk. A chunk without a
    score has no weight and would change no d, so that it may be left out: it is missing, and speaks neither for nor
    against.
    """

    def step(above: float, chunk: tuple[float, bool]) -> float:
        weight, is_first = chunk
        return (leave - enter if is_first else min(max(above, -enter), leave)) + weight

    path = accumulate(zip(weights.tolist(), is_first.tolist(), strict=True), step, initial=0.0)
    above = np.fromiter(islice(path, 1, None), dtype=float, count=len(weights))
    is_last = np.roll(is_first, -1)
    is_settled = is_last | (above > leave) | (above < -enter)
    is_viral = np.where(is_last, above > 0, above > leave)
    settled = np.flatnonzero(is_settled)
    return is_viral[settled[np.searchsorted(settled, np.arange(len(weights)))]]


def find_stretches(is_viral: np.ndarray, is_first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last of the chunks of each viral stretch, both (stretches), by find_viral()'s chunks."""
    begins = is_viral & (is_first | ~np.roll(is_viral, 1))
    ends = is_viral & (np.roll(is_first, -1) | ~np.roll(is_viral, -1))
    return np.flatnonzero(begins), np.flatnonzero(ends)


def find_regions(chunks: pd.DataFrame, calibration: Calibration, chunk_length: int) -> pd.DataFrame:
    """One row per region: COLUMNS, less the names, with `sequence`; bases count from 1, and `end` is the last one.

    `chunks` are those of some sequences that have a score, in order: `sequence`, a number of its own for each, its
    `length` and number of `chunks`, the `chunk`, from 1, and its `logit`.

    A region has the bases of its chunks; it goes on to an end of the sequence where no chunk before that speaks against
    it. Its start lies between the first base of the last chunk before it that has a score, which is not viral as a
    whole, and the last base of its own first one, which is not others as a whole; and its end likewise.
    """
    sequence, number, logits = (chunks[name].to_numpy() for name in ("sequence", "chunk", "logit"))
    is_first = np.diff(sequence, prepend=-1) != 0
    first, last = find_stretches(find_viral(weigh_chunks(logits, calibration), is_first), is_first)
    lengths, of_sequence = chunks["length"].to_numpy()[first], chunks["chunks"].to_numpy()[first]
    reaches_start, reaches_end = is_first[first], np.roll(is_first, -1)[last]

    def places(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        starts, ends = chunk_places(lengths, number[rows], chunk_length)
        return starts + 1, ends

    (start, latest_start), (earliest_end, end) = places(first), places(last)
    earliest_start = places(np.maximum(first - 1, 0))[0]
    latest_end = places(np.minimum(last + 1, len(chunks) - 1))[1]
    from_chunk, to_chunk = np.where(reaches_start, 1, number[first]), np.where(reaches_end, of_sequence, number[last])
    scored = last - first + 1
    sums, squares = (np.append(0, np.cumsum(values))[[first, last + 1]] for values in (logits, logits**2))
    sums, squares = sums[1] - sums[0], squares[1] - squares[0]
    scaling = calibration.sequences
    lower, upper = bound_sequences(scored, sums, squares, scaling)
    return pd.DataFrame(
        {
            "sequence": sequence[first],
            "length": lengths,
            "start": np.where(reaches_start, 1, start),
            "end": np.where(reaches_end, lengths, end),
            "chunks": to_chunk - from_chunk + 1,
            "scored_chunks": scored,
            "score": probability(scale_sequences(scored, sums, scaling)),
            "lower": probability(lower),
            "upper": probability(upper),
            "earliest_start": np.where(reaches_start, 1, earliest_start),
            "latest_start": np.where(reaches_start, 1, latest_start),
            "earliest_end": np.where(reaches_end, lengths, earliest_end),
            "latest_end": np.where(reaches_end, lengths, latest_end),
        }
    )


class RegionWriter:
    """Writes the tables of regions while the chunks of a run go by; holds those of the sequence that goes on.

    Without a calibration of sequences there are no regions, and both tables have no row.
    """

    def __init__(
        self, table: Path, bed: Path, sequence_ids: pa.Array, calibration: Calibration | None, chunk_length: int
    ) -> None:
        self.number = 0
        self._table, self._bed, self._ids, self._chunk_length = table, bed, sequence_ids, chunk_length
        self._calibration = calibration if calibration and calibration.sequences else None
        self._waiting: list[pd.DataFrame] = []
        write_tsv(pd.DataFrame(columns=COLUMNS), table)
        bed.touch()

    def add(self, chunks: pd.DataFrame, finished: int) -> None:
        """The next chunks as find_regions takes them; `finished` sequences of the run have none after these."""
        if self._calibration is None:
            return
        chunks = pd.concat([*self._waiting, chunks])
        is_over = chunks["sequence"] < finished
        self._waiting = [chunks[~is_over]]
        regions = find_regions(chunks[is_over], self._calibration, self._chunk_length)
        names = self._ids.take(pa.array(regions["sequence"])).to_pandas()
        numbers = range(self.number + 1, self.number + len(regions) + 1)
        regions = regions.assign(sequence_id=names, region=[f"region_{number}" for number in numbers])
        write_tsv(regions[COLUMNS], self._table, append=True)
        write_tsv(as_bed(regions), self._bed, append=True)
        self.number += len(regions)


def as_bed(regions: pd.DataFrame) -> pd.DataFrame:
    """Regions with their names as the six columns of BED: bases count from 0, and the end is the base after the last.

    The score is that of the region in thousandths.
    """
    return pd.DataFrame(
        {
            "chrom": regions["sequence_id"],
            "chromStart": regions["start"] - 1,
            "chromEnd": regions["end"],
            "name": regions["region"],
            "score": (regions["score"] * 1000).round().astype(int),
            "strand": ".",
        }
    )
