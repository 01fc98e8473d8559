"""Options of the programs."""

import re

import pytest
from helpers import SCRIPTS, run_program

from virnucflow.cli import InputError, argument_parser


def test_an_option_is_a_whole_word() -> None:
    parser = argument_parser("")
    parser.add_argument("--duplicate-ids")
    with pytest.raises(InputError, match="unrecognized arguments: --dup=rename"):
        parser.parse_args(["--dup=rename"])


def test_wrong_arguments_are_told_in_one_line() -> None:
    said = run_program("divergence_gate", "--divergence", "x", "--gate", "y", "\x1b[31m", code=2)
    assert said == "divergence_gate.py: error: unrecognized arguments: \\x1b[31m; --help has the options\n"


def test_no_program_has_a_parser_of_another_kind() -> None:
    made = re.compile(r"ArgumentParser\(|\(argparse\.ArgumentParser\)")
    assert [path.name for path in SCRIPTS.rglob("*.py") if made.search(path.read_text())] == ["cli.py"]
