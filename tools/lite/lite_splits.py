"""What of the labelled sequences trains, what chooses, what tests, and how often each sequence is drawn."""

import numpy as np
import pandas as pd

SPLITS = ("train", "choose", "test")
CALIBRATES = "choose"  # the split that the scores are calibrated by
LEFT_OUT = "like what is held back"
# Of the clusters of genomes of which there are genes alone, every so many-th by GC content is held back.
HELD_BACK = {"test": (20, 9), "choose": (33, 16)}

# How much is drawn of each group, of viruses and of others each by themselves; "... genes" are of genes alone.
GROUPS = {
    "euk_virus": 0.44, "euk_virus genes": 0.07, "phage": 0.34, "phage genes": 0.09, "virus genes": 0.04,
    "prophage": 0.02,
    "bacteria": 0.16, "bacteria genes": 0.25, "plant": 0.16, "vertebrate": 0.15, "invertebrate": 0.13, "fungi": 0.06,
    "archaea": 0.02, "protozoa": 0.02, "protozoa genes": 0.03, "mitochondria": 0.01, "shuffled": 0.03,
}  # fmt: skip
OTHER_GROUPS = 0.02
# Phages of actinobacteria, whose GC content is high, are most of those that are sequenced.
FEW_HOSTS, FEW_HOSTS_SHARE = "viral_phagesdb_actinophages", 0.4
UNIT_POWER, CLUSTER_POWER, SEQUENCE_POWER = 0.4, 0.5, 0.7  # below 1, the large count for less than their bases


def units(table: pd.DataFrame) -> pd.Series:
    """What is counted and held back as a whole: a virus family or, without one, a cluster; of others an organism."""
    no_family = (table["family"] == "") | table["family"].str.startswith("cluster_")
    family = table["family"].mask(no_family, "cluster " + table["cluster"].astype(str))
    return family.where(table["label"] == 1, table["organism"].mask(table["organism"] == "", table["source"]))


def split(table: pd.DataFrame, of_file: dict[str, str]) -> pd.Series:
    """The split of each sequence: by its file, and of the clusters of genes alone, by GC content and group.

    What trains and is in a cluster with a sequence that is held back is left out. `table` has label, group, genes,
    cluster, gc and file; `of_file` the split of each file.
    """
    splits = table["file"].map(of_file).fillna("train")
    only_genes = table.groupby("cluster")["genes"].transform("all")
    clusters = table[only_genes].groupby("cluster").agg({"label": "first", "group": "first", "gc": "mean"})
    for _, members in clusters.groupby(["label", "group"]):
        ordered = members.sort_values("gc", kind="stable").index
        for name, (step, first) in HELD_BACK.items():
            splits[table["cluster"].isin(ordered[first::step])] = name
    for name in ("choose", "test"):
        like = table["cluster"].isin(table["cluster"][splits == name])
        splits[like & (splits == "train")] = LEFT_OUT
    return splits


def weights(table: pd.DataFrame) -> np.ndarray:
    """How often each sequence is drawn, other things being equal: float64 (sequences), of each label one in all.

    A group has its share, then each unit, then each cluster in it, then each sequence; the large count for less than
    their bases.
    """
    table = table.reset_index(drop=True)
    group = table["group"] + np.where(table["genes"], " genes", "")
    few_hosts = (table["source"] == FEW_HOSTS) | table["family"].str.startswith("cluster_")
    kind = np.where(group != "phage", "", np.where(few_hosts, "few", "many"))
    # An organism from two sources is two units: genome and transcripts.
    unit = table["unit"].where(table["label"] == 1, table["unit"] + " " + table["source"])
    share = group.map(GROUPS).fillna(OTHER_GROUPS) * pd.Series(kind).map(
        {"": 1, "few": FEW_HOSTS_SHARE, "many": 1 - FEW_HOSTS_SHARE}
    )
    length = table["length"].astype(float)

    def within(outer: list, inner: list, power: float) -> pd.Series:
        """Each inner part's share of its outer one, by bases to this power."""
        sizes = length.groupby(inner).sum() ** power
        total = sizes.groupby(level=list(range(len(outer)))).transform("sum")
        keys = pd.MultiIndex.from_arrays(inner)
        return pd.Series((sizes / total).reindex(keys).to_numpy())

    cluster = table["cluster"]
    weight = (
        share
        * within([group, kind], [group, kind, unit], UNIT_POWER)
        * within([group, kind, unit], [group, kind, unit, cluster], CLUSTER_POWER)
        * length
        / length.groupby([group, kind, unit, cluster]).transform("sum")
    )
    even = weight**SEQUENCE_POWER
    return (even / even.groupby(group).transform("sum") * weight.groupby(group).transform("sum")).to_numpy()
