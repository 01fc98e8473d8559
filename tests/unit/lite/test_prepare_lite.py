"""From labelled FASTA files to one table with splits and the letters of all sequences."""

from pathlib import Path

import pytest
from helpers import error_line, run_program

import lite_sequences
from lite_sequences import gc_contents
from lite_splits import SPLITS
from prepare_lite import LETTERS, SEQUENCES, prepare


def test_letters_lie_in_the_order_of_the_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Genes joined, shuffled fragments at the end; and a sequence that is tested with is in no cluster that trains."""
    monkeypatch.setattr(lite_sequences, "SHUFFLED", 30)
    table, letters = prepare({name: [folder / f"{name}.fa"] for name in SPLITS}, 0)
    assert len(letters) == table["length"].sum() and (table["group"].tail(30) == "shuffled").all()
    ends = table["length"].cumsum()
    sequences = [letters[end - length : end] for end, length in zip(ends, table["length"])]
    assert table["gc"].tolist() == gc_contents(sequences).tolist()
    assert {*SPLITS} <= set(table["split"]) and (table["split"].tail(30) == "train").all()
    trained, held_back = (set(table["cluster"][table["split"].isin(splits)]) for splits in (["train"], SPLITS[1:]))
    assert not trained & held_back and table["cluster"].tail(30).is_unique
    assert (table["unit"] != "").all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">a|label=1|group=phage\nACGT\n>b|group=phage\nACGT\n", "x.fa, line 3: no label=0 or label=1"),
        ("", "x.fa: no sequence; give"),
        (">a|label=1|group=phage\nACGT\n", "no sequence of 600 bases or more to train on; give"),
    ],
)
def test_what_has_no_label_or_no_sequence_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.fa").write_text(content)
    said = run_program("prepare_lite", "--fasta", tmp_path / "x.fa", "--data", tmp_path / "data", code=2)
    assert message in error_line(said) and not (tmp_path / "data" / LETTERS).exists()
    assert not (tmp_path / "data" / SEQUENCES).exists()
