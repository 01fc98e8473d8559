"""What a run needs and is not there stops it before anything is planned: old results are never taken for new ones."""

import json
import os
import shutil
from pathlib import Path

import pytest
from helpers import REPOSITORY, planned_jobs, snakemake, tree, write_fasta

pytestmark = pytest.mark.long

SHEET = "sample\tfasta\tlabels\n"


def refused(folder: Path, *arguments: str, **config: object) -> list[str]:
    """The lines in which a run was refused, after it was seen to leave all results as they were."""
    before = tree(folder / "results")
    said = snakemake(folder, *arguments, code=1, **{"shards": 3} | config)
    assert "Nothing to be done" not in said and "Building DAG" not in said and "Traceback" not in said
    assert tree(folder / "results") == before
    return said.partition("Refused:\n")[2].splitlines()


# What the sheet's row says instead of the file, and what is said about it.
NOT_THERE = {
    "a typo": ("data/b_typo.fa", "line 2: fasta: data/b_typo.fa is not there; check the path"),
    "a home folder": ("~/v1.fa", "line 2: fasta: ~/v1.fa is not there; a home folder or variable is not expanded"),
    "a variable": ("$HOME/v1.fa", "line 2: fasta: $HOME/v1.fa is not there; a home folder or variable is not expanded"),
    "a dead link": ("dead.fa", "line 2: fasta: dead.fa is a link to a file that is not there"),
    "a folder": ("work", "line 2: fasta: work is a folder; name the file in it"),
    "a pipe": ("pipe", "line 2: fasta: pipe is no regular file"),
    "a second file": ("v1.fa\t\nv1\tv2.fa", "line 3: fasta: v2.fa is not there"),
    "labels": ("v1.fa\tlabels.tsv", "line 2: labels: labels.tsv is not there"),
    "all at once": ("a.fa\tb.tsv\nother\tc.fa", "line 3: fasta: c.fa is not there"),
}


@pytest.mark.parametrize("kind", NOT_THERE)
def test_a_missing_input_stops_a_finished_sample(kind: str, copy: Path) -> None:
    row, message = NOT_THERE[kind]
    (copy / "dead.fa").symlink_to("nowhere.fa")
    os.mkfifo(copy / "pipe")
    (copy / "samples.tsv").write_text(f"{SHEET}v1\t{row}\n")
    lines = refused(copy, "-n")
    assert any(message in line for line in lines) and all(
        line.startswith("samples: samples.tsv, line ") for line in lines
    )
    assert len(lines) == (3 if kind == "all at once" else 1)


@pytest.mark.parametrize(
    "config", [{}, {"chunk_length": 300}, {"attention": "standard"}, {"gate": {"frames": 50}}], ids=str
)
def test_no_other_setting_lets_it_pass(config: dict, copy: Path) -> None:
    (copy / "samples.tsv").write_text(f"{SHEET}v1\tdata/b_typo.fa\n")
    assert "data/b_typo.fa is not there" in refused(copy, **config)[0]


def test_a_pack_that_is_not_there_or_not_whole_stops_a_finished_run(copy: Path) -> None:
    assert "did you mean lite?" in refused(copy, model_pack="lte")[0]
    assert (
        "make it first: snakemake --profile local fetch_models --config model_pack=virnucpro-500"
        in refused(copy, "-n", model_pack="virnucpro-500")[0]
    )
    shutil.copytree(REPOSITORY / "resources" / "models" / "lite", copy / "cut")
    weights = copy / "cut" / "esm2.safetensors"
    os.truncate(weights, weights.stat().st_size - 1)
    assert "cut/esm2.safetensors: " in refused(copy, "-n", model_pack="cut")[0]
    (copy / "cut" / "pack.json").unlink()
    assert "model_pack: cut is no model pack, as it has no pack.json" in refused(copy, "-n", model_pack="cut")[0]
    lines = refused(copy, "-n", catalogue="nowhere.yaml", reference_run="nowhere")
    assert lines == [
        "catalogue: nowhere.yaml is not there; check the path",
        "reference_run: nowhere is no directory; check the path",
    ]


def test_a_pack_without_a_classifier_is_for_training_alone(copy: Path) -> None:
    shutil.copytree(REPOSITORY / "resources" / "models" / "lite", copy / "encoders")
    description = json.loads((copy / "encoders" / "pack.json").read_text())
    del description["sha256"]["classifier.safetensors"]
    (copy / "encoders" / "pack.json").write_text(json.dumps(description))
    assert "sha256 has no classifier.safetensors" in refused(copy, "-n", model_pack="encoders")[0]
    (copy / "encoders" / "pack.json").write_text(json.dumps(description | {"chunk_lengths": []}))
    (copy / "encoders" / "classifier.safetensors").unlink()
    assert "model_pack: encoders has no classifier; train one on it" in refused(copy, "-n", model_pack="encoders")[0]
    assert planned_jobs(snakemake(copy, "check_models", "-n", model_pack="encoders")) == {"check_models": 1}
    (copy / "labels.tsv").write_text("sequence_id\tlabel\nv1\tvirus\n")
    (copy / "samples.tsv").write_text(f"{SHEET}v1\tv1.fa\tlabels.tsv\n")
    assert planned_jobs(snakemake(copy, "train", "-n", model_pack="encoders"))["train_classifier"] == 1


def test_results_without_snakemakes_record_of_what_made_them_are_not_up_to_date(copy: Path) -> None:
    """As of a copy without hidden folders; any setting would pass for the one that they were made with."""
    shutil.rmtree(copy / ".snakemake")
    assert "results/mixed: Snakemake has no record of what made it" in refused(copy, "-n")[0]
    assert len(refused(copy, "-n", chunk_length=300)) == 1
    shutil.rmtree(copy / "results")
    assert "work/mixed: Snakemake has no record" in snakemake(copy, "-n", shards=3, code=1)
    shutil.rmtree(copy / "work")
    assert planned_jobs(snakemake(copy, "-n", shards=3))["write_results"] == 2


def test_results_without_a_record_can_be_vouched_for(copy: Path) -> None:
    shutil.rmtree(copy / ".snakemake")
    snakemake(copy, "--touch", "--forceall", shards=3)
    assert planned_jobs(snakemake(copy, "-n", shards=3)) == {}
    assert planned_jobs(snakemake(copy, "-n", shards=3, chunk_length=300))["split_fasta"] == 2


def test_what_needs_less_is_not_stopped(copy: Path) -> None:
    (copy / "v1.fa").unlink()
    assert planned_jobs(snakemake(copy, "fetch_models", "-n", model_pack="virnucpro-500")) == {"fetch_models": 1}
    assert planned_jobs(snakemake(copy, "check_models", "-n", model_pack="lite")) == {"check_models": 1}
    for option in ("--unlock", "--lint", "--list-rules", "--summary"):
        snakemake(copy, option, code=None if option == "--lint" else 0)


MODULE = """
rule download:
    output:
        "made.fa",
    shell:
        "printf '>x\\nGCCGCAGCTGCG\\n' > {{output}}"

module virnucflow:
    snakefile: {snakefile!r}
    config: {config!r}

use rule * from virnucflow as virnucflow_*

rule mine:
    default_target: True
    input:
        rules.virnucflow_all.input,
"""


def test_files_that_a_rule_of_the_parent_makes_need_not_be_there(tmp_path: Path) -> None:
    config = {"samples": "samples.tsv", "device": "cpu", "gate": {"frames": 0}}
    text = MODULE.format(snakefile=str(REPOSITORY / "Snakefile"), config=config)
    (tmp_path / "Snakefile").write_text(text)
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tmade.fa\n")
    write_fasta(tmp_path / "config.yaml", {})
    said = snakemake(tmp_path, "-n", "--snakefile", str(tmp_path / "Snakefile"))
    assert planned_jobs(said)["download"] == 1
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tother.fa\n")
    assert "other.fa is not there" in snakemake(tmp_path, "-n", "--snakefile", str(tmp_path / "Snakefile"), code=1)
