"""Runs a program in a fork of this process, which has imported its libraries, within bounds of time and memory."""

import importlib
import logging
import os
import resource
import runpy
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from helpers import SCRIPTS

# What the programs import, so that a fork need not.
for library in (
    "Bio.SeqIO", "dnaio", "esm", "jinja2", "matplotlib.backends.backend_svg", "matplotlib.figure",
    "matplotlib.font_manager", "pandas", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet", "pysam", "requests",
    "safetensors.torch", "sklearn.linear_model", "sklearn.metrics", "tenacity", "tokenizers", "torch", "tqdm", "yaml",
):  # fmt: skip
    importlib.import_module(library)

MOST_MEMORY = 1 << 30  # bytes, resident
MOST_TIME = 20  # seconds of CPU
LONGEST_LINE = 1200
ADDRESS_SPACE = 8 << 30  # bytes; keeps the machine alive when a program does not keep to MOST_MEMORY


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    code: int
    said: str
    memory: int

    def problems(self, program: str) -> list[str]:
        """What is wrong with how it ended, whatever its input was."""
        found = []
        if self.code not in (0, 1, 2):
            found.append(f"exit code {self.code}" + (f" (signal {-self.code})" if self.code < 0 else ""))
        if "Traceback" in self.said:
            found.append("a traceback")
        if self.memory > MOST_MEMORY:
            found.append(f"{self.memory >> 20} MB of memory")
        if any(not letter.isprintable() and letter != "\n" for letter in self.said):
            found.append("control characters in what it said")
        lines = self.said.splitlines()
        if self.code in (1, 2):
            errors = [line for line in lines if line.startswith(f"{program}.py: error: ")]
            at_once = program == "check_setup"  # which names all that is wrong
            if not errors or errors[-1] != lines[-1] or (len(errors) > 1 and not at_once):
                found.append("not one line of error at the end")
        if any(len(line) > LONGEST_LINE for line in lines):
            found.append("a line without bound")
        return found


def run(program: str, arguments: list[str], folder: Path) -> Outcome:
    """Run a program in a folder; it is killed when it takes too long, which gives a negative exit code."""
    said = folder / "said.log"
    child = os.fork()
    if child == 0:
        _run_in_child(program, arguments, folder, said)
    deadline = time.monotonic() + 10 * MOST_TIME
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    text = said.read_text(encoding="utf-8", errors="replace")
    said.unlink()
    return Outcome(os.waitstatus_to_exitcode(status), text, usage.ru_maxrss << 10)


def _run_in_child(program: str, arguments: list[str], folder: Path, said: Path) -> None:
    code = 70
    try:
        os.chdir(folder)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_TIME, MOST_TIME))
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        logging.getLogger().handlers.clear()  # of pytest
        sys.argv = [f"{program}.py", *arguments]
        runpy.run_path(str(SCRIPTS / f"{program}.py"), run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
