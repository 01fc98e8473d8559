"""Figures of the comparison of two computations of the same frames."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from virnucflow.measures.figures import COLOURS, draw_reliability, save_svg
from virnucflow.packs.encoders import ENCODERS

LEAST = 1e-16  # differences below are drawn as this, since a logarithm has no place for 0


def save_figures(frames: pd.DataFrame, bins: pd.DataFrame, title: str, path: Path) -> None:
    """Write the figures as SVG; the same figures have the same bytes."""
    save_svg(draw_figures(frames, bins, title), path)


def draw_figures(frames: pd.DataFrame, bins: pd.DataFrame, title: str) -> Figure:
    """Score against score, difference of the scores by length, and distances of the embeddings, side by side.

    And if `bins` is not empty, the reliability of the chunks whose truth is known.
    """
    panels = 3 if bins.empty else 4
    figure = Figure(figsize=(13 * panels / 3, 4.4), layout="constrained")
    scores, lengths, cosines, *reliability = figure.subplots(1, panels)
    figure.suptitle(title, fontsize=10)
    flipped = frames["prediction_fast"] != frames["prediction_reference"]
    for chosen, colour, label in ((~flipped, COLOURS[0], "same label"), (flipped, "#d1495b", "other label")):
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
    distances = {encoder.title: np.maximum(1 - frames[f"{name}_cosine"], LEAST) for name, encoder in ENCODERS.items()}
    edges = np.geomspace(LEAST, 2, 50)
    for (label, values), colour in zip(distances.items(), COLOURS, strict=True):
        cosines.hist(values, bins=edges, label=label, color=colour, alpha=0.7)
    cosines.set(xlabel="1 - cosine of the embeddings", ylabel="frames", xscale="log", xlim=(LEAST, 2))
    cosines.legend(frameon=False)
    for axes in (scores, lengths, cosines):
        axes.spines[["top", "right"]].set_visible(False)
    for axes in reliability:
        draw_reliability(axes, {"all of labelled sequences": bins})
        axes.set_xlabel("best score_virus of a chunk, fast path")
    return figure
