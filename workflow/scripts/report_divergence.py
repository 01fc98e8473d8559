"""Publish the comparison of both attentions: findings and decision, the compared frames, and the figures."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from virnucflow.cli import argument_parser, run, staged
from virnucflow.json_files import publish_json, read_json


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
    findings, gate = (read_json(path, dict[str, Any]) for path in (arguments.divergence, arguments.gate))
    outputs = (arguments.published_findings, arguments.published_frames, arguments.published_figures)
    with staged(*outputs) as (findings_file, frames_file, figures_file):
        publish_json({"gate": gate} | findings, findings_file)
        shutil.copyfile(arguments.compared_frames, frames_file)
        shutil.copyfile(arguments.figures, figures_file)


if __name__ == "__main__":
    run(main)
