"""Put labelled sequences that share much of their DNA into one cluster, for a split that does not leak.

Where the tables of labels have a column `cluster`, the clusters are those. Else a sequence is linked with each cluster
of larger ones that holds a fifth of its 21-mers, on either strand; that is about what 93 % identity leaves. Clusters
reach across samples. Writes one row per labelled sequence: labels (its table's path), sequence_id, cluster.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.tables import CLUSTERS, read_sequences, write_parquet
from virnucflow.sequences.frames import letter_codes
from virnucflow.sequences.inputs import Input, add_inputs
from virnucflow.sequences.records import records_of
from virnucflow.training.clusters import NO_KMER, cluster, sketch
from virnucflow.training.labels import read_labels


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    add_inputs(parser, "Those of all samples, in their order.")
    parser.add_argument(
        "--sequences", type=Path, nargs="+", required=True, help="for each sample its table of split_fasta.py"
    )
    parser.add_argument("--labels", type=Path, nargs="+", required=True, help="for each sample its table of labels")
    parser.add_argument("--clusters", type=Path, required=True, help="parquet table of clusters, to be written")
    arguments = parser.parse_args()
    if len(arguments.sequences) != len(arguments.labels):
        parser.error("--sequences and --labels: give as many of each")
    return arguments


def clusters_of_labels(labels: pd.DataFrame) -> pd.DataFrame:
    """The clusters of the labels; InputError where only some of the tables have them."""
    if (without := labels["cluster"].isna()).any():
        first, other = labels["labels"][~without].iloc[0], labels["labels"][without].iloc[0]
        raise InputError(f"{other}, line 1: no column 'cluster', but {first} has one; give it to both, or to neither")
    return labels


def clusters_by_dna(labels: pd.DataFrame, sequences: pd.DataFrame, inputs: list[Input]) -> pd.DataFrame:
    """The clusters of those labelled sequences that the samples have, by their DNA."""
    labelled = set(zip(labels["labels"], labels["sequence_id"]))
    sketches: dict[tuple[str, str], np.ndarray] = {}
    for row, record in records_of(inputs, sequences):
        key = (row.labels, row.sequence_id)
        if key in labelled:  # two samples may have the same labels, and a sequence of the same name
            letters = record.sequence.upper().replace("U", "T")  # RNA is like its DNA
            sketches[key] = np.union1d(sketches.get(key, NO_KMER), sketch(letter_codes(letters)))
    table = pd.DataFrame(sketches.keys(), columns=["labels", "sequence_id"])
    return table.assign(cluster=cluster(sketches.values()))


def main() -> None:
    arguments = parse_arguments()
    labels = pd.concat(read_labels(path).assign(labels=str(path)) for path in dict.fromkeys(arguments.labels))
    if "cluster" in labels:
        clusters = clusters_of_labels(labels)
    else:
        tables = zip(arguments.sequences, arguments.labels)
        sequences = pd.concat(read_sequences(path).assign(labels=str(table)) for path, table in tables)
        clusters = clusters_by_dna(labels, sequences, arguments.inputs)
    with staged(arguments.clusters) as (partial,):
        columns = [clusters[name].astype(str) for name in CLUSTERS.names]
        write_parquet(pa.table(columns, schema=CLUSTERS), partial)
    sizes = clusters.loc[clusters["cluster"] != "", "cluster"].value_counts()
    log.info("%d sequences in %d clusters; the largest has %d", len(clusters), len(sizes), max(sizes, default=0))


if __name__ == "__main__":
    run(main)
