"""The benchmark of several GPUs runs, here on the CPU."""

import re
import subprocess
import sys

import pytest
from helpers import REPOSITORY

pytestmark = pytest.mark.long


def test_scaling_prints_its_table() -> None:
    shapes = ["--esm2", "1", "16", "2", "--dnabert-s", "1", "16", "2"]
    command = [sys.executable, REPOSITORY / "benchmarks" / "scaling.py", *shapes, "--frames", "20", "--shards", "1"]
    done = subprocess.run([*command, "--gpus", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"\| 1 \| 2\d \| [\d.]+ \| [\d.]+ \| \d+ \| 100.0% \|.*", done.stdout.splitlines()[-1])
