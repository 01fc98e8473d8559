"""What the scores of frames say about chunks and sequences."""

import numpy as np
import pandas as pd
import pytest

from virnucflow.scoring.calls import call_chunks, call_sequences, weigh_evidence


def chunks(viral: list[bool], residues: list[int] | None = None) -> pd.DataFrame:
    """The chunks of one sequence, each with one frame."""
    number = len(viral)
    return pd.DataFrame(
        {
            "sequence_id": ["s"] * number,
            "chunk": range(1, number + 1),
            "frames": [1] * number,
            "residues": residues or [100] * number,
            "best_score": [0.9 if is_viral else 0.1 for is_viral in viral],
            "viral": viral,
        }
    )


@pytest.mark.parametrize(
    ("viral", "call"),
    [([True, False], "virus"), ([True, False, False], "others"), ([True, True, False], "virus"), ([False], "others")],
)
def test_a_sequence_is_viral_from_half_of_its_chunks_on(viral: list[bool], call: str) -> None:
    assert call_sequences(chunks(viral))["call"].item() == call


def test_chunks_whose_longest_frame_is_short_do_not_count() -> None:
    table = chunks([True, False, False], residues=[30, 29, 29])
    assert call_sequences(table, min_residues=30)["call"].item() == "virus"
    assert call_sequences(table, min_residues=29)["call"].item() == "others"
    none = call_sequences(table, min_residues=31).iloc[0]
    assert (none["call"], none["viral_chunks"], none["frames"], none["best_score"]) == ("", 0, 3, 0.9)


def test_a_chunk_has_the_best_scores_of_its_frames_and_is_viral_from_equal_ones_on() -> None:
    rows = [
        ("b", 2, 0.2, 0.8, 40, "whole"), ("b", 2, 0.8, 0.1, 90, "whole"), ("b", 1, 0.9, 0.8, 50, "longest"),
        ("a", 1, 0.1, 0.9, 60, "whole"),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["sequence_id", "chunk", "score_others", "score_virus", "residues", "kind"])
    table = call_chunks(scores.assign(name=list("1234")))
    assert list(table.itertuples(index=False, name=None)) == [
        ("b", 2, 2, "whole", 90, 0.8, True), ("b", 1, 1, "longest", 50, 0.8, False),
        ("a", 1, 1, "whole", 60, 0.9, True),
    ]  # fmt: skip
    assert list(call_sequences(table).index) == ["b", "a"]


def test_what_a_call_rests_on_has_a_name_from_so_many_chunks_on() -> None:
    numbers = np.array([0, 1, 2, 9, 10, 11, 50_000])
    assert list(weigh_evidence(numbers)) == ["", "one_chunk", "few", "few", "many", "many", "many"]
