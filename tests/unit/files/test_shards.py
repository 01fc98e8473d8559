"""Files of many shards in a few words, and the words as files again."""

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virnucflow.files.shards import Files, as_ranges, expand


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], []),
        (["a/00001.fa"], ["a/00001.fa"]),
        (["a/00001.fa", "a/00002.fa"], ["a/00001..00002.fa"]),
        ([f"a b/{n:05d}.parquet" for n in range(1, 5001)], ["a b/00001..05000.parquet"]),
        # Another folder, another ending, a gap, and another order begin another word.
        (["a/00001.x", "b/00002.x", "b/00003.x"], ["a/00001.x", "b/00002..00003.x"]),
        (["a/00001.x", "a/00002.y"], ["a/00001.x", "a/00002.y"]),
        (["a/00001.x", "a/00003.x", "a/00002.x"], ["a/00001.x", "a/00003.x", "a/00002.x"]),
        (["a/sampled.x", "a/sampled.x"], ["a/sampled.x", "a/sampled.x"]),
        (["./-a/{b}/%d/00001.x", "./-a/{b}/%d/00002.x"], ["./-a/{b}/%d/00001..00002.x"]),
        (["00001.x", "00002.x"], ["00001..00002.x"]),
        (["/run 2/00009.x", "/run 2/00010.x"], ["/run 2/00009..00010.x"]),
    ],
)
def test_shards_that_follow_each_other_are_one_word(paths: list[str], words: list[str]) -> None:
    assert as_ranges(paths) == words
    assert [path for word in words for path in expand(word)] == list(map(Path, paths))


NAMES = st.one_of(st.integers(1, 30).map(lambda n: f"{n:05d}.x"), st.sampled_from(["00001..00002", "a.x", "123456.x"]))


@given(st.lists(st.tuples(st.sampled_from(["a", "b/00001..00003", "c"]), NAMES), max_size=20))
def test_no_file_is_lost_or_made_up(parts: list[tuple[str, str]]) -> None:
    """But of files that are named as a range is, which the workflow has none of."""
    paths = [f"{folder}/{name}" for folder, name in parts if name != "00001..00002"]
    assert [str(path) for word in as_ranges(paths) for path in expand(word)] == paths


def test_an_option_takes_files_and_ranges() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scores", action=Files, nargs="*")
    read = parser.parse_args(["--scores", "x.parquet", "a/00009..00011.parquet"]).scores
    assert read == [Path("x.parquet"), *(Path(f"a/{n}.parquet") for n in ("00009", "00010", "00011"))]
    assert parser.parse_args(["--scores"]).scores == [] and parser.parse_args([]).scores is None
