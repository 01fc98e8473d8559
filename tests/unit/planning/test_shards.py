"""Shards: how many a sample has, what they are called, and those of another run."""

import sys
from pathlib import Path

import pytest

from planning.messages import PlanningError
from planning.shards import MOST_SHARDS, estimated_bases, number_of_shards, shard_names, shards_of_run
from virnucflow.files.tables import SEQUENCES, write_parquet


def file_of(path: Path, size: int) -> str:
    with path.open("wb") as file:
        file.truncate(size)
    return str(path)


def test_bases_are_estimated_from_the_size(tmp_path: Path) -> None:
    assert estimated_bases(file_of(tmp_path / "a.fa", 1000)) == 1000
    for suffix in ("gz", "bgz", "bz2", "xz", "zst"):
        assert estimated_bases(file_of(tmp_path / f"a.fa.{suffix}", 1000)) == 4000
    assert estimated_bases(str(tmp_path / "absent.fa")) == 0


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, 1), (1, 1), (2_000_000, 1), (2_000_001, 2), (9_000_000, 5), (10**13, MOST_SHARDS)],
)
def test_number_of_shards_follows_from_the_size_of_all_files(size: int, expected: int, tmp_path: Path) -> None:
    files = [file_of(tmp_path / "a.fa", size // 2), file_of(tmp_path / "b.fa", size - size // 2)]
    assert number_of_shards(files, "auto", 2) == expected
    assert number_of_shards(files, 7, 2) == 7


def test_names_sort_as_their_numbers() -> None:
    names = shard_names(MOST_SHARDS)
    assert names[0] == "00001" and names[-1] == "05000" and names == sorted(set(names)) and len(names) == MOST_SHARDS


def test_shards_of_another_run(tmp_path: Path) -> None:
    table = tmp_path / "work" / "a" / "sequences.parquet"
    table.parent.mkdir(parents=True)
    with pytest.raises(
        PlanningError,
        match=r"^reference_run: .*: no table of a run, or it does not say its shards \(.*\); run it first$",
    ):
        shards_of_run(tmp_path, "a")
    write_parquet(SEQUENCES.empty_table(), table, {"shards": 2})
    assert shards_of_run(tmp_path, "a") == ["00001", "00002"]
    write_parquet(SEQUENCES.empty_table(), table, {})
    with pytest.raises(PlanningError, match="run it first"):
        shards_of_run(tmp_path, "a")


def test_the_python_of_snakemake_may_lack_what_reads_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "virnucflow.files.tables")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PlanningError, match=r"this Python has no pyarrow; install envs/run\.txt"):
        shards_of_run(tmp_path, "a")
