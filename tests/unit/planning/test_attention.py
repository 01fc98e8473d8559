"""The attention of a sample."""

from pathlib import Path

import pytest

from planning.attention import V1_ATTENTION, decided_attention, forced_attention
from planning.messages import PlanningError


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", "standard"), (" TRUE ", "standard"), ("1", "standard"), ("yes", "standard"),
     ("false", None), ("0", None), ("no", None), ("", None)],
)  # fmt: skip
def test_the_environment_may_force_v1s_attention(value: str, expected: str | None) -> None:
    assert forced_attention({V1_ATTENTION: value}) == expected
    assert forced_attention({}) is None


def test_other_values_in_the_environment_are_refused() -> None:
    with pytest.raises(PlanningError, match=r"^VIRNUCPRO_V1_ATTENTION=may\\nbe: unknown; set it to true or false$"):
        forced_attention({V1_ATTENTION: "may\nbe"})


def test_a_gate_says_which_attention_is_published(tmp_path: Path) -> None:
    gate = tmp_path / "gate.json"
    gate.write_text('{"attention": "standard"}')
    assert decided_attention(gate) == "standard"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"attention": "fast"}', '{"attention": []}', "[" * 100_000, None])
def test_a_gate_that_says_none_is_refused_in_one_line(text: str | None, tmp_path: Path) -> None:
    gate = tmp_path / "gate.json"
    if text is not None:
        gate.write_text(text)
    with pytest.raises(PlanningError, match=r"gate\.json: damaged \(.*\); delete it and run again$"):
        decided_attention(gate)
