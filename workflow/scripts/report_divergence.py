"""Publish the comparison of both attentions: findings and decision, the compared frames, and the figures."""

import argparse
import shutil
from pathlib import Path
from typing import Any, TypedDict

from virnucflow.cli import InputError, argument_parser, run, staged
from virnucflow.files.digests import digest_file
from virnucflow.files.json_files import publish_json, read_json


class FileDigests(TypedDict):
    """Of the files that compare_attention.py writes beside its findings."""

    compared_frames: str
    figures: str


class Findings(TypedDict):
    """What is read of the findings; all of them are published."""

    digests: FileDigests


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--divergence", type=Path, required=True, help="JSON of compare_attention.py")
    parser.add_argument("--gate", type=Path, required=True, help="JSON of divergence_gate.py")
    parser.add_argument("--compared-frames", type=Path, required=True, help="table of compare_attention.py")
    parser.add_argument("--figures", type=Path, required=True, help="SVG of compare_attention.py")
    parser.add_argument("--published-findings", type=Path, required=True, help="JSON, to be written")
    parser.add_argument("--published-frames", type=Path, required=True, help="table, to be written")
    parser.add_argument("--published-figures", type=Path, required=True, help="SVG, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    findings, gate = read_json(arguments.divergence, Findings), read_json(arguments.gate, dict[str, Any])
    digests = findings.pop("digests")
    outputs = (arguments.published_findings, arguments.published_frames, arguments.published_figures)
    with staged(*outputs) as (findings_file, frames_file, figures_file):
        publish_json({"gate": gate} | findings, findings_file)
        for name, file in (("compared_frames", frames_file), ("figures", figures_file)):
            path = getattr(arguments, name)
            shutil.copyfile(path, file)
            if digest_file(file) != digests[name]:
                raise InputError(f"{path}: not as it was written with {arguments.divergence}; make both again")


if __name__ == "__main__":
    run(main)
