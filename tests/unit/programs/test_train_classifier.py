"""What a classifier is trained on and evaluated on."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import run_program

from train_classifier import repeat_for_shards
from virnucflow.cli import InputError
from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.files.tables import FRAMES, SEQUENCES, digest, write_parquet
from virnucflow.files.tensors import save_rows
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack import ModelPack, Scaling, SequenceScaling, read_model_pack
from virnucflow.training.evaluation import evaluate, score_by_chunks

MEAN = SequenceScaling(1.0, 0.0, 0.0, 0.0, 1)


def test_a_sequence_without_a_frame_has_the_score_0() -> None:
    """It is called by nothing, so a virus without a frame is missed, and another sequence is no false positive."""
    listed = [("v", True), ("no_frame", False), ("h", False)]
    sequences = pd.DataFrame(listed, columns=["sequence_id", "viral"]).assign(
        table=0, sequence=range(3), sequence_length=500, group="g", genome=["v", "n", "h"], split="test"
    )
    frames = sequences.iloc[[0, 2]].assign(chunk=1, frame="F1", gc=0.5, annotated=None)
    logit = np.array([2.0, -2.0], dtype=np.float32)
    evaluation = evaluate(frames, sequences, logit, MEAN)["evaluation.tsv"]
    of_sequences = evaluation[(evaluation["scored"] == "sequence") & (evaluation["by"] == "all")].iloc[0]
    assert (of_sequences["number"], of_sequences["auroc"]) == (3, 1.0)
    evaluation = evaluate(frames, sequences.assign(viral=[True, True, False]), logit, MEAN)["evaluation.tsv"]
    of_sequences = evaluation[(evaluation["scored"] == "sequence") & (evaluation["by"] == "all")].iloc[0]
    assert of_sequences["auroc"] == 0.5


def test_a_sequence_has_the_score_that_the_workflow_gives_it_by_all_its_chunks() -> None:
    """Those of them that have one count; without any it is 0."""
    chunks = pd.DataFrame({"sequence": [0, 0, 1, 1, 1, 1, 2], "logit": [100, -100, 3, 0, 0, np.nan, np.nan]})
    score = score_by_chunks(chunks, SequenceScaling(2.0, 1.0, 0.5, 0.25, 2))
    of_two, of_three = 0.5 + 0.25 * np.log(2), (2 + np.log(2)) * 1 + 0.5 + 0.25 * np.log(2)
    assert dict(score) == pytest.approx({0: 1 / (1 + np.exp(-of_two)), 1: 1 / (1 + np.exp(-of_three)), 2: 0}, abs=1e-4)


def test_figures_are_by_the_genome_of_the_chunks() -> None:
    """Two genomes of 20 chunks, of which one has 15 false positives, in two sequences each; and a virus of 10."""
    frames = pd.DataFrame(
        [
            {"sequence_id": f"{genome}{i % 2}", "chunk": i, "genome": genome, "logit": 2.0 if i < high else -2.0}
            for genome, number, high in (("clean", 20, 0), ("bad", 20, 15), ("phage", 10, 10))
            for i in range(number)
        ]
    )
    frames = frames.assign(table=0, frame="F1", gc=0.5, annotated=None, split="test", viral=frames["genome"] == "phage")
    frames = frames.assign(sequence=frames["sequence_id"].factorize()[0], kind="whole", group=frames["genome"])
    two_frames = pd.concat([frames, frames.assign(frame="R1", logit=-3.0)], ignore_index=True)  # the best one counts
    sequences = frames.drop_duplicates("sequence_id").assign(sequence_length=[10_000, 900] * 3)
    no_frame = sequences.iloc[[0]].assign(sequence_id="no frame", sequence=6)
    sequences = pd.concat([sequences, no_frame], ignore_index=True)
    figures = evaluate(two_frames, sequences, two_frames["logit"].to_numpy(dtype=np.float32), MEAN)
    rows = figures["by_genome.tsv"].query("threshold_for == 'score 0.5'").set_index("group")
    assert (rows.loc["bad", "worst"], rows.loc["bad", "chunks"], rows.loc["phage", "worst"]) == (0.75, 20, 1)
    others = figures["by_genome.tsv"].query("group == 'all' and not viral").iloc[0]
    assert (others["genomes"], others["worst_genome"], others["above_15_percent"]) == (2, "bad", 0.5)
    worst = figures["worst_genomes.tsv"].query("threshold_for == 'score 0.5' and not viral")
    assert dict(zip(worst["genome"], worst["reached"])) == {"bad": 15, "clean": 0}
    thresholds = figures["thresholds.tsv"].set_index("score")
    assert thresholds.loc[0.5, "false_positive_rate"] == 15 / 40 and thresholds.loc[0.9, "sensitivity"] == 0
    evaluation = figures["evaluation.tsv"].set_index(["scored", "by", "value"])
    assert evaluation.loc[("chunk", "kind", "whole"), "number"] == 50
    long = evaluation.loc[("sequence by mean", "sequence_length", "1000 and more")]
    assert (long["number"], long["auroc"], long["false_positives_at_90_percent_sensitivity"]) == (4, 1, 0)


def files(shards: list[int] | None, **changed: list[str]) -> Namespace:
    """Arguments of two samples, of which the first has two shards."""
    of_shards = ["a1", "a2", "b1"]
    given = {"frames": of_shards, "dnabert_s": of_shards, "esm2": of_shards, "proteins": None}
    return Namespace(**given | {"labels": ["a", "b"], "sequences": ["x", "y"], "shards": shards} | changed)


def test_what_a_sample_has_is_for_each_of_its_shards() -> None:
    arguments = files([2, 1], proteins=["p", "q"])
    repeat_for_shards(arguments)
    assert arguments.labels == ["a", "a", "b"] and arguments.sequences == ["x", "x", "y"]
    assert arguments.proteins == ["p", "p", "q"] and arguments.frames == ["a1", "a2", "b1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (files(None), "--frames: 3 for 2 of --labels with 2 shards; give 2"),
        (files([3]), "--shards: 1 for 2 of --labels with 3 shards; give 2"),
        (files([2, 1], sequences=["x"]), "--sequences: 1 for 2 of --labels with 3 shards; give 2"),
        (files([2, 1], dnabert_s=["a1"]), "--dnabert-s: 1 for 2 of --labels with 3 shards; give 3"),
        (files([2, 1], proteins=["p"]), "--proteins: 1 for 2 of --labels with 3 shards; give 2"),
    ],
)
def test_files_that_are_too_many_or_too_few_are_refused(arguments: Namespace, message: str) -> None:
    with pytest.raises(InputError, match=message):
        repeat_for_shards(arguments)


@pytest.fixture(scope="module")
def embedded(pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of two to five chunks, a third of them viruses, with embeddings that tell them apart, not perfectly.

    The first chunk of a sequence is of another kind than the others.
    """
    folder, random = tmp_path_factory.mktemp("embedded"), np.random.default_rng(0)
    numbers = {f"s{i}": 2 + i % 4 for i in range(120)}
    viral = {name: i % 3 == 0 for i, name in enumerate(numbers)}
    listed = [[name, 500 * chunks, chunks, 0, "", 0] for name, chunks in numbers.items()]
    write_parquet(pa.table(list(map(list, zip(*listed))), schema=SEQUENCES), folder / "sequences")
    splits = ("train", "train", "validation", "validation", "test", "test")
    lines = [f"{name}\t{'virus' if viral[name] else 'others'}\t{splits[i // 3 % 6]}" for i, name in enumerate(numbers)]
    (folder / "labels").write_text("\n".join(["sequence_id\tlabel\tsplit", *lines, ""]))
    letters = ["GCA" * 40, "A" * 40, 40]
    rows = [
        [f"{name}_chunk_{chunk}F1", name, chunk, "F1", WHOLE if chunk > 1 else LONGEST, *letters]
        for name, chunks in numbers.items()
        for chunk in range(1, chunks + 1)
    ]
    write_parquet(pa.table(list(map(list, zip(*rows))), schema=FRAMES), folder / "frames", {"chunks": len(rows)})
    for name, encoder in ENCODERS.items():
        for kinds in ([WHOLE], [WHOLE, LONGEST]):
            taken = [row for row in rows if row[4] in kinds]
            values = random.normal(size=(len(taken), encoder.width(getattr(pack, name)))).astype(np.float32)
            values[:, :4] += np.array([[0.8 if viral[row[1]] else -0.8] for row in taken], dtype=np.float32)
            made = {"encoder": name, "attention": "flash", "kernel": "sdpa", "precision": "fp32", "allowed": ""}
            made |= {"device": "cpu", "names_sha256": digest([row[0] for row in taken])}
            made |= {key: pack.sha256[file] for key, file in encoder.files.items()}
            save_rows(values, "embedding", folder / f"{name}-{kinds[-1]}", made)
    return folder


@pytest.mark.parametrize("kind", [WHOLE, LONGEST])
def test_a_trained_pack_scores_frames_and_sequences(kind: str, embedded: Path, pack: ModelPack, tmp_path: Path) -> None:
    """Trained, and then used by the programs that score: viruses have the higher scores, by all their chunks."""
    embeddings = [word for name in ENCODERS for word in (f"--{name.replace('_', '-')}", embedded / f"{name}-{kind}")]
    run_program(
        "train_classifier", "--frames", embedded / "frames", *embeddings, "--labels", embedded / "labels",
        "--sequences", embedded / "sequences", "--model", pack.directory, "--chunk-length", 500, "--split-by", "split",
        "--scored-frames", kind, "--name", "small", "--hidden", 8, "--epochs", 3, "--learning-rate", 0.02,
        "--trained-model", tmp_path / "small",
    )  # fmt: skip
    trained = read_model_pack(tmp_path / "small", 500)
    assert trained.calibration and trained.calibration.whole == Scaling(1.0, 0.0)
    assert (trained.calibration.longest is None) == (kind == WHOLE)
    assert trained.calibration.prevalence == pytest.approx(1 / 3, abs=0.02)
    assert trained.calibration.sequences and trained.calibration.sequences.most_chunks == 4
    evaluation = pd.read_csv(tmp_path / "small" / "evaluation.tsv", sep="\t")
    assert (evaluation[evaluation["by"] == "sequence_length"]["auroc"] > 0.9).all()

    run_program("concat_features", *embeddings, "--features", tmp_path / "features")
    scored = ["--features", tmp_path / "features", "--model", trained.directory, "--scores", tmp_path / "scores"]
    run_program("predict", "--frames", embedded / "frames", *scored)
    tables = [word for name in ("predictions", "consensus", "summary") for word in (f"--{name}", tmp_path / name)]
    run_program("write_results", "--scores", tmp_path / "scores", "--sequences", embedded / "sequences", *tables)
    summary = pd.read_csv(tmp_path / "summary", sep="\t").set_index("sequence_id")
    labels = pd.read_csv(embedded / "labels", sep="\t").set_index("sequence_id")
    assert summary["score"].notna().all() and summary["score"].nunique() > 50
    mean = summary["score"].groupby(labels["label"]).mean()
    assert mean["virus"] > 0.7 and mean["others"] < 0.2
    assert json.loads((tmp_path / "small" / "pack.json").read_text())["quality"]["number"] > 50
