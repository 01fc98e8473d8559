"""Decide from the findings of compare_attention.py whether the fast path's results may be published.

accept: labels agree for more than `--accept` of the frames, and so do the embeddings. validate: for `--refuse` at
least; published with a note, or with --strict not. refuse: for fewer. What may not be published fails here, or with
`--on-failure fallback` is computed by standard attention. nothing to compare: the sample has no frame; its results,
which say so, are published.
"""

import argparse
import math
from pathlib import Path
from typing import NotRequired, TypedDict

from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.files.json_files import read_json, write_json
from virnucflow.gate.comparison import NOTHING, in_words, number_needed


class Agreement(TypedDict):
    """None where no frame was compared."""

    estimate: float | None
    lower: float | None
    upper: float | None
    effective_number: float


class Embeddings(TypedDict):
    """How an encoder's embeddings agree; None where no frame was compared."""

    passed: bool | None
    least_cosine: float | None


class Findings(TypedDict):
    """What of compare_attention.py's findings is judged, or noted in the decision."""

    frames: int
    run_frames: int
    frame_agreement: Agreement
    embeddings: dict[str, Embeddings]
    whole: NotRequired[bool]
    seed: NotRequired[int]


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--divergence", type=Path, required=True, help="JSON of compare_attention.py")
    parser.add_argument("--accept", type=float, default=0.99, help="share of frames")
    parser.add_argument("--refuse", type=float, default=0.95, help="share of frames")
    parser.add_argument("--decide-on", choices=["estimate", "lower_bound"], default="estimate")
    parser.add_argument("--strict", action="store_true", help="validate is not enough")
    parser.add_argument("--on-failure", choices=["stop", "fallback"], default="stop")
    parser.add_argument("--gate", type=Path, required=True, help="JSON of the decision, to be written")
    arguments = parser.parse_args()
    if not 0 <= arguments.refuse <= arguments.accept < 1:
        raise InputError(f"--refuse {arguments.refuse} --accept {arguments.accept}: give 0 <= refuse <= accept < 1")
    return arguments


def read_findings(path: Path) -> Findings:
    """The findings; InputError where they are not of as many frames as they say."""
    findings = read_json(path, Findings)
    compared, agreement = findings["frames"], findings["frame_agreement"]
    if not compared and findings["run_frames"]:
        raise InputError(
            f"{path}: none of {findings['run_frames']} frames was compared; draw some with sample_frames.py"
        )
    if compared and (None in agreement.values() or not agreement["effective_number"] > 0):
        raise InputError(f"{path}: {compared} frames, but not how many labels agree; compare them again")
    return findings


def decide(findings: Findings, accept: float, refuse: float, decide_on: str) -> tuple[str, list[str]]:
    """accept, validate, refuse or NOTHING, and the reasons as sentences."""
    reasons, agreement = [in_words(findings)], findings["frame_agreement"]
    estimate, lower = agreement["estimate"], agreement["lower"]
    if estimate is None or lower is None:  # no frame was compared
        return NOTHING, reasons
    share = lower if decide_on == "lower_bound" else estimate
    decision = "accept" if share > accept else "validate" if share >= refuse else "refuse"
    if lower <= accept < estimate:
        effect = findings["frames"] / agreement["effective_number"]
        needed = math.ceil(number_needed(accept, estimate) * effect)
        reasons.append(f"the sample is too small for a lower bound above {accept:.0%}, which takes {needed} frames")
    for encoder, comparison in findings["embeddings"].items():
        if not comparison["passed"]:
            decision = "validate" if decision == "accept" else decision
            reasons.append(f"the embeddings of {encoder} differ (least cosine {comparison['least_cosine']:.4f})")
    return decision, reasons


def main() -> None:
    arguments = parse_arguments()
    findings = read_findings(arguments.divergence)
    decision, reasons = decide(findings, arguments.accept, arguments.refuse, arguments.decide_on)
    published = decision in ("accept", NOTHING) or (decision == "validate" and not arguments.strict)
    message = "; ".join(reasons)
    if not published and arguments.on_failure == "stop":
        raise Failure(
            f"{arguments.divergence}: {message}; nothing is published, and what an earlier run published stays. Set "
            "attention: standard for this sample, or gate: on_failure: fallback, to compute it by standard attention"
        )
    if decision not in ("accept", NOTHING):
        log.warning("%s: %s", decision, message)
    gate = {
        "decision": decision,
        "attention": "flash" if published else "standard",
        "message": message,
        **{name: findings.get(name) for name in ("frames", "run_frames", "whole", "seed", "frame_agreement")},
        "thresholds": {name: getattr(arguments, name) for name in ("accept", "refuse", "decide_on")},
    }
    with staged(arguments.gate) as (partial,):
        write_json(gate, partial)
    log.info("%s: results of %s attention are published", decision, gate["attention"])


if __name__ == "__main__":
    run(main)
