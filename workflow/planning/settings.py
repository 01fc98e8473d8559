"""The settings: held against their schema, filled up with its defaults, and in step with each other."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from planning.messages import PlanningError, control_character, named, nearest, shown
from planning.paths import plain, same_directory

Settings = dict[str, Any]
Keys = tuple[str, ...]  # that lead to a setting: ("gate", "frames")
# Names and contents of what the settings are from, the one with the last word first.
Sources = Callable[[], Iterable[tuple[str, Mapping[str, Any]]]]
UNTRAINED = "models/untrained"  # the model pack that a rule builds
_NOTHING = object()


def _is_whole(_: object, value: object) -> bool:
    """Neither 2.0 nor true is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: object, value: object) -> bool:
    """Neither .nan nor .inf is a number, nor what no float holds."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_whole, "number": _is_number}),
)


def read_settings(config: Settings, schema_file: Path, sources: Sources = tuple) -> None:
    """Fill up `config` with the defaults of the schema, and write its numbers and paths plainly.

    Raises PlanningError with a line for each problem: the source of the setting, its name, its value, what is allowed.
    """
    schema = yaml.safe_load(schema_file.read_text(encoding="utf-8"))
    _read_texts(config, schema)
    formerly = {setting["x-formerly"]: keys for keys, setting in leaves(schema) if "x-formerly" in setting}
    if problems := list(_problems(config, schema, formerly)):
        contents = list(sources())
        raise PlanningError(*(f"{_source(keys, config, contents)}: {problem}" for keys, problem in problems))
    _fill_up(config, schema)
    for section, setting in ((config, "model_pack"), (config, "published_files"), (config, "reference_run"),
                             (config["training"], "trained_pack")):  # fmt: skip
        section[setting] = plain(section[setting])
    if contradictions := list(_contradictions(config)):
        raise PlanningError(*(f"the settings: {problem}" for problem in contradictions))


def options(section: Mapping[str, Any], *names: str) -> str:
    """Settings of a section as the options of the same names of a program."""
    words = [f"--{name.replace('_', '-')} {section[name]}" for name in names if not isinstance(section[name], bool)]
    return " ".join(words + [f"--{name.replace('_', '-')}" for name in names if section[name] is True])


def leaves(schema: Mapping[str, Any], outer: Keys = ()) -> Iterator[tuple[Keys, dict[str, Any]]]:
    """Every single setting of a schema with its keys; sections are gone through."""
    for name, setting in schema["properties"].items():
        if "properties" in setting:
            yield from leaves(setting, (*outer, name))
        else:
            yield (*outer, name), setting


def _read_texts(config: Settings, schema: Mapping[str, Any]) -> None:
    """Put numbers and truth values in place of texts that say them.

    Snakemake reads whatever a section is given on the command line as texts, and YAML takes 1e-4 for one.
    """
    for setting, rule in schema["properties"].items():
        value = config.get(setting)
        if "properties" in rule and isinstance(value, dict):
            _read_texts(value, rule)
        elif isinstance(value, str):
            config[setting] = _read_text(value, Validator(rule).is_valid)


def _read_text(text: str, is_allowed: Callable[[object], bool]) -> object:
    """What a text says that is not allowed as it is; the text where it says nothing allowed."""
    for read in (str, int, float, lambda text: {"true": True, "false": False}[text.lower()]):
        try:
            if is_allowed(value := read(text)):
                return value
        except (ValueError, KeyError):
            continue
    return text


def _problems(
    config: Mapping[str, Any], schema: Mapping[str, Any], formerly: Mapping[str, Keys], outer: Keys = ()
) -> Iterator[tuple[Keys, str]]:
    """What is wrong with single settings: the keys of each, and the problem in words."""
    known = schema["properties"]
    for setting, value in config.items():
        keys = (*outer, setting)
        if setting not in known and not outer and setting in formerly:
            problem = _renaming(formerly[setting], value)
        elif setting not in known:
            problem = f"there is no such setting; {nearest(str(setting), known)}"
        elif "properties" in known[setting] and isinstance(value, Mapping):
            yield from _problems(value, known[setting], formerly, keys)
            continue
        elif isinstance(value, str) and (control := control_character(value)):
            problem = f"{shown(value)} has the control character {control}; remove it"
        elif not Validator(known[setting]).is_valid(value):
            problem = f"{shown(value)} is not allowed; give {allowed(known[setting])}"
        else:
            continue
        yield keys, f"{': '.join(map(named, keys))}: {problem}"


def _renaming(keys: Keys, value: object) -> str:
    """That a setting has another name now, and how it is given by that name."""
    text = named(value if isinstance(value, str) else shown(value))
    if len(keys) == 1:
        return f"is called {keys[0]} now; give {keys[0]}: {text}"
    section, name = keys
    content = f"{{{name}: {text}}}"
    return f"is called {section}: {name} now; give {section}: {content}, or --config {section}='{content}'"


def allowed(schema: Mapping[str, Any]) -> str:
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


def _listed(values: Iterable[object], word: str = "or") -> str:
    *values, last = map(str, values)
    return f"{', '.join(values)} {word} {last}" if values else last


def _source(keys: Keys, config: Mapping[str, Any], contents: list[tuple[str, Mapping[str, Any]]]) -> str:
    """Where the value of a setting is from; as a part of another workflow that is not known."""
    value = _value(keys, config)
    return next((name for name, content in contents if shown(_value(keys, content)) == shown(value)), "the settings")


def _value(keys: Keys, config: object) -> object:
    for key in keys:
        config = config.get(key, _NOTHING) if isinstance(config, Mapping) else _NOTHING
    return config


def _fill_up(config: Settings, schema: Mapping[str, Any]) -> None:
    for setting, rule in schema["properties"].items():
        config.setdefault(setting, deepcopy(rule.get("default")))
        if "properties" in rule:
            _fill_up(config[setting], rule)


def _contradictions(config: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with settings together."""
    gate, precision, pack = config["gate"], config["precision"], config["training"]["trained_pack"]
    if gate["refuse"] > gate["accept"]:
        yield f"gate: refuse is above accept ({gate['refuse']} > {gate['accept']}); give refuse <= accept"
    if gate["on_failure"] == "fallback" and (precision["standard"] != "fp32" or precision["standard_allows"]):
        yield (
            "gate: on_failure: fallback publishes standard unchecked; "
            "set precision: {standard: fp32, standard_allows: []}"
        )
    if precision["flash"] == "fp8" and gate["frames"] == 0:
        yield "precision: flash: fp8 is for runs with the gate; set gate: frames, for example to 1000"
    if config["max_fdr"] != "none" and config["prevalence"] == "none":
        yield "max_fdr: is of probabilities, which need a share of viruses; set prevalence, for example to estimate"
    if set(pack) & set("{}<>"):
        yield f"training: trained_pack: {shown(pack)}: Snakemake takes braces for wildcards; choose another directory"
    if same_directory(pack, UNTRAINED) and not same_directory(config["model_pack"], UNTRAINED):
        yield f"training: trained_pack: {shown(pack)} is the directory of the untrained pack; choose another"
