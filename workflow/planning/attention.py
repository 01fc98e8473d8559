"""The attention of each sample."""

import json
from collections.abc import Mapping
from pathlib import Path

from planning.messages import PlanningError, named, shown
from planning.samples import ATTENTIONS

V1_ATTENTION = "VIRNUCPRO_V1_ATTENTION"


def forced_attention(environment: Mapping[str, str]) -> str | None:
    """`standard` when the environment asks for v1's attention, else None. PlanningError for anything else."""
    value = environment.get(V1_ATTENTION, "").strip().lower()
    if value in ("true", "1", "yes"):
        return "standard"
    if value in ("", "false", "0", "no"):
        return None
    raise PlanningError(f"{V1_ATTENTION}={named(value)}: unknown; set it to true or false")


def decided_attention(gate: Path) -> str:
    """The attention whose scores are published, as a gate's decision has it; write_results checks the file's digest.

    PlanningError where the file says none.
    """
    try:
        attention = json.loads(gate.read_text(encoding="utf-8"))["attention"]
        if attention in ATTENTIONS:
            return str(attention)
        problem = f"attention {shown(attention)}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        problem = shown(str(error))
    raise PlanningError(f"{gate}: damaged ({problem}); delete it and run again")
