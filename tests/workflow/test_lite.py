"""The lite pack does the workflow's job: it finds viruses, with chunks of either length."""

from pathlib import Path

import pandas as pd
import pytest
from helpers import EXAMPLE, REPOSITORY, run_program, snakemake

PACK = REPOSITORY / "resources" / "models" / "lite"


# Retroviruses were held back, so HIV-1 is of a family that was not trained on.
@pytest.mark.parametrize("chunk_length", [500, pytest.param(300, marks=pytest.mark.long)])
def test_viruses_are_told_from_a_bacterium(chunk_length: int, tmp_path: Path) -> None:
    files = ("hiv_1.fasta", "phage_phix174.gb", "escherichia_coli.fasta")
    sheet = "".join(f"example\t{EXAMPLE / name}\n" for name in files)
    (tmp_path / "samples.tsv").write_text("sample\tfasta\n" + sheet)
    snakemake(tmp_path, model_pack=str(PACK), chunk_length=chunk_length)
    table = pd.read_csv(tmp_path / "results" / "example" / "example.sequences.tsv", sep="\t")
    assert list(table["call"]) == ["virus", "virus", "others"]
    assert [score > 0.5 for score in table["score"]] == [True, True, False]
    assert (table["frames"] >= table["chunks"]).all(), "every chunk has a score"
    viral = table["viral_chunks"] / table["chunks"]
    assert viral.iloc[:2].min() > 2 * viral.iloc[2]


def test_it_computes_its_reference_values() -> None:
    assert "passed: lite on cpu" in run_program("check_models", "--model", PACK, "--device", "cpu")
