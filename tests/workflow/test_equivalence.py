"""What must not change a result: shards, threads, attention, and running twice."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import reproducible, scores, snakemake


def assert_same_within(one: Path, other: Path, sample: str = "mixed", tolerance: float = 1e-5) -> None:
    """The same rows in the same order with the same labels, and scores within `tolerance`."""
    first, second = scores(one, sample), scores(other, sample)
    assert list(first["Sequence_ID"]) == list(second["Sequence_ID"])
    assert list(first["Prediction"]) == list(second["Prediction"])
    assert np.abs(first["score2"] - second["score2"]).max() <= tolerance
    consensus = [folder / "results" / sample / "prediction_results_highestscore.csv" for folder in (one, other)]
    assert consensus[0].read_bytes() == consensus[1].read_bytes()


@pytest.mark.long
def test_the_same_run_twice_gives_the_same_bytes(base: Path, prepared: Path) -> None:
    snakemake(prepared, shards=3)
    for folder in ("results", "work", "models"):
        first, second = reproducible(base / folder), reproducible(prepared / folder)
        assert first.keys() == second.keys()
        assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("shards", "sample"), [(1, "mixed"), (1, "v1"), pytest.param(17, "mixed", marks=pytest.mark.long)]
)
def test_number_of_shards_changes_nothing(shards: int, sample: str, base: Path, prepared: Path) -> None:
    snakemake(prepared, f"results/{sample}/{sample}.sequences.tsv", shards=shards)
    assert len(list((prepared / "work" / sample / "frames").glob("0*.parquet"))) == shards
    assert_same_within(base, prepared, sample)


@pytest.mark.long
def test_number_of_threads_moves_no_label(base: Path, copy: Path) -> None:
    shutil.rmtree(copy / "work")
    snakemake(copy, "--forceall", "--set-threads", "embed_esm2=1", "embed_dnabert_s=1", shards=3)
    for sample in ("mixed", "v1"):
        assert_same_within(base, copy, sample)


@pytest.mark.long
def test_attention_moves_no_label(copy: Path, base: Path) -> None:
    snakemake(copy, shards=3, environment={"VIRNUCPRO_V1_ATTENTION": "true"})
    assert json.loads((copy / "results" / "mixed" / "mixed.run.json").read_text())["attention"] == "standard"
    assert_same_within(base, copy)
