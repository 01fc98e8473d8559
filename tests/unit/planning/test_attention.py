"""The attention of a sample, and the options of both encoders."""

from pathlib import Path

import pytest
import yaml
from helpers import REPOSITORY

from planning.attention import V1_ATTENTION, decided_attention, embed_options, forced_attention
from planning.messages import PlanningError

CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


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


@pytest.mark.parametrize(
    ("encoder", "attention", "shard", "precision", "expected"),
    [
        ("esm2", "flash", "00001", {}, "--precision auto --attention-kernel sdpa"),
        ("dnabert_s", "flash", "00001", {}, "--precision auto"),
        ("esm2", "flash", "00001", {"flash": "fp8"}, "--precision fp8 --attention-kernel sdpa"),
        ("dnabert_s", "flash", "00001", {"flash": "fp8"}, "--precision fp16"),
        ("esm2", "standard", "00001", {"standard": "fp16"}, "--precision fp16 --allow tf32"),
        ("dnabert_s", "standard", "00001", {}, "--precision fp32 --allow tf32"),
        # The gate's reference is v1 as it was, whatever the settings say.
        ("esm2", "standard", "sampled", {"standard": "fp16"}, "--precision fp32 --allow"),
        ("dnabert_s", "standard", "sampled", {"standard": "fp16"}, "--precision fp32 --allow"),
    ],
)
def test_options_of_the_encoders(encoder: str, attention: str, shard: str, precision: dict, expected: str) -> None:
    settings = {"chunk_length": 300, "device": "cpu", "attention_kernel": "sdpa"}
    settings["precision"] = CONFIG["precision"] | {"standard_allows": ["tf32"]} | precision
    assert embed_options(encoder, attention, shard, settings) == f"--chunk-length 300 --device cpu {expected}"
