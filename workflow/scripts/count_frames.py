"""Count sequences, chunks and frames of samples before anything is computed, in seconds, with the error.

Small inputs are read in whole, so that the numbers are exact; of large ones a sample is read, and of very many files
some. Called by the estimate and at the start of a run, by the Python that runs Snakemake. Reads and writes JSON: of
each sample its files by layout; of each sample, and of all together, value and 95 % error of whatever is counted.
"""

import argparse
from collections import defaultdict
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from virnucflow.cli import argument_parser, run, staged
from virnucflow.files.json_files import publish_json, read_published_json
from virnucflow.files.kinds import KINDS
from virnucflow.sequences.counts import FIELDS, Estimate, Rules, Values, count_file

BUDGET = 12 << 20  # bytes of text that are read of all files
MOST_FILES = 48  # of which some are read; as many as keep windows large
TEXT_PER_BYTE = 4  # of a compressed file, at most about
FRAMES = FIELDS.index("frames")


class InputOfSample(TypedDict):
    """Files of one layout."""

    layout: str
    paths: list[str]


class Inputs(TypedDict):
    """What is to be counted: the files of each sample. `reads` are drawn of each sample, 0 if all are taken."""

    samples: dict[str, list[InputOfSample]]
    reads: NotRequired[int]


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--inputs", type=Path, required=True, help="JSON of the files of each sample")
    parser.add_argument("--chunk-length", type=int, required=True, help="bases per chunk")
    parser.add_argument("--scored-frames", choices=KINDS, required=True, help="frames that the model pack takes")
    parser.add_argument("--rna", choices=["as_dna", "keep"], default="as_dna", help="what U is")
    parser.add_argument("--counts", type=Path, required=True, help="JSON of the counts, to be written")
    return parser.parse_args()


def count_files(files: dict[Path, str], rules: Rules) -> tuple[dict[Path, Estimate], Values]:
    """The estimate of each file, by its layout; and the part of all errors that files share which were not read.

    Of very many files some are read, evenly in the order of their sizes; others have what these have for a byte.
    """
    sizes = {path: path.stat().st_size for path in files}
    is_small = TEXT_PER_BYTE * sum(sizes.values()) <= BUDGET
    groups = defaultdict[tuple[str, str], list[Path]](list)
    for path in sorted(files, key=lambda path: (sizes[path], path)):
        groups[files[path], path.suffix].append(path)
    share = 1 if is_small else max(1, len(files) / MOST_FILES)
    budget = BUDGET if is_small else int(BUDGET / min(len(files), MOST_FILES))
    estimates: dict[Path, Estimate] = {}
    shared = np.zeros(len(FIELDS))
    for (layout, _), paths in groups.items():
        number = min(len(paths), max(4, round(len(paths) / share)))
        read = [paths[place] for place in np.linspace(0, len(paths) - 1, number).round().astype(int)]
        counted = {path: count_file(path, layout, rules, budget) for path in read}
        if others := [path for path in paths if path not in counted]:
            unread, common = extrapolate(counted, sizes, others)
            counted |= unread
            shared = np.hypot(shared, common)
        estimates |= counted
    return estimates, shared


def extrapolate(
    counted: dict[Path, Estimate], sizes: dict[Path, int], others: list[Path]
) -> tuple[dict[Path, Estimate], Values]:
    """The estimates of files that were not read, and the error of their sum that is not each one's own."""
    read = np.array([sizes[path] for path in counted], dtype=np.float64)
    values = np.array([estimate.values for estimate in counted.values()])
    errors = np.array([estimate.errors for estimate in counted.values()])
    of_byte = values.sum(0) / max(1.0, read.sum())
    deviations = np.sqrt(((values - read[:, None] * of_byte) ** 2).sum(0) / max(1, len(read) - 1))
    student = 1.96 + 3.66 / max(1, len(read) - 1)
    own = student * deviations / max(1.0, read.mean())  # of a byte
    common = np.hypot(own / np.sqrt(len(read)), np.sqrt((errors**2).sum(0)) / max(1.0, read.sum()))
    estimates = {path: Estimate(sizes[path] * of_byte, sizes[path] * own) for path in others}
    return estimates, common * sum(sizes[path] for path in others)


def of_sample(estimates: list[Estimate], layouts: list[str], drawn: int) -> Estimate:
    """The estimate of a sample, of its files' ones; no more reads count than are drawn, if any are."""
    values, errors = np.zeros(len(FIELDS)), np.zeros(len(FIELDS))
    for of_reads in (False, True):
        some = [one for one, layout in zip(estimates, layouts) if (layout != "fasta") == of_reads]
        if not some:
            continue
        its = np.sum([one.values for one in some], axis=0)
        error = np.sqrt(np.sum([one.errors**2 for one in some], axis=0))
        if of_reads and drawn and its[0] > drawn:
            # How many are drawn is known. What they have varies as counts do, their variance taken for twice the mean.
            relative = np.hypot(error, its * (error[0] / its[0])) / np.maximum(its, 1)
            its = its * (drawn / its[0])
            error = its * np.hypot(relative, 1.96 * np.sqrt(2 / max(1.0, its[FRAMES])))
            error[0] = 0.0
        values, errors = values + its, np.hypot(errors, error)
    return Estimate(values, errors)


def as_json(estimate: Estimate) -> dict[str, list[float]]:
    """Value and error of each of FIELDS."""
    return {field: [float(value), float(error)] for field, value, error in zip(FIELDS, *estimate)}


def main() -> None:
    arguments = parse_arguments()
    inputs = read_published_json(arguments.inputs, Inputs, "give the files of each sample")
    rules = Rules(arguments.chunk_length, arguments.scored_frames, arguments.rna == "as_dna")
    layouts = {
        Path(path): one["layout"] for files in inputs["samples"].values() for one in files for path in one["paths"]
    }
    estimates, shared = count_files(layouts, rules)
    samples = {}
    for name, files in inputs["samples"].items():
        paths = [Path(path) for one in files for path in one["paths"]]
        samples[name] = of_sample(
            [estimates[path] for path in paths], [layouts[path] for path in paths], inputs.get("reads", 0)
        )
    values = np.sum([one.values for one in samples.values()], axis=0)
    errors = np.hypot(np.sqrt(np.sum([one.errors**2 for one in samples.values()], axis=0)), shared)
    counts = {"samples": {name: as_json(one) for name, one in samples.items()}}
    with staged(arguments.counts) as (partial,):
        publish_json(counts | {"run": as_json(Estimate(values, errors))}, partial)


if __name__ == "__main__":
    run(main)
