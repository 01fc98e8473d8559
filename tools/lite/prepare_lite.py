"""Read labelled FASTA files for the training of the lite pack, and say what trains, what chooses and what tests.

Genes of one genome (source=metaphlan2) become one sequence, shuffled fragments are added as others, and sequences that
share much of their DNA become one cluster. Of the genomes that are there by their genes, whole clusters are held back,
spread over GC content. No two splits have sequences that are like each other: of what is, the smaller part is left out.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from lite_sequences import gc_contents, join_genes, read_labelled_fasta, shuffle
from lite_splits import split, units
from virnucflow.cli import argument_parser, log, run, staged
from virnucflow.training.clusters import cluster, sketch

SEQUENCES, LETTERS = "sequences.parquet", "letters.npy"


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--fasta", type=Path, nargs="+", required=True, help="labelled sequences to train on")
    parser.add_argument("--choose-fasta", type=Path, nargs="*", default=[], help="labelled sequences to choose by")
    parser.add_argument("--test-fasta", type=Path, nargs="*", default=[], help="labelled sequences to test with")
    parser.add_argument("--seed", type=int, default=0, help="random seed of spacers and shuffled fragments; default: 0")
    parser.add_argument("--data", type=Path, required=True, help="directory, to be written")
    return parser.parse_args()


def prepare(paths: dict[str, list[Path]], seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """One row per sequence (with gc, cluster, unit and split), and the letters of all, one behind the other."""
    table, letters = read_labelled_fasta([path for group in paths.values() for path in group])
    table, letters = join_genes(table, letters, seed)
    table["gc"] = gc_contents(letters)
    with ProcessPoolExecutor() as pool:
        sketches = list(pool.map(sketch, letters, chunksize=200))
    table["cluster"] = cluster(sketches)
    table["unit"] = units(table)
    table["split"] = split(table, {path.name: name for name, group in paths.items() for path in group}, sketches)
    trains = table["split"] == "train"
    more, shuffled = shuffle(table[trains], letters, seed)
    first = table["cluster"].max() + 1
    more = more.assign(
        gc=gc_contents(shuffled), cluster=np.arange(first, first + len(more)), unit=more["organism"], split="train"
    )
    return pd.concat([table, more], ignore_index=True), np.concatenate(letters + shuffled)


def main() -> None:
    arguments = parse_arguments()
    paths = {"train": arguments.fasta, "choose": arguments.choose_fasta, "test": arguments.test_fasta}
    table, letters = prepare(paths, arguments.seed)
    with staged(arguments.data / SEQUENCES, arguments.data / LETTERS) as (sequences, all_letters):
        table.to_parquet(sequences)
        with all_letters.open("wb") as file:
            np.save(file, letters)
    shares = table.groupby(["split", "label", "group", "genes"])["length"].agg(["size", "sum"])
    log.info("%d sequences, %d bases\n%s", len(table), len(letters), shares.to_string())


if __name__ == "__main__":
    run(main)
