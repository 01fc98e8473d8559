"""From labelled sequences to a pack that the workflow loads, and what its figures are of."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import error_line, run_program

from lite_evaluation import LOGITS, SCORERS
from lite_model import LITE
from lite_splits import GROUPS
from publish_lite import PREVALENCE, calibrate_frames, chunk_weights, evaluate, judge_intervals, scored
from virnucflow.cli import InputError
from virnucflow.encoders.load import load_dnabert_s, load_esm2
from virnucflow.packs.pack import Scaling, SequenceScaling, read_model_pack
from virnucflow.training.fit import find_spread

CPU = torch.device("cpu")


def chunks_of(logits: list[float], labels: list[int], kinds: list[str], group: str = "plant") -> pd.DataFrame:
    """Chunks of one sequence each, viral ones of phages."""
    table = pd.DataFrame(dict.fromkeys(LOGITS, logits)).assign(label=labels, kind=kinds, gc=0.5, frames=1)
    groups = np.where(table["label"] == 1, "phage", group)
    return table.assign(group=groups, sequence=range(len(table)), unit=[f"u{i}" for i in range(len(table))])


def test_either_kind_of_frame_is_calibrated_by_itself_and_to_the_prevalence() -> None:
    random = np.random.default_rng(0)
    parts = []
    for kind, scale in (("whole", 1.0), ("longest", 2.0)):
        d = random.normal(0, 2, 40_000)
        labels = (random.random(len(d)) < 1 / (1 + np.exp(-d))).astype(int)
        parts.append(chunks_of(list(d / scale), list(labels), [kind] * len(d)))
    scalings = calibrate_frames(pd.concat(parts, ignore_index=True))
    odds = np.log(PREVALENCE / (1 - PREVALENCE))  # half of the chunks are viral
    assert msgspec.to_builtins(scalings["whole"]) == pytest.approx({"scale": 1.0, "shift": odds}, abs=0.06)
    assert msgspec.to_builtins(scalings["longest"]) == pytest.approx({"scale": 2.0, "shift": odds}, abs=0.06)


def test_that_a_chunk_has_a_whole_frame_counts_for_its_score() -> None:
    """Of two kinds whose logits say as much, the one that more viruses have gets the higher scores."""
    random = np.random.default_rng(0)
    parts = []
    for kind, viral in (("whole", 0.8), ("longest", 0.2)):
        labels = (random.random(20_000) < viral).astype(int)
        parts.append(chunks_of(list(random.normal(2 * labels - 1, 1)), list(labels), [kind] * len(labels)))
    scalings = calibrate_frames(pd.concat(parts, ignore_index=True))
    assert scalings["whole"].shift - scalings["longest"].shift == pytest.approx(2 * np.log(0.8 / 0.2), abs=0.1)


def test_intervals_have_the_score_of_the_rest_of_the_sequence_as_often_as_they_say() -> None:
    """And are on one side of 0.5 the more often the more chunks there are, seldom on the wrong one."""
    random = np.random.default_rng(0)
    sequences, number = 600, 100
    viral = random.random(sequences) < 0.5
    logits = np.where(viral, 1, -1)[:, None] + random.normal(0, 1.5, (sequences, number))
    chunks = pd.DataFrame({"sequence": np.repeat(np.arange(sequences), number), "logit": logits.ravel()})
    chunks = chunks.assign(viral=np.repeat(viral, number))
    scaling = SequenceScaling(1.0, 0.5, 0.0, 0.0, 40, find_spread(chunks))
    table = judge_intervals(chunks, scaling).set_index("chunks")
    assert table.loc[:6, "covered"].between(0.92, 0.97).all() and table.loc[40, "judged"] == 2 * sequences
    assert table["one_sided_virus"].is_monotonic_increasing and table.loc[20, "one_sided_others"] > 0.7
    assert table.loc[1, "one_sided_virus"] < 0.2 and (table["wrong"] < 0.1).all()
    assert not len(judge_intervals(chunks, SequenceScaling(1.0, 0.5, 0.0, 0.0, 40)))


def test_a_kind_of_which_one_label_has_no_chunk_is_not_calibrated() -> None:
    """A prophage is no virus there."""
    kinds = ["whole", "whole", "longest", "longest"]
    chunks = chunks_of([1.0, -1.0, 1.0, -1.0], [1, 0, 1, 0], kinds)
    chunks.loc[2, "group"] = "prophage"
    with pytest.raises(InputError, match="the split choose: no viral chunk, or no other, that is scored by a longest"):
        calibrate_frames(chunks)


def test_no_large_group_rules_the_calibration() -> None:
    """Groups count by their shares in training, whatever their chunks, and viruses PREVALENCE of all."""
    chunks = pd.DataFrame(
        {"viral": [True] * 600 + [False] * 9000, "group": ["phage"] * 600 + ["plant"] * 8000 + ["fungi"] * 1000}
    )
    weight = pd.Series(chunk_weights(chunks)).groupby(chunks["group"]).sum() / len(chunks)
    assert weight["phage"] == pytest.approx(PREVALENCE)
    assert weight["plant"] / weight["fungi"] == pytest.approx(GROUPS["plant"] / GROUPS["fungi"])


def test_a_chunk_without_a_score_counts_as_none_and_prophages_are_in_no_other_figure() -> None:
    chunks = chunks_of([3.0, -3.0, 1.0, -np.inf], [1, 0, 1, 1], ["whole", "longest", "whole", ""])
    chunks.loc[2, "group"] = "prophage"
    table = scored(chunks, {"whole": Scaling(2.0, 0.0), "longest": Scaling(1.0, 1.0)})
    assert table["score"].tolist() == pytest.approx([1 / (1 + np.exp(-d)) for d in (6, -2, 2)] + [0])
    tables = evaluate({("test", 500): table}, pd.Series([1500] * 4), SequenceScaling(1.0, 0.0, 0.0, 0.0, 1))
    evaluation = tables["evaluation.tsv"]
    number = evaluation[evaluation["scorer"] == SCORERS[0]].set_index(["by", "value"])["number"]
    assert number["all", "all"] == 3 and number["group", "prophage"] == 2 and number["group", "phage"] == 3
    assert number["kind", "whole"] == 1 and number["sequence_length", "1000 and more"] == 3
    assert tables["thresholds.tsv"]["kind"].unique().tolist() == ["all", "whole", "longest"]
    assert set(tables["reliability.tsv"]["set"]) == {"test"}


TRAINING = [
    "--device", "cpu", "--pretraining-steps", 2, "--steps", 12, "--frames", 48, "--masked-frames", 24, "--hidden", 32,
    "--averaging", 0.5,
]  # fmt: skip


RECORD = {"splits": ["train"], "shape": msgspec.to_builtins(LITE), "settings": {"steps": 12, "rate": 1e-3, "seed": 0}}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"splits": ["train"], "shape": RECORD["shape"]}, "missing required field `settings`"),
        (RECORD | {"splits": "train"}, "Expected `array`, got `str` - at `$.splits`"),
        (RECORD | {"shape": {"hidden": 8}}, "missing required field `esm2` - at `$.shape`"),
        (RECORD | {"settings": {"steps": "many"}}, "Expected `int | float`, got `str` - at `$.settings[...]`"),
        (RECORD | {"loss": 1}, "contains unknown field `loss`"),
    ],
)
def test_a_damaged_record_of_a_run_is_told_of_in_one_line(record: dict, problem: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(record))
    arguments = ["--data", tmp_path, "--run", tmp_path, "--model", tmp_path / "pack"]
    said = error_line(run_program("publish_lite", *arguments, code=2))
    assert f"{tmp_path / 'run.json'}: not as expected: " in said and problem in said
    assert said.endswith("make it again with train_lite.py")


@pytest.mark.parametrize("differing", [{"steps": 13}, {"dropout": 0.1}])
def test_figures_are_of_a_run_of_the_same_settings(differing: dict, tmp_path: Path) -> None:
    """Also where one run has a setting that the other does not know; another seed is none."""
    for name, settings in (("run", {}), ("other", differing | {"seed": 1})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(RECORD | {"settings": RECORD["settings"] | settings}))
    arguments = ["--data", tmp_path, "--run", tmp_path / "run", "--figures-of", tmp_path / "other"]
    said = error_line(run_program("publish_lite", *arguments, "--model", tmp_path / "pack", code=2))
    assert said.endswith(f"other: not of the settings of {tmp_path / 'run'}: {min(differing)}; give another run")


@pytest.mark.long
def test_three_programs_make_a_pack_that_the_workflow_loads(folder: Path, tmp_path: Path) -> None:
    data, run, pack_directory = (tmp_path / name for name in ("data", "run", "small"))
    held_back = ["--choose-fasta", folder / "choose.fa", "--test-fasta", folder / "test.fa"]
    run_program("prepare_lite", "--fasta", folder / "train.fa", *held_back, "--data", data)
    run_program("train_lite", "--data", data, "--evaluate", "choose", "test", *TRAINING, "--run", run)
    run_program("publish_lite", "--data", data, "--run", run, "--model", pack_directory)
    pack = read_model_pack(pack_directory, 500)
    assert pack.trained and pack.chunk_lengths == (500, 300) and pack.frames == "longest"
    assert pack.calibration and pack.calibration.whole.scale == 1.0 and '"steps": 12' in pack.provenance
    evaluation = pd.read_csv(pack_directory / "evaluation.tsv", sep="\t")
    assert set(evaluation["set"]) == {"chosen by", "test"} and set(evaluation["length"]) == {500, 300}
    embed, _ = load_esm2(pack, "flash", "auto", "fp32", CPU, 2048)
    assert embed(["MAGIC", "ACDEFGHIK"]).shape == (2, 64)
    embed, _ = load_dnabert_s(pack, "standard", "auto", "fp32", CPU, 2048)
    assert embed(["ATGGCCAAGT"]).shape == (1, 384)
    assert json.loads((pack_directory / "pack.json").read_text())["quality"]
    assert "passed: small on cpu" in run_program("check_models", "--model", pack_directory, "--device", "cpu")
    publish_what_is_trained_on_more(data, run, pack_directory, tmp_path)


def publish_what_is_trained_on_more(data: Path, run: Path, chosen: Path, folder: Path) -> None:
    """A pack that is trained on all splits has the calibration and the figures of a run that was not."""
    more, pack_directory = folder / "more", folder / "small2"
    train = ["--data", data, "--splits", "train", "choose", "test", *TRAINING, "--run", more]
    said = run_program("train_lite", *train, "--evaluate", "choose", code=2)
    assert "--evaluate choose: trained on; leave it out" in error_line(said)
    run_program("train_lite", *train, "--evaluate")
    publish = ["--data", data, "--run", more, "--model", pack_directory]
    said = run_program("publish_lite", *publish, code=2)
    assert f"{more}: trained on the split choose, which cannot calibrate it" in error_line(said)
    run_program("publish_lite", *publish, "--figures-of", run)
    one, other = read_model_pack(chosen, 500), read_model_pack(pack_directory, 500)
    assert one.calibration == other.calibration and one.quality == other.quality
    assert one.sha256["dnabert_s.safetensors"] != other.sha256["dnabert_s.safetensors"]
