"""How well regions are found: viruses planted in bacterial sequences, and sequences that should have none.

`plant` takes labelled sequences (FASTA, `>NAME|label=1|group=…`, label 1: viral) and writes records to be scored, with
a table of the truth: pieces of viruses of --lengths at a random place in --background bases of bacteria, on either
strand; bacteria, viruses and others as they are; bacteria in pieces. `measure` takes the folder of the results of such
records and that table, and prints Markdown. With --calibrate the regions are not the published ones, but those by a
calibration on the viruses as they are and the bacteria in pieces: of one half of the families of viruses and of the
bacteria for the sequences of the other half. So a pack is measured that has no calibration, or none that has not seen
these sequences.
"""

import argparse
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import shared  # noqa: F401  it puts the library there

from virnucflow.files.kinds import WHOLE
from virnucflow.files.result_files import CHUNKS_TSV, REGIONS_TSV, SEQUENCES_TSV, result_of
from virnucflow.scoring.calls import logit_of
from virnucflow.scoring.regions import find_regions
from virnucflow.training.fit import calibrate_kinds, calibrate_sequences, describe_calibration, weigh_labels

VIRUSES, BACTERIA = ("euk_virus", "phage"), ("bacteria", "archaea")
PIECES = (2_000, 5_000, 10_000, 20_000, 40_000)  # bases of pieces of bacteria
WITHOUT = ("bacteria", "piece", "others")  # kinds of records that should have no region
BANDS = (0, 5_000, 10_000, 20_000, 40_000, 1 << 40)  # bases
PREVALENCE = 0.25  # of viruses, that --calibrate calibrates for
REACH = {
    "start": "min", "end": "max", "earliest_start": "min", "latest_start": "min", "earliest_end": "max",
    "latest_end": "max", "true_start": "first", "true_end": "first", "regions": "sum",
}  # fmt: skip  # of all regions of a planted virus
COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


class Labelled(NamedTuple):
    """A labelled sequence."""

    name: str
    viral: bool
    group: str
    unit: str  # a family of viruses, or a sequence of others: what is alike
    letters: str


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    planting = commands.add_parser("plant")
    planting.add_argument("--fasta", type=Path, required=True, help="labelled sequences, compressed by xz")
    planting.add_argument("--lengths", type=int, nargs="+", default=[5_000, 10_000, 20_000], help="of viruses")
    planting.add_argument("--background", type=int, default=40_000)
    planting.add_argument("--number", type=int, default=40, help="of viruses of each length")
    planting.add_argument("--bacteria", type=int, default=7_000_000, help="bases of bacteria as they are")
    planting.add_argument("--pieces", type=int, default=3_000_000, help="bases of bacteria in pieces")
    planting.add_argument("--viruses", type=int, default=0, help="bases of viruses as they are")
    planting.add_argument("--others", type=int, default=1_000_000, help="bases of others as they are")
    planting.add_argument("--longest", type=int, default=100_000, help="of those as they are")
    planting.add_argument("--seed", type=int, default=0)
    planting.add_argument("--to", type=Path, required=True, help="FASTA to be written")
    planting.add_argument("--truth", type=Path, required=True, help="table to be written")
    measuring = commands.add_parser("measure")
    measuring.add_argument("--results", type=Path, required=True, help="folder of the results of a sample")
    measuring.add_argument("--truth", type=Path, required=True)
    measuring.add_argument("--calibrate", action="store_true", help="each half by the other")
    measuring.add_argument("--chunk-length", type=int, default=500)
    return parser.parse_args()


def read_labelled(path: Path) -> Iterator[Labelled]:
    """The sequences of a file, less near copies of others."""
    with lzma.open(path, "rt") as file:
        for header, letters in zip(file, file):
            name, *fields = header[1:].split("|")
            said = dict(field.strip().split("=", 1) for field in fields if "=" in field)
            if said["representative"] == "1":
                viral = said["label"] == "1"
                unit = (viral and said.get("family")) or name
                yield Labelled(name, viral, said["group"], unit, letters.strip())


class Planting:
    """The records that are written, and the truth of each."""

    def __init__(self, sequences: list[Labelled], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.viruses = [one for one in sequences if one.viral and one.group in VIRUSES]
        self.bacteria = [one for one in sequences if not one.viral and one.group in BACTERIA]
        self.others = [one for one in sequences if not one.viral and one.group not in BACTERIA]
        self.records: list[str] = []
        self.truth: list[dict[str, object]] = []

    def add(self, kind: str, source: Labelled, letters: str, start: int = 0, end: int = 0) -> None:
        """A record; the virus that is planted in it, if any, has the bases after `start` up to `end`."""
        name = f"{kind}_{len(self.records) + 1}"
        self.records.append(f">{name}\n{letters}\n")
        row = {"sequence_id": name, "kind": kind, "group": source.group, "unit": source.unit, "source": source.name}
        self.truth.append(row | {"length": len(letters), "start": start, "end": end})

    def piece(self, sequences: list[Labelled], length: int) -> tuple[Labelled, str]:
        """Of one of the sequences that are long enough, whichever, a piece at a random place, on either strand."""
        long = [one for one in sequences if len(one.letters) >= length]
        one = long[self.random.integers(len(long))]
        start = self.random.integers(len(one.letters) - length + 1)
        letters = one.letters[start : start + length]
        return one, letters if self.random.random() < 0.5 else letters.translate(COMPLEMENT)[::-1]

    def plant(self, length: int, background: int, number: int) -> None:
        """Viruses of this length in bacteria, as many of each group that has one as long."""
        groups = sorted({one.group for one in self.viruses if len(one.letters) >= length})
        for n in range(number):
            group = groups[n % len(groups)]
            virus, inner = self.piece([one for one in self.viruses if one.group == group], length)
            _, outer = self.piece(self.bacteria, background)
            place = int(self.random.integers(background // 4, background * 3 // 4))
            self.add("plant", virus, outer[:place] + inner + outer[place:], place, place + length)

    def add_some(self, kind: str, most: int, longest: int) -> None:
        """Sequences as they are, none of more than `longest` bases, in a random order, until they have `most`."""
        sequences = getattr(self, kind)
        for n in self.random.permutation(len(sequences)):
            if most > 0 and len(sequences[n].letters) <= longest:
                self.add(kind, sequences[n], sequences[n].letters)
                most -= len(sequences[n].letters)

    def cut(self, most: int) -> None:
        """Pieces of the bacteria, of each length as many bases."""
        for length in PIECES:
            for _ in range(most // len(PIECES) // length):
                one, letters = self.piece(self.bacteria, length)
                self.add("piece", one, letters)


def plant(arguments: argparse.Namespace) -> None:
    planting = Planting(list(read_labelled(arguments.fasta)), arguments.seed)
    for length in arguments.lengths:
        planting.plant(length, arguments.background, arguments.number)
    for kind in ("bacteria", "viruses", "others"):
        planting.add_some(kind, getattr(arguments, kind), arguments.longest)
    planting.cut(arguments.pieces)
    arguments.to.write_text("".join(planting.records))
    pd.DataFrame(planting.truth).to_csv(arguments.truth, sep="\t", index=False)


def read_chunks(results: Path, truth: pd.DataFrame) -> pd.DataFrame:
    """The scored chunks as find_regions takes them, with what they are of."""
    sequences = pd.read_csv(result_of(results, SEQUENCES_TSV), sep="\t", usecols=["sequence_id", "length", "chunks"])
    chunks = pd.read_csv(result_of(results, CHUNKS_TSV), sep="\t", keep_default_na=False, na_values={"best_score": ""})
    chunks = chunks[chunks["call"] != ""].merge(sequences.assign(sequence=sequences.index), on="sequence_id")
    chunks = chunks.merge(truth[["kind", "half"]].rename(columns={"kind": "of"}), on="sequence_id")
    return chunks.assign(logit=logit_of(chunks["best_score"]), viral=chunks["of"] == "viruses", weight=1.0)


def calibrated_regions(chunks: pd.DataFrame, chunk_length: int) -> pd.DataFrame:
    """Regions of each half, by a calibration on the other; of whole frames."""
    parts = []
    for half in (0, 1):
        learned = chunks[(chunks["half"] != half) & chunks["of"].isin(["viruses", "piece"])]
        learned = learned.assign(weight=weigh_labels(learned["viral"], learned["weight"], PREVALENCE))
        scaling = calibrate_kinds(learned, [WHOLE], "the chunks")[WHOLE]
        columns = learned[["sequence", "viral", "weight"]].assign(
            logit=scaling.scale * learned["logit"] + scaling.shift, weight=1.0
        )
        of_sequences = calibrate_sequences(
            columns, lambda pieces: weigh_labels(pieces["viral"], pieces["weight"], PREVALENCE), "the chunks"
        )
        calibration = describe_calibration({WHOLE: scaling}, PREVALENCE, of_sequences)
        measured = chunks[chunks["half"] == half]
        measured = measured.assign(logit=scaling.scale * measured["logit"] + scaling.shift)
        regions = find_regions(measured, calibration, chunk_length)
        names = measured.drop_duplicates("sequence").set_index("sequence")["sequence_id"]
        parts.append(regions.assign(sequence_id=regions["sequence"].map(names)))
    return pd.concat(parts)


def halves(truth: pd.DataFrame) -> pd.Series:
    """The half that each record is in: units by turns, the largest first, viruses and bacteria each by themselves."""
    is_virus = truth["kind"].isin(["viruses", "plant"])
    half: dict[str, int] = {}
    for some in (truth[is_virus], truth[~is_virus]):
        units = some.groupby("unit")["length"].sum().sort_values(ascending=False, kind="stable").index
        half |= {unit: place % 2 for place, unit in enumerate(units)}
    return truth["unit"].map(half)


def print_without(truth: pd.DataFrame, regions: pd.DataFrame) -> None:
    """The share of sequences that have no region, by their length."""
    print("| sequences | bases | number | without a region |\n| --- | --- | --: | --: |")
    truth = truth.assign(without=~truth.index.isin(regions["sequence_id"]))
    truth["band"] = pd.cut(truth["length"], BANDS, right=False)
    for (kind, _), some in truth[truth["kind"].isin(WITHOUT)].groupby(["kind", "band"], observed=True):
        bases = f"{some['length'].min():,} to {some['length'].max():,}"
        print(f"| {kind} | {bases} | {len(some)} | {some['without'].mean():.1%} |")


def print_plants(truth: pd.DataFrame, regions: pd.DataFrame, chunk_length: int) -> None:
    """Of the planted viruses: how many have a region, and how far its ends are from theirs, in chunks."""
    columns = ["bases", "viruses", "found", "as one region", "ends: median, 90th percentile", "within a chunk"]
    columns += ["true end in what is said", "regions elsewhere"]
    print(f"\n| {' | '.join(columns)} |\n| {' | '.join(['--:'] * len(columns))} |")
    plants = truth[truth["kind"] == "plant"]
    for length, some in plants.groupby(plants["end"] - plants["start"]):
        both = regions.merge(some[["start", "end"]].add_prefix("true_"), left_on="sequence_id", right_index=True)
        meets = (both["start"] <= both["true_end"]) & (both["end"] > both["true_start"])
        ends = both[meets].assign(regions=1).groupby("sequence_id").agg(REACH)
        starts_off, ends_off = (ends["start"] - ends["true_start"] - 1).abs(), (ends["end"] - ends["true_end"]).abs()
        off = np.concatenate([starts_off, ends_off]) / chunk_length
        known = [
            (ends["earliest_start"] <= ends["true_start"] + 1) & (ends["true_start"] < ends["latest_start"]),
            (ends["earliest_end"] <= ends["true_end"]) & (ends["true_end"] <= ends["latest_end"]),
        ]
        cells = [
            f"{length:,}",
            f"{len(some)}",
            f"{len(ends) / len(some):.0%}",
            f"{(ends['regions'] == 1).mean():.0%}",
            f"{np.median(off):.1f}, {np.quantile(off, 0.9):.1f}",
            f"{(off <= 1).mean():.0%}",
            f"{np.concatenate(known).mean():.0%}",
            f"{(~meets).sum()}",
        ]
        print(f"| {' | '.join(cells)} |")


def measure(arguments: argparse.Namespace) -> None:
    truth = pd.read_csv(arguments.truth, sep="\t").set_index("sequence_id")
    if arguments.calibrate:
        chunks = read_chunks(arguments.results, truth.assign(half=halves(truth)))
        regions = calibrated_regions(chunks, arguments.chunk_length)
    else:
        regions = pd.read_csv(result_of(arguments.results, REGIONS_TSV), sep="\t")
    print_without(truth, regions)
    print_plants(truth, regions, arguments.chunk_length)


if __name__ == "__main__":
    arguments = parse_arguments()
    {"plant": plant, "measure": measure}[arguments.command](arguments)
