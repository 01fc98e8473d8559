"""What a run costs, held against what was measured."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from helpers import REPOSITORY

from planning.batches import Member, make_batches
from planning.cost import (
    CARDS,
    FRAME_TOKENS,
    Work,
    core_seconds,
    count_jobs,
    gpu_seconds,
    jobs_of_shards,
    work_bytes,
)

PUBLISHED: Mapping[str, Any] = {
    "esm2": {"num_layers": 36, "embed_dim": 2560},
    "dnabert_s": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072},
}
LITE = json.loads((REPOSITORY / "resources" / "models" / "lite" / "pack.json").read_text())


def frames(number: float, shards: float = 0, jobs: float = 0) -> Work:
    """As long as those of the measurements."""
    return Work(number, (FRAME_TOKENS["esm2"] - 2) * number, 500 * number, shards, jobs)


def test_programs_take_what_was_measured() -> None:
    """docs/performance.md: 100,000 frames in 156.5 and 11.7 s, of ESM-2 3B and DNABERT-S, with their starts."""
    seconds = gpu_seconds(PUBLISHED, frames(100_000, shards=1, jobs=1), "H100", "fp16")
    assert seconds == pytest.approx(156.5 + 11.7, rel=0.03)


def test_cards_are_projected_by_their_rates() -> None:
    seconds = {card: gpu_seconds(PUBLISHED, frames(1e6), card, "fp16") for card in CARDS}
    assert seconds["A100"] / seconds["H100"] == pytest.approx(989 / 312)
    assert seconds["T4"] > 15 * seconds["H100"] * 105_581 / 89_646  # without Triton
    assert gpu_seconds(PUBLISHED, frames(1e6), "A100", "fp8") == float("inf")
    assert gpu_seconds(PUBLISHED, frames(1e6), "H100", "fp8") < 0.7 * seconds["H100"]
    assert 15 < gpu_seconds(PUBLISHED, frames(1e6), "H100", "fp32") / seconds["H100"] < 20


def test_cores_with_lite_take_what_was_measured() -> None:
    """6,000 frames on two cores at 934 and 199 frames a second."""
    assert core_seconds(LITE, frames(6000), "flash") / 2 == pytest.approx(6000 / 934 + 6000 / 199, rel=0.01)


@pytest.mark.parametrize(
    "pack, kept", [(LITE, (259, 2051, 4352)), (PUBLISHED, (259, 13_571, 27_392))], ids=["lite", "published"]
)
def test_room_is_that_of_the_table_in_architecture(pack: Mapping[str, Any], kept: tuple[int, ...]) -> None:
    counts = {
        "sequences": 45,
        "bases": 1e6,
        "rows": 2107,
        "frames": 2107,
        "residues": 2107 * 166,
        "nucleotides": 2107 * 500,
    }
    sizes = work_bytes(pack, counts)
    assert tuple(size / 2107 for size in sizes.values()) == pytest.approx(kept, rel=0.01)


def test_jobs_of_shards_and_batches() -> None:
    names = [f"s{number}" for number in range(30)]
    batches = make_batches([Member(name, "flash", 10, ("00001",)) for name in names], 1000)
    scopes = [*batches, *(batch.sampled() for batch in batches)]
    shards = dict.fromkeys(names, 1) | {"large": 7}
    assert jobs_of_shards(scopes, shards) == len(batches) + 7
    assert jobs_of_shards(scopes, {"s0": 1}) == 1
    jobs = count_jobs(scopes, shards, [*names, "large"], paired=3)
    assert jobs["embed_esm2"] == 2 * len(batches) + 7 + 1 and jobs["split_fasta"] == jobs["write_results"] == 31
    assert jobs["call_pairs"] == 3 and "sample_frames" not in count_jobs(scopes, shards, [], 0)
