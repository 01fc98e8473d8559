"""Outputs are whole or absent, whatever becomes of the process that writes them."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import SCRIPTS

from virnucflow.cli import staged

# Writes two outputs, slowly, as a program does.
WRITER = """
import sys, time
from pathlib import Path
from virnucflow.cli import run, staged
def main():
    with staged(Path(sys.argv[1]), Path(sys.argv[2])) as partial:
        print("writing", flush=True)
        for path in partial:
            with path.open("w") as file:
                for number in range(100):
                    file.write(f"{number}\\n")
                    file.flush()
                    time.sleep(0.001)
run(main)
"""
WHOLE = "".join(f"{number}\n" for number in range(100))


def start(*outputs: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, *outputs]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_process_leaves_no_output(number: int, tmp_path: Path) -> None:
    outputs = [tmp_path / "a" / "one.txt", tmp_path / "b" / "two.txt"]
    for _ in range(3):
        process = start(*outputs)
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(number)
        assert process.wait() == (128 + number if number == signal.SIGTERM else -number)
        assert not any(output.exists() for output in outputs)
        assert number == signal.SIGKILL or not list(tmp_path.rglob("*.partial"))
    assert start(*outputs).wait() == 0
    assert [output.read_text() for output in outputs] == [WHOLE, WHOLE]
    assert not list(tmp_path.rglob("*.partial"))


def test_two_attempts_at_once_do_not_mix(tmp_path: Path) -> None:
    """The older one fails, having lost its files, and what is in place is the newer one's."""
    outputs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    older = start(*outputs)
    newer = start(*outputs)
    assert (older.wait(), newer.wait()) == (2, 0)
    assert [output.read_text() for output in outputs] == [WHOLE, WHOLE]
    assert {path.name for path in tmp_path.iterdir()} == {"one.txt", "two.txt"}


def test_files_of_others_stay(tmp_path: Path) -> None:
    for name in ("one.txt", "one.txt.more.7.partial", "two.txt.7.partial", "one.txt.7.partial"):
        (tmp_path / name).write_text("before")
    with pytest.raises(ValueError), staged(tmp_path / "one.txt") as (partial,):
        partial.write_text("after")
        raise ValueError
    assert {path.name for path in tmp_path.iterdir()} == {"one.txt", "one.txt.more.7.partial", "two.txt.7.partial"}
    assert (tmp_path / "one.txt").read_text() == "before"
