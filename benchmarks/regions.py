"""How well regions are found: viruses planted in bacterial sequences, and sequences that should have none.

`plant` takes labelled sequences (FASTA, `>NAME|label=1|group=…`, label 1: viral) and writes records to be scored, with a
table of the truth: pieces of viruses of --lengths at a random place in --background bases of bacteria, on either
strand; the bacteria as they are; the bacteria in pieces; others. `measure` takes the folder of the results of such
records and that table, and prints Markdown.
"""

import argparse
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import shared  # noqa: F401  it puts the library there

from virnucflow.measures.intervals import wilson

VIRUSES, BACTERIA = ("euk_virus", "phage"), ("bacteria", "archaea")
PIECES = (2_000, 5_000, 10_000, 20_000, 40_000)  # bases of pieces of bacteria
COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")


class Labelled(NamedTuple):
    """A labelled sequence."""

    name: str
    viral: bool
    group: str
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
    planting.add_argument("--seed", type=int, default=0)
    planting.add_argument("--to", type=Path, required=True, help="FASTA to be written")
    planting.add_argument("--truth", type=Path, required=True, help="table to be written")
    measuring = commands.add_parser("measure")
    measuring.add_argument("--regions", type=Path, required=True, help="table of regions")
    measuring.add_argument("--truth", type=Path, required=True)
    measuring.add_argument("--chunk-length", type=int, default=500)
    return parser.parse_args()


def read_labelled(path: Path) -> Iterator[Labelled]:
    """The sequences of a file, less near copies of others."""
    with lzma.open(path, "rt") as file:
        for header, letters in zip(file, file):
            name, *fields = header[1:].split("|")
            said = dict(field.strip().split("=", 1) for field in fields if "=" in field)
            if said["representative"] == "1":
                yield Labelled(name, said["label"] == "1", said["group"], letters.strip())


class Planting:
    """The records that are written, and the truth of each."""

    def __init__(self, sequences: list[Labelled], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.viruses = [one for one in sequences if one.viral and one.group in VIRUSES]
        self.bacteria = [one for one in sequences if not one.viral and one.group in BACTERIA]
        self.others = [one for one in sequences if not one.viral and one.group not in BACTERIA]
        self.records: list[str] = []
        self.truth: list[dict[str, object]] = []

    def add(self, kind: str, group: str, source: str, letters: str, start: int = 0, end: int = 0) -> None:
        """A record; the virus in it, if any, has the bases after `start` up to `end`."""
        name = f"{kind}_{len(self.records) + 1}"
        self.records.append(f">{name}\n{letters}\n")
        row = {"sequence_id": name, "kind": kind, "group": group, "source": source, "length": len(letters)}
        self.truth.append(row | {"start": start, "end": end})

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
            self.add("plant", group, virus.name, outer[:place] + inner + outer[place:], place, place + length)

    def add_some(self, kind: str, sequences: list[Labelled], most: int) -> None:
        """Sequences as they are, in a random order, until they have so many bases."""
        for n in self.random.permutation(len(sequences)):
            one = sequences[n]
            if most > 0:
                self.add(kind, one.group, one.name, one.letters)
            most -= len(one.letters)

    def cut(self, most: int) -> None:
        """Pieces of the bacteria, of each length as many bases."""
        for length in PIECES:
            for _ in range(most // len(PIECES) // length):
                one, letters = self.piece(self.bacteria, length)
                self.add("piece", one.group, one.name, letters)


def plant(arguments: argparse.Namespace) -> None:
    planting = Planting(list(read_labelled(arguments.fasta)), arguments.seed)
    for length in arguments.lengths:
        planting.plant(length, arguments.background, arguments.number)
    for kind, most in (("bacteria", arguments.bacteria), ("viruses", arguments.viruses), ("others", arguments.others)):
        planting.add_some(kind, getattr(planting, kind), most)
    planting.cut(arguments.pieces)
    arguments.to.write_text("".join(planting.records))
    pd.DataFrame(planting.truth).to_csv(arguments.truth, sep="\t", index=False)
