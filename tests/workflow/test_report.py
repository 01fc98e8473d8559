"""What is said over all samples of a finished run, and what Snakemake makes of it."""

import shutil
import zipfile
from pathlib import Path

import pytest
from helpers import planned_jobs, snakemake
from report_page import assert_numbers_are_known

SAMPLES = ["mixed", "v1"]
SETTINGS = {"model_pack": "lite", "shards": 2, "gate": {"frames": 60}}


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a gate: one sample that it compares, and one by standard attention."""
    folder = Path(shutil.copytree(base, tmp_path_factory.mktemp("report") / "run", symlinks=True))
    said = snakemake(folder, **SETTINGS)
    assert "All samples on one page: results/report.html\n" in said
    return folder


@pytest.mark.long
def test_every_number_of_the_page_is_in_the_tables(finished: Path) -> None:
    page = assert_numbers_are_known(finished / "results", SAMPLES)
    assert [row[0] for row in page.rows["table-gate"]] == ["sample", "mixed"]
    assert len(page.rows["table-viral"]) > 1 and page.marks


@pytest.mark.long
def test_snakemake_reports_results_and_figures(finished: Path) -> None:
    """By sample, with captions, from what the README installs."""
    snakemake(finished, "--report", "report.zip", **SETTINGS)
    with zipfile.ZipFile(finished / "report.zip") as archive:
        names = sorted(Path(name).name for name in archive.namelist() if "/data/" in name)
        text = archive.read("report/report.html").decode()
    of_samples = ["mixed.divergence.svg", "mixed.sequences.tsv", "v1.sequences.tsv"]
    assert names == sorted([*of_samples, "report.html", "summary.tsv"])
    for caption in (
        "One row for each sample",
        "All samples on one page",
        "Every sequence of mixed",
        "Every sequence of v1",
    ):
        assert caption in text
    assert "both attentions" in text and '"mixed"' in text
    assert planned_jobs(snakemake(finished, "-n", **SETTINGS)) == {}
