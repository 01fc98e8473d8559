"""Small samples are computed together, by what is known of them before anything is."""

import re

import pytest

from planning.batches import (
    EACH,
    MOST_SAMPLES,
    MOST_SHARDS,
    Member,
    Scope,
    make_batches,
    most_bases,
    one_of,
    samples_outside,
)

MOST = 100


def member(name: str, bases: int = 1, attention: str = "flash", shards: int = 1) -> Member:
    return Member(name, attention, bases, tuple(f"{shard:05}" for shard in range(1, shards + 1)))


def batched(*samples: Member) -> list[list[str]]:
    return [[sample.name for sample in batch.members] for batch in make_batches(samples, MOST)]


def test_batches_are_filled_in_the_order_of_the_sheet_up_to_the_limit_of_bases() -> None:
    sizes = {"a": 60, "b": 30, "c": 20, "d": 80, "e": 20}
    assert batched(*(member(name, bases) for name, bases in sizes.items())) == [["a", "b"], ["c", "d"]]


def test_a_large_sample_is_in_no_batch_and_ends_none() -> None:
    assert batched(member("a"), member("large", MOST + 1), member("b")) == [["a", "b"]]


def test_what_would_be_alone_is_in_no_batch() -> None:
    assert batched(member("a")) == batched() == batched(member("a", 90), member("b", 90)) == []


def test_a_batch_has_so_many_samples_and_shards_and_no_more() -> None:
    names = [f"s{number}" for number in range(MOST_SAMPLES + 2)]
    assert batched(*map(member, names)) == [names[:MOST_SAMPLES], names[MOST_SAMPLES:]]
    many = [member(name, shards=MOST_SHARDS // 2) for name in names[:4]]
    assert batched(*many) == [names[:2], names[2:4]]


def test_samples_of_unlike_attention_are_in_batches_of_their_own() -> None:
    samples = [member(f"s{number}", attention=("flash", "standard")[number % 2]) for number in range(4)]
    batches = make_batches(samples, MOST)
    assert {batch.label: batch.attention for batch in batches} == {"flash_1": "flash", "standard_1": "standard"}
    assert batched(*samples) == [["s0", "s2"], ["s1", "s3"]]


@pytest.mark.parametrize("number", range(1, 3 * MOST_SAMPLES))
def test_an_appended_sample_changes_at_most_the_last_batch(number: int) -> None:
    samples = [member(f"s{i}", 1 + i % 7) for i in range(number)]
    before, after = make_batches(samples, MOST), make_batches([*samples, member("new", 3)], MOST)
    assert before[:-1] == after[: max(0, len(before) - 1)]
    assert len(after) - len(before) in (0, 1)
    # The last one has its label still, with what it had, also where its first sample was alone.
    assert not before or after[len(before) - 1].members[: len(before[-1].members)] == before[-1].members


def test_the_limit_is_a_part_of_a_shard() -> None:
    assert most_bases(600) == 100_000_000


def test_a_scope_without_members_is_of_what_wildcards_name() -> None:
    assert EACH.rule("predict") == "predict" and EACH.files("work/{sample}/{shard}") == "work/{sample}/{shard}"
    assert EACH.log("predict", "{sample}/{shard}") == "logs/predict/{sample}/{shard}" and EACH.described("it") == "it"


def test_a_batch_has_rules_files_and_logs_of_its_own() -> None:
    (batch,) = make_batches([member("a", shards=2), member("b")], MOST)
    assert (
        batch.rule("predict") == "predict_flash_1"
        and batch.log("predict", "{sample}") == "logs/batches/predict_flash_1"
    )
    assert batch.files("{sample}/{attention}/{shard}") == ["a/flash/00001", "a/flash/00002", "b/flash/00001"]
    assert batch.files("{sample}/chunks") == ["a/chunks", "b/chunks"]
    assert batch.described("") == "2 samples (a to b, flash)"
    sampled = batch.sampled()
    assert sampled.rule("predict") == "predict_flash_1_sampled"
    assert sampled.files("{sample}/{attention}/{shard}") == ["a/standard/sampled", "b/standard/sampled"]


def test_paths_that_batches_make_are_left_out_for_other_rules() -> None:
    (batch,) = make_batches([member("a"), member("a.b")], MOST)
    pattern = "work/{sample}/scores/{attention}/{shard}.parquet"
    scopes: list[Scope] = [batch, batch.sampled()]
    samples = samples_outside(["a", "a.b", "aXb"], (scope.beginnings(pattern) for scope in scopes))
    path = re.compile(rf"work/(?P<sample>{samples})/scores/(flash|standard)/(\d{{5}}|sampled)\.parquet")
    made = [file for scope in scopes for file in scope.files(pattern)]
    others = ["work/aXb/scores/flash/00001.parquet", "work/a/scores/standard/00001.parquet"]
    assert len(made) == 4 and not any(map(path.fullmatch, made)) and all(map(path.fullmatch, others))
    assert samples_outside(["a"], []) == "a" and not re.match(one_of([]), "a")
