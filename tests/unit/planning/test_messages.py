"""How problems are told: one bounded, printable line each."""

import pytest

from planning.messages import LONGEST_PATH, MOST_PROBLEMS, PlanningError, control_character, named, nearest, shown


def test_many_problems_are_counted() -> None:
    few, many = [str(number) for number in range(MOST_PROBLEMS)], [str(number) for number in range(MOST_PROBLEMS + 3)]
    assert str(PlanningError(*few)).splitlines() == few
    assert str(PlanningError(*many)).splitlines() == [*few, "and 3 more problems"]


def test_values_are_quoted_in_short() -> None:
    endless: list = []
    endless.append(endless)
    for value in ("x" * 10**6, "\x1b[2J\n\u2028", endless, {"a": [[[[1]]]]}, 10**10_000, float("nan"), None):
        text = shown(value)
        assert text.isprintable() and len(text) <= 80, text
    assert shown("fp16") == "'fp16'" and shown(10**10_000) == "a number of thousands of digits"


def test_paths_are_as_they_are_unless_they_are_long_or_do_not_print() -> None:
    assert named("größe ü/a b.fa") == "größe ü/a b.fa"
    assert named("a\nb\x1b\udcff\u2028") == "a\\nb\\x1b\\udcff\\u2028"
    assert len(named("a" * 10**6)) <= LONGEST_PATH and named("a" * 400 + "end").endswith("aend")


@pytest.mark.parametrize(
    ("text", "code"), [("a b", ""), ("a\0", "U+0000"), ("\x85", "U+0085"), ("\u2028", "U+2028"), ("\u00ad", "")]
)
def test_control_characters(text: str, code: str) -> None:
    assert control_character(text) == code


def test_advice_for_a_name_that_is_not_known() -> None:
    assert nearest("Shard", ["shards", "device"]) == "did you mean shards?"
    assert nearest("x" * 10**6, ["shards", "device"]) == "known are shards, device"
