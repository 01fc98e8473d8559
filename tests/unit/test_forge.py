"""What the forge runs is there, and cannot change by itself."""

import re

import yaml
from helpers import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def test_parts_of_ci_run_are_run_each_by_itself() -> None:
    """All but .ci/cluster, which makes a SLURM of the machine."""
    parts = {path.name for path in (REPOSITORY / ".ci").iterdir()} - {"run", "cluster"}
    matrix = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["part"]
    assert set(matrix["strategy"]["matrix"]["part"]) == parts


def test_actions_are_pinned_by_their_commits() -> None:
    used = [action for path in WORKFLOWS for action in re.findall(r"uses: (.*)", path.read_text())]
    assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", action) for action in used)
