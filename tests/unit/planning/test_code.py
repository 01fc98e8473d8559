"""The digest of a program's code: what changes it, what does not, and that it covers whatever is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import REPOSITORY, SCRIPTS

from planning.code import digest_of_code, imported_files, modules_of, normal_form

LIBRARY = SCRIPTS / "virnucflow"
PROGRAMS = sorted(path.stem for path in SCRIPTS.glob("*.py"))
# Constructs that versions of Python write or hold differently: f-strings, type parameters' place, constants, ...
SAMPLE = REPOSITORY / "tests" / "data" / "code" / "constructs.py"
SAMPLE_DIGEST = "3e3c18c454c3f0464166da38cd7b1f094645658793a9af799e4efd19c74dc74d"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A program, and a library in which it imports a module within a function, and that one another."""
    for name, text in {
        "program.py": "def main():\n    from library.inner import first\n    return first.value\n",
        "library/__init__.py": "",
        "library/unused.py": "value = 3\n",
        "library/inner/first.py": '"""A docstring."""\nfrom library.inner.second import value  # a comment\n',
        "library/inner/second.py": 'def value():\n    """Another."""\n    return 1\n',
        "library/inner/__init__.py": '"""Of the inner."""\n\n\nclass Row:\n    name: str\n    """of a field"""\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def digest(project: Path) -> str:
    for cached in (digest_of_code, imported_files, normal_form):
        cached.cache_clear()
    return digest_of_code(project / "program.py", project / "library")


def test_all_files_that_are_imported_count_and_no_others(project: Path) -> None:
    found = modules_of(project / "program.py", project / "library")
    names = ["__init__.py", "inner/__init__.py", "inner/first.py", "inner/second.py"]
    assert sorted(str(path.relative_to(project / "library")) for path in found) == names


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("library/inner/first.py", "# a comment", "# another one"),
        ("library/inner/first.py", "A docstring", "Another docstring"),
        ("library/inner/second.py", '    """Another."""\n', ""),
        ("library/inner/second.py", "def value", "\n\n\ndef value"),
        ("library/inner/__init__.py", "of a field", "of that field"),
        ("library/unused.py", "3", "4"),
    ],
)
def test_what_changes_nothing(file: str, old: str, new: str, project: Path) -> None:
    before, text = digest(project), (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))
    assert digest(project) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("program.py", "first.value", "first.other"),
        ("library/inner/second.py", "return 1", "return 2"),
        ("library/inner/second.py", "return 1", "return '1'"),
        ("library/inner/__init__.py", '"""Of the inner."""', "value = 1"),
        ("library/inner/__init__.py", "name: str", "name: int"),
    ],
)
def test_what_changes_the_digest(file: str, old: str, new: str, project: Path) -> None:
    before, text = digest(project), (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))
    assert digest(project) != before


def test_another_place_is_no_change(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = digest(project)
    assert digest(project.rename(tmp_path_factory.mktemp("other") / "place")) == before


def test_the_digest_is_the_same_in_every_version_of_python() -> None:
    """It was recorded with 3.11, 3.12 and 3.13: another one would compute everything anew after an upgrade."""
    assert digest_of_code(SAMPLE, LIBRARY) == SAMPLE_DIGEST


# For each program the files of the library that are there once it is imported, after those of others are forgotten.
IMPORT = """
import sys
from importlib import import_module
for program in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] == "virnucflow"]:
        del sys.modules[name]
    import_module(program)
    print(program, *(m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "virnucflow"), sep="\\t")
"""


def test_whatever_a_program_imports_is_covered() -> None:
    """Modules that are imported within functions come on top; Triton's, which need a GPU, among them."""
    command = [sys.executable, "-c", IMPORT, *PROGRAMS]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    imported = {program: set(map(Path, files)) for program, *files in (line.split("\t") for line in said.splitlines())}
    assert list(imported) == PROGRAMS
    for program, files in imported.items():
        assert files and files <= modules_of(SCRIPTS / f"{program}.py", LIBRARY), program
