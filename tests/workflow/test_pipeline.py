"""The benchmark of whole runs works, here on the CPU."""

import re
import subprocess
import sys

import pytest
from helpers import REPOSITORY

pytestmark = pytest.mark.long


def test_pipeline_prints_its_tables() -> None:
    shapes = ["--esm2", "1", "16", "2", "--dnabert-s", "1", "16", "2"]
    command = [sys.executable, REPOSITORY / "benchmarks" / "pipeline.py", *shapes, "--fragments", "20"]
    done = subprocess.run([*command, "--runs", "1:0", "1:5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for gate in (0, 5):
        row = rf"^\| 0 \| 1 \| {gate} \| 2\d \| [\d.]+ \| \d+ \| [\d.]+% \|$"
        assert re.search(row, done.stdout, re.MULTILINE), done.stdout
    # Only the second run has a gate; without a GPU the first number is 0.
    assert re.search(r"^\| embed_esm2_sampled \|  \| [\d.]+ \|$", done.stdout, re.MULTILINE), done.stdout
