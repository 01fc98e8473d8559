"""Figures of reliability: the share of viruses among those with about one score, against that score."""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ("#33658a", "#f6ae2d")


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; the same figure has the same bytes."""
    matplotlib.rcParams["svg.hashsalt"] = "virnucflow"
    figure.savefig(path, format="svg", metadata={"Date": None})


def save_reliability(table: pd.DataFrame, path: Path) -> None:
    """Write the figure of `reliability.tsv` as SVG: its columns are set, length, and those of reliability()."""
    save_svg(draw_figure(table), path)


def draw_figure(table: pd.DataFrame) -> Figure:
    """One panel per set of sequences, one colour per length of chunks."""
    sets = list(table.groupby("set", sort=False))
    figure = Figure(figsize=(4.5 * len(sets) + 0.2, 4.4), layout="constrained")
    for axes, (name, members) in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        lengths = {f"{length} bases": bins for length, bins in members.groupby("length", sort=False)}
        draw_reliability(axes, lengths, name)
    return figure


def draw_reliability(axes: Axes, series: dict[str, pd.DataFrame], title: str | None = None) -> None:
    """For one or two series the share of viruses of each bin with its interval; below, how the chunks spread."""
    width = 1 / len(series)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, zorder=0)
    for i, ((label, bins), colour) in enumerate(zip(series.items(), COLOURS)):
        share, number = bins["share_viral"], bins["number"].sum()
        whiskers = np.maximum([share - bins["share_lower"], bins["share_upper"] - share], 0)
        axes.errorbar(
            bins["mean_score"], share, whiskers, color=colour, marker="o", markersize=4, linewidth=1.2, elinewidth=0.8,
            clip_on=False, label=f"{label}: {number:,} chunks",
        )  # fmt: skip
        left = bins["score_from"] + i * width / 10
        axes.bar(
            left, bins["number"] / number, width / 10, align="edge", color=colour, alpha=0.25, linewidth=0, zorder=-1
        )
    axes.set(
        xlabel="best score_virus of a chunk",
        ylabel="share of viruses (bars: share of the chunks)",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.legend(  # above the axes: points may be anywhere within
        frameon=False, title=title, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, alignment="left"
    )
    axes.spines[["top", "right"]].set_visible(False)
