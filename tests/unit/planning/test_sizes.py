"""Memory in megabytes and run time in minutes of the rules, for small, usual and huge inputs."""

from pathlib import Path

import pytest

from planning import sizes

MB, GB = 10**6, 10**9


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        # One contig, a metagenome's assembly, and 100 Gb.
        (sizes.split_memory(10_000), 2000),
        (sizes.split_memory(GB), 2320),
        (sizes.split_memory(100 * GB), 34_000),
        (sizes.reading_runtime(10_000), 60),
        (sizes.reading_runtime(GB), 70),
        (sizes.reading_runtime(100 * GB), 1060),
        # The lite pack, ESM-2 3B with a shard of the default size, and with ten times that.
        (sizes.embed_memory(7 * MB, 0, 1), 6021),
        (sizes.embed_memory(5_700 * MB, 150 * MB, 1), 32_100),
        (sizes.embed_memory(5_700 * MB, 1500 * MB, 2), 226_200),
        (sizes.embed_runtime("flash", 1), 240),
        (sizes.embed_runtime("flash", 3), 720),
        (sizes.embed_runtime("standard", 1), 1440),
        (sizes.embed_runtime("standard", 3), 4320),
        # Tables of one frame, and the features of a million frames, in megabytes.
        (sizes.table_memory(0, 1), 2000),
        (sizes.table_memory(13_300, 1), 41_900),
        (sizes.table_memory(13_300, 2), 83_800),
        (sizes.cluster_memory(10_000, 1), 2000),
        (sizes.cluster_memory(100 * MB, 1), 3000),
        (sizes.cluster_memory(10 * GB, 2), 204_000),
        # One frame, a million frames in three shards, 100 million in 100 shards.
        (sizes.sample_memory([1000], 100), 2000),
        (sizes.sample_memory([40 * MB, 50 * MB, 45 * MB], 30 * MB), 3200),
        (sizes.sample_memory([135 * MB] * 100, 3 * GB), 49_025),
        (sizes.comparison_memory([1000], labels=False), 2000),
        (sizes.comparison_memory([10 * MB, 12 * MB], labels=False), 3200),
        (sizes.comparison_memory([10 * MB, 12 * MB], labels=True), 4200),
        (sizes.comparison_memory([30 * MB] * 100, labels=True), 302_000),
        (sizes.results_memory([100], 100), 4000),
        (sizes.results_memory([10 * MB, 30 * MB], 10 * MB), 6000),
        (sizes.results_memory([30 * MB] * 100, 2 * GB), 45_800),
    ],
)
def test_memory_and_run_time(size: int, expected: int) -> None:
    assert size == expected and type(size) is int


def test_batches_of_flash_shrink_with_each_attempt() -> None:
    assert [sizes.token_budget("flash", attempt) for attempt in (1, 2, 3)] == [33792, 16896, 8448]
    assert [sizes.token_budget("standard", attempt) for attempt in (1, 2, 3)] == [2048] * 3


@pytest.mark.parametrize(
    ("cores", "gpus", "threads"),
    [(1, 0, 1), (24, 0, 24), (1, 3, 1), (4, 3, 1), (12, 3, 3), (24, 3, 4), (128, 8, 4)],
)
def test_threads_of_jobs_on_all_gpus_leave_cores_to_others(cores: int, gpus: int, threads: int) -> None:
    assert sizes.embed_threads(cores, gpus) == threads


def test_sizes_of_files(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in "ab"]
    for file in files:
        Path(file).write_bytes(b"123")
    assert (sizes.bytes_of(files[0]), sizes.bytes_of(files), sizes.bytes_of([])) == (3, 6, 0)
