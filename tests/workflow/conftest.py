"""One run of the workflow on real sequences with a small random pack, which several tests start from."""

import fcntl
import gzip
import os
import shutil
from pathlib import Path

import pytest
from helpers import EXAMPLE, ODD, snakemake, write_fasta

from virnucflow.sequences.fasta import read_fasta


def prepare(folder: Path) -> Path:
    """One sample of two files with all kinds of sequences, and one with v1's attention."""
    lambda_phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    coli = next(read_fasta(EXAMPLE / "escherichia_coli.fasta")).sequence
    pieces = {f"lambda_{i}": lambda_phage[i * 2400 : i * 2400 + 300 * (i + 1)] for i in range(15)}
    write_fasta(folder / "phage.fa", pieces | ODD)
    coli_file = write_fasta(folder / "coli.fa", {"coli_1": coli[:7300], "coli_2": coli[9000:12345]})
    (folder / "coli.fa.gz").write_bytes(gzip.compress(coli_file.read_bytes(), mtime=0))
    coli_file.unlink()
    write_fasta(folder / "v1.fa", {"v1": lambda_phage[20000:24000]})
    sheet = "sample\tfasta\tattention\nmixed\tphage.fa\t\nmixed\tcoli.fa.gz\t\nv1\tv1.fa\tstandard\n"
    (folder / "samples.tsv").write_text(sheet)
    return folder


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which tests copy or read: one for all processes of pytest-xdist, made by the first of them."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "base"
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            made = prepare(tmp_path_factory.mktemp("made"))
            said = snakemake(made, shards=3)
            assert "Warning: mixed, v1: model untrained is untrained: these results mean nothing\n" in said
            made.rename(folder)
    return folder


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "copy", symlinks=True))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """The same input in a folder where nothing has been computed."""
    return prepare(tmp_path)
