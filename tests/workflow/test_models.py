"""Model packs as a user gets and checks them: fetch_models, check_models, and a run with a pack that is not there."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import planned_jobs, rehash, snakemake, write_fasta
from published import NAME, RECIPE, Published
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.long

ESM2 = "esm2.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_fasta(tmp_path / "a.fa", {"a": "GCCGCAGCTGCG" * 10})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\ta.fa\n")
    return tmp_path


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a pack that was made of files brought by hand."""
    folder = tmp_path_factory.mktemp("fetched")
    write_fasta(folder / "a.fa", {"a": "GCCGCAGCTGCG" * 10})
    (folder / "samples.tsv").write_text("sample\tfasta\na\ta.fa\n")
    published = Published(folder / "by hand")
    published.write_catalogue(folder / "models.yaml")
    said = snakemake(folder, "fetch_models", model_pack=NAME, catalogue="models.yaml", published_files="by hand")
    assert f"models/{NAME} is ready, for chunk_length: 500" in said
    assert f"models/{NAME} is ready" in (folder / "logs" / "fetch_models.log").read_text()
    return folder


def test_a_second_fetch_does_nothing(fetched: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (fetched / "models").rglob("*")}
    said = snakemake(fetched, "fetch_models", model_pack=NAME, catalogue="models.yaml", published_files="by hand")
    assert f"models/{NAME} is there and whole: nothing to do" in said
    assert {path: path.stat().st_mtime_ns for path in (fetched / "models").rglob("*")} == before


def test_fetched_pack_is_checked_and_run(fetched: Path) -> None:
    said = snakemake(fetched, "check_models", model_pack=NAME)
    for what in ("dnabert_s, standard fp32 (softmax)", "esm2, flash fp32 (sdpa)", "scores, flash fp32"):
        assert f"{what}: differs by " in said
    assert "passed: virnucpro-500 on cpu computes what it should" in said
    said = snakemake(fetched, model_pack=f"models/{NAME}", check_models_at_start=True)
    (log,) = (fetched / "logs" / "embed_esm2" / "a").glob("flash-*/00001.log")
    assert "esm2 differs by" in log.read_text()
    run = json.loads((fetched / "results" / "a" / "a.run.json").read_text())
    assert (run["model"], run["trained"]) == (NAME, True)
    assert planned_jobs(snakemake(fetched, "-n", model_pack=NAME)) == {}, "checking computes everything again"


def test_fetch_that_fails_says_why_in_one_line(folder: Path) -> None:
    published = Published(folder / "by hand")
    published.write_catalogue(folder / "models.yaml")
    published.path(RECIPE.classifier).unlink()
    said = snakemake(
        folder, "fetch_models", code=1, model_pack=NAME, catalogue="models.yaml", published_files="by hand"
    )
    assert f"fetch_models.py: error: by hand/{RECIPE.classifier}: no such file; bring it from http://" in said
    assert not (folder / "models" / NAME).exists()
    said = snakemake(folder, "fetch_models", code=1)
    assert "knows no pack 'untrained'; set model_pack to one of virnucpro-500, virnucpro-300" in said


def test_check_of_the_untrained_pack(folder: Path) -> None:
    assert "passed: untrained on cpu computes what it should" in snakemake(folder, "check_models")


def test_damaged_weights_do_not_pass(fetched: Path, folder: Path) -> None:
    """Weights that are not the published ones, in a pack that is consistent in itself."""
    pack = Path(shutil.copytree(fetched / "models" / NAME, folder / "mine"))
    tensors = load_file(pack / ESM2)
    tensors["layers.1.fc2.weight"] = torch.zeros_like(tensors["layers.1.fc2.weight"])
    save_file(tensors, pack / ESM2)
    rehash(pack)
    said = snakemake(folder, "check_models", code=1, model_pack="mine")
    assert "check_models.py: error: mine: esm2, standard fp32 (fair-esm) differs by" in said
    assert "may differ by 1e-03" in said and "dnabert_s, standard fp32 (softmax): differs by 0.0e+00" in said
    said = snakemake(folder, code=1, model_pack="mine", check_models_at_start=True)
    assert "embed_esm2.py: error: mine: esm2 differs by" in said and "see check_models" in said
    assert not (folder / "results").exists()
