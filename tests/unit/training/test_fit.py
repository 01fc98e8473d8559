"""Training a classifier: weights that are the best ones, scores that are probabilities, and what goes into it."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from helpers import write_sequences

import train_classifier
from train_classifier import gc_content
from virnucflow.cli import InputError
from virnucflow.files.kinds import KINDS, LONGEST, WHOLE
from virnucflow.files.tables import CLUSTERS, VIRUS, write_parquet
from virnucflow.measures.discrimination import compute_metrics
from virnucflow.packs.pack import Calibration, Scaling, SequenceScaling
from virnucflow.sequences.frames import stop_free_frames
from virnucflow.training.evaluation import best_of_chunks
from virnucflow.training.fit import (
    MOST_DEGREES,
    Settings,
    calibrate_kinds,
    calibrate_sequences,
    compute_loss,
    describe_calibration,
    differences,
    find_spread,
    fit,
    scale_logits,
    weigh_labels,
)

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
    """One row per sequence."""
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


def chunks_of(logit: np.ndarray, viral: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"logit": logit, "viral": viral, "kind": WHOLE, "weight": 1.0})


def test_calibration_makes_probabilities_and_moves_no_order(separable: tuple) -> None:
    features, viral = separable
    model = fit(features, viral, rows(0, 1000), rows(1000, 1500), Settings(hidden=16, learning_rate=0.01, epochs=5))
    with torch.no_grad():
        model.output_layer.weight.mul_(7)  # far too sure
    before = differences(model, features)
    truth = viral.numpy().astype(bool)
    scaling = calibrate_kinds(chunks_of(before[1000:1500], truth[1000:1500]), [WHOLE], "validation")[WHOLE]
    scale_logits(model, scaling)
    after = differences(model, features)
    assert scaling.scale < 0.5 and np.allclose(after, scaling.scale * before + scaling.shift, atol=1e-3)
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
    with pytest.raises(InputError, match="validation: scored no better than by chance"):
        calibrate_kinds(chunks_of(-features[:, 0].numpy(), viral.numpy().astype(bool)), [WHOLE], "validation")


def test_either_kind_of_frame_is_calibrated_by_itself(separable: tuple) -> None:
    """Of longest stretches by what is left to do when whole frames are scaled already."""
    model = fit(*separable, rows(0, 1000), rows(1000, 1500), Settings(hidden=4, epochs=1))
    before, random = differences(model, separable[0]), np.random.default_rng(0)
    d = random.normal(0, 2, 20_000)
    viral = random.random(len(d)) < 1 / (1 + np.exp(-d))
    chunks = pd.concat([chunks_of(d / 2 - 1, viral), chunks_of(d / 5, viral).assign(kind=LONGEST)])
    scalings = calibrate_kinds(chunks, KINDS, "validation")
    scale_logits(model, scalings[WHOLE])
    assert scalings[WHOLE].scale == pytest.approx(2, abs=0.1) and scalings[WHOLE].shift == pytest.approx(2, abs=0.1)
    assert scalings[LONGEST].scale == pytest.approx(5, abs=0.3)
    calibration = describe_calibration(scalings, 0.3, SequenceScaling(1.0, 0.0, 0.0, 0.0, 1))
    assert calibration.prevalence == 0.3 and calibration.whole == Scaling(1.0, 0.0)
    twice = calibration.longest.scale * differences(model, separable[0]) + calibration.longest.shift
    assert np.allclose(twice, scalings[LONGEST].scale * before + scalings[LONGEST].shift, atol=1e-3)


def test_a_kind_of_which_the_validation_has_one_label_is_not_calibrated() -> None:
    chunks = chunks_of(np.array([1.0, -1.0, 1.0]), np.array([True, False, True])).assign(kind=[WHOLE, WHOLE, LONGEST])
    with pytest.raises(InputError, match="validation: no viral chunk, or no other, that is scored by a longest frame"):
        calibrate_kinds(chunks, KINDS, "validation")


def test_a_chunk_counts_as_much_as_its_weight() -> None:
    random = np.random.default_rng(0)
    viral = random.random(2000) < 0.5
    chunks = chunks_of(random.normal(2 * viral - 1, 1), viral)
    weighed = calibrate_kinds(chunks.assign(weight=np.where(viral, 3.0, 1.0)), [WHOLE], "validation")[WHOLE]
    repeated = calibrate_kinds(pd.concat([chunks, *[chunks[viral]] * 2]), [WHOLE], "validation")[WHOLE]
    assert weighed.shift == pytest.approx(repeated.shift, abs=1e-3)
    assert weighed.scale == pytest.approx(repeated.scale, abs=1e-3)


def count_alike(pieces: pd.DataFrame) -> np.ndarray:
    return np.ones(len(pieces))


def sequences_of(number: int, chunks: int, alike: bool = False) -> pd.DataFrame:
    """Sequences of so many chunks, of which half are viral."""
    random = np.random.default_rng(0)
    viral = random.random(number) < 0.5
    logits = random.normal(viral[:, None] - 0.5, 1, (number, 1 if alike else chunks)) + np.zeros((1, chunks))
    labels = {"sequence": np.arange(number), "viral": viral}
    return pd.DataFrame(
        {name: np.repeat(values, chunks) for name, values in labels.items()} | {"logit": logits.ravel()}
    )


@pytest.mark.parametrize("alike", [False, True])
def test_more_chunks_say_more_of_a_sequence_as_far_as_they_are_not_alike(alike: bool) -> None:
    scaling = calibrate_sequences(sequences_of(2000, 40, alike), count_alike, "validation")
    of_20 = scaling.scale + scaling.scale_log * np.log(20)
    assert scaling.most_chunks == 40 and (alike or (scaling.spread and scaling.spread.degrees > 100))
    assert of_20 == pytest.approx(1, abs=0.2) if alike else of_20 > 4 * scaling.scale


@pytest.mark.parametrize("alike", [0.0, 0.3])
@pytest.mark.parametrize("degrees", [6.0, np.inf])
def test_the_spread_of_a_sequences_chunks_is_found(degrees: float, alike: float) -> None:
    """Of sequences that differ in it, or do not, and whose neighbouring chunks are alike, or are not."""
    random = np.random.default_rng(0)
    sequences, number = 4000, 20
    chi = random.chisquare(degrees, sequences) / degrees if np.isfinite(degrees) else np.ones(sequences)
    own, next_one = np.sqrt((1 + np.sqrt(1 - 4 * alike**2) * np.array([1, -1])) / 2)  # a moving average of two
    noise = random.normal(0, 1, (sequences, number + 1))
    logits = random.normal(0, 5, (sequences, 1)) + (own * noise[:, 1:] + next_one * noise[:, :-1]) * 1.5 / np.sqrt(
        chi[:, None]
    )
    chunks = pd.DataFrame({"sequence": np.repeat(np.arange(sequences), number), "logit": logits.ravel()})
    spread = find_spread(chunks)
    assert spread and spread.deviation == pytest.approx(1.5, rel=0.05)
    assert spread.neighbours == pytest.approx(alike, abs=0.03)
    assert spread.degrees == pytest.approx(6, rel=0.2) if degrees == 6 else spread.degrees > MOST_DEGREES / 20


def test_without_sequences_of_some_chunks_the_spread_is_not_known() -> None:
    chunks = pd.DataFrame({"sequence": [0] * 9 + [1] * 4, "logit": np.arange(13.0)})
    assert find_spread(chunks) is None


def test_scores_of_sequences_suit_the_share_of_viruses_that_is_asked_for() -> None:
    chunks = sequences_of(4000, 1)
    even, few = (
        calibrate_sequences(
            chunks, lambda pieces, share=share: weigh_labels(pieces["viral"], pieces["viral"] * 0 + 1.0, share), "v"
        )
        for share in (0.5, 0.1)
    )
    assert few.shift - even.shift == pytest.approx(np.log(0.1 / 0.9), abs=0.1) and few.most_chunks == 1


def test_a_few_long_sequences_teach_nothing() -> None:
    """Of 4 chunks there are sequences enough of either label, of 6 two viruses."""
    long = sequences_of(12, 6).assign(viral=np.repeat(np.arange(12) < 2, 6), sequence=np.repeat(np.arange(12), 6) + 500)
    chunks = pd.concat([sequences_of(400, 4), long])
    assert calibrate_sequences(chunks, count_alike, "validation").most_chunks == 4
    enough = pd.concat([sequences_of(400, 4), long.assign(viral=np.repeat(np.arange(12) < 3, 6))])
    assert calibrate_sequences(enough, count_alike, "validation").most_chunks == 6


def test_sequences_that_are_scored_upside_down_are_refused() -> None:
    chunks = sequences_of(400, 4)
    with pytest.raises(InputError, match="validation: sequences are scored no better than by chance"):
        calibrate_sequences(chunks.assign(logit=-chunks["logit"]), count_alike, "validation")


def test_a_pack_of_whole_frames_says_nothing_of_longest_stretches() -> None:
    sequences = calibrate_sequences(sequences_of(400, 4), count_alike, "validation")
    calibration = describe_calibration({WHOLE: Scaling(2.0, 1.0)}, 0.3, sequences)
    assert calibration == Calibration(0.3, Scaling(1.0, 0.0), None, sequences)


def test_strand_frames_and_gc_of_a_chunk_come_from_its_frames() -> None:
    """In the second chunk some frames have letters that are unknown."""
    sequences = ["GCCGCAGCTGCGTACGGC" * 20, "ATGGCCNNNGCGRYKGCC" * 8, "CTAGCTACCGGCTAC" * 7]
    frames = [
        (0, "a", i, frame.frame, frame.nucleotide) for i, s in enumerate(sequences) for frame in stop_free_frames(s)
    ]
    table = pd.DataFrame(frames, columns=["table", "sequence_id", "chunk", "frame", "nucleotide"])
    score = np.where(table["frame"].str.startswith("F"), 0.2, 0.7) + np.arange(len(table)) / 1000
    gc = gc_content(pa.chunked_array([table["nucleotide"]]))
    found = best_of_chunks(table.assign(score=score, logit=score, gc=gc, sequence=5, viral=True, group="g", genome="e"))
    for (_, _, number), chunk in found.iterrows():
        of = table[table["chunk"] == number]
        assert chunk["frames"] == len(of) and chunk["score"] == score[of.index].max() and chunk["sequence"] == 5
        for strand, letter in (("forward", "F"), ("reverse", "R")):
            expected = score[of.index[of["frame"].str[0] == letter]]
            assert np.array_equal(chunk[strand], max(expected, default=np.nan), equal_nan=True)
        known = [letter for letter in sequences[number] if letter in "ACGT"]
        assert chunk["gc"] == pytest.approx(sum(letter in "GC" for letter in known) / len(known), abs=0.02)
    assert found["reverse"].isna().any() and found["forward"].notna().any() and len(found) == 3


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
