"""What is counted of a sample's results as their rows go by, and the rows that are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from virnucflow.cli import InputError
from virnucflow.files.result_files import CHUNKS_TSV, REGIONS_TSV, SEQUENCES_TSV, result_of
from virnucflow.overview.figures import BINS
from virnucflow.overview.remarks import remarks_on_run
from virnucflow.overview.results import ADVICE, CALLS, CHUNKS, REGIONS, SEQUENCES, Run, read_parts, read_run
from virnucflow.packs.encoders import ENCODERS

FRACTIONS = 20  # of a tenfold length: sequences of about one length are within one of them
PLACES = 40  # of a score


@dataclass
class Tally:
    """One sample. `measure` is the column by which its sequences are ranked and drawn."""

    folder: Path
    measure: str
    run: Run
    bases: int = 0
    chunks: int = 0
    frames: int = 0
    scored_chunks: int = 0
    virus_by_one_chunk: int = 0
    regions: int = 0
    regions_within: int = 0  # sequences that are longer
    calls: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CALLS, 0))
    uncalled: dict[str, int] = field(default_factory=dict)  # by status
    of_chunks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CALLS, 0))
    chunks_by_longest: int = 0
    histogram: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(0, range(BINS), CALLS[:2]))
    dots: pd.DataFrame = field(default_factory=pd.DataFrame)
    top: pd.DataFrame = field(default_factory=pd.DataFrame)
    within: pd.DataFrame = field(default_factory=pd.DataFrame)  # the regions
    around: pd.DataFrame = field(default_factory=pd.DataFrame)  # these, the sequences not called virus

    @property
    def name(self) -> str:
        """The sample's."""
        return self.folder.name

    @property
    def sequences(self) -> int:
        """How many there are."""
        return sum(self.calls.values())

    @property
    def scored_share(self) -> float:
        """Of the chunks; NaN where there is none."""
        return self.scored_chunks / self.chunks if self.chunks else np.nan

    @property
    def devices(self) -> list[str]:
        """Those on which the encoders ran."""
        return sorted({how["device"] for name in ENCODERS for how in self.run[name] if "device" in how})  # type: ignore[literal-required]

    @property
    def minutes_by_encoder(self) -> Mapping[str, float]:
        """For which these were held by each encoder; empty where run.json does not say."""
        its = self.run.get("device_minutes") or {}
        return {encoder: its[encoder] for encoder in its}

    @property
    def device_minutes(self) -> float:
        """The same of all encoders together; NaN where run.json does not say."""
        return round(sum(self.minutes_by_encoder.values()), 3) if self.minutes_by_encoder else np.nan

    @property
    def bases_per_minute(self) -> float:
        """Bases for each minute of a device; NaN where that is not known."""
        return per_minute(self.bases, self.device_minutes)

    @property
    def warnings(self) -> list[str]:
        """What to beware of."""
        return remarks_on_run(self.run)

    def add_sequences(self, part: pd.DataFrame, most: int) -> None:
        """Count rows of `sequences.tsv`, and keep the `most` of those called virus that rank first."""
        self.bases += int(part["length"].sum())
        self.chunks += int(part["chunks"].sum())
        self.frames += int(part["frames"].sum())
        self.scored_chunks += int(part["scored_chunks"].sum())
        add_numbers(self.calls, part["call"])
        add_numbers(self.uncalled, part.loc[part["call"] == "", "status"])
        virus = part[part["call"] == "virus"]
        self.virus_by_one_chunk += int((virus["scored_chunks"] == 1).sum())
        self.top = ranked(pd.concat([self.top, virus.assign(sample=self.name)]), self.measure).head(most)
        if len(self.within):
            others = part[(part["call"] != "virus") & part["sequence_id"].isin(set(self.within["sequence_id"]))]
            self.around = pd.concat([self.around, others.assign(sample=self.name)])
        called = part.assign(score=part[self.measure])[(part["call"] != "") & part[self.measure].notna()]
        bins = np.minimum((called["score"] * BINS).astype(int), BINS - 1)
        counted = pd.crosstab(bins, called["call"]).reindex(index=range(BINS), columns=CALLS[:2], fill_value=0)
        self.histogram = self.histogram + counted
        self.dots = joined_dots(pd.concat([self.dots, dots_of(called)]))

    def add_regions(self, part: pd.DataFrame, most: int) -> None:
        """Count rows of `regions.tsv`, and keep the `most` that rank first of those within longer sequences."""
        within = part[(part["start"] > 1) | (part["end"] < part["length"])].assign(sample=self.name)
        self.regions += len(part)
        self.regions_within += len(within)
        self.within = ranked_regions(pd.concat([self.within, within])).head(most)

    def add_chunks(self, part: pd.DataFrame) -> None:
        """Count rows of `chunks.tsv`."""
        add_numbers(self.of_chunks, part["call"])
        self.chunks_by_longest += int((part["kind"] == "longest").sum())


def per_minute(number: int, minutes: float) -> float:
    """How many for each minute; NaN without any."""
    return number / minutes if minutes else np.nan


def add_numbers(numbers: dict[str, int], values: pd.Series) -> None:
    """Add how often each value comes."""
    for value, number in values.value_counts().items():
        numbers[value] = numbers.get(value, 0) + int(number)


def ranked(sequences: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Sequences called virus, the surest first: by their score, where there is none by the share of viral chunks."""
    by = ["score", "scored_chunks"] if measure == "score" else ["viral_fraction", "scored_chunks", "best_score"]
    return sequences.sort_values(by, ascending=False, kind="stable") if len(sequences) else sequences


def ranked_regions(regions: pd.DataFrame) -> pd.DataFrame:
    """Regions, the surest first."""
    by = ["score", "scored_chunks"]
    return regions.sort_values(by, ascending=False, kind="stable") if len(regions) else regions


def dots_of(called: pd.DataFrame) -> pd.DataFrame:
    """One row per sequence that has a score: sums over it alone, of what joined_dots() joins."""
    logarithm = np.log10(called["length"].clip(lower=1))
    columns = {"logarithm": logarithm, "score": called["score"], "call": called["call"], "number": 1}
    return pd.DataFrame(columns)


def joined_dots(dots: pd.DataFrame) -> pd.DataFrame:
    """One row for all sequences of one call and of about one length and score: sums of these, and their number."""
    if dots.empty:
        return dots
    length = (dots["logarithm"] / dots["number"] * FRACTIONS).astype(int).rename("length")
    place = (dots["score"] / dots["number"] * PLACES).astype(int).rename("place")
    return dots.groupby([length, place, "call"])[["logarithm", "score", "number"]].sum().reset_index("call")


def tally(folder: Path, measure: str, most: int) -> Tally:
    """Count a sample's results. InputError when they are not of one run."""
    counted = Tally(folder, measure, read_run(folder))
    for part in read_parts(result_of(folder, REGIONS_TSV), REGIONS):
        counted.add_regions(part, most)
    for part in read_parts(result_of(folder, SEQUENCES_TSV), SEQUENCES):
        counted.add_sequences(part, most)
    for part in read_parts(result_of(folder, CHUNKS_TSV), {name: CHUNKS[name] for name in ("kind", "call")}):
        counted.add_chunks(part)
    said = counted.run["counts"]
    names = ("sequences", "chunks", "scored_chunks", "virus_by_one_chunk", "regions")
    found = {name: getattr(counted, name) for name in names} | {"virus": counted.calls["virus"]}
    if any(said[name] != number for name, number in found.items()) or sum(counted.of_chunks.values()) != counted.chunks:  # type: ignore[literal-required]
        raise InputError(f"{folder}: its tables and run.json are not of one run; {ADVICE}")
    return counted
