"""Who may import whom, beyond the contracts of import-linter (pyproject.toml), which see packages alone."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY, SCRIPTS

from planning.code import modules_of

WORKFLOW = REPOSITORY / "workflow"
PROGRAMS = sorted(SCRIPTS.glob("*.py"))
OUTSIDE = [path.stem for folder in ("tools", "benchmarks", "tests") for path in (REPOSITORY / folder).rglob("*.py")]


# Of the programs, but for what Snakemake needs as well, and pandas, which it takes where it is.
PACKAGES = [
    "Bio",
    "dnaio",
    "esm",
    "matplotlib",
    "msgspec",
    "numpy",
    "pyarrow",
    "pysam",
    "safetensors",
    "scipy",
    "sklearn",
]
PACKAGES += ["tokenizers", "torch", "xxhash"]


def top_level_names(path: Path) -> set[str]:
    """The first words of the names of all modules that a file imports, within functions too."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names = plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(WORKFLOW.rglob("*.py")), ids=lambda path: str(path.relative_to(WORKFLOW)))
def test_the_workflow_imports_neither_programs_nor_what_lies_outside(path: Path) -> None:
    assert not top_level_names(path) & {*OUTSIDE, *(program.stem for program in PROGRAMS)}


def test_what_plans_imports_none_of_the_programs_packages() -> None:
    """With --sdm conda or apptainer, the Python that runs Snakemake has Snakemake alone, and what that needs.

    `host` imports Snakemake, and with it its plugins, of which one takes pandas; .ci/workflow has none of both.
    """
    names = {path.stem for path in (WORKFLOW / "planning").glob("*.py")} - {"__init__", "host"}
    modules = [f"planning.{name}" for name in sorted(names)]
    code = f"import importlib, sys\nsys.modules.update(dict.fromkeys({PACKAGES}))\n"
    code += f"for name in {[*modules, 'check_setup']}: importlib.import_module(name)"
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(WORKFLOW), str(SCRIPTS)])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_check_setup_imports_no_pytorch() -> None:
    """It is called with the Python that runs Snakemake."""
    program = SCRIPTS / "check_setup.py"
    for path in (program, *modules_of(program, SCRIPTS / "virnucflow")):
        assert not top_level_names(path) & {"torch", "esm", "triton"}, path
