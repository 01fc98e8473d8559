"""Options of the programs."""

import pytest
from helpers import SCRIPTS

from virnucflow.cli import argument_parser


def test_an_option_is_a_whole_word(capsys: pytest.CaptureFixture) -> None:
    parser = argument_parser("")
    parser.add_argument("--duplicate-ids")
    with pytest.raises(SystemExit):
        parser.parse_args(["--dup=rename"])
    assert "unrecognized arguments: --dup=rename" in capsys.readouterr().err


def test_no_program_has_a_parser_of_another_kind() -> None:
    assert [path.name for path in SCRIPTS.rglob("*.py") if "ArgumentParser(" in path.read_text()] == ["cli.py"]
