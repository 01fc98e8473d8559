"""The settings: held against their schema, filled up with its defaults, and in step with each other."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from planning.messages import PlanningError, control_character, named, nearest, shown
from planning.paths import plain, same_directory

Sources = Callable[
    [], Iterable[tuple[str, Mapping]]
]  # names and contents of what gave the settings, the last word first
PATHS = ("model", "model_source", "reference_run", "trained_model")
_NOTHING = object()
UNTRAINED = "models/untrained"  # the model pack that a rule builds


def _whole(_: object, value: object) -> bool:
    """Neither 2.0 nor true is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _number(_: object, value: object) -> bool:
    """Neither .nan nor .inf is a number, nor what no float holds."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _whole, "number": _number}),
)


def read_settings(config: dict, schema_file: Path, sources: Sources = tuple) -> None:
    """Fill up `config` with the defaults of the schema, and write its paths plainly.

    Raises PlanningError, which names all that is wrong: what gave the setting, the setting, its value, what is allowed.
    """
    schema = yaml.safe_load(schema_file.read_text(encoding="utf-8"))
    if problems := list(_problems(config, schema)):
        given = list(sources())
        raise PlanningError(*(f"{_origin(keys, config, given)}: {problem}" for keys, problem in problems))
    _fill_up(config, schema)
    config |= {setting: plain(config[setting]) for setting in PATHS}
    if problems := list(_contradictions(config)):
        raise PlanningError(*(f"the settings: {problem}" for problem in problems))


def _problems(config: Mapping, schema: dict, outer: tuple[str, ...] = ()) -> Iterator[tuple[tuple, str]]:
    """What is wrong with single settings, each with the keys that lead to it."""
    known = schema["properties"]
    for setting, value in config.items():
        name = ": ".join(map(named, (*outer, setting)))
        if setting not in known:
            problem = f"{name}: there is no such setting; {nearest(str(setting), known)}"
        elif "properties" in known[setting] and isinstance(value, Mapping):
            yield from _problems(value, known[setting], (*outer, setting))
            continue
        elif isinstance(value, str) and (control := control_character(value)):
            problem = f"{name}: {shown(value)} has the control character {control}; remove it"
        elif not Validator(known[setting]).is_valid(value):
            problem = f"{name}: {shown(value)} is not allowed; give {allowed(known[setting])}{_as_number(value)}"
        else:
            continue
        yield (*outer, setting), problem


def allowed(schema: dict) -> str:
    """What a setting may be, in words."""
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return _listed(schema["enum"])
    if "anyOf" in schema:
        return " or ".join(map(allowed, schema["anyOf"]))
    match schema["type"]:
        case "object":
            return f"a mapping of {_listed(schema['properties'], 'and')}"
        case "array":
            return f"a list of some of {_listed(schema['items']['enum'], 'and')}, each once, or []"
        case "boolean":
            return "true or false"
        case "string":
            return "a text that is not empty" if schema.get("minLength") else "a text"
        case ["string", "null"]:
            return "a text, or nothing"
    words = ["a whole number" if schema["type"] == "integer" else "a number"]
    bounds = {"minimum": "of at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {schema[bound]}" for bound, word in bounds.items() if bound in schema]
    return " ".join([*words, " and ".join(limits)])


def _as_number(value: object) -> str:
    """YAML takes 1e-4 for a text, and what a shell quotes twice."""
    try:
        number = float(value) if isinstance(value, str) and len(value) < 40 else math.nan
    except ValueError:
        return ""
    written = int(number) if number.is_integer() else number
    return f" ({value} is a text in YAML: write {written})" if math.isfinite(number) else ""


def _listed(values: Iterable[object], word: str = "or") -> str:
    *values, last = map(str, values)
    return f"{', '.join(values)} {word} {last}" if values else last


def _origin(keys: tuple, config: Mapping, given: list[tuple[str, Mapping]]) -> str:
    """What gave a setting its value; as a part of another workflow that is not known."""
    value = _value(keys, config)
    return next((name for name, content in given if shown(_value(keys, content)) == shown(value)), "the settings")


def _value(keys: tuple, config: object) -> object:
    for key in keys:
        config = config.get(key, _NOTHING) if isinstance(config, Mapping) else _NOTHING
    return config


def _fill_up(config: dict, schema: dict) -> None:
    for setting, description in schema["properties"].items():
        config.setdefault(setting, deepcopy(description.get("default")))
        if "properties" in description:
            _fill_up(config[setting], description)


def _contradictions(config: Mapping) -> Iterator[str]:
    """What is wrong with settings together."""
    accept, refuse = config["divergence_accept"], config["divergence_refuse"]
    if refuse > accept:
        yield f"divergence_refuse is above divergence_accept ({refuse} > {accept}); give refuse <= accept"
    if config["on_divergence"] == "fallback" and (
        config["precision"]["standard"] != "fp32" or config["standard_allows"]
    ):
        yield (
            "on_divergence: fallback publishes standard unchecked; "
            "set precision: standard: fp32 and standard_allows: []"
        )
    if config["precision"]["flash"] == "fp8" and config["divergence_frames"] == 0:
        yield "precision: flash: fp8 is for runs with the gate; set divergence_frames, for example to 1000"
    trained = config["trained_model"]
    if set(trained) & set("{}<>"):
        yield f"trained_model: {shown(trained)}: Snakemake takes braces for wildcards; choose another directory"
    if same_directory(trained, UNTRAINED) and not same_directory(config["model"], UNTRAINED):
        yield f"trained_model: {shown(trained)} is the directory of the untrained pack; choose another"
