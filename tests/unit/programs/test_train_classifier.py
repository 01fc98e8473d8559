"""What a classifier is trained on and evaluated on."""

from argparse import Namespace

import numpy as np
import pandas as pd
import pytest

from train_classifier import repeat_for_shards
from virnucflow.cli import InputError
from virnucflow.packs.pack import SequenceScaling
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
