import os
import random
from pathlib import Path

import pytest
from helpers import run_program

from virnucflow.packs.pack import ModelPack, read_model_pack


def pytest_configure() -> None:
    """Give each process that runs tests, and each program that it starts, one thread for PyTorch.

    There are as many of these processes as cores; with a thread each for every core they mostly wait for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def pack_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pack") / "untrained"
    run_program("build_untrained_pack", "--model", directory)
    return directory


@pytest.fixture(scope="session")
def pack(pack_directory: Path) -> ModelPack:
    return read_model_pack(pack_directory)


@pytest.fixture(scope="session")
def proteins() -> list[str]:
    """Proteins of mixed lengths, from one residue to 170, some of them equal."""
    letters = random.Random(1)
    lengths = [1, 1, 2, 3, 166, 166, 165, 170, *(letters.randint(1, 170) for _ in range(60))]
    sequences = ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]
    return [*sequences, sequences[4], sequences[4]]


@pytest.fixture(scope="session")
def nucleotides() -> list[str]:
    """Nucleotide sequences of mixed lengths, some of them equal, some with letters outside A, C, G, T."""
    letters = random.Random(2)
    lengths = [4, 4, 5, 499, 499, 498, *(letters.randint(4, 499) for _ in range(60))]
    sequences = ["".join(letters.choices("ACGT", k=length)) for length in lengths]
    return [*sequences, sequences[3], "ACGTNNACGTRYK-ACGUACG", "NNNN"]
