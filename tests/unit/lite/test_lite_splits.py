"""Which sequences the lite pack is trained on, and which are held back."""

import random
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import error_line, run_program

from lite_sequences import gc_contents, join_genes, read_labelled_fasta, reverse_complement, shuffle
from lite_splits import FEW_HOSTS, GROUPS, LEFT_OUT, split, weights
from prepare_lite import LETTERS as ALL_LETTERS
from prepare_lite import SEQUENCES
from virnucflow.sequences.frames import LETTERS, letter_codes


def text(letters: np.ndarray) -> str:
    return "".join((LETTERS + "N")[code] for code in letters)


def test_genes_of_a_genome_become_one_sequence(folder: Path) -> None:
    """With each gene on either strand once; whatever is no gene stays as it was."""
    table, letters = read_labelled_fasta([folder / "train.fa"])
    joined, sequences = join_genes(table, letters, 0)
    assert joined.index.tolist() == list(range(len(sequences)))
    genomes = table[table["genes"]].groupby(["label", "group", "family", "organism"]).ngroups
    assert joined["genes"].sum() == genomes > 3 and len(joined) == (~table["genes"]).sum() + genomes
    assert joined["length"].tolist() == [len(sequence) for sequence in sequences]
    for row, sequence in zip(joined[joined["genes"]].itertuples(), sequences[-genomes:]):
        genome = [row.label, row.group, row.family, row.organism]
        same = (table[["label", "group", "family", "organism"]] == genome).all(axis=1)
        genes = [letters[i] for i in np.flatnonzero(same & table["genes"])]
        assert all(text(gene) in text(sequence) or text(reverse_complement(gene)) in text(sequence) for gene in genes)
        assert sum(map(len, genes)) <= len(sequence) <= sum(map(len, genes)) + 400 * len(genes)


def test_shuffled_fragments_keep_their_composition_and_are_others(folder: Path) -> None:
    table, letters = read_labelled_fasta([folder / "train.fa"])
    shuffled, sequences = shuffle(table, letters, 0)
    assert (shuffled["label"] == 0).all() and set(shuffled["organism"]) == {
        "shuffled phage", "shuffled euk_virus", "shuffled bacteria",
    }  # fmt: skip
    phage = [s for s, organism in zip(sequences, shuffled["organism"]) if organism == "shuffled phage"]
    before = [s for s, group in zip(letters, table["group"]) if group == "phage"]
    assert gc_contents(phage).mean() == pytest.approx(gc_contents(before).mean(), abs=0.01)
    known = {text(sequence)[i : i + 30] for sequence in before for i in range(len(sequence) - 29)}
    assert not any(text(sequence)[100:130] in known for sequence in phage[:200])


def test_gc_content_knows_no_other_letter() -> None:
    assert gc_contents([letter_codes("GCAT"), letter_codes("GGNN"), letter_codes("NN")]).tolist() == [0.5, 1.0, 0.0]


def test_whole_clusters_are_held_back_and_what_is_like_them_left_out() -> None:
    random_ = random.Random(0)
    rows = [("train.fa", 0, "bacteria", True, i, random_.random()) for i in range(200)]
    rows += [("train.fa", 1, "phage", False, 300 + i, 0.5) for i in range(10)]
    rows += [("test.fa", 1, "phage", False, 303, 0.5), ("choose.fa", 1, "phage", False, 400, 0.5)]
    table = pd.DataFrame(rows, columns=["file", "label", "group", "genes", "cluster", "gc"])
    splits = split(table, {"train.fa": "train", "test.fa": "test", "choose.fa": "choose"})
    bacteria = table[table["group"] == "bacteria"].assign(split=splits)
    assert bacteria["split"].value_counts().to_dict() == {"train": 185, "test": 9, "choose": 6}
    lowest, highest = bacteria[bacteria["split"] == "test"]["gc"].agg(["min", "max"])
    assert lowest < 0.2 and highest > 0.8, "spread over GC content"
    assert splits[table["cluster"] == 303].tolist() == [LEFT_OUT, "test"]
    assert (splits[(table["cluster"] >= 300) & (table["cluster"] < 303)] == "train").all()


def test_groups_are_drawn_by_their_shares_and_large_units_for_less() -> None:
    columns = ["label", "group", "genes", "source", "family", "unit", "cluster", "length"]
    rows = [
        (1, "phage", False, "a", "", "p", 0, 90_000), (1, "phage", False, FEW_HOSTS, "", "q", 1, 90_000),
        (1, "euk_virus", False, "a", "f", "f", 2, 1000), (1, "euk_virus", False, "a", "g", "g", 3, 100_000),
        (0, "bacteria", True, "metaphlan2", "", "x", 4, 1000), (0, "plant", False, "a", "", "y", 5, 1000),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    weight = pd.Series(weights(table)).groupby(table["group"] + table["genes"].map({True: " genes", False: ""})).sum()
    assert weight.to_dict() == pytest.approx({name: GROUPS[name] for name in weight.index})
    by_unit = dict(zip(table["unit"], weights(table)))
    assert 1 < by_unit["g"] / by_unit["f"] < 10 and by_unit["p"] > by_unit["q"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">a|label=1|group=phage\nACGT\n>b|group=phage\nACGT\n", "x.fa, line 3: no label=0 or label=1"),
        ("", "x.fa: no sequence; give"),
    ],
)
def test_what_has_no_label_or_no_sequence_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_text(content)
    said = run_program("prepare_lite", "--fasta", tmp_path / "x.fa", "--data", tmp_path / "data", code=2)
    assert message in error_line(said) and not (tmp_path / "data" / ALL_LETTERS).exists()
    assert not (tmp_path / "data" / SEQUENCES).exists()
