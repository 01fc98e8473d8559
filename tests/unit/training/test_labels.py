"""Tables of labels, and how labelled sequences are split."""

import pandas as pd
import pytest

from virnucflow.cli import InputError
from virnucflow.training.labels import SPLITS, name_genomes, read_labels, split_sequences


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


def test_a_genome_is_what_the_labels_name_or_what_the_split_holds_together(caplog: pytest.LogCaptureFixture) -> None:
    labels = pd.DataFrame({"sequence_id": ["a", "b", "c", "a"], "table": [0, 0, 0, 1], "split": "train"})
    unnamed = pd.Series([False, False, True, True])
    families = pd.Series(["pox", "pox", "\t2", "\t3"], name="family")
    assert list(name_genomes(labels, families, unnamed)) == ["pox", "pox", "c", "a (labels 2)"]
    clusters = pd.Series(["17", "17", "\t2", "\t3"], name="cluster")
    cluster = "cluster of a (labels 1)"
    assert list(name_genomes(labels, clusters, unnamed)) == [cluster, cluster, "c", "a (labels 2)"]
    named = labels.assign(genome=["", "E. coli", "E. coli", None])
    assert list(name_genomes(named, families, unnamed)) == ["pox", "E. coli", "E. coli", "a (labels 2)"]
    assert caplog.text == ""


def test_a_genome_in_several_splits_is_told(caplog: pytest.LogCaptureFixture) -> None:
    labels = pd.DataFrame(
        {
            "sequence_id": list("abcd"),
            "table": 0,
            "split": ["train", "test", "", "test"],
            "genome": ["g", "g", "h", "h"],
        }
    )
    name_genomes(labels, pd.Series(list("abcd"), name="sequence_id"), pd.Series(False, index=range(4)))
    assert "1 genomes have sequences in more than one split, for example 'g'" in caplog.text
    assert "split_by: genome holds them together" in caplog.text
