"""Shards: how many a sample has, what they are called, and those of another run."""

import sys
from pathlib import Path

import pytest

from planning.messages import PlanningError
from planning.samples import InputFile, Sample
from planning.shards import (
    MOST_SHARDS,
    bases_to_embed,
    bases_to_read,
    estimated_bases,
    number_of_shards,
    shard_names,
    shards_of_run,
)
from virnucflow.files.tables import SEQUENCES, write_parquet


def file_of(path: Path, size: int, layout: str = "fasta") -> InputFile:
    with path.open("wb") as file:
        file.truncate(size)
    return InputFile(str(path), "fasta" if layout == "fasta" else "reads", "samples.tsv", 2, layout)


def test_bases_are_estimated_from_the_size(tmp_path: Path) -> None:
    assert estimated_bases(file_of(tmp_path / "a.fa", 1000)) == 1000
    for suffix in ("gz", "bgz", "bz2", "xz", "zst"):
        assert estimated_bases(file_of(tmp_path / f"a.fa.{suffix}", 1000)) == 4000
    assert estimated_bases(InputFile(str(tmp_path / "absent.fa"), "fasta", "samples.tsv", 2, "fasta")) == 0


def test_bases_of_reads_are_fewer_than_bytes_and_more_where_they_are_compressed(tmp_path: Path) -> None:
    assert estimated_bases(file_of(tmp_path / "a.fq", 2200, "reads")) == 1000
    for name in ("a.fq.gz", "a.fq.zst", "a.bam"):
        assert estimated_bases(file_of(tmp_path / name, 1000, "reads")) == 2000


def test_reads_have_more_frames_and_no_more_are_embedded_than_are_drawn(tmp_path: Path) -> None:
    contigs, reads = file_of(tmp_path / "a.fa", 5000), file_of(tmp_path / "a.fq", 2_200_000, "paired")
    sample = Sample("a", 2, [contigs, reads])
    assert bases_to_read(sample) == 1_005_000
    assert bases_to_embed(sample, 300, 0) == bases_to_embed(sample, 300, 5000) == 5000 + 4 * 1_000_000
    assert bases_to_embed(sample, 300, 100) == 5000 + 4 * 30_000
    assert bases_to_embed(Sample("b", 3, [contigs]), 300, 100) == 5000


@pytest.mark.parametrize(
    ("bases", "expected"),
    [(0, 1), (1, 1), (2_000_000, 1), (2_000_001, 2), (9_000_000, 5), (10**13, MOST_SHARDS)],
)
def test_number_of_shards_follows_from_the_bases(bases: int, expected: int) -> None:
    assert number_of_shards(bases, "auto", 2) == expected
    assert number_of_shards(bases, 7, 2) == 7


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
