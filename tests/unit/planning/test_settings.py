"""Settings: what is wrong is told in one line each, and defaults are those of the schema."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers import REPOSITORY
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from planning.messages import PlanningError
from planning.settings import leaves, options, read_settings

SCHEMA_FILE = REPOSITORY / "workflow" / "schemas" / "config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())
CONFIG_FILE = REPOSITORY / "config" / "config.yaml"
CONFIG = yaml.safe_load(CONFIG_FILE.read_text())


def read(**settings: object) -> dict:
    read_settings(settings, SCHEMA_FILE)
    return settings


def refusal(settings: dict, **more: object) -> list[str]:
    with pytest.raises(PlanningError) as error:
        read_settings(settings, SCHEMA_FILE, **more)
    return str(error.value).splitlines()


def test_defaults_are_filled_in_also_beside_what_is_given() -> None:
    assert read() == CONFIG
    assert read(precision={"standard": "fp16"})["precision"] == CONFIG["precision"] | {"standard": "fp16"}


def explained(text: str) -> list[tuple[list[str], str]]:
    """The keys that lead to each setting of a config file, in its order, and the comment above it."""
    settings, keys, comment = [], [], []
    for line in text.splitlines():
        if match := re.fullmatch(r"( *)(\w+):.*", line):
            keys = [*keys[: len(match[1]) // 2], match[2]]
            settings.append((keys, " ".join(comment)))
        comment = [*comment, line.strip(" #")] if line.lstrip().startswith("#") else []
    return settings


def described(schema: dict, outer: list[str]) -> Iterator[tuple[list[str], str]]:
    """The keys that lead to each setting of a schema, in its order, and its description."""
    for name, setting in schema.get("properties", {}).items():
        yield [*outer, name], setting["description"]
        yield from described(setting, [*outer, name])


def test_the_config_file_explains_each_setting_as_the_schema_does() -> None:
    assert explained(CONFIG_FILE.read_text()) == list(described(SCHEMA, []))


def test_every_setting_says_whether_it_changes_results() -> None:
    assert {type(setting["x-changes-results"]) for _, setting in leaves(SCHEMA)} == {bool}


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("shards", 2.0, "shards: 2.0 is not allowed; give auto or a whole number of at least 1 and at most 5000"),
        ("shards", 5001, "shards: 5001 is not allowed; give auto or a whole number"),
        ("shards", True, "shards: True is not allowed"),
        ("chunk_length", 500.0, "chunk_length: 500.0 is not allowed; give a whole number of at least 30"),
        ("chunk_length", "5OO", "chunk_length: '5OO' is not allowed"),
        ("chunk_length", None, "chunk_length: None is not allowed"),
        ("gate", {"accept": math.nan}, "gate: accept: nan is not allowed; give a number of at least 0 and below 1"),
        ("gate", {"accept": -math.inf}, "gate: accept: -inf is not allowed"),
        ("shard_megabases", math.inf, "shard_megabases: inf is not allowed"),
        ("shard_megabases", 10**400, "shard_megabases: 1000"),
        ("training", {"epochs": "2.0"}, "training: epochs: '2.0' is not allowed; give"),
        ("training", {"seed": 2**64}, "0 and at most 4294967295"),
        ("gate", {"strict": 1}, "gate: strict: 1 is not allowed; give true or false"),
        ("attention", "fast", "attention: 'fast' is not allowed; give flash or standard"),
        ("gate", {"decide_on": ["estimate"]}, "gate: decide_on: ['estimate'] is not allowed; give estimate or"),
        ("precision", {"standard": "bf16"}, "precision: standard: 'bf16' is not allowed; give fp32 or fp16"),
        ("precision", {"flush": "fp16"}, "precision: flush: there is no such setting; did you mean flash?"),
        ("precision", "fp16", "'fp16' is not allowed; give a mapping of flash, standard and"),
        ("precision", {"standard_allows": ["bf16"]}, "give a list of some of tf32, fp16_accumulation and"),
        ("precision", {"standard_allows": ["tf32", "tf32"]}, "each once"),
        ("model_pack", "", "model_pack: '' is not allowed; give a text that is not empty"),
        ("model_pack", "a\0b", "model_pack: 'a\\x00b' has the control character U+0000; remove it"),
        ("chunk_lenght", 500, "chunk_lenght: there is no such setting; did you mean chunk_length?"),
        (7, 1, "7: there is no such setting; known are samples, model_pack,"),
    ],
    ids=str,
)  # fmt: skip
def test_one_line_says_what_is_wrong(setting: str, value: object, message: str) -> None:
    [line] = refusal({setting: value})
    assert message in line and line.startswith("the settings: ") and len(line) < 800


def test_the_line_names_what_gave_the_setting() -> None:
    given = [("--config", {"shards": 0}), ("my.yaml", {"chunk_length": 1, "precision": {"flash": "fp9"}, "shards": 1})]
    config = {"chunk_length": 1, "shards": 0, "precision": {"flash": "fp9", "standard": "fp32"}, "device": 3}
    lines = refusal(config, sources=lambda: given)
    assert [line.split(": ")[:2] for line in lines] == [
        ["my.yaml", "chunk_length"], ["--config", "shards"], ["my.yaml", "precision"], ["the settings", "device"],
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
        ({"gate": {"accept": 0.9}}, "gate: refuse is above accept (0.95 > 0.9)"),
        ({"gate": {"on_failure": "fallback"}, "precision": {"standard_allows": ["tf32"]}}, "publishes standard"),
        ({"precision": {"flash": "fp8"}, "gate": {"frames": 0}}, "set gate: frames, for example to 1000"),
        ({"max_fdr": 0.05}, "max_fdr: is of probabilities, which need a share of viruses; set prevalence"),
        ({"training": {"trained_pack": "a/{b}"}}, "trained_pack: 'a/{b}': Snakemake takes braces for wildcards"),
        ({"training": {"trained_pack": "models/x/../untrained"}}, "is the directory of the untrained pack"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_contradict_each_other(settings: dict, message: str) -> None:
    [line] = refusal(settings)
    assert message in line


def test_paths_out_of_tab_completion(tmp_path: Path) -> None:
    settings = read(
        model_pack="resources/models/lite/", training={"trained_pack": ".//mine/"}, reference_run="../other run/"
    )
    assert settings["model_pack"] == "resources/models/lite" and settings["training"]["trained_pack"] == "mine"
    assert settings["reference_run"] == "../other run" and settings["published_files"] == ""


def test_numbers_that_yaml_or_the_command_line_gives_as_texts() -> None:
    settings = read(gate={"frames": "20", "strict": "true", "accept": "0.98"}, chunk_length="300", shards="2",
                    training={"learning_rate": "1e-4", "split_by": "7"})  # fmt: skip
    assert [settings["gate"][name] for name in ("frames", "strict", "accept")] == [20, True, 0.98]
    assert (settings["chunk_length"], settings["shards"]) == (300, 2)
    assert (settings["training"]["learning_rate"], settings["training"]["split_by"]) == (1e-4, "7")


@pytest.mark.parametrize(
    ("former", "message"),
    [
        (
            {"divergence_frames": 0},
            "is called gate: frames now; give gate: {frames: 0}, or --config gate='{frames: 0}'",
        ),
        ({"model": "lite"}, "model: is called model_pack now; give model_pack: lite"),
        ({"standard_allows": ["tf32"]}, "give precision: {standard_allows: ['tf32']}, or --config"),
        ({"training_seed": endless}, "is called training: seed now"),
    ],
    ids=str,
)
def test_a_former_name_is_refused_with_the_present_one(former: dict, message: str) -> None:
    [line] = refusal(former)
    assert message in line


def test_former_names_lead_to_one_setting_each() -> None:
    former = [setting["x-formerly"] for _, setting in leaves(SCHEMA) if "x-formerly" in setting]
    assert len(former) == len(set(former)) == 20 and not set(former) & SCHEMA["properties"].keys()


def test_options_have_the_names_of_the_settings() -> None:
    gate = CONFIG["gate"]
    assert options(gate, "accept", "decide_on", "strict") == "--accept 0.99 --decide-on estimate"
    assert options(gate | {"strict": True}, "strict", "seed") == "--seed 0 --strict"
