"""The figures of the page, as SVG within HTML: their colours are the page's, light or dark."""

import io
import re
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

# Colours that stand for the page's own, whatever they look like here.
INK, LINE, VIRUS, OTHERS = "#010101", "#020202", "#030303", "#040404"
OF_PAGE = {INK: "currentColor", LINE: "var(--line)", VIRUS: "var(--virus)", OTHERS: "var(--others)"}
COLOURS = {"virus": VIRUS, "others": OTHERS}
LANES = ("F1", "F2", "F3", "R1", "R2", "R3")
BINS = 20  # of a score
PLACES = 100  # of a score; at each the gate's frames are one dot
# Text stays text, in the page's font: it can be found, copied and read aloud.
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "virnucflow",
    "font.size": 9,
    "axes.linewidth": 0.8,
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}  # metadata that are left out


def inline_svg(figure: Figure) -> str:
    """A figure as an element of a page, which the page scales."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=NOTHING)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([\w-]+)", text))
    text = re.sub(r'\s+id="([\w-]+)"', lambda match: match[0] if match[1] in used else "", text)
    text = re.sub(r'(<svg[^>]*?) width="[\d.]+pt" height="[\d.]+pt"', r'\1 aria-hidden="true"', text, count=1)
    for colour, of_page in OF_PAGE.items():
        text = text.replace(colour, of_page)
    return re.sub(r"\n\s*", "\n", text).strip()


def in_words(column: str) -> str:
    """The name of a column as a label."""
    return column.replace("_", " ")


@matplotlib.rc_context(STYLE)
def draw_scores(histogram: pd.DataFrame, measure: str) -> str:
    """How many sequences of a sample have which score: numbers by bin (from 0), with a column for each call."""
    figure = Figure(figsize=(3.2, 1.9), layout="constrained")
    axes = figure.subplots()
    width, most = 1 / BINS / len(COLOURS), histogram.max(axis=None)
    for i, (call, colour) in enumerate(COLOURS.items()):
        left = np.arange(BINS) / BINS + i * width
        axes.bar(left, histogram[call], width, align="edge", color=colour, linewidth=0)
    axes.set(xlim=(0, 1), xlabel=in_words(measure), ylabel="sequences", yscale="symlog", ylim=(0, 1.1 * most))
    axes.set_yticks([0, *(10**power for power in range(13) if 10**power <= most)])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    return inline_svg(figure)


@matplotlib.rc_context(STYLE)
def draw_lengths(dots: pd.DataFrame, measure: str) -> str:
    """Score against length, a dot for all sequences at about one place: columns bases, score, call, number."""
    figure = Figure(figsize=(4.8, 3.0), layout="constrained")
    axes = figure.subplots()
    for call, colour in reversed(COLOURS.items()):
        some = dots[dots["call"] == call]
        size = 20 * (1 + np.log10(some["number"])) ** 1.5
        axes.scatter(some["bases"], some["score"], s=size, color=colour, alpha=0.55, linewidths=0, clip_on=False)
    axes.set(xscale="log", xlabel="length (bases)", ylabel=in_words(measure), ylim=(0, 1))
    axes.set_xlim(dots["bases"].min() / 1.2, dots["bases"].max() * 1.2)
    decades = np.log10(dots["bases"].max() / dots["bases"].min())
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 1.5 else (1.0,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    return inline_svg(figure)


@matplotlib.rc_context(STYLE)
def draw_sequence(chunks: pd.DataFrame, frames: pd.DataFrame, regions: pd.DataFrame) -> str:
    """The scores along a sequence: above of each chunk and its frames, below which frames there are; regions shaded.

    `chunks` has start, end, kind, best_score and call, `frames` has start, end, frame, score and prediction, `regions`
    has start and end.
    """
    figure = Figure(figsize=(7.6, 2.7))
    scores, lanes = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.17, top=0.96, hspace=0.12)
    scores.axhline(0.5, color=LINE, linewidth=0.8)
    for start, end in zip(regions["start"] / 1000, regions["end"] / 1000, strict=True):
        for axes in (scores, lanes):
            axes.axvspan(start, end, color=VIRUS, alpha=0.15, linewidth=0)
    for call, colour in COLOURS.items():
        for kind, width in (("whole", 3.0), ("longest", 1.2)):
            some = chunks[(chunks["call"] == call) & (chunks["kind"] == kind)]
            _draw_stretches(scores, some, some["best_score"], colour, width)
        some = frames[frames["prediction"] == call]
        middle = (some["start"] + some["end"]) / 2000
        scores.plot(middle, some["score"], ".", markersize=5, color=colour, markeredgewidth=0, clip_on=False)
        _draw_stretches(lanes, some, some["frame"].map(LANES.index), colour, 4.0)
    scores.set(ylim=(-0.02, 1.02), yticks=(0, 0.5, 1), ylabel="score")
    lanes.set(ylim=(len(LANES) - 0.4, -0.6), yticks=range(len(LANES)), xlabel="position (kilobases)", ylabel="frame")
    lanes.set_yticklabels(LANES, fontsize=7)
    lanes.tick_params(axis="y", length=0)
    lanes.set_xlim(chunks["start"].min() / 1000, chunks["end"].max() / 1000)
    return inline_svg(figure)


def _draw_stretches(axes: Axes, places: pd.DataFrame, height: pd.Series, colour: str, width: float) -> None:
    """A stroke from start to end of each, in kilobases, all of them as one path."""
    gap = np.full(len(places), np.nan)
    x = np.column_stack([places["start"] / 1000, places["end"] / 1000, gap]).ravel()
    axes.plot(x, np.repeat(height.to_numpy(dtype=float), 3), color=colour, linewidth=width, solid_capstyle="butt")


@matplotlib.rc_context(STYLE)
def draw_agreement(frames: pd.DataFrame) -> str:
    """Score of the fast path against that of standard attention, a dot for all frames at about one place.

    `frames` has columns of `divergence.tsv`.
    """
    figure = Figure(figsize=(3.2, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=0.8)
    same = frames["prediction_fast"] == frames["prediction_reference"]
    places = (frames[["score_virus_reference", "score_virus_fast"]] * PLACES).round().assign(same=same)
    frames, same = frames[~places.duplicated()], same[~places.duplicated()]
    for some, colour in ((frames[same], OTHERS), (frames[~same], VIRUS)):
        x, y = some["score_virus_reference"], some["score_virus_fast"]
        axes.scatter(x, y, s=9, color=colour, alpha=0.5, linewidths=0, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="standard attention", ylabel="fast path", aspect="equal")
    return inline_svg(figure)
