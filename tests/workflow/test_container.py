"""The image of the config and what is seen in it, with a stand-in for Apptainer; the real one is in tests/cluster."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from helpers import REPOSITORY, snakemake, write_fasta

from virnucflow import __version__

APPTAINER = """#!/usr/bin/env bash
# Write down the folders to be seen and the arguments up to the image; then run what was to be run in it.
if [ "$1" = --version ]; then echo apptainer version 1.4.5; exit; fi
echo "$APPTAINER_BIND $*" >>apptainer.log
while [ "$1" != bash ]; do shift; done
exec "$@"
"""
SPLIT = "work/a/sequences.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory whose input lies elsewhere and is reached by a link."""
    for name in ("here", "there", "elsewhere"):
        (tmp_path / name).mkdir()
    write_fasta(tmp_path / "elsewhere" / "a.fa", {"a": "GCCGCAGCTGCG" * 30})
    (tmp_path / "there" / "a.fa").symlink_to(tmp_path / "elsewhere" / "a.fa")
    (tmp_path / "here" / "samples.tsv").write_text(f"sample\tfasta\na\t{tmp_path}/there/a.fa\n")
    return tmp_path / "here"


@pytest.fixture
def apptainer(tmp_path: Path) -> dict[str, str]:
    """The environment with the stand-in."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").write_text(APPTAINER)
    (tmp_path / "bin" / "apptainer").chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def contained(folder: Path, *arguments: str, **options: object) -> str:
    return snakemake(folder, SPLIT, "--sdm", "apptainer", *arguments, **options)


def test_missing_image_stops_the_run_with_the_command_that_builds_it(folder: Path, apptainer: dict[str, str]) -> None:
    image = REPOSITORY / "containers" / f"virnucflow-{__version__}-absent.sif"
    said = contained(folder, code=1, environment=apptainer, container="containers/virnucflow-{version}-absent.sif")
    assert f"container: {image} is not there; build it with '{REPOSITORY}/containers/build.sh'" in said
    assert not (folder / "work").exists()


def test_dry_run_needs_neither_image_nor_apptainer(folder: Path, apptainer: dict[str, str], tmp_path: Path) -> None:
    assert "split_fasta" in contained(folder, "-n", environment=apptainer, container="absent.sif")
    (tmp_path / "few").mkdir()
    for program in ("bash", "which"):
        (tmp_path / "few" / program).symlink_to(shutil.which(program))
    assert "split_fasta" in contained(folder, "-n", environment={"PATH": f"{tmp_path}/few"}, container="absent.sif")


def test_programs_see_workflow_model_and_input(folder: Path, apptainer: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.sif").touch()
    (tmp_path / "packs" / "mine").mkdir(parents=True)
    apptainer["APPTAINER_BIND"] = "/mine"
    places = {"container": str(tmp_path / "a.sif"), "model": str(tmp_path / "packs" / "mine")}
    contained(folder, "--no-hooks", environment=apptainer, **places)
    bound, _, arguments = (folder / "apptainer.log").read_text().partition(" exec ")
    outside = {REPOSITORY, tmp_path / "packs" / "mine", tmp_path / "there", tmp_path / "elsewhere"}
    assert set(bound.split(",")) == {"/mine", *map(str, outside)}
    assert f" {tmp_path}/a.sif bash -c " in arguments
    assert (folder / SPLIT).exists()


def test_run_json_names_the_image(folder: Path, apptainer: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.sif").write_bytes(b"an image")
    snakemake(folder, "--sdm", "apptainer", environment=apptainer, container=str(tmp_path / "a.sif"))
    run = json.loads((folder / "results" / "a" / "run.json").read_text())
    assert run["container"] == {"image": f"{tmp_path}/a.sif", "sha256": hashlib.sha256(b"an image").hexdigest()}


def test_without_an_image_programs_run_where_snakemake_does(folder: Path, apptainer: dict[str, str]) -> None:
    contained(folder, "--config", "container=", environment=apptainer)
    assert (folder / SPLIT).exists() and not (folder / "apptainer.log").exists()
