"""What programs say: one bounded line, whatever it quotes; and how they end."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from virnucflow import cli
from virnucflow.cli import Failure, InputError, one_line, reading

HOSTILE = "\x1b]0;title\x07\x1b[2J\x00\r\nroot: \u2028\u202e\x9b\udc80"
ESCAPED = r"\x1b]0;title\x07\x1b[2J\x00\r\nroot: \u2028\u202e\x9b\udc80"


def test_one_line_is_printable_and_bounded() -> None:
    assert one_line(f"a{HOSTILE}ä z") == f"a{ESCAPED}ä z"
    assert one_line("x" * 1000) == "x" * 1000
    assert one_line("ab" * 1000) == "ab" * 248 + "a ... b" + "ab" * 248
    assert len(one_line("\U000e0001" * 10**7)) <= cli.MOST_LETTERS


def ends(main: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> tuple[int, str]:
    monkeypatch.setattr(cli.sys, "argv", ["some/program.py"])
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError(f"x{HOSTILE}: bad"), 2, f"x{ESCAPED}: bad"),
        (Failure("y: failed"), 1, "y: failed"),
        (FileNotFoundError(2, "No such file", "x\n"), 2, r"x\n: no such file; check the path"),
        (PermissionError(13, "Permission denied", "x"), 1, "x: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "x: No space left on device; make room"),
        (OSError("cut short"), 1, "cut short"),
        (MemoryError(), 1, "out of memory; give this job more"),
    ],
)
def test_errors_are_one_line(error, code: int, message: str, monkeypatch, capsys) -> None:
    def main() -> None:
        raise error

    assert ends(main, monkeypatch, capsys) == (code, f"program.py: error: {message}\n")


def test_what_is_logged_is_escaped_and_bounded(monkeypatch, capsys) -> None:
    def main() -> None:
        cli.log.warning("%s: odd", HOSTILE)
        cli.log.info("long " * 1000)
        raise InputError("end")

    _, said = ends(main, monkeypatch, capsys)
    first, second, third = said.split("\n")[:3]
    assert first == f"program.py: warning: {ESCAPED}: odd" and len(second) <= cli.MOST_LETTERS
    assert third == "program.py: error: end" and said.isprintable() is False and "\x1b" not in said


class PanicException(BaseException):
    """As libraries in Rust raise it."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("two\n  lines."),
        KeyError("key"),
        RecursionError(),
        MemoryError(),
        OSError("thrift"),
        PanicException(),
    ],
)
def test_what_a_library_says_about_a_file_names_the_file(error: BaseException) -> None:
    line = r"^x: not a table \([^\n]+[^.]\); make it again$"
    with pytest.raises(InputError, match=line), reading(Path("x"), "a table"):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InputError("y: bad"), Failure("z"), OSError(errno.EIO, "I/O")])
def test_what_is_no_damage_stays_what_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, reading(Path("x"), "a table"):
        raise error
    assert raised.value is error
    assert not isinstance(error, OSError) or error.filename == "x"
