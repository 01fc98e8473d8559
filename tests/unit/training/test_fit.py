"""Training a classifier: splits that do not leak, weights that are the best ones, scores that are probabilities."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from helpers import write_sequences
from sklearn.metrics import roc_auc_score

import train_classifier
from train_classifier import best_of_chunks, gc_content
from virnucflow.cli import InputError
from virnucflow.files.tables import CLUSTERS, VIRUS, write_parquet
from virnucflow.measures.discrimination import by_group, by_stratum, compute_metrics
from virnucflow.measures.figures import draw_figure, save_reliability
from virnucflow.measures.intervals import auroc_interval
from virnucflow.measures.reliability import calibration_error, reliability
from virnucflow.sequences.frames import stop_free_frames
from virnucflow.training.fit import Settings, calibrate, compute_loss, differences, fit
from virnucflow.training.labels import SPLITS, read_labels, split_sequences

WIDTH = 6


@pytest.fixture(scope="module")
def separable() -> tuple[torch.Tensor, torch.Tensor]:
    """2000 frames whose first feature tells the label apart, not perfectly."""
    generator = torch.Generator().manual_seed(0)
    viral = torch.randint(2, (2000,), generator=generator)
    features = torch.randn(2000, WIDTH, generator=generator)
    features[:, 0] += 2.0 * viral
    return features, viral


def scored(viral: object, score: object) -> pd.DataFrame:
    """A row a sequence."""
    return pd.DataFrame({"viral": np.asarray(viral, dtype=bool), "score": np.asarray(score)}).reset_index(
        names="sequence"
    )


def rows(first: int, last: int) -> np.ndarray:
    return np.arange(first, last)


def test_training_learns_and_is_the_same_twice(separable: tuple) -> None:
    settings = Settings(hidden=16, learning_rate=0.01, epochs=5)
    first, second = (fit(*separable, rows(0, 1000), rows(1000, 1500), settings) for _ in range(2))
    found = compute_metrics(scored(separable[1][1500:], differences(first, separable[0][1500:])))
    assert found["auroc"] > 0.9
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    other = fit(*separable, rows(0, 1000), rows(1000, 1500), Settings(hidden=16, epochs=1, seed=1))
    assert not torch.equal(other.hidden_layer.weight, first.hidden_layer.weight)


def test_the_best_weights_are_kept_not_the_last(separable: tuple) -> None:
    features, viral = separable
    wrong = viral.clone()
    wrong[1000:1500] = 1 - viral[1000:1500]  # the better it learns, the larger the loss here
    settings = Settings(hidden=16, learning_rate=0.01, patience=3)
    kept = fit(features, wrong, rows(0, 1000), rows(1000, 1500), settings)
    one = fit(features, wrong, rows(0, 1000), rows(1000, 1500), Settings(hidden=16, learning_rate=0.01, epochs=1))
    later = fit(features, viral, rows(0, 1000), rows(1000, 1500), settings)
    at = {
        name: compute_loss(model, features, wrong, rows(1000, 1500)) for name, model in [("kept", kept), ("one", one)]
    }
    assert at["kept"] <= at["one"] < compute_loss(later, features, wrong, rows(1000, 1500))


def test_one_frame_left_over_in_the_last_batch(separable: tuple) -> None:
    fit(*separable, rows(0, 33), rows(1000, 1100), Settings(hidden=4, epochs=1))


def test_calibration_makes_probabilities_and_moves_no_order(separable: tuple) -> None:
    features, viral = separable
    model = fit(features, viral, rows(0, 1000), rows(1000, 1500), Settings(hidden=16, learning_rate=0.01, epochs=5))
    with torch.no_grad():
        model.output_layer.weight.mul_(7)  # far too sure
    before = differences(model, features)
    truth = viral.numpy().astype(bool)
    scale, shift = calibrate(model, before[1000:1500], truth[1000:1500])
    after = differences(model, features)
    assert scale < 0.5 and np.allclose(after, scale * before + shift, atol=1e-3)
    calibrated, uncalibrated = (
        compute_metrics(scored(truth[1500:], 1 / (1 + np.exp(-d[1500:])))) for d in (after, before)
    )
    assert list(np.argsort(before, kind="stable")) == list(np.argsort(after, kind="stable"))
    assert calibrated["calibration_error"] < 0.06 < uncalibrated["calibration_error"]
    # What is published is the softmax of both logits.
    with torch.no_grad():
        published = model(features[:5]).softmax(1)[:, VIRUS]
    assert np.allclose(published, 1 / (1 + np.exp(-after[:5])), atol=1e-6)


def test_calibration_refuses_scores_that_are_upside_down(separable: tuple) -> None:
    features, viral = separable
    model = fit(features, viral, rows(0, 1000), rows(1000, 1500), Settings(hidden=4, epochs=1))
    with pytest.raises(InputError, match="no better than by chance"):
        calibrate(model, -features[:, 0].numpy(), viral.numpy().astype(bool))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_unit_is_in_one_split_and_each_split_has_both_labels(seed: int) -> None:
    labels = pd.DataFrame({"label": ["virus"] * 300 + ["others"] * 500})
    units = pd.Series([f"u{i // 5}" for i in range(800)])
    split = pd.Series(split_sequences(labels, units, seed))
    assert split.groupby(units).nunique().eq(1).all()
    counts = pd.crosstab(split, labels["label"])
    assert list(counts.loc["train"]) == [400, 240] and set(counts.index) == set(SPLITS)
    assert list(counts.loc["test"]) == [50, 30]


def test_a_large_unit_that_is_not_trained_on_is_told(caplog: pytest.LogCaptureFixture) -> None:
    labels = pd.DataFrame({"label": ["virus"] * 100 + ["others"] * 20})
    units = pd.Series(["large"] * 81 + [f"u{i}" for i in range(39)], name="family")
    told = {}
    for seed in range(20):
        split = pd.Series(split_sequences(labels, units, seed))
        where = split[units == "large"].iloc[0]
        told.setdefault(where, set()).add(caplog.text)
        if where != "train":
            number = (split[labels["label"] == "virus"] != "train").sum()
            assert f"{number} of 100 sequences of label virus are not trained on: family 'large' alone" in caplog.text
            assert f"has 81, for {where}; split by" in caplog.text and "others" not in caplog.text
        caplog.clear()
    assert set(told) == set(SPLITS) and told["train"] == {""}


def test_the_seed_draws_the_split() -> None:
    labels = pd.DataFrame({"label": ["virus", "others"] * 50})
    units = pd.Series(range(100)).astype(str)
    first, same, other = (list(split_sequences(labels, units, seed)) for seed in (0, 0, 1))
    assert first == same != other


def test_figures_of_a_small_table() -> None:
    table = scored([True, True, False, False], [0.9, 0.4, 0.6, 0.1])
    found = compute_metrics(table)
    assert found["auroc"] == 0.75 and found["accuracy"] == 0.5 and found["number"] == 4
    assert found["sensitivity_at_1_percent_false_positives"] == 0.5
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert np.isnan(compute_metrics(table[:2])["auroc"])


@pytest.mark.parametrize(("shift", "rows_each"), [(1.0, 1), (1.0, 12), (2.5, 12)])
def test_auroc_interval_holds_the_truth_in_95_of_100_samples(shift: float, rows_each: int) -> None:
    """Half of what a score varies is its sequence's, so many rows of few sequences tell less than as many of many."""
    random = np.random.default_rng(0)

    def draw(sequences: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sequence = np.arange(sequences).repeat(rows_each)
        viral = sequence % 2 == 1
        return viral, random.normal(size=sequences)[sequence] + random.normal(size=len(viral)) + shift * viral, sequence

    truth = roc_auc_score(*draw(100_000)[:2])
    held, believed = [], []
    for _ in range(400):
        viral, score, sequence = draw(60)
        low, high = auroc_interval(viral, score, sequence)
        held.append(low <= truth <= high)
        low, high = auroc_interval(viral, score, np.arange(len(score)))
        believed.append(low <= truth <= high)
    assert 0.92 <= np.mean(held) <= 0.98
    assert rows_each == 1 or np.mean(believed) < 0.75, "as if chunks of one sequence were independent"


def test_reliability_of_a_small_table() -> None:
    """A bin has its lower end, the last both; those without a chunk are not there."""
    score = [0.0, 0.05, 0.1, 0.3, 0.6, 0.7, 0.89, 0.9, 0.99, 1.0]
    found = reliability(np.array([0, 0, 0, 1, 1, 0, 1, 1, 1, 0], dtype=bool), np.array(score))
    assert list(found["score_from"]) == [0, 0.1, 0.3, 0.6, 0.7, 0.8, 0.9]
    assert list(found["score_to"]) == [0.1, 0.2, 0.4, 0.7, 0.8, 0.9, 1]
    assert list(found["number"]) == [2, 1, 1, 1, 1, 1, 3]
    last = found.iloc[-1]
    assert last["mean_score"] == pytest.approx(2.89 / 3) and last["share_viral"] == pytest.approx(2 / 3)
    assert (last["share_lower"], last["share_upper"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)  # Wilson's, 2 of 3
    assert found["number"].sum() == 10 and ((found["share_lower"] >= -1e-9) & (found["share_upper"] <= 1 + 1e-9)).all()


def test_reliability_of_probabilities_is_the_line() -> None:
    random = np.random.default_rng(0)
    score = random.random(20_000)
    found = reliability(random.random(20_000) < score, score)
    inside = (found["share_lower"] <= found["mean_score"]) & (found["mean_score"] <= found["share_upper"])
    assert inside.sum() >= 8 and calibration_error(found) < 0.015
    sure = reliability(random.random(20_000) < 0.25 + score / 2, score)
    assert calibration_error(sure) == pytest.approx(0.125, abs=0.015)
    assert sure["share_viral"].iloc[0] > 0.2 > found["share_viral"].iloc[0]


def test_figure_of_reliability_shows_each_set_and_length(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    score = random.random(500)
    parts = {
        (name, n): reliability(random.random(n) < score[:n], score[:n])
        for name, n in (("a", 400), ("a", 300), ("b", 500))
    }
    table = pd.concat(parts, names=["set", "length"]).droplevel(-1).reset_index()
    panels = draw_figure(table).axes
    assert [panel.get_legend().get_title().get_text() for panel in panels] == ["a", "b"]
    said = [text.get_text() for text in panels[0].get_legend().get_texts()]
    assert said == ["400 bases: 400 chunks", "300 bases: 300 chunks"]
    points, line = panels[1].containers[0].lines[0], parts["b", 500]
    assert np.array_equal(points.get_xydata(), line[["mean_score", "share_viral"]])
    assert [bar.get_height() for bar in panels[1].patches] == pytest.approx(list(line["number"] / 500))
    assert [bar.get_x() for bar in panels[1].patches] == pytest.approx(list(line["score_from"]))
    for name in ("one.svg", "other.svg"):
        save_reliability(table, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_auroc_without_an_interval() -> None:
    viral = np.array([True, True, False, False])
    assert np.isnan(auroc_interval(viral, np.array([3.0, 4.0, 1.0, 2.0]), np.arange(4))).all(), "an AUROC of 1"
    assert np.isnan(auroc_interval(viral, np.array([3.0, 1.0, 2.0, 2.0]), np.array([0, 0, 1, 2]))).all(), "one virus"
    assert np.isnan(auroc_interval(viral[:2], np.array([3.0, 1.0]), np.arange(2))).all(), "no other"


def test_a_group_of_one_label_is_held_against_all_of_the_other() -> None:
    table = scored([True, True, False, False, True, False], [0.5] * 6).assign(group=["a", "b", "c", "c", "", "d"])
    found = by_group(table)
    assert list(found["by"]) == ["all"] + ["group"] * 4
    assert dict(zip(found["value"], found["number"])) == {"all": 6, "a": 4, "b": 4, "c": 5, "d": 4}
    mixed = by_group(table.assign(group=["m", "m", "m", "c", "c", "c"])).set_index("value")
    assert mixed.loc["m", "number"] == 3


def test_strata_are_what_they_say() -> None:
    chunks = scored([True, False] * 4, [0.9, 0.1, 0.2, 0.8, 0.9, 0.1, 0.9, 0.1]).assign(
        gc=[0.1, 0.399, 0.4, 0.499, 0.5, 0.599, 0.6, 0.9],
        frames=[1, 1, 2, 2, 3, 4, 5, 6],
        forward=[0.9, 0.1, 0.2, np.nan, 0.9, 0.1, np.nan, 0.1],
        reverse=[0.3, np.nan, 0.1, 0.8, np.nan, np.nan, 0.9, np.nan],
    )
    found = by_stratum(chunks).set_index(["by", "value"])
    assert dict(found["number"]) == {
        ("gc", "below 40 %"): 2, ("gc", "40 to 50 %"): 2, ("gc", "50 to 60 %"): 2, ("gc", "60 % and more"): 2,
        ("frames", "1"): 2, ("frames", "2"): 2, ("frames", "3 and more"): 4,
        ("strand", "forward"): 6, ("strand", "reverse"): 4,
    }  # fmt: skip
    auroc = found["auroc"]
    assert list(auroc["gc"]) == [1, 0, 1, 1] and list(auroc["frames"]) == [1, 0, 1]
    assert auroc["strand", "forward"] == 1 and auroc["strand", "reverse"] == pytest.approx(1 / 3)
    one = by_stratum(chunks[chunks["gc"] > 0.6].assign(forward=np.nan))
    assert list(zip(one["by"], one["value"])) == [("gc", "60 % and more"), ("frames", "3 and more")]


def test_strand_frames_and_gc_of_a_chunk_come_from_its_frames() -> None:
    """In the second chunk some frames have letters that are unknown."""
    sequences = ["GCCGCAGCTGCGTACGGC" * 20, "ATGGCCNNNGCGRYKGCC" * 8, "CTAGCTACCGGCTAC" * 7]
    frames = [
        (0, "a", i, frame.frame, frame.nucleotide) for i, s in enumerate(sequences) for frame in stop_free_frames(s)
    ]
    table = pd.DataFrame(frames, columns=["table", "sequence_id", "chunk", "frame", "nucleotide"])
    score = np.where(table["frame"].str.startswith("F"), 0.2, 0.7) + np.arange(len(table)) / 1000
    gc = gc_content(pa.chunked_array([table["nucleotide"]]))
    found = best_of_chunks(table.assign(score=score, gc=gc, sequence=5, viral=True, group="g"))
    for (_, _, number), chunk in found.iterrows():
        of = table[table["chunk"] == number]
        assert chunk["frames"] == len(of) and chunk["score"] == score[of.index].max() and chunk["sequence"] == 5
        for strand, letter in (("forward", "F"), ("reverse", "R")):
            expected = score[of.index[of["frame"].str[0] == letter]]
            assert np.array_equal(chunk[strand], max(expected, default=np.nan), equal_nan=True)
        known = [letter for letter in sequences[number] if letter in "ACGT"]
        assert chunk["gc"] == pytest.approx(sum(letter in "GC" for letter in known) / len(known), abs=0.02)
    assert found["reverse"].isna().any() and found["forward"].notna().any() and len(found) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence_id\tlabel\na\tvirus\nb\tphage\n", "line 3: label 'phage'"),
        ("sequence_id\tlabel\na\tvirus\na\tothers\n", "line 3: 'a' is above with other values"),
        ("sequence_id\tlabel\n\na\tvirus\n\nb\tphage\n", "line 5: label 'phage'"),
        ("name\tlabel\n", "line 1: needs the columns"),
        ("sequence_id\tlabel\tlabel\na\tvirus\tvirus\n", "line 1: needs the columns .* each once"),
        ("", "line 1: needs the columns"),
        ("sequence_id\tlabel\na\tvirus\tmore\n", "line 2: 3 fields, but 2 columns"),
        ("sequence_id\tlabel\tgroup\na\tvirus\tg\nb\tothers\n", "line 3: 2 fields, but 3 columns"),
        ("sequence_id\tlabel\nvir\xfcs\tvirus\n", "labels.tsv: not UTF-8; convert"),
    ],
)
def test_labels_that_are_wrong_are_refused(text: str, message: str, tmp_path) -> None:
    (tmp_path / "labels.tsv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "labels.tsv")


def labelled(folder: Path, **settings: object) -> pd.DataFrame:
    """200 sequences of a virus and 200 of others, in a table each, as the training program reads them."""
    tables, sequences = [], []
    for label in ("virus", "others"):
        names = [f"s{i}" for i in range(200)]
        rows = "".join(f"{name}\t{label}\n" for name in [*names, "elsewhere"])
        tables.append(folder / f"{label}.tsv")
        tables[-1].write_text("sequence_id\tlabel\n" + rows)
        sequences.append(folder / f"{label}.sequences")
        write_sequences(sequences[-1], dict.fromkeys(names, "ACGTACGTA"))
    return train_classifier.read_labelled(Namespace(labels=tables, sequences=sequences, seed=0, **settings))


def test_a_computed_cluster_is_in_one_split(tmp_path: Path) -> None:
    """Though it has sequences of two tables, which have names in common; a sequence in no cluster is by itself."""
    rows = [
        (tmp_path / f"{label}.tsv", f"s{i}", (i // 4 if label == "virus" else i // 4 + 25) if i < 180 else "")
        for label in ("virus", "others")
        for i in range(200)
    ]
    clusters = pd.DataFrame(rows, columns=["labels", "sequence_id", "cluster"]).astype(str)
    write_parquet(pa.Table.from_pandas(clusters, CLUSTERS, preserve_index=False), tmp_path / "clusters.parquet")
    found = labelled(tmp_path, split_by="cluster", clusters=tmp_path / "clusters.parquet")
    splits = found["split"].groupby(clusters["cluster"].to_numpy()).nunique()
    assert splits.drop("").eq(1).all() and len(splits) == 71 and splits[""] == 3


def test_labels_without_a_sequence_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A sequence that is nowhere would otherwise count as one without a frame, with score 0."""
    assert len(labelled(tmp_path, split_by="sequence_id", clusters=None)) == 400
    assert "virus.tsv: 1 sequences are in no sample, for example 'elsewhere'" in caplog.text
