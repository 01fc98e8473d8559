"""Memory in megabytes and run time in minutes of the rules, for small, usual and huge inputs."""

from pathlib import Path

import pytest
from helpers import REPOSITORY

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
        (sizes.embed_memory(7 * MB, 0, 64, 1), 6021),
        (sizes.embed_memory(5_700 * MB, 1_200_000, 2560, 1), 43_932),
        (sizes.embed_memory(5_700 * MB, 12_000_000, 2560, 2), 462_840),
        (sizes.estimated_frames(0, 500, "whole"), 0),
        (sizes.estimated_frames(1, 500, "whole"), 1),
        (sizes.estimated_frames(600 * MB, 500, "whole"), 1_200_000),
        (sizes.estimated_frames(600 * MB, 300, "longest"), 2_500_000),
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
        (sizes.results_memory([10 * MB, 30 * MB], 10 * MB), 6120),
        (sizes.results_memory([30 * MB] * 100, 2 * GB), 69_800),
    ],
)
def test_memory_and_run_time(size: int, expected: int) -> None:
    assert size == expected and type(size) is int


LITE = {
    "esm2": {"num_layers": 3, "embed_dim": 64},
    "dnabert_s": {"num_hidden_layers": 3, "hidden_size": 384, "intermediate_size": 512},
}
PUBLISHED = {
    "esm2": {"num_layers": 36, "embed_dim": 2560},
    "dnabert_s": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072},
}


def test_every_token_goes_through_the_matrices_of_an_encoder() -> None:
    """Of ESM-2 3B's 2.84 billion values all but the embedding's and the biases."""
    assert sizes.matrix_values(PUBLISHED) == {"esm2": 2_831_155_200, "dnabert_s": 113_246_208}
    assert sizes.matrix_values(LITE) == {"esm2": 147_456, "dnabert_s": 3_538_944}
    assert sizes.widths(PUBLISHED) == {"esm2": 2560, "dnabert_s": 768}


@pytest.mark.parametrize(
    "pack",
    [{}, {"esm2": 7, "dnabert_s": None}, {"esm2": {"embed_dim": "x", "num_layers": 1e9}, "dnabert_s": {}},
     {"esm2": {"embed_dim": -1, "num_layers": 1 << 40}, "dnabert_s": {"hidden_size": [1]}}],
)  # fmt: skip
def test_a_description_that_is_not_there_or_damaged_says_nothing_here(pack: dict) -> None:
    """The check before the first job says what is wrong with it, which planning must not forestall with a traceback."""
    assert sizes.matrix_values(pack) == sizes.widths(pack) == {"esm2": 0, "dnabert_s": 0}


@pytest.mark.parametrize(
    ("pack", "frames", "setting", "attempt", "minutes"),
    [
        # A shard of the default size, in fp16 and as VirNucPro v1; the gate's thousand frames.
        (PUBLISHED, 1_200_000, ("auto", "flash", "auto", 4), 1, 164),
        (PUBLISHED, 1_200_000, ("cuda", "flash", "fp8", 4), 2, 327),
        (PUBLISHED, 1_200_000, ("auto", "standard", "fp32", 4), 1, 2625),
        (PUBLISHED, 1_200_000, ("auto", "flash", "fp32", 4), 1, 2625),
        (PUBLISHED, 1000, ("auto", "standard", "fp32", 4), 1, 23),
        (PUBLISHED, 1000, ("cpu", "standard", "fp32", 4), 1, 319),
        (LITE, 1_500_000, ("auto", "flash", "auto", 4), 1, 21),
        (LITE, 1_500_000, ("cpu", "flash", "auto", 4), 3, 130),
        ({}, 1_500_000, ("cpu", "flash", "auto", 4), 1, 20),
    ],
)
def test_run_time_goes_with_the_work(pack: dict, frames: int, setting: tuple, attempt: int, minutes: int) -> None:
    values = sizes.matrix_values(pack)["esm2"]
    asked = sizes.embed_minutes(values, frames * (500 / 3 + 2), sizes.speed_of(*setting), attempt)
    assert sizes.limited(asked, "none") == minutes


def test_the_manual_says_what_jobs_of_the_published_models_ask_for() -> None:
    frames = sizes.estimated_frames(600 * MB, 500, "whole")
    weights = {"esm2": 5_700 * MB, "dnabert_s": 250 * MB}
    widths = {"esm2": 2560, "dnabert_s": 768}

    def row(what: str, encoder: str, frames: int, attention: str, precision: str) -> str:
        tokens = frames * (500 / sizes.LETTERS_PER_TOKEN[encoder] + 2)
        speed = sizes.speed_of("auto", attention, precision, 4)
        minutes = sizes.embed_minutes(sizes.matrix_values(PUBLISHED)[encoder], tokens, speed, 1)
        memory = sizes.embed_memory(weights[encoder], frames, widths[encoder], 1)
        return f"| `embed_{encoder}`, {what} | {memory / 1000:.0f} GB | {sizes.limited(minutes, 'none'):,} |"

    features = sizes.table_memory(4 * sum(widths.values()) * frames / 1e6, 1)
    rows = [
        row("`flash` in 16 bits or fp8", "esm2", frames, "flash", "fp8"),
        row("`standard` or fp32", "esm2", frames, "standard", "fp32"),
        row("the gate's 1,000 frames", "esm2", 1000, "standard", "fp32"),
        row("`flash`", "dnabert_s", frames, "flash", "auto"),
        f"| `concat_features`, `predict` | {features / 1000:.0f} GB | 30 |",
        f"| `translate_frames` | 2 GB | {sizes.limited(sizes.translate_minutes(600 * MB, 1), 'none')} |",
    ]
    assert "\n".join(rows) in (REPOSITORY / "docs" / "hpc.md").read_text()


def test_no_job_asks_for_more_time_than_the_cluster_allows() -> None:
    assert [sizes.limited(minutes, 1440) for minutes in (10.2, 1440, 3493.0)] == [11, 1440, 1440]
    assert sizes.limited(3493.2, "none") == 3494
    assert [sizes.limited(sizes.translate_minutes(bases, 2), "none") for bases in (0, 600 * MB)] == [30, 50]


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
