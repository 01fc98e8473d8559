"""Labelled sequences for the training of the lite pack, and what it makes of them."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from lite_data import Genomes, learn_tokenizer
from lite_sequences import read_labelled_fasta

CPU = torch.device("cpu")
CODONS = {
    "phage": ["GCA", "GTC", "CAA", "CTT"],
    "euk_virus": ["GAC", "CTT", "ACA", "GTC"],
    "bacteria": ["GCA", "GTG", "CAT", "CTT", "GCC", "CAA", "TTG"],  # a little more GC
}

STOPS = "TTAATTAATTAA"  # in all six frames


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random sequences with few stops, some with N, of two groups of viruses and one of others; some are genes."""
    folder = tmp_path_factory.mktemp("lite")
    letters = random.Random(0)
    for name, number in (("train", 150), ("choose", 36), ("test", 36)):
        with (folder / f"{name}.fa").open("w") as file:
            for i in range(number):
                group, label = [("phage", 1), ("euk_virus", 1), ("bacteria", 0)][i % 3]
                codons = [*CODONS[group] * 30, STOPS]
                sequence = "".join(letters.choices(codons, k=letters.randint(200, 800)))
                if i % 7 == 0:
                    sequence = sequence[:100] + "N" + sequence[100:]
                source = "metaphlan2" if i % 5 == 0 else "s"
                family, organism = (f"f{i % 4}", "") if label else ("", f"{name}_{i % 5}")
                fields = f"label={label}|group={group}|family={family}|organism={organism}|source={source}"
                file.write(f">{name}{i}|{fields}|representative=1\n{sequence}\n")
    return folder


@pytest.fixture(scope="session")
def genomes(folder: Path) -> Genomes:
    """The training sequences on the CPU, with their tokenizer as an attribute."""
    table, letters = read_labelled_fasta([folder / "train.fa"])
    genomes = Genomes(table, np.concatenate(letters), learn_tokenizer(), CPU)
    genomes.tokenizer = learn_tokenizer()
    genomes.table = table
    return genomes
