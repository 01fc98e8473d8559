"""The files of a sample as programs are given them, in the order of the sample sheet."""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Layout = Literal["fasta", "reads", "interleaved", "paired"]  # as the options are called


@dataclass(frozen=True)
class Input:
    """What is read together: a file or, where they are `paired`, both files of mates."""

    layout: Layout
    paths: tuple[Path, ...]

    def place(self, line: int, mate: int) -> tuple[Path, str]:
        """The file of a record, and its line there or, of reads, its number."""
        return self.paths[0 if mate == 1 else -1], f"{'line' if self.layout == 'fasta' else 'record'} {line}"


class _Add(argparse.Action):
    """Adds files to `inputs`, whichever of the options they are given with."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: Any, *_: object) -> None:  # noqa: ANN401
        together = [tuple(values)] if self.dest == "paired" else [(path,) for path in values]
        added = [Input(self.dest, one) for one in together]  # type: ignore[arg-type]
        namespace.inputs = [*(getattr(namespace, "inputs", None) or []), *added]


def add_inputs(parser: argparse.ArgumentParser, what: str) -> None:
    """The options by which a program is given a sample's files; `what` says more of them. They become `inputs`."""
    options = parser.add_argument_group("input", f"Files, plain or compressed, in any order of these options. {what}")
    options.set_defaults(inputs=[])
    for layout, number, holds in (
        ("fasta", "+", "FASTA or GenBank"),
        ("reads", "+", "reads: FASTQ, or BAM, which says itself which of them are mates"),
        ("interleaved", "+", "FASTQ of pairs, in which each read is followed by its mate"),
        ("paired", 2, "FASTQ of pairs: a file of first reads and one of their mates; may be given several times"),
    ):
        options.add_argument(f"--{layout}", type=Path, nargs=number, action=_Add, default=argparse.SUPPRESS, help=holds)


def paths_of(inputs: Iterable[Input]) -> list[Path]:
    """All files, in the order in which they are read."""
    return [path for one in inputs for path in one.paths]
