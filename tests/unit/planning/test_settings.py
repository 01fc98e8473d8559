"""Settings: what is wrong is told in one line each, and defaults are those of the schema."""

import math
from pathlib import Path

import pytest
import yaml
from helpers import REPOSITORY
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from planning.messages import PlanningError
from planning.settings import read_settings

SCHEMA_FILE = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())
CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


def read(**settings: object) -> dict:
    read_settings(settings, SCHEMA_FILE)
    return settings


def refusal(settings: dict, **more: object) -> list[str]:
    with pytest.raises(PlanningError) as error:
        read_settings(settings, SCHEMA_FILE, **more)
    return str(error.value).splitlines()


def test_defaults_are_filled_in_also_beside_what_is_given() -> None:
    assert read() == CONFIG
    assert read(precision={"standard": "fp16"})["precision"] == {"flash": "auto", "standard": "fp16"}


def leaves(schema: dict) -> dict[str, dict]:
    found = {}
    for name, setting in schema["properties"].items():
        found |= leaves(setting) if "properties" in setting else {name: setting}
    return found


def test_every_setting_says_whether_it_changes_results() -> None:
    assert {type(setting["x-changes-results"]) for setting in leaves(SCHEMA).values()} == {bool}


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("shards", 2.0, "shards: 2.0 is not allowed; give auto or a whole number of at least 1 and at most 2000"),
        ("shards", 2001, "shards: 2001 is not allowed; give auto or a whole number"),
        ("shards", True, "shards: True is not allowed"),
        ("chunk_length", 500.0, "chunk_length: 500.0 is not allowed; give a whole number of at least 30"),
        ("chunk_length", "500", "(500 is a text in YAML: write 500)"),
        ("chunk_length", None, "chunk_length: None is not allowed"),
        ("divergence_accept", math.nan, "accept: nan is not allowed; give a number of at least 0 and below 1"),
        ("divergence_accept", -math.inf, "divergence_accept: -inf is not allowed"),
        ("shard_megabases", math.inf, "shard_megabases: inf is not allowed"),
        ("shard_megabases", 10**400, "shard_megabases: 1000"),
        ("training_learning_rate", "1e-4", "(1e-4 is a text in YAML: write 0.0001)"),
        ("training_seed", 2**64, "at most 4294967295"),
        ("strict", 1, "strict: 1 is not allowed; give true or false"),
        ("attention", "fast", "attention: 'fast' is not allowed; give flash or standard"),
        ("decide_on", ["estimate"], "decide_on: ['estimate'] is not allowed; give estimate or lower_bound"),
        ("precision", {"standard": "bf16"}, "precision: standard: 'bf16' is not allowed; give fp32 or fp16"),
        ("precision", {"flush": "fp16"}, "precision: flush: there is no such setting; did you mean flash?"),
        ("precision", "fp16", "precision: 'fp16' is not allowed; give a mapping of flash and standard"),
        ("standard_allows", ["bf16"], "give a list of some of tf32, fp16_accumulation and reduced_precision_reduction"),
        ("standard_allows", ["tf32", "tf32"], "each once"),
        ("model", "", "model: '' is not allowed; give a text that is not empty"),
        ("model", "a\0b", "model: 'a\\x00b' has the control character U+0000; remove it"),
        ("chunk_lenght", 500, "chunk_lenght: there is no such setting; did you mean chunk_length?"),
        (7, 1, "7: there is no such setting; known are samples, model,"),
    ],
    ids=str,
)  # fmt: skip
def test_one_line_says_what_is_wrong(setting: str, value: object, message: str) -> None:
    [line] = refusal({setting: value})
    assert message in line and line.startswith("the settings: ") and len(line) < 800


def test_the_line_names_what_gave_the_setting() -> None:
    given = [("--config", {"shards": 0}), ("my.yaml", {"chunk_length": 1, "precision": {"flash": "fp9"}, "shards": 1})]
    config = {"chunk_length": 1, "shards": 0, "precision": {"flash": "fp9", "standard": "fp32"}, "strict": 3}
    lines = refusal(config, sources=lambda: given)
    assert [line.split(": ")[:2] for line in lines] == [
        ["my.yaml", "chunk_length"], ["--config", "shards"], ["my.yaml", "precision"], ["the settings", "strict"],
    ]  # fmt: skip


def test_problems_are_told_all_at_once_up_to_ten() -> None:
    lines = refusal({f"a{number}": number for number in range(5000)})
    assert len(lines) == 11 and lines[-1] == "and 4990 more problems"


endless: list = []
endless.append(endless)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(endless) | st.just("x" * 10**4),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=5,
)


@limits(deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(sorted(CONFIG)) | st.text(), values, max_size=4))
def test_any_settings_are_taken_or_refused_in_short_lines(config: dict) -> None:
    try:
        read_settings(config, SCHEMA_FILE)
    except PlanningError as error:
        assert len(str(error)) < 10_000
    else:
        assert config.keys() == CONFIG.keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divergence_accept": 0.9}, "divergence_refuse is above divergence_accept (0.95 > 0.9)"),
        ({"on_divergence": "fallback", "standard_allows": ["tf32"]}, "on_divergence: fallback publishes standard"),
        ({"precision": {"flash": "fp8"}, "divergence_frames": 0}, "set divergence_frames, for example to 1000"),
        ({"trained_model": "a/{b}"}, "trained_model: 'a/{b}': Snakemake takes braces for wildcards"),
        ({"trained_model": "models/x/../untrained"}, "is the directory of the untrained pack; choose another"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_contradict_each_other(settings: dict, message: str) -> None:
    [line] = refusal(settings)
    assert message in line


def test_paths_out_of_tab_completion(tmp_path: Path) -> None:
    settings = read(model="resources/models/lite/", trained_model=".//mine/", reference_run="../other run/")
    assert settings["model"] == "resources/models/lite" and settings["trained_model"] == "mine"
    assert settings["reference_run"] == "../other run" and settings["model_source"] == ""
