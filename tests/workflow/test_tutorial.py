"""The tutorial's commands give what its page says."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY, snakemake

pytestmark = pytest.mark.long

TUTORIAL = REPOSITORY / "docs" / "tutorial"
SEQUENCES = "results/assembly/assembly.sequences.tsv"


def run(program: str, *arguments: str, cwd: Path) -> str:
    return subprocess.run(
        [sys.executable, TUTORIAL / program, *arguments], cwd=cwd, capture_output=True, text=True, check=True
    ).stdout


def test_tables_on_the_page_are_those_of_the_run(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "tutorial.md").read_text()
    run("make_assembly.py", "tutorial", cwd=tmp_path)
    assert (tmp_path / "tutorial" / "samples.tsv").read_text() in page
    pack = str(REPOSITORY / "resources" / "models" / "lite")
    snakemake(tmp_path, samples="tutorial/samples.tsv", model_pack=pack, gate={"frames": 1000})
    assert run("compare.py", SEQUENCES, "tutorial/truth.tsv", cwd=tmp_path) in page
    names, *rows = (line.split("\t") for line in (tmp_path / SEQUENCES).read_text().splitlines())
    told = {cells[0]: cells[1:-1] for cells in cells_of(page) if cells[0].startswith("contig_")}
    assert len(told) > 5
    for row in (dict(zip(names, row, strict=True)) for row in rows):
        if row["sequence_id"] in told:
            length, call, *numbers, evidence = told.pop(row["sequence_id"])
            assert [length, call, evidence] == [f"{int(row['length']):,}", row["call"], row["evidence"]]
            computed = [float(row[name]) for name in ("viral_fraction", "score", "lower", "upper")]
            assert list(map(float, numbers)) == pytest.approx(
                computed, abs=0.006
            )  # of which two or four digits are told
    assert told == {}


def cells_of(page: str) -> list[list[str]]:
    """The rows of the tables of a page."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
