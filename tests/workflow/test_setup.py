"""The check before the first job: it stops the run, and nothing of it is left."""

import shutil
from pathlib import Path

import pytest
from helpers import snakemake, write_fasta


@pytest.fixture
def folder(tmp_path: Path, pack_directory: Path) -> Path:
    write_fasta(tmp_path / "one.fa", {"one": "GCCGCAGCTGCG" * 50})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tone.fa\n")
    shutil.copytree(pack_directory, tmp_path / "mine")
    return tmp_path


def test_problem_stops_the_run_before_the_first_job(folder: Path) -> None:
    weights = (folder / "mine" / "esm2.safetensors").read_bytes()
    (folder / "mine" / "esm2.safetensors").write_bytes(weights[:-100])
    (folder / "mine" / "tokenizer.json").write_text("{")
    for options in (["-n"], []):
        said = snakemake(folder, *options, model_pack="mine", code=1)
        assert f"mine/esm2.safetensors: {len(weights) - 100} bytes instead of {len(weights)}; restore" in said
        assert "mine/tokenizer.json: cut or damaged" in said and "Traceback" not in said
        assert not (folder / "work").exists()
    (folder / "mine" / "esm2.safetensors").write_bytes(weights)
    (folder / "mine" / "tokenizer.json").write_text("{}")
    snakemake(folder, "work/a/sequences.parquet", model_pack="mine")  # not locked


def test_disk_that_is_too_small(folder: Path) -> None:
    with (folder / "one.fa").open("ab") as file:
        file.truncate(int(1e13))
    said = snakemake(folder, "work/a/sequences.parquet", code=1, shards=1)
    assert "check_setup.py: error: work: about 20000.0 GB are needed" in said
    assert not (folder / "work").exists()
