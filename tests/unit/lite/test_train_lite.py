"""What is refused before a training, so that no hours end in nothing."""

from pathlib import Path

import pandas as pd
import pytest

from train_lite import LONG, check_sequences
from virnucflow.cli import InputError


def check(rows: list[tuple[str, int, int]], evaluated: list[str]) -> None:
    """Rows are split, label and length; what is of the split `train` trains."""
    table = pd.DataFrame(rows, columns=["split", "label", "length"])
    check_sequences(table, (table["split"] == "train").to_numpy(), evaluated, Path("sequences.parquet"))


TRAINS = [("train", 1, LONG), ("train", 0, LONG)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("train", 0, LONG), ("choose", 1, LONG)],
            f"sequences.parquet: no sequence of {LONG} bases or more with label=1 to",
        ),
        ([*TRAINS[1:], ("train", 1, LONG - 1)], "with label=1 to train on"),
        ([("choose", 1, LONG)], "bases or more to train on"),
        ([*TRAINS, ("choose", 1, LONG)], "with label=0 in the split choose"),
        ([*TRAINS, ("choose", 1, LONG), ("choose", 0, LONG), ("test", 1, 499)], "bases or more in the split test"),
    ],
)
def test_what_cannot_be_trained_on_or_evaluated_is_refused(rows: list[tuple[str, int, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(rows, ["choose", "test"])


def test_what_suffices_is_not_refused() -> None:
    """Where nothing is calibrated, one label suffices; and a training without figures needs nothing held back."""
    check([*TRAINS, ("test", 1, LONG)], ["test"])
    check(TRAINS, [])
