"""The image of the config and what is seen in it, with a stand-in for Apptainer; the real one is in tests/cluster."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from helpers import REPOSITORY, put_apptainer, snakemake, write_fasta

from virnucflow import __version__

pytestmark = pytest.mark.long

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
    put_apptainer(tmp_path / "bin")
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


def test_programs_see_workflow_model_and_input(
    folder: Path, apptainer: dict[str, str], tmp_path: Path, pack_directory: Path
) -> None:
    (tmp_path / "a.sif").touch()
    shutil.copytree(pack_directory, tmp_path / "packs" / "mine")
    apptainer["APPTAINER_BIND"] = "/mine"
    places = {"container": str(tmp_path / "a.sif"), "model_pack": str(tmp_path / "packs" / "mine")}
    contained(folder, "--no-hooks", environment=apptainer, **places)
    bound, _, arguments = (folder / "apptainer.log").read_text().partition(" exec ")
    outside = {REPOSITORY, tmp_path / "packs" / "mine", tmp_path / "there", tmp_path / "elsewhere"}
    assert set(bound.split(",")) == {"/mine", *map(str, outside)}
    assert f" {tmp_path}/a.sif bash -c " in arguments
    assert (folder / SPLIT).exists()


def test_run_json_names_the_image(folder: Path, apptainer: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.sif").write_bytes(b"an image")
    snakemake(folder, "--sdm", "apptainer", environment=apptainer, container=str(tmp_path / "a.sif"))
    run = json.loads((folder / "results" / "a" / "a.run.json").read_text())
    assert run["container"] == {"image": f"{tmp_path}/a.sif", "sha256": hashlib.sha256(b"an image").hexdigest()}


def bound(folder: Path, apptainer: dict[str, str], **settings: object) -> set[str]:
    """The folders that a job's container is given."""
    (folder.parent / "a.sif").touch()
    contained(folder, "--no-hooks", environment=apptainer, container=str(folder.parent / "a.sif"), **settings)
    return set((folder / "apptainer.log").read_text().partition(" exec ")[0].split(","))


def test_programs_see_what_is_read_and_made_elsewhere(folder: Path, apptainer: dict[str, str], tmp_path: Path) -> None:
    """Of what is not there yet, the nearest folder that is."""
    for name in ("catalogue", "packs", "made", "by hand", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "catalogue" / "models.yaml").write_text("{}")
    settings = {"catalogue": f"{tmp_path}/catalogue/models.yaml", "published_files": "../by hand"}
    settings |= {"training": {"trained_pack": f"{tmp_path}/made/new/pack"}, "reference_run": f"{tmp_path}/run"}
    before = set(tmp_path.iterdir())
    found = bound(folder, apptainer, **settings)
    assert found >= {str(tmp_path / name) for name in ("catalogue", "made", "by hand", "run")}
    assert not any(path.startswith(str(folder)) for path in found)
    assert set(tmp_path.iterdir()) - before == {tmp_path / "a.sif"}


def test_pack_that_is_to_be_fetched_is_seen_by_the_folder_above_it(
    folder: Path, apptainer: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "packs").mkdir()
    (tmp_path / "a.sif").touch()
    settings = {"model_pack": f"{tmp_path}/packs/deep/virnucpro-500", "container": str(tmp_path / "a.sif")}
    settings |= {"published_files": "absent"}  # which ends it at once
    snakemake(folder, "fetch_models", "--sdm", "apptainer", code=None, environment=apptainer, **settings)
    log = (folder / "apptainer.log").read_text()
    assert str(tmp_path / "packs") in log.partition(" exec ")[0].split(",")


@pytest.mark.parametrize("name", ["a,b", "a:b"])
def test_folder_that_cannot_be_shown_is_refused_in_one_line(
    name: str, folder: Path, apptainer: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.fa").write_text(">a\nACGT\n")
    (folder / "samples.tsv").write_text(f"sample\tfasta\na\t{tmp_path}/{name}/a.fa\n")
    said = contained(folder, "-n", code=1, environment=apptainer)
    assert f"samples: {tmp_path}/{name}: Apptainer takes no folder with a comma or colon; rename it" in said
    snakemake(folder, SPLIT, "-n")


def test_trained_pack_that_no_container_could_make(folder: Path, apptainer: dict[str, str]) -> None:
    said = contained(folder, "-n", code=1, environment=apptainer, training={"trained_pack": "/not there/pack"})
    assert (
        "training: trained_pack: /not there/pack: there is no folder above it" in said
        and not Path("/not there").exists()
    )


def test_missing_apptainer_is_told_before_the_first_job(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for program in ("bash", "which"):
        (tmp_path / "few" / program).symlink_to(shutil.which(program))
    said = contained(folder, code=1, environment={"PATH": f"{tmp_path}/few"}, container="absent.sif")
    assert said.count("apptainer: no such command here, and programs are to run in an image") == 1
    assert "Traceback" not in said and "File " not in said
    assert not (folder / "work").exists()


def test_without_an_image_programs_run_where_snakemake_does(folder: Path, apptainer: dict[str, str]) -> None:
    contained(folder, "--config", "container=", environment=apptainer)
    assert (folder / SPLIT).exists() and not (folder / "apptainer.log").exists()
