"""Publish the comparison of both attentions: what was found and decided, the compared frames, and three figures.

The figures: score against score, difference of the scores by length, and how far the embeddings are from each other.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from virnucflow.cli import run, staged

ENCODERS = {"dnabert_s": "DNABERT-S", "esm2": "ESM-2"}
LEAST = 1e-16  # differences below are drawn as this, since a logarithm has no place for 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--divergence", type=Path, required=True, help="JSON of compare_attention.py")
    parser.add_argument("--gate", type=Path, required=True, help="JSON of divergence_gate.py")
    parser.add_argument("--compared-frames", type=Path, required=True, help="table of compare_attention.py")
    parser.add_argument("--findings", type=Path, required=True, help="JSON of both, to be written")
    parser.add_argument("--table", type=Path, required=True, help="the compared frames, to be written")
    parser.add_argument("--figures", type=Path, required=True, help="SVG, to be written")
    return parser.parse_args()


def draw_figures(frames: pd.DataFrame, title: str) -> Figure:
    """One row of three figures."""
    figure = Figure(figsize=(13, 4.4), layout="constrained")
    scores, lengths, cosines = figure.subplots(1, 3)
    figure.suptitle(title, fontsize=10)
    flipped = frames["prediction_fast"] != frames["prediction_reference"]
    for chosen, colour, label in ((~flipped, "#33658a", "same label"), (flipped, "#d1495b", "other label")):
        some = frames[chosen]
        difference = np.maximum((some["score_virus_fast"] - some["score_virus_reference"]).abs(), LEAST)
        marks = {"s": 9, "color": colour, "alpha": 0.6, "linewidths": 0}
        scores.scatter(some["score_virus_reference"], some["score_virus_fast"], label=f"{label}: {len(some)}", **marks)
        lengths.scatter(some["residues"], difference, **marks)
    scores.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
    scores.axhline(0.5, color="0.85", linewidth=0.8, zorder=0)
    scores.axvline(0.5, color="0.85", linewidth=0.8, zorder=0)
    scores.set(xlabel="score_virus, standard attention", ylabel="score_virus, fast path", xlim=(0, 1), ylim=(0, 1))
    scores.legend(frameon=False, loc="upper left")
    lengths.set(xlabel="residues", ylabel="difference of score_virus", yscale="log", ylim=(LEAST / 2, 2))
    distances = {label: np.maximum(1 - frames[f"{name}_cosine"], LEAST) for name, label in ENCODERS.items()}
    edges = np.geomspace(LEAST, 2, 50)
    for (label, values), colour in zip(distances.items(), ("#33658a", "#f6ae2d"), strict=True):
        cosines.hist(values, bins=edges, label=label, color=colour, alpha=0.7)
    cosines.set(xlabel="1 - cosine of the embeddings", ylabel="frames", xscale="log", xlim=(LEAST, 2))
    cosines.legend(frameon=False)
    for axes in (scores, lengths, cosines):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    arguments = parse_arguments()
    matplotlib.rcParams["svg.hashsalt"] = "virnucflow"  # so that the same figures have the same bytes
    findings, gate = (json.loads(path.read_text(encoding="utf-8")) for path in (arguments.divergence, arguments.gate))
    frames = pd.read_csv(arguments.compared_frames, sep="\t", keep_default_na=False)
    figure = draw_figures(frames, f"{gate['decision']}: {gate['message']}".replace("; ", "\n"))
    with staged(arguments.findings, arguments.table, arguments.figures) as (findings_file, table_file, figures_file):
        findings_file.write_text(json.dumps({"gate": gate} | findings, indent=2) + "\n", encoding="utf-8")
        table_file.write_bytes(arguments.compared_frames.read_bytes())
        figure.savefig(figures_file, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    run(main)
