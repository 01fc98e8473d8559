"""What a program does, as a digest of its code, so that an edit computes anew what it must and nothing else.

Snakemake compares the digest as a parameter of the program's rule. It covers the program and every module of the
library that it may import, in a normal form without comments, docstrings and layout.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def digest_of_code(program: Path, library: Path) -> str:
    """The SHA-256 of a program and of the modules of `library`, a package's directory, that it imports.

    The order and the places of the files do not count: only their names within the package and what they do.
    """
    forms = {str(path.relative_to(library.parent)): normal_form(path) for path in modules_of(program, library)}
    forms[""] = normal_form(program)
    return hashlib.sha256(repr(sorted(forms.items())).encode()).hexdigest()


def modules_of(program: Path, library: Path) -> set[Path]:
    """The files of a library that a program imports, directly or not, within functions too."""
    modules: set[Path] = set()
    unread = {program}
    while unread:
        new = set(imported_files(unread.pop(), library)) - modules
        modules |= new
        unread |= new
    return modules


@cache
def imported_files(path: Path, library: Path) -> tuple[Path, ...]:
    """The files of a library that one file imports, with the packages that they are in."""
    return tuple(file for name in _imported_names(_parse(path)) for file in _files(name.split("."), library))


def _imported_names(tree: ast.Module) -> Iterator[str]:
    """Every name that may be a module: of `from a import b` it is known only from the files which of a and a.b are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError("relative imports are not followed; write out the module's name")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(parts: list[str], library: Path) -> Iterator[Path]:
    """The files that Python reads to import a module of the library, or the module that a name may be of."""
    if parts[0] != library.name:
        return
    folder = library.parent
    for part in parts:
        folder /= part
        yield from (file for file in (folder / "__init__.py", folder.with_suffix(".py")) if file.exists())


@cache
def normal_form(path: Path) -> str:
    """A file's code without comments, docstrings and layout, as nested text: the same in every version of Python.

    `ast.dump` writes the fields that are new in a version, and `ast.unparse` writes f-strings in other quotes.
    """
    return _form(_parse(path))


def _form(part: object) -> str:
    if isinstance(part, list):
        return f"[{' '.join(map(_form, part))}]"
    if not isinstance(part, ast.AST):
        return repr(part)
    if isinstance(part, DOCUMENTED):
        part.body = [statement for statement in part.body if not _is_text(statement)] or [ast.Pass()]
    if isinstance(part, ast.JoinedStr):  # Python 3.12.1 ends some with an empty text
        part.values = [value for value in part.values if getattr(value, "value", None) != ""]
    fields = (f"{name}={_form(value)}" for name, value in ast.iter_fields(part) if value not in (None, []))
    return f"({' '.join([type(part).__name__, *fields])})"


def _is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text alone, as the docstrings of modules, functions, classes and their fields are."""
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))
