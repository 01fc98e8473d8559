"""`snakemake train`: from labelled FASTA files to a pack that the workflow runs with."""

import json
from pathlib import Path

import pandas as pd
import pytest
from helpers import EXAMPLE, planned_jobs, snakemake, write_fasta

from virnucflow.fasta import read_fasta

QUICK = {"training_hidden": 16, "training_epochs": 3, "training_learning_rate": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pieces of a phage and 32 of a bacterium, in a sample each; one has no frame and one no base."""
    folder = tmp_path_factory.mktemp("train")
    phage = next(read_fasta(EXAMPLE / "phage_lambda.fasta.gz")).sequence
    coli = next(read_fasta(EXAMPLE / "escherichia_coli.fasta")).sequence
    pieces = {
        "phage": [phage[i * 1200 :][:1200] for i in range(40)],
        "coli": [coli[i * 1200 :][:1200] for i in range(32)],
    }
    pieces["coli"] += ["TTAA" * 300, ""]
    rows = []
    for name, sequences in pieces.items():
        write_fasta(folder / f"{name}.fa", {f"{name}{i}": sequence for i, sequence in enumerate(sequences)})
        label = "virus" if name == "phage" else "others"
        rows += [(f"{name}{i}", label, name, f"{name}{i % 32 // 2}") for i in range(len(sequences))]
    table = pd.DataFrame(rows, columns=["sequence_id", "label", "group", "cluster"])
    table["split"] = [("train", "train", "validation", "test")[i % 4] for i in range(len(table))]
    table.to_csv(folder / "labels.tsv", sep="\t", index=False)
    (folder / "samples.tsv").write_text("sample\tfasta\tlabels\nv\tphage.fa\tlabels.tsv\nh\tcoli.fa\tlabels.tsv\n")
    snakemake(folder, "train", split_by="cluster", shards=2, **QUICK)
    return folder


def pack(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "models" / "trained").iterdir()}


def test_the_pack_is_whole_and_says_what_it_is(folder: Path) -> None:
    description = json.loads(pack(folder)["pack.json"])
    assert description["name"] == "trained" and description["quality"]["number"] > 0
    assert "encoders of untrained" in description["provenance"]
    evaluation = pd.read_csv(folder / "models" / "trained" / "evaluation.tsv", sep="\t")
    assert set(evaluation["scored"]) == {"frame", "chunk", "sequence"}
    assert set(evaluation[evaluation["by"] == "group"]["value"]) == {"phage", "coli"}
    chunks = evaluation[evaluation["scored"] == "chunk"].groupby("by")["number"].sum()
    assert chunks["gc"] == chunks["frames"] == chunks["all"] and chunks["strand"] >= chunks["all"]
    assert set(evaluation[evaluation["scored"] != "chunk"]["by"]) == {"all", "group"}
    bins = pd.read_csv(folder / "models" / "trained" / "reliability.tsv", sep="\t")
    assert bins["number"].sum() == chunks["all"] and set(bins["length"]) == {500}
    assert b"<svg" in pack(folder)["reliability.svg"]
    card = pack(folder)["MODEL_CARD.md"].decode()
    assert "split by `cluster`" in card and "not VirNucPro's published model" in card


def test_the_same_training_gives_the_same_bytes(folder: Path) -> None:
    before = pack(folder)
    snakemake(folder, "train", "--forcerun", "train_classifier", split_by="cluster", shards=2, **QUICK)
    assert pack(folder) == before


def test_another_seed_trains_again(folder: Path) -> None:
    said = snakemake(folder, "train", "-n", split_by="cluster", shards=2, training_seed=1, **QUICK)
    assert planned_jobs(said) == {"train_classifier": 1, "train": 1}


def test_the_workflow_runs_with_the_trained_pack(folder: Path) -> None:
    """The pack that is in use is no longer a target, and the encoders' embeddings are those it was trained on."""
    said = snakemake(folder, model="models/trained", shards=2)
    assert "Results of v" in said
    summary = pd.read_csv(folder / "results" / "v" / "sequences.tsv", sep="\t")
    assert summary["best_score"].nunique() > 20


def test_a_split_given_by_hand_is_used(folder: Path) -> None:
    snakemake(folder, "train", split_by="split", trained_model="models/by_hand", shards=2, **QUICK)
    description = json.loads((folder / "models" / "by_hand" / "pack.json").read_text())
    assert '"test": {"others": 8, "virus": 10}' in description["provenance"]
    evaluation = pd.read_csv(folder / "models" / "by_hand" / "evaluation.tsv", sep="\t")
    # The sequences without a frame count, with score 0.
    assert evaluation.query("scored == 'sequence' and by == 'all'")["number"].item() == 18


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split_by": "family"}, "no column 'family' to split by"),
        ({"split_by": "label"}, "no frame of virus for"),
    ],
)
def test_splits_that_cannot_be_are_refused(settings: dict, message: str, folder: Path) -> None:
    said = snakemake(folder, "train", code=1, trained_model="models/other", shards=2, **settings)
    assert message in said and "Traceback" not in said
    assert not (folder / "models" / "other" / "pack.json").exists()


def test_samples_without_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    write_fasta(tmp_path / "one.fa", {"one": "GCCGCAGCTGCG" * 30})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tone.fa\n")
    assert "add the column labels" in snakemake(tmp_path, "train", code=1)
