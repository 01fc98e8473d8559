"""What every program shares: exit codes, one-line errors, and outputs that are whole or absent."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

log = logging.getLogger("virnucflow")
Settings = TypeVar("Settings")  # a dataclass


class InputError(Exception):
    """Bad input or arguments. The message names file, line, what is wrong and what to do; exit code 2."""


class Failure(Exception):
    """The work could not be done although the input is good; exit code 1."""


def run(main: Callable[[], None]) -> None:
    """Run a program's main function: 0 when it returns, 2 for InputError, 1 for Failure and system errors.

    A missing input file counts as bad input. SIGTERM, which a cluster sends at the time limit, is turned into an
    exit, so that unfinished outputs are removed.
    """
    program = Path(sys.argv[0]).name
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"{program}: %(levelname)s: %(message)s")
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        logging.addLevelName(level, logging.getLevelName(level).lower())
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        main()
    except FileNotFoundError as error:
        sys.exit(_complain(program, f"{error.filename or error}: no such file; check the path", 2))
    except InputError as error:
        sys.exit(_complain(program, str(error), 2))
    except (Failure, OSError) as error:
        sys.exit(_complain(program, str(error), 1))


def _complain(program: str, message: str, code: int) -> int:
    print(f"{program}: error: {message}", file=sys.stderr)
    return code


def add_settings(parser: argparse.ArgumentParser, settings: type) -> None:
    """An option for each field of a dataclass whose fields all have defaults."""
    for field in fields(settings):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default, help=f"default: {field.default}")


def read_settings(arguments: argparse.Namespace, settings: type[Settings]) -> Settings:
    """The dataclass of what was given for the options of add_settings."""
    return settings(**{field.name: getattr(arguments, field.name) for field in fields(settings)})


@contextmanager
def staged(*outputs: Path) -> Iterator[list[Path]]:
    """Yield a path beside each output to write to; move them into place together once the block has ended well.

    Each process has paths of its own, so that two never write one file: where Snakemake alone was killed, a job goes on
    beside its next attempt. What other attempts left beside an output is removed.
    """
    names = {output: f"{output.name}.{os.getpid()}.partial" for output in outputs}
    partial = [output.with_name(name) for output, name in names.items()]
    for folder in {output.parent for output in outputs}:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.partial"):
            if path.with_suffix("").with_suffix("") in names:
                path.unlink(missing_ok=True)
    try:
        yield partial
        for path in partial:
            with path.open("rb") as file:
                os.fsync(file.fileno())  # a machine that fails later has not lost what is in place
        for path, output in zip(partial, outputs, strict=True):
            os.replace(path, output)
    finally:
        for path in partial:
            path.unlink(missing_ok=True)
