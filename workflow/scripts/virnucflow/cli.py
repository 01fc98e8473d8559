"""What every program shares: exit codes, one-line errors, and outputs that are whole or absent."""

import argparse
import errno
import fcntl
import logging
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TypeVar

from virnucflow import final_error

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger("virnucflow")
Settings = TypeVar("Settings", bound="DataclassInstance")

MOST_LETTERS = 1000  # of a message
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class InputError(Exception):
    """Bad input or arguments. The message names file, line, what is wrong and what to do; exit code 2."""


class Failure(Exception):
    """The work could not be done although the input is good; exit code 1."""


class _OneLine(logging.Formatter):
    """Formats what is logged as one line of bounded length; a traceback, which only a bug has, follows as it is."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))


def one_line(message: str, most: int = MOST_LETTERS) -> str:
    """A message as one printable line of at most so many letters, its middle left out when it is longer.

    What it quotes may be hostile: a control character, an escape sequence of a terminal or a line end becomes `\\x1b`,
    `\\n` and the like.
    """
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in _shortened(message, most))
    return _shortened(escaped, most)


def _shortened(text: str, most: int) -> str:
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def run(main: Callable[[], None]) -> None:
    """Run a program's main function: 0 when it returns, 2 for InputError, 1 for Failure and system errors.

    A missing input file counts as bad input. SIGTERM, which a cluster sends at the time limit, is turned into an
    exit, so that unfinished outputs are removed. When all is in place it changes nothing any more.
    """
    program = Path(sys.argv[0]).name
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(f"{program}: %(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        logging.addLevelName(level, logging.getLevelName(level).lower())
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if said := final_error.of_an_earlier_attempt():
        sys.exit(_complain(program, said, 2))
    try:
        main()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except FileNotFoundError as error:
        sys.exit(_complain(program, f"{error.filename or error}: no such file; check the path", 2))
    except InputError as error:
        sys.exit(_complain(program, str(error), 2))
    except OSError as error:
        sys.exit(_complain(program, _cause(error), 1))
    except MemoryError:
        sys.exit(_complain(program, "out of memory; give this job more", 1))
    except Failure as error:
        sys.exit(_complain(program, str(error), 1))


def _complain(program: str, message: str, code: int) -> int:
    if code == 2:
        final_error.leave(message)
    print(one_line(f"{program}: error: {message}"), file=sys.stderr)
    return code


def _cause(error: OSError) -> str:
    """The file, what the system says, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    advice = "; make room" if error.errno in NO_ROOM else ""
    return f"{where}{error.strerror or error}{advice}"


@contextmanager
def reading(path: Path, kind: str, advice: str = "make it again") -> Iterator[None]:
    """Within this, whatever a library says about the content of a file becomes an InputError of one line.

    Keep the block to the library's calls: it takes any exception for damage, as no library promises which ones it
    raises for what it cannot read. Errors of the system, such as a file that is not there, stay what they are.
    """
    try:
        yield
    except (InputError, Failure):
        raise
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = error.filename or str(path)
            raise
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of a library in Rust
            raise
        said = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
        raise InputError(f"{path}: not {kind} ({said.rstrip('.')}); {advice}") from None


class _Parser(argparse.ArgumentParser):
    """Complains in one line, as of all else: argparse prints the usage first, and what it quotes as it was given."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; --help has the options")


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """The parser of a program. Options are whole words, so that no file's name can be the beginning of one."""
    formatter = argparse.RawDescriptionHelpFormatter
    return _Parser(description=description, formatter_class=formatter, allow_abbrev=False)


def add_settings(parser: argparse.ArgumentParser, settings: "type[DataclassInstance]") -> None:
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

    Each attempt has paths of its own, whatever host, container or process it is, so that no two write one file: where
    Snakemake alone was killed, a job goes on beside its next attempt. What other attempts left beside an output is
    removed, unless one that lives on another host is writing it; an attempt whose files are removed fails.
    """
    for folder in {output.parent for output in outputs}:
        folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(outputs)
    attempt = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    partial = [_partial(output, attempt) for output in outputs]
    try:
        with partial[0].open("xb") as first:
            lock(first)
            yield partial
            for path, output in zip(partial, outputs, strict=True):
                if not path.exists():
                    raise Failure(f"{output}: another attempt to make it began, and removed what this one had written")
                with path.open("rb") as file:
                    os.fsync(file.fileno())  # a machine that fails later has not lost what is in place
            for path, output in zip(partial, outputs, strict=True):
                os.replace(path, output)
    except OSError as error:
        named = dict(zip(map(str, partial), outputs))
        if str(error.filename) in named or (error.filename is None and error.errno in NO_ROOM):
            error.filename = str(named.get(str(error.filename), outputs[0]))
        raise
    finally:
        for path in partial:
            path.unlink(missing_ok=True)


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname())[:40]


def _partial(output: Path, attempt: str) -> Path:
    return output.with_name(f"{output.name}.{attempt}.partial")


def _remove_leftovers(outputs: tuple[Path, ...]) -> None:
    """Remove what other attempts left beside the outputs. One is alive that has locked its part of the first."""
    wanted = set(outputs)
    for folder in {output.parent for output in outputs}:
        for path in folder.glob("*.partial"):
            name, _, attempt = path.name.removesuffix(".partial").rpartition(".")
            ours = attempt.startswith(f"{_host()}-")
            if path.parent / name in wanted and (ours or not _is_locked(_partial(outputs[0], attempt))):
                path.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("r+b") as file:  # NFS locks for one alone only what may be written
            return not lock(file)
    except FileNotFoundError:
        return False


def lock(file: BinaryIO, shared: bool = False) -> bool:
    """Lock a file until it is closed; False when another process has, unless both share it.

    A file system without locks gives them to all.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
