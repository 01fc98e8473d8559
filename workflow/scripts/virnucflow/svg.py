"""What the figures have in common."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

COLOURS = ("#33658a", "#f6ae2d")


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG; the same figure has the same bytes."""
    matplotlib.rcParams["svg.hashsalt"] = "virnucflow"
    figure.savefig(path, format="svg", metadata={"Date": None})
