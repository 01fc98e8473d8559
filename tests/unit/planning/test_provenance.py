"""What run.json says besides what the programs know."""

import hashlib
import json
import subprocess
from pathlib import Path

import yaml
from helpers import REPOSITORY

from planning.provenance import commit, settings_of_results, sha256_of_file

CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


def test_settings_of_results_have_the_names_of_the_config() -> None:
    flash = json.loads(settings_of_results(CONFIG, "flash", is_gated=True, shards=3))
    assert flash["gate"] == CONFIG["gate"] and flash["precision"] == {"flash": "auto"} and flash["shards"] == 3
    assert flash["attention_kernel"] == "auto" and flash["attention"] == "flash"
    assert "gate" not in json.loads(settings_of_results(CONFIG, "flash", is_gated=False, shards=1))
    standard = json.loads(settings_of_results(CONFIG, "standard", is_gated=False, shards=1))
    assert standard["precision"] == {"standard": "fp32", "standard_allows": []} and "attention_kernel" not in standard


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    assert commit(tmp_path / "no checkout") == ""
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "one"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert commit(tmp_path) == head
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / ".git").touch()
    assert commit(tmp_path / "broken") == ""


def test_the_commit_of_files_that_git_has_packed(tmp_path: Path) -> None:
    """As in a release, or where Snakemake reads the workflow from a git source."""
    packed = tmp_path / ".git_archival.txt"
    packed.write_text((REPOSITORY / ".git_archival.txt").read_text())
    assert commit(tmp_path) == ""
    commit.cache_clear()
    packed.write_text(packed.read_text().replace("$Format:%H$", "0123456789" * 4))
    assert commit(tmp_path) == "0123456789" * 4


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"an image")
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(b"an image").hexdigest()
