"""What of the labelled sequences trains, what chooses, what tests, and how often each sequence is drawn."""

import numpy as np
import pandas as pd

from lite_sequences import TRANSCRIPTS
from virnucflow.training.clusters import NO_KMER, SHARE

SPLITS = ("train", "choose", "test")
CALIBRATES = "choose"  # the split that the scores are calibrated by
LEFT_OUT = "like another split"
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


def split(table: pd.DataFrame, of_file: dict[str, str], sketches: list[np.ndarray]) -> pd.Series:
    """The split of each sequence, of which no two splits have sequences that are like each other.

    Sequences are held back by their file, and clusters of genes alone by GC content and group, transcripts by organism.
    Of a unit that is held back and all that is like it in the splits after it, the larger stays and the smaller is left
    out: a small relative of what there is much of would not be worth what it costs the training. `table` has label,
    group, unit, genes, cluster, gc, length and file; `of_file` the split of each file; `sketches` are those of
    clusters.sketch().
    """
    splits = table["file"].map(of_file).fillna("train")
    block = table["cluster"].astype(str).mask(table["group"] == TRANSCRIPTS, table["unit"])
    only_genes = table["genes"].groupby(block).transform("all")
    blocks = table[only_genes].groupby(block).agg({"label": "first", "group": "first", "gc": "mean"})
    for _, members in blocks.groupby(["label", "group"]):
        ordered = members.sort_values("gc", kind="stable").index
        for name, (step, first) in HELD_BACK.items():
            splits[block.isin(ordered[first::step])] = name
    unit = pd.Series(table.groupby(["label", "group", "unit"]).ngroup())
    for name, after in (("test", ["choose", "train"]), ("choose", ["train"])):
        held = splits == name
        like = find_like(table, unit, sketches, held, splits.isin(after))
        own = table["length"][held].groupby(unit[held]).sum()
        others = like["row"].map(table["length"]).groupby(like["unit"]).sum().reindex(own.index, fill_value=0)
        lost = own.index[others > own]
        splits[held & unit.isin(lost)] = LEFT_OUT
        splits.iloc[like["row"][~like["unit"].isin(lost)].unique()] = LEFT_OUT
    return splits


def find_like(
    table: pd.DataFrame, unit: pd.Series, sketches: list[np.ndarray], held: pd.Series, others: pd.Series
) -> pd.DataFrame:
    """Each pair of a sequence among `others` and a unit of what is held back that are like each other.

    They share clusters.SHARE of the k-mers of the smaller, or are of one organism, which makes no two viruses alike.
    Columns `row`, the sequence's place in `table`, and `unit`, the unit's number in `unit`.
    """
    rows, held_rows = np.flatnonzero(others), np.flatnonzero(held)
    of_units = kmers_of(sketches, held_rows).assign(unit=lambda kmers: unit.to_numpy()[kmers.pop("row")])
    of_units = of_units.drop_duplicates()
    of_others = kmers_of(sketches, rows)
    pairs = of_others[of_others["kmer"].isin(of_units["kmer"])].merge(of_units, on="kmer")
    shared = pairs.groupby(["row", "unit"]).size()
    sizes = np.array([len(kmers) for kmers in sketches])[shared.index.get_level_values("row")]
    unit_sizes = of_units["unit"].value_counts()[shared.index.get_level_values("unit")].to_numpy()
    alike = shared[shared >= SHARE * np.minimum(sizes, unit_sizes)].index.to_frame(index=False)
    same = pd.DataFrame({"row": rows, "unit": unit.to_numpy()[rows]})[(table["label"].to_numpy() == 0)[rows]]
    return pd.concat([alike, same[same["unit"].isin(unit[held])]]).drop_duplicates()


def kmers_of(sketches: list[np.ndarray], rows: np.ndarray) -> pd.DataFrame:
    """The k-mers of some sequences: columns `kmer` and `row`."""
    chosen = [NO_KMER, *(sketches[row] for row in rows)]
    return pd.DataFrame({"kmer": np.concatenate(chosen), "row": np.repeat(rows, [len(kmers) for kmers in chosen[1:]])})


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
