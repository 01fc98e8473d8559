"""The tables on the pages that are made of the code: cog calls these functions where a page has a [[[cog block.

cog -r -I docs docs/*.md brings the pages up to date; .ci/docs says where one is not.
"""

import ast
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
SCHEMA = WORKFLOW / "schemas" / "config.schema.yaml"
RESULTS = WORKFLOW / "scripts" / "virnucflow" / "files" / "results.py"


def one_line(text: str) -> str:
    """A text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def results() -> Iterator[str]:
    """For each table of results a heading, what it is, and its columns with what they say."""
    for table in ast.parse(RESULTS.read_text(encoding="utf-8")).body:
        if not isinstance(table, ast.ClassDef):
            continue
        file, _, what = one_line(ast.get_docstring(table) or "").partition(": ")
        yield f"\n### {file.strip('`').rpartition('/')[2]}\n\n`results/{file.strip('`')}`: {what}\n"
        yield "| column | type | |\n| --- | --- | --- |"
        for field, text in pairwise(table.body):
            if isinstance(field, ast.AnnAssign):
                yield f"| `{ast.unparse(field.target)}` | {ast.unparse(field.annotation)} | {text_of(text)} |"


def text_of(statement: ast.stmt) -> str:
    """The text that stands below a field; ValueError where there is none."""
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        raise ValueError(f"{RESULTS}, line {statement.lineno}: the column above has no text")
    return one_line(statement.value.value)


def settings() -> Iterator[str]:
    """A table of the settings that stand by themselves, then one for each section."""
    properties = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["properties"]
    sections = {name: setting for name, setting in properties.items() if "properties" in setting}
    yield from rows({name: setting for name, setting in properties.items() if name not in sections})
    for name, section in sections.items():
        yield f"\n## Section `{name}`\n\n{one_line(section['description'])}\n"
        yield from rows(section["properties"])


def rows(some: dict[str, Any]) -> Iterator[str]:
    """A table of settings."""
    yield "| setting | |\n| --- | --- |"
    for name, setting in some.items():
        changes = "" if setting["x-changes-results"] else " Changes no result."
        known = f"*Default:* `{default_of(setting)}`. *Values:* {allowed(setting)}.{changes}"
        yield f"| `{name}` | {one_line(setting['description'])} {known} |"


def default_of(setting: dict[str, Any]) -> str:
    """A default as config.yaml has it."""
    return (
        str(setting["default"] or '""')
        if setting.get("type") == "string"
        else json.dumps(setting["default"]).strip('"')
    )


def allowed(setting: dict[str, Any]) -> str:
    """The values that a setting may have."""
    if "anyOf" in setting:
        return ", or ".join(map(allowed, setting["anyOf"]))
    if "const" in setting:
        return f"`{setting['const']}`"
    if "enum" in setting:
        return ", ".join(f"`{value}`" for value in setting["enum"])
    if setting["type"] == "array":
        return f"a list of some of {allowed(setting['items'])}"
    if setting["type"] == "boolean":
        return "`true`, `false`"
    words = {"integer": "a whole number", "number": "a number"}
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f"{word} {setting[bound]}" for bound, word in bounds.items() if bound in setting]
    return " ".join([words.get(str(setting["type"]), "a text"), *limits])
