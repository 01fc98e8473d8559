"""The sequences of the training of the lite pack: genes joined to genomes, and shuffled fragments."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lite_sequences
from lite_sequences import (
    BLOCKS,
    SHUFFLED_LENGTH,
    gc_contents,
    join_genes,
    read_labelled_fasta,
    reverse_complement,
    shuffle,
)
from virnucflow.sequences.frames import LETTERS, letter_codes


def text(letters: np.ndarray) -> str:
    return "".join((LETTERS + "N")[code] for code in letters)


def blocks_of(sequence: str, block: int) -> Counter:
    return Counter(sequence[i : i + block] for i in range(0, len(sequence), block))


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


def test_shuffled_fragments_are_the_blocks_of_a_sequence_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of viruses and of others alike; sequences too short for a fragment give none."""
    monkeypatch.setattr(lite_sequences, "SHUFFLED", 60)
    random = np.random.default_rng(0)
    lengths = [SHUFFLED_LENGTH, SHUFFLED_LENGTH, SHUFFLED_LENGTH - 1]  # of the whole sequence there is one fragment
    letters = [random.integers(0, 4, length).astype(np.uint8) for length in lengths]
    table = pd.DataFrame({"label": [1, 0, 0], "group": ["phage", "plant", "fungi"], "length": lengths})
    shuffled, sequences = shuffle(table, letters, 0)
    assert len(shuffled) == len(sequences) == 60 and (shuffled["label"] == 0).all()
    assert set(shuffled["organism"]) == {"shuffled phage", "shuffled plant"}
    before = {"shuffled phage": text(letters[0]), "shuffled plant": text(letters[1])}
    for i, (organism, sequence) in enumerate(zip(shuffled["organism"], sequences)):
        block, whole = BLOCKS[i // 20], before[organism]
        assert blocks_of(text(sequence), block) == blocks_of(whole, block) and text(sequence) != whole
    assert len(set(map(text, sequences))) == 60


def test_gc_content_knows_no_other_letter() -> None:
    assert gc_contents([letter_codes("GCAT"), letter_codes("GGNN"), letter_codes("NN")]).tolist() == [0.5, 1.0, 0.0]
