"""Lines are sorted by their first column, however few of them fit."""

from pathlib import Path

import pytest

from virnucflow.files.sorted_lines import SortedLines

# A name that is the beginning of another one, and characters before and after the tab.
NAMES = ["b_chunk_1", "a_chunk_10", "a_chunk_1", "a_chunk_1_chunk_1", "a\x01", "a", "é", "\U0001d552", "Z", "a_chunk_2"]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_order_is_that_of_the_first_column(most: int, tmp_path: Path) -> None:
    lines = SortedLines(tmp_path, most)
    for start in (0, 4):
        lines.add(f"{name}\t{number}" for number, name in list(enumerate(NAMES))[start:][: 4 if start == 0 else None])
    expected = sorted(range(len(NAMES)), key=NAMES.__getitem__)
    assert list(lines) == [f"{NAMES[number]}\t{number}" for number in expected]
    assert list(tmp_path.iterdir()) == []
