"""`snakemake train`: from labelled FASTA files to a pack that the workflow runs with."""

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqFeature import SeqFeature, SimpleLocation
from Bio.SeqRecord import SeqRecord
from helpers import EXAMPLE, planned_jobs, snakemake, write_fasta
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from virnucflow.packs.pack import Scaling, read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER
from virnucflow.scoring.classifier import load_classifier
from virnucflow.sequences.fasta import read_fasta
from virnucflow.training.fit import differences

pytestmark = pytest.mark.long

QUICK = {"hidden": 16, "epochs": 3, "learning_rate": 0.01}


def write_genbank(path: Path, pieces: list[str]) -> None:
    """The pieces of the phage as records, annotated with their stretches of 100 codons without a stop on one strand."""
    records = []
    for i, piece in enumerate(pieces):
        record = SeqRecord(Seq(piece), f"phage{i}", f"phage{i}", "a piece", annotations={"molecule_type": "DNA"})
        for offset in range(3):
            start = offset
            for protein in Seq(piece[offset : len(piece) - (len(piece) - offset) % 3]).translate().split("*"):
                if len(protein) >= 100:
                    place = SimpleLocation(start, start + 3 * len(protein), strand=1)
                    record.features.append(SeqFeature(place, "CDS", qualifiers={"translation": str(protein)}))
                start += 3 * len(protein) + 3
        records.append(record)
    with gzip.open(path, "wt") as file:
        SeqIO.write(records, file, "genbank")


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
    table.drop(columns="cluster").to_csv(folder / "no_clusters.tsv", sep="\t", index=False)
    write_genbank(folder / "phage.gb.gz", pieces["phage"])
    for name, labels in (("annotated", "labels.tsv"), ("no_clusters", "no_clusters.tsv")):
        (folder / f"{name}_samples.tsv").write_text(
            f"sample\tfasta\tlabels\ng\tphage.gb.gz\t{labels}\nh\tcoli.fa\t{labels}\n"
        )
    snakemake(folder, "train", shards=2, training=QUICK | {"split_by": "cluster"})
    return folder


def pack(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "models" / "trained").iterdir()}


def test_the_pack_is_whole_and_says_what_it_is(folder: Path) -> None:
    description = json.loads(pack(folder)["pack.json"])
    assert description["name"] == "trained" and description["quality"]["number"] > 0
    assert "encoders of untrained" in description["provenance"]
    evaluation = pd.read_csv(folder / "models" / "trained" / "evaluation.tsv", sep="\t")
    assert set(evaluation["scored"]) == {"frame", "chunk", "sequence", "sequence by mean"}
    assert set(evaluation[evaluation["by"] == "group"]["value"]) == {"phage", "coli"}
    chunks = evaluation[evaluation["scored"] == "chunk"].groupby("by")["number"].sum()
    assert chunks["gc"] == chunks["frames"] == chunks["all"] and chunks["strand"] >= chunks["all"]
    assert set(evaluation[evaluation["scored"].isin(["frame", "sequence"])]["by"]) == {"all", "group"}
    lengths = evaluation[evaluation["scored"] == "sequence by mean"]
    assert list(lengths["by"]) == ["sequence_length"] and list(lengths["value"]) == ["1000 and more"]
    of_genomes = pd.read_csv(folder / "models" / "trained" / "by_genome.tsv", sep="\t", keep_default_na=False)
    assert set(of_genomes["group"]) == {"all", "phage", "coli"}
    # Two or three pieces of 1,200 bases are a cluster; of these a few have ten chunks with a frame, or none has.
    assert (of_genomes["genomes"].astype(int) + of_genomes["left_out"].astype(int) > 0).all()
    assert len(pd.read_csv(folder / "models" / "trained" / "thresholds.tsv", sep="\t")) == 6
    assert (folder / "models" / "trained" / "worst_genomes.tsv").read_text().startswith("threshold_for\tthreshold\t")
    bins = pd.read_csv(folder / "models" / "trained" / "reliability.tsv", sep="\t")
    assert bins["number"].sum() == chunks["all"] and set(bins["length"]) == {500}
    assert b"<svg" in pack(folder)["reliability.svg"]
    card = pack(folder)["MODEL_CARD.md"].decode()
    assert "split by `cluster`" in card and "### By genome" in card and "not VirNucPro's published model" in card


def test_the_same_training_gives_the_same_bytes(folder: Path) -> None:
    before = pack(folder)
    snakemake(folder, "train", "--forcerun", "train_classifier", shards=2, training=QUICK | {"split_by": "cluster"})
    assert pack(folder) == before


def test_another_seed_trains_again(folder: Path) -> None:
    said = snakemake(folder, "train", "-n", shards=2, training=QUICK | {"split_by": "cluster", "seed": 1})
    assert planned_jobs(said) == {"train_classifier": 1, "train": 1}


def test_the_workflow_runs_with_the_trained_pack(folder: Path) -> None:
    """The pack that is in use is no longer a target, and the encoders' embeddings are those it was trained on."""
    said = snakemake(folder, model_pack="models/trained", shards=2)
    assert "  results/v/\n" in said
    summary = pd.read_csv(folder / "results" / "v" / "v.sequences.tsv", sep="\t")
    assert summary["best_score"].nunique() > 20
    assert (summary["score"].notna() == summary["call"].notna()).all() and summary["score"].nunique() > 10
    trained = read_model_pack(folder / "models" / "trained", 500)
    assert trained.frames == "whole" and trained.calibration and trained.calibration.longest is None


def test_a_split_given_by_hand_is_used(folder: Path) -> None:
    snakemake(folder, "train", shards=2, training=QUICK | {"split_by": "split", "trained_pack": "models/by_hand"})
    description = json.loads((folder / "models" / "by_hand" / "pack.json").read_text())
    assert '"test": {"others": 8, "virus": 10}' in description["provenance"]
    evaluation = pd.read_csv(folder / "models" / "by_hand" / "evaluation.tsv", sep="\t")
    # The sequences without a frame count, with score 0.
    assert evaluation.query("scored == 'sequence' and by == 'all'")["number"].item() == 18


def test_a_pack_for_every_chunk_is_trained_on_whole_frames_encoders(folder: Path) -> None:
    """With the longest stretches of chunks without a frame, which a run with that pack embeds no second time."""
    training = QUICK | {"split_by": "split", "trained_pack": "models/every chunk", "frames": "longest"}
    alone = {"shards": 2, "shard_megabases": 0.001}  # in a batch embeddings would be taken from the store
    snakemake(folder, "train", model_pack="models/trained", training=training, **alone)
    trained = read_model_pack(folder / "models" / "every chunk", 500)
    evaluation = pd.read_csv(trained.directory / "evaluation.tsv", sep="\t")
    kinds = evaluation.query("by == 'kind'").set_index("value")["number"]
    assert trained.frames == "longest" and trained.calibration and (kinds[["whole", "longest"]] > 5).all()
    assert trained.calibration.whole == Scaling(1.0, 0.0) and 0.2 < trained.calibration.prevalence < 0.8
    assert "by its longest stretch" in (trained.directory / "MODEL_CARD.md").read_text()
    jobs = planned_jobs(snakemake(folder, "-n", model_pack="models/every chunk", **alone))
    assert "predict" in jobs and not {job for job in jobs if job.startswith("embed")}
    snakemake(folder, model_pack="models/every chunk", **alone)
    chunks = pd.concat(pd.read_csv(folder / "results" / sample / f"{sample}.chunks.tsv", sep="\t") for sample in "vh")
    assert (chunks["kind"].value_counts()[["whole", "longest"]] > 20).all()
    # TTAA, over and over, has no stretch of 30 codons, and the last chunk of a sequence may be too short for one.
    unscored = chunks[chunks["kind"].isna()]
    assert ((unscored["sequence_id"] == "coli32") | (unscored["chunk"] == 3)).all()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("family", "no column 'family' to split by"),
        ("label", "no frame of virus for"),
    ],
)
def test_splits_that_cannot_be_are_refused(column: str, message: str, folder: Path) -> None:
    said = snakemake(folder, "train", code=1, shards=2, training={"trained_pack": "models/other", "split_by": column})
    assert message in said and "Traceback" not in said
    assert not (folder / "models" / "other" / "pack.json").exists()


def test_samples_without_labels_are_refused(folder: Path, tmp_path: Path) -> None:
    write_fasta(tmp_path / "one.fa", {"one": "GCCGCAGCTGCG" * 30})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tone.fa\n")
    assert "add the column labels" in snakemake(tmp_path, "train", code=1)


def frame_table(folder: Path, sample: str) -> pd.DataFrame:
    shards = sorted((folder / "work" / sample / "frames").glob("*.parquet"))
    frames = pd.concat(map(pd.read_parquet, shards))
    return frames[frames["kind"] == "whole"].reset_index(drop=True)  # those that the untrained pack takes


def features(folder: Path, sample: str) -> torch.Tensor:
    of_encoders = (
        sorted((folder / "work" / sample / "embeddings" / f"{encoder}-untrained-flash-auto").glob("*.safetensors"))
        for encoder in ("dnabert_s", "esm2")
    )
    return torch.cat(
        [torch.cat([load_file(file)["embedding"] for file in shard], 1) for shard in zip(*of_encoders, strict=True)]
    )


@pytest.fixture(scope="module")
def trained_on(folder: Path) -> Path:
    """Packs trained on all frames and on annotated ones, of the same split."""
    for train_on in ("all", "annotated"):
        snakemake(
            folder, "train", samples="annotated_samples.tsv", shards=2,
            training=QUICK | {"split_by": "split", "train_on": train_on, "trained_pack": f"models/{train_on}"},
        )  # fmt: skip
        (folder / "logs" / "train_classifier.log").rename(folder / f"{train_on}.log")
    return folder


def test_genbank_records_are_the_sequences_that_fasta_is(trained_on: Path) -> None:
    given, known = (frame_table(trained_on, sample) for sample in ("g", "v"))
    assert given.equals(known)


def test_annotated_frames_alone_are_trained_on_and_all_are_scored(trained_on: Path) -> None:
    frames = frame_table(trained_on, "g")
    proteins = pd.read_parquet(trained_on / "work" / "g" / "proteins.parquet").set_index("sequence_id")["proteins"]
    within = [any(f.protein in protein for protein in proteins[f.sequence_id]) for f in frames.itertuples()]
    split = pd.read_csv(trained_on / "labels.tsv", sep="\t").set_index("sequence_id")["split"]
    of_train = (frames["sequence_id"].map(split) == "train").to_numpy()
    kept, every = int((of_train & within).sum()), int(of_train.sum())
    assert 10 < kept < every - 10
    hosts = int((frame_table(trained_on, "h")["sequence_id"].map(split) == "train").sum())
    said = (trained_on / "annotated.log").read_text()
    assert f"train: {kept} of {every} frames are part of an annotated protein; {hosts} more are of sequences" in said
    packs = [trained_on / "models" / name for name in ("all", "annotated")]
    assert len({(pack / "classifier.safetensors").read_bytes() for pack in packs}) == 2
    every, annotated = (
        pd.read_csv(pack / "evaluation.tsv", sep="\t")[["scored", "by", "value", "number", "viral"]] for pack in packs
    )
    assert every.equals(annotated)
    assert "part of an annotated one" in (packs[1] / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("train_on", ["all", "annotated"])
def test_scores_are_calibrated_over_all_frames(train_on: str, trained_on: Path) -> None:
    """What was calibrated on the validation chunks, by the best of all their frames, needs no more of it there."""
    classifier = load_classifier(read_model_pack(trained_on / "models" / train_on))
    split = pd.read_csv(trained_on / "labels.tsv", sep="\t").set_index("sequence_id")["split"]
    best = []
    for sample in "gh":
        table = frame_table(trained_on, sample).assign(
            viral=sample == "g", difference=differences(classifier, features(trained_on, sample))
        )
        table = table[table["sequence_id"].map(split) == "validation"]
        best.append(table.groupby(["sequence_id", "chunk"]).agg({"difference": "max", "viral": "first"}))
    chunks = pd.concat(best)
    again = LogisticRegression(C=1e6).fit(chunks[["difference"]].to_numpy(), chunks["viral"].astype(bool))
    assert np.allclose([again.coef_.item(), again.intercept_.item()], [1, 0], atol=0.02)


def test_annotated_frames_of_fasta_files_alone_are_refused(folder: Path) -> None:
    said = snakemake(
        folder, "train", code=1, shards=2, training={"trained_pack": "models/other", "train_on": "annotated"}
    )
    assert "no sample with labels is of GenBank records; give such files, or training: train_on: all" in said


def test_clusters_are_computed_where_the_labels_have_none(folder: Path) -> None:
    """By default; the pieces of one genome do not overlap, so that each is a cluster."""
    settings = {"samples": "no_clusters_samples.tsv", "shards": 2}
    training = QUICK | {"trained_pack": "models/clusters", "epochs": 30}  # few sequences are to be told apart
    snakemake(folder, "train", **settings, training=training)
    assert len(pd.read_parquet(folder / "work" / "clusters.parquet")["cluster"].unique()) == 74
    card = (folder / "models" / "clusters" / "MODEL_CARD.md").read_text()
    assert "split by `cluster`" in card
    jobs = planned_jobs(snakemake(folder, "train", "-n", "--forceall", **settings, training=training))
    assert jobs["cluster_sequences"] == 1 and "list_proteins" not in jobs
    training["split_by"] = "family"
    jobs = planned_jobs(snakemake(folder, "train", "-n", "--forceall", **settings, training=training))
    assert "cluster_sequences" not in jobs


def test_labels_of_other_names_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("sequence_id\tlabel\nphage0.1\tvirus\n")
    write_fasta(tmp_path / "one.fa", {"phage0": "GCCGCAGCTGCG" * 30})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\tlabels\na\tone.fa\tlabels.tsv\n")
    said = snakemake(tmp_path, "train", code=1)
    assert "0 sequences in 0 clusters" in (tmp_path / "logs" / "cluster_sequences.log").read_text()
    assert "its samples have none of its sequences, for example 'phage0.1'; give the first word" in said


def test_encoders_without_a_classifier_are_enough(folder: Path) -> None:
    encoders = folder / "models" / "encoders"
    shutil.copytree(folder / "models" / "untrained", encoders)
    description = json.loads((encoders / "pack.json").read_text()) | {"chunk_lengths": []}
    (encoders / CLASSIFIER).unlink()
    description["sha256"].pop(CLASSIFIER)
    (encoders / "pack.json").write_text(json.dumps(description))
    training = QUICK | {"trained_pack": "models/own", "split_by": "split"}
    settings = {"model_pack": "models/encoders", "shards": 2, "training": training}
    before = {path: path.stat().st_mtime_ns for path in encoders.iterdir()}
    snakemake(folder, "train", **settings)
    assert (folder / "models" / "own" / CLASSIFIER).exists()
    # Training leaves the encoders alone, so nothing is to be computed again.
    assert {path: path.stat().st_mtime_ns for path in encoders.iterdir()} == before
    assert planned_jobs(snakemake(folder, "train", "-n", **settings)) == {}
    assert json.loads((folder / "models" / "own" / "pack.json").read_text())["chunk_lengths"] == [500]
