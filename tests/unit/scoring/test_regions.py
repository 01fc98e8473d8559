"""Viral stretches: the most probable path, what a region says, and what a chunk without a score says."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from virnucflow.packs.pack import Calibration, Scaling, SequenceScaling, Spread
from virnucflow.scoring.calls import bound_sequences, probability, scale_sequences
from virnucflow.scoring.regions import ENTER, LEAVE, MOST_WEIGHT, RegionWriter, find_regions, find_viral, weigh_chunks
from virnucflow.sequences.chunks import chunk_coordinates

SPREAD = Spread(1.7, 20.0, 0.15)
CALIBRATION = Calibration(0.25, Scaling(1.0, 0.0), None, SequenceScaling(1.2, 1.1, 0.25, 1.4, 40, SPREAD))
LENGTH = 500
VIRUS, OTHERS = 3.0, -4.0  # logits


def chunks_of(*sequences: list[float | None], length: int = 499) -> pd.DataFrame:
    """The scored chunks of sequences by the logits of their chunks, None for one without; of `length` bases each."""
    rows = [
        (number, length * len(logits), len(logits), chunk, logit)
        for number, logits in enumerate(sequences)
        for chunk, logit in enumerate(logits, start=1)
        if logit is not None
    ]
    return pd.DataFrame(rows, columns=["sequence", "length", "chunks", "chunk", "logit"])


def regions_of(*sequences: list[float | None]) -> pd.DataFrame:
    return find_regions(chunks_of(*sequences), CALIBRATION, LENGTH)


def best_path(weights: np.ndarray, enter: float, leave: float) -> tuple[bool, ...]:
    """Of all paths, the one whose weights less its costs are the most."""

    def value(path: tuple[bool, ...]) -> float:
        costs = (enter - leave) * path[0] + sum(
            enter if after else leave for before, after in itertools.pairwise(path) if before != after
        )
        return float(weights[list(path)].sum()) - costs

    return max(itertools.product((False, True), repeat=len(weights)), key=value)


@pytest.mark.parametrize("seed", range(4))
def test_the_path_is_the_most_probable_one_of_each_sequence(seed: int) -> None:
    random = np.random.default_rng(seed)
    sequences = [random.normal(0, 4, random.integers(1, 9)) for _ in range(10)]
    expected = [is_viral for weights in sequences for is_viral in best_path(weights, 3.0, 2.0)]
    is_first = np.concatenate([np.arange(len(weights)) == 0 for weights in sequences])
    assert list(find_viral(np.concatenate(sequences), is_first, 3.0, 2.0)) == expected


def test_a_sequence_read_backwards_has_the_same_regions() -> None:
    random = np.random.default_rng(0)
    for weights in random.normal(-1, 4, (50, 30)):
        is_first = np.arange(30) == 0
        there, back = (find_viral(some, is_first) for some in (weights, weights[::-1]))
        assert list(there) == list(back[::-1])


def test_a_chunk_speaks_by_its_logit_less_that_of_the_share_and_less_where_neighbours_are_alike() -> None:
    even = np.log(1 / 3)
    assert weigh_chunks(np.array([even, 0.0]), CALIBRATION) == pytest.approx([0, -even / 1.3])
    assert list(weigh_chunks(np.array([-20.0, 20.0]), CALIBRATION)) == [-MOST_WEIGHT, MOST_WEIGHT]
    strangers = Calibration(0.25, Scaling(1.0, 0.0), None, SequenceScaling(1.2, 1.1, 0.25, 1.4, 40))
    assert weigh_chunks(np.array([0.0]), strangers) == pytest.approx([-even])


def test_a_virus_inside_is_a_region_with_the_score_of_a_sequence_of_its_chunks() -> None:
    regions = regions_of([OTHERS] * 6, [OTHERS] * 20 + [VIRUS] * 10 + [OTHERS] * 30)
    (region,) = regions.to_dict("records")
    places = list(chunk_coordinates(60 * 499, LENGTH))
    assert region["sequence"] == 1 and region["length"] == 60 * 499
    assert (region["start"], region["end"]) == (places[20][0] + 1, places[29][1])
    assert (region["chunks"], region["scored_chunks"]) == (10, 10)
    number, logits, squares = np.array([10]), np.array([10 * VIRUS]), np.array([10 * VIRUS**2])
    assert region["score"] == probability(scale_sequences(number, logits, CALIBRATION.sequences))[0]
    bounds = bound_sequences(number, logits, squares, CALIBRATION.sequences)
    assert [region["lower"], region["upper"]] == pytest.approx([probability(bound)[0] for bound in bounds])
    # The ends are known to a chunk: of the neighbours none is viral as a whole, of the region's none others.
    assert (region["earliest_start"], region["latest_start"]) == (places[19][0] + 1, places[20][1])
    assert (region["earliest_end"], region["latest_end"]) == (places[29][0] + 1, places[30][1])


def test_a_virus_from_end_to_end_is_one_region_whatever_has_no_score() -> None:
    for logits in ([VIRUS] * 12, [None, None, *[VIRUS] * 9, None], [VIRUS] * 5 + [OTHERS] + [VIRUS] * 6):
        (region,) = regions_of(logits).to_dict("records")
        length = 12 * 499
        assert (region["start"], region["end"], region["chunks"]) == (1, length, 12)
        assert region["scored_chunks"] == sum(logit is not None for logit in logits)
        assert (region["earliest_start"], region["latest_start"]) == (1, 1)
        assert (region["earliest_end"], region["latest_end"]) == (length, length)


def test_chunks_without_a_score_are_missing_and_leave_the_ends_open() -> None:
    inside = [VIRUS, VIRUS, None, None, None, VIRUS, VIRUS, VIRUS]
    (region,) = regions_of([OTHERS] * 9 + [None] * 2 + inside + [None] * 3 + [OTHERS] * 9).to_dict("records")
    places = list(chunk_coordinates(31 * 499, LENGTH))
    assert (region["start"], region["end"]) == (places[11][0] + 1, places[18][1])
    assert (region["chunks"], region["scored_chunks"]) == (8, 5)
    assert (region["earliest_start"], region["latest_end"]) == (places[8][0] + 1, places[22][1])


@pytest.mark.parametrize(
    "logits", [[OTHERS] * 40, [OTHERS] * 20 + [16.0] * 2 + [OTHERS] * 20, [-2.0] * 100, [None] * 3, [], [-0.5]]
)
def test_what_tells_too_little_is_no_region(logits: list[float | None]) -> None:
    assert regions_of(logits).empty


def test_virus_costs_more_inside_than_at_an_end_and_least_where_it_is_all() -> None:
    """By the weights that it must have more than."""
    for before, after, cost in ((5, 5, ENTER + LEAVE), (5, 0, ENTER), (0, 5, ENTER), (0, 0, ENTER - LEAVE)):
        for more, number in ((0.01, 4), (-0.01, 0)):
            weights = np.array([-9.0] * before + [(cost + more) / 4] * 4 + [-9.0] * after)
            assert find_viral(weights, np.arange(len(weights)) == 0).sum() == number


def written(folder: Path, parts: list[tuple[pd.DataFrame, int]], calibration: Calibration | None) -> list[str]:
    """The texts of both tables, of chunks that come in parts."""
    folder.mkdir()
    ids = pa.array(["a", 'b"', "c"])
    writer = RegionWriter(folder / "regions.tsv", folder / "regions.bed", ids, calibration, LENGTH)
    for chunks, finished in parts:
        writer.add(chunks, finished)
    texts = [(folder / name).read_text() for name in ("regions.tsv", "regions.bed")]
    assert [text.count("\n") for text in texts] == [writer.number + 1, writer.number]
    return texts


def test_a_sequence_may_go_on_in_further_shards(tmp_path: Path) -> None:
    chunks = chunks_of([VIRUS] * 12, [OTHERS] * 15 + [VIRUS] * 9 + [OTHERS] * 15, [OTHERS] * 9 + [VIRUS] * 9)
    whole = written(tmp_path / "whole", [(chunks, 3)], CALIBRATION)
    assert whole[1].splitlines()[1].startswith('b"\t') and whole[1].count("\n") == 3
    ends = [12, 63, 81]
    for step in (7, 20):
        stops = range(step, 81 + step, step)
        parts = [(chunks[stop - step : stop], sum(end <= stop for end in ends)) for stop in stops]
        assert written(tmp_path / str(step), parts, CALIBRATION) == whole


def test_bed_counts_from_zero_and_names_what_the_table_names(tmp_path: Path) -> None:
    table, bed = written(tmp_path / "x", [(chunks_of([OTHERS] * 9 + [VIRUS] * 9), 1)], CALIBRATION)
    row = dict(zip(*(line.split("\t") for line in table.splitlines()), strict=True))
    chrom, start, end, name, score, strand = bed.rstrip("\n").split("\t")
    assert (chrom, name, strand) == (row["sequence_id"], row["region"], ".") == ("a", "region_1", ".")
    assert (int(start) + 1, end) == (int(row["start"]), row["end"])
    assert int(score) == round(1000 * float(row["score"]))


@pytest.mark.parametrize("calibration", [None, Calibration(0.25, Scaling(1.0, 0.0))])
def test_without_a_score_of_sequences_there_are_no_regions(calibration: Calibration | None, tmp_path: Path) -> None:
    table, bed = written(tmp_path / "x", [(chunks_of([VIRUS] * 9), 1)], calibration)
    assert table.startswith("sequence_id\tlength\tregion\tstart\tend\t") and bed == ""
