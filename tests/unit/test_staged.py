"""Outputs are whole or absent, whatever becomes of the process that writes them."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import SCRIPTS, error_line

from virnucflow import cli
from virnucflow.cli import staged

# Writes two outputs, slowly, as a program does.
WRITER = """
import resource, sys, time
from pathlib import Path
from virnucflow.cli import run, staged
def main():
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
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


def start(*outputs: Path, limit: int = -1) -> subprocess.Popen:
    """Start the writer, which may write files of `limit` bytes, and wait until it writes."""
    command = [sys.executable, "-c", WRITER, *outputs, str(limit)]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
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


def test_sigterm_after_the_end_takes_nothing_back(tmp_path: Path) -> None:
    """Python takes a while to end, and Snakemake deletes the outputs of a job whose exit code is not 0."""
    end = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    command = [sys.executable, "-c", WRITER + end, tmp_path / "one.txt", tmp_path / "two.txt", "-1"]
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": str(SCRIPTS)}).returncode == 0


def test_two_attempts_at_once_do_not_mix(tmp_path: Path) -> None:
    """The older one fails, having lost its files, and what is in place is the newer one's."""
    outputs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    older = start(*outputs)
    newer = start(*outputs)
    assert (older.wait(), newer.wait()) == (1, 0)
    assert "one.txt: another attempt to make it began" in error_line(older.stderr.read())
    assert [output.read_text() for output in outputs] == [WHOLE, WHOLE]
    assert {path.name for path in tmp_path.iterdir()} == {"one.txt", "two.txt"}


def test_attempts_of_the_same_process_number_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on two hosts, or in two containers: neither removes or writes what the other is writing."""
    output = tmp_path / "out"
    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(cli.socket, "gethostname", lambda: "node-1")
    with staged(output) as (first,):
        first.write_text("first")
        monkeypatch.setattr(cli.socket, "gethostname", lambda: "node-2")
        with staged(output) as (second,):
            assert first != second and first.read_text() == "first"
            second.write_text("second")
        assert output.read_text() == "second"
    assert output.read_text() == "first" and list(tmp_path.iterdir()) == [output]


def test_what_a_dead_attempt_of_another_host_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it, also where it was killed between two moves."""
    outputs = [tmp_path / "a" / "one.txt", tmp_path / "b" / "two.txt"]
    process = start(*outputs)
    process.kill()
    process.wait()
    assert len(list(tmp_path.rglob("*.partial"))) >= 1
    (tmp_path / "b" / "two.txt.node_9-1-ab12.partial").write_text("")
    monkeypatch.setattr(cli.socket, "gethostname", lambda: "another")
    with staged(*outputs) as partial:
        assert sorted(tmp_path.rglob("*.partial")) == partial[:1]
        for path in partial:
            path.write_text("whole")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_is_named_with_the_output(tmp_path: Path) -> None:
    outputs = [tmp_path / "one.txt", tmp_path / "two.txt"]
    with pytest.raises(OSError) as raised, staged(*outputs):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(outputs[0])
    process = start(*outputs, limit=100)
    assert process.wait() == 1
    said = error_line(process.stderr.read())
    assert f"{outputs[0]}: File too large; make room" in said
    assert not list(tmp_path.iterdir())


def test_files_of_others_stay(tmp_path: Path) -> None:
    for name in ("one.txt", "one.txt.more.7.partial", "two.txt.7.partial", "one.txt.7.partial"):
        (tmp_path / name).write_text("before")
    with pytest.raises(ValueError), staged(tmp_path / "one.txt") as (partial,):
        partial.write_text("after")
        raise ValueError
    assert {path.name for path in tmp_path.iterdir()} == {"one.txt", "one.txt.more.7.partial", "two.txt.7.partial"}
    assert (tmp_path / "one.txt").read_text() == "before"
