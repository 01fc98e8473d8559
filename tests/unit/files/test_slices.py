"""Slices of an array one after another, as Arrow copies them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from virnucflow.files.slices import gathered, texts

VALUES = np.frombuffer(bytes(range(65, 91)) * 4, dtype=np.uint8)
PLACE = st.integers(0, len(VALUES))
SLICE = st.tuples(PLACE, PLACE).map(lambda pair: (min(pair), max(pair) - min(pair)))


@given(st.lists(SLICE, max_size=20))
def test_slices_are_what_python_cuts(slices: list[tuple[int, int]]) -> None:
    """Also short ones, which Arrow keeps in the view itself, empty ones, and none at all."""
    starts, lengths = (np.array([pair[i] for pair in slices], dtype=np.int64) for i in (0, 1))
    letters, ends = gathered(VALUES, starts, lengths)
    expected = [VALUES[start : start + length].tobytes() for start, length in slices]
    assert letters.tobytes() == b"".join(expected)
    assert ends.tolist() == [0, *np.cumsum(lengths).tolist()]
    assert texts(letters, ends).to_pylist() == [text.decode() for text in expected]
