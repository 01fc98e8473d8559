"""Who may import whom, beyond the contracts of import-linter (pyproject.toml), which see packages alone."""

import ast
from pathlib import Path

import pytest
from helpers import REPOSITORY, SCRIPTS

from planning.code import modules_of

WORKFLOW = REPOSITORY / "workflow"
PROGRAMS = sorted(SCRIPTS.glob("*.py"))
OUTSIDE = [path.stem for folder in ("tools", "benchmarks", "tests") for path in (REPOSITORY / folder).rglob("*.py")]


def top_level_names(path: Path) -> set[str]:
    """The first words of the names of all modules that a file imports, within functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names = plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(WORKFLOW.rglob("*.py")), ids=lambda path: str(path.relative_to(WORKFLOW)))
def test_the_workflow_imports_neither_programs_nor_what_lies_outside(path: Path) -> None:
    assert not top_level_names(path) & {*OUTSIDE, *(program.stem for program in PROGRAMS)}


def test_check_setup_imports_no_pytorch() -> None:
    """It is called with the Python that runs Snakemake."""
    program = SCRIPTS / "check_setup.py"
    for path in (program, *modules_of(program, SCRIPTS / "virnucflow")):
        assert not top_level_names(path) & {"torch", "esm", "triton"}, path
