"""What run.json says of a run besides what the programs know."""

import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

CHOICE = (
    "min_score",
    "min_length",
    "min_scored_chunks",
    "prevalence",
    "max_fdr",
)  # settings of which sequences are published as viral


def settings_of_results(config: Mapping[str, Any], attention: str, is_gated: bool, shards: int) -> str:
    """The settings that change the results of a sample with this attention, as JSON.

    They have the names and sections of the config. `shards` is the number that two of them gave. The model pack is
    known from the scores, `rna` and `subsample` from the table of sequences.
    """
    names = ["chunk_length", "duplicate_ids", "min_residues", *CHOICE, "also_write", "device"]
    names += ["attention_kernel"] if attention == "flash" else []
    names += ["gate"] if is_gated else []
    precision = [attention] + ["standard_allows"] * (attention == "standard")
    settings = {name: config[name] for name in names}
    settings |= {"attention": attention, "precision": {name: config["precision"][name] for name in precision}}
    return json.dumps(settings | {"shards": shards}, sort_keys=True)


@cache
def commit(checkout: Path) -> str:
    """The commit of a checkout, with `-dirty` where files were changed since, or of the files of a commit that git has
    packed (`git archive`: a release, for example); empty when it is neither."""
    if not (checkout / ".git").exists():
        return packed_commit(checkout / ".git_archival.txt")
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""  # no git, or a checkout that git does not trust


def packed_commit(archival: Path) -> str:
    """The commit that git has written into a file while packing it; empty where it has not."""
    text = archival.read_text(encoding="utf-8") if archival.exists() else ""
    found = re.search(r"^node: ([0-9a-f]{40})$", text, re.MULTILINE)
    return found[1] if found else ""


@cache
def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
