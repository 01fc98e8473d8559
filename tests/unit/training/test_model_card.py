"""The card of a trained pack."""

import pandas as pd
import pytest

from virnucflow.files.kinds import KINDS
from virnucflow.training.model_card import markdown, model_card

CONTENT = {"name": "mine", "chunk_lengths": [500], "licence": "MIT", "frames": "whole"}
TRAINING = {
    "encoders": "lite",
    "split_by": "genome",
    "train_on": "all",
    "sequences": {split: {"virus": 3, "others": 4} for split in ("train", "validation", "test")},
    "settings": {"seed": 0},
    "calibration": {"whole": {"scale": 1.0, "shift": 0.5}, "longest": {"scale": 2.0, "shift": 0.0}},
}


def figures(by: list[str]) -> dict[str, pd.DataFrame]:
    """Tables of which each cell says where it is from."""
    return {
        "evaluation.tsv": pd.DataFrame({"by": by, "value": [f"row of {name}" for name in by]}),
        "by_genome.tsv": pd.DataFrame({"group": ["bacteria"], "worst_genome": ["gi|12|E. coli"]}),
        "worst_genomes.tsv": pd.DataFrame({"genome": ["the worst one"]}),
        "thresholds.tsv": pd.DataFrame({"precision": [0.25]}),
    }


@pytest.mark.parametrize("kind", [True, False])
def test_the_card_has_all_figures_under_their_headings(kind: bool) -> None:
    by = ["all", "group", "gc", "frames", "strand", "sequence_length", *["kind"] * kind]
    sections = model_card(CONTENT, TRAINING, figures(by)).split("\n## ")[2].split("\n### ")
    content = {section.splitlines()[0]: section for section in sections}
    assert [name for name, text in content.items() for row in by if f"row of {row} |" in text] == [
        *["Quality on the test sequences"] * 2,
        *["By what might pass for a virus"] * (3 + kind),
        "By length of the sequence",
    ]
    assert "gi\\|12\\|E. coli |" in content["By genome"] and "the worst one" in content["By genome"]
    assert "at least 10 chunks" in " ".join(content["By genome"].split())
    assert "| 0.2500 |" in content["What a score means where viruses are rare"]
    assert ("longest stretch" in content["By what might pass for a virus"]) == kind


def test_the_card_says_which_frames_are_scored_and_how_each_kind_is_calibrated() -> None:
    whole, longest = (model_card(CONTENT | {"frames": frames}, TRAINING, figures(["all"])) for frames in KINDS)
    assert "A chunk without such a frame has no score." in whole and "by its longest stretch" in longest
    assert "of whole frames times 1.000, plus 0.500; the logits' difference of longest frames times 2.000" in whole


def test_a_test_of_genomes_of_few_chunks_is_told() -> None:
    """An empty table would read as if no genome were bad."""
    tables = figures(["all"])
    assert "No genome of the test" not in model_card(CONTENT, TRAINING, tables)
    card = model_card(CONTENT, TRAINING, tables | {"worst_genomes.tsv": tables["worst_genomes.tsv"].head(0)})
    assert "No genome of the test has 10 chunks" in card and "The worst genomes of each group" not in card


def test_a_test_of_short_sequences_alone_is_told() -> None:
    card = model_card(CONTENT, TRAINING, figures(["all", "gc"]))
    assert "No sequence of the test has 1,000 bases." in card


def test_a_bar_does_not_end_a_cell() -> None:
    assert markdown(pd.DataFrame({"a_b": ["x|y"], "c": [0.5]})).splitlines() == [
        "| a b | c |",
        "| --- | --- |",
        "| x\\|y | 0.5000 |",
    ]
