"""Training a classifier: splits that do not leak, weights that are the best ones, scores that are probabilities."""

import numpy as np
import pandas as pd
import pytest
import torch

from virnucflow.classifier import VIRUS
from virnucflow.cli import InputError
from virnucflow.evaluation import by_group, figures
from virnucflow.labels import SPLITS, read_labels, split_sequences
from virnucflow.training import Settings, calibrate, differences, fit, loss

WIDTH = 6


@pytest.fixture(scope="module")
def separable() -> tuple[torch.Tensor, torch.Tensor]:
    """2000 frames whose first feature tells the label apart, not perfectly."""
    generator = torch.Generator().manual_seed(0)
    viral = torch.randint(2, (2000,), generator=generator)
    features = torch.randn(2000, WIDTH, generator=generator)
    features[:, 0] += 2.0 * viral
    return features, viral


def rows(first: int, last: int) -> np.ndarray:
    return np.arange(first, last)


def test_training_learns_and_is_the_same_twice(separable: tuple) -> None:
    settings = Settings(hidden=16, learning_rate=0.01, epochs=5)
    first, second = (fit(*separable, rows(0, 1000), rows(1000, 1500), settings) for _ in range(2))
    found = figures(pd.Series(separable[1][1500:].bool()), pd.Series(differences(first, separable[0][1500:])))
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
    at = {name: loss(model, features, wrong, rows(1000, 1500)) for name, model in [("kept", kept), ("one", one)]}
    assert at["kept"] <= at["one"] < loss(later, features, wrong, rows(1000, 1500))


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
    score = pd.Series(1 / (1 + np.exp(-after[1500:])))
    sure = pd.Series(1 / (1 + np.exp(-before[1500:])))
    calibrated, uncalibrated = (figures(pd.Series(truth[1500:]), s) for s in (score, sure))
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


def test_the_seed_draws_the_split() -> None:
    labels = pd.DataFrame({"label": ["virus", "others"] * 50})
    units = pd.Series(range(100)).astype(str)
    first, same, other = (list(split_sequences(labels, units, seed)) for seed in (0, 0, 1))
    assert first == same != other


def test_figures_of_a_small_table() -> None:
    viral = pd.Series([True, True, False, False])
    found = figures(viral, pd.Series([0.9, 0.4, 0.6, 0.1]))
    assert found["auroc"] == 0.75 and found["accuracy"] == 0.5 and found["number"] == 4
    assert found["sensitivity_at_1_percent_false_positives"] == 0.5
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)
    assert np.isnan(figures(viral[:2], pd.Series([0.9, 0.4]))["auroc"])


def test_a_group_of_one_label_is_held_against_all_of_the_other() -> None:
    table = pd.DataFrame(
        {"viral": [True, True, False, False, True, False], "group": ["a", "b", "c", "c", "", "d"], "score": 0.5}
    )
    found = by_group(table).set_index("group")
    assert dict(found["number"]) == {"all": 6, "a": 4, "b": 4, "c": 5, "d": 4}
    mixed = by_group(table.assign(group=["m", "m", "m", "c", "c", "c"])).set_index("group")
    assert mixed.loc["m", "number"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sequence_id\tlabel\na\tvirus\nb\tphage\n", "line 3: label 'phage'"),
        ("sequence_id\tlabel\na\tvirus\na\tothers\n", "line 3: 'a' is above with other values"),
        ("name\tlabel\n", "line 1: needs the columns"),
    ],
)
def test_labels_that_are_wrong_are_refused(text: str, message: str, tmp_path) -> None:
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "labels.tsv")
