"""Whoever reads a name of the library or of a program can read what it stands for."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import REPOSITORY

WORKFLOW = REPOSITORY / "workflow"
PLAIN = {"main", "parse_arguments", "forward", "readable", "readinto", "close", "error", "formatMessage"}


def undocumented(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """Public classes, functions and methods without a docstring; PLAIN are what every program or base class has."""
    for node in body:
        if (
            isinstance(node, ast.ClassDef | ast.FunctionDef)
            and not node.name.startswith("_")
            and node.name not in PLAIN
        ):
            if ast.get_docstring(node) is None:
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from undocumented(node.body, f"{node.name}.")


@pytest.mark.parametrize("path", sorted(WORKFLOW.rglob("*.py")), ids=lambda path: str(path.relative_to(WORKFLOW)))
def test_all_that_is_public_has_a_docstring(path: Path) -> None:
    assert list(undocumented(ast.parse(path.read_text()).body)) == []
