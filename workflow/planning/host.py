"""What Snakemake was asked for. It reads a workflow before it says anything about targets or options, but keeps its own
parser for whoever asks."""

import contextlib
import io
import os
import sys
from argparse import Namespace
from enum import IntEnum
from functools import cache
from pathlib import Path

from snakemake.cli import get_argument_parser

# Options that only list, describe or tidy: nothing is planned for a run.
NO_RUN = (
    "lint", "list_rules", "list_target_rules", "print_compilation", "report", "unlock", "summary", "detailed_summary",
    "list_changes", "list_input_changes", "list_params_changes", "list_untracked", "list_conda_envs", "archive",
    "cleanup_metadata", "cleanup_shadow", "conda_cleanup_envs", "conda_create_envs_only", "container_cleanup_images",
    "delete_all_output", "delete_temp_output", "generate_unit_tests", "containerize",
)  # fmt: skip


class Needs(IntEnum):
    """How much of what comes from outside must be there; each has what the ones before it have."""

    NOTHING = 0
    CATALOGUE = 1
    PACK = 2
    SAMPLES = 3
    CLASSIFIER = 4  # in the pack


# Targets that need less than a run does. In a module their names have a prefix.
TARGETS = {"fetch_models": Needs.CATALOGUE, "check_models": Needs.PACK, "train": Needs.SAMPLES}


def needs(arguments: list[str] | None = None) -> Needs:
    """What a call of Snakemake needs, by default this process's own; everything where the call is not understood."""
    asked = _parse(*(sys.argv[1:] if arguments is None else arguments))
    if asked is None:
        return max(Needs)
    if any(getattr(asked, option, None) not in (None, False) for option in NO_RUN):
        return Needs.NOTHING
    return max((_needs_of(target) for target in asked.targets or ()), default=max(Needs))


def touches(arguments: list[str] | None = None) -> bool:
    """Whether the user says that what is there is up to date."""
    asked = _parse(*(sys.argv[1:] if arguments is None else arguments))
    return asked is not None and asked.touch


def _needs_of(target: str) -> Needs:
    rule = "" if "/" in target else target  # and not a file
    found = (need for name, need in TARGETS.items() if rule == name or rule.endswith(f"_{name}"))
    return next(found, max(Needs))


@cache
def _parse(*arguments: str) -> Namespace | None:
    """The options of a call; nothing when Snakemake was called in another way than by its command."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return get_argument_parser().parse_known_args(arguments)[0]
    except (SystemExit, Exception):
        return None


def programs_run_with(python: str) -> None:
    """Have this process's jobs find the folder of an interpreter first, be its environment activated or not."""
    os.environ["PATH"] = f"{Path(python).parent}:{os.environ.get('PATH', os.defpath)}"
