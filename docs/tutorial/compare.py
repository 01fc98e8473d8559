"""Hold the tutorial's results against the truth: a table on standard output, and a figure of length against score."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

COLOURS = {"virus": "#c2410c", "others": "#2563eb"}  # far from each other also for the colour-blind
BELOW = {"textcoords": "offset points", "ha": "center"}
SOURCES = {
    "hiv_1": "HIV-1", "phage_phix174": "phage phiX174", "phage_lambda": "phage lambda",
    "escherichia_coli": "*E. coli*", "fruit_fly": "fruit fly", "human_mitochondrion": "human mitochondrion",
}  # fmt: skip


def table(contigs: pd.DataFrame) -> str:
    """In Markdown: of each genome its contigs, and how many of them are viral by each cut."""
    lines = ["| | contigs | `call` virus | `score` ≥ 0.5 | `lower` ≥ 0.5 |", "| --- | --: | --: | --: | --: |"]
    for source, name in SOURCES.items():
        of_one = contigs[contigs["source"] == source]
        cuts = (of_one["call"] == "virus", of_one["score"] >= 0.5, of_one["lower"] >= 0.5)
        lines.append(f"| {name} | {len(of_one)} | {' | '.join(str(cut.sum()) for cut in cuts)} |")
    return "\n".join(lines)


def draw(contigs: pd.DataFrame, path: Path) -> None:
    """Length against score with its interval, by what each contig truly is."""
    plt.rcParams |= {"svg.hashsalt": "tutorial", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11}
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for label, of_label in contigs.groupby("label"):
        score, colour = of_label["score"], COLOURS[label]
        ends = [score - of_label["lower"], of_label["upper"] - score]
        axes.errorbar(of_label["length"], score, ends, fmt="none", ecolor=colour, alpha=0.25, linewidth=2)
        axes.scatter(of_label["length"], score, s=28, color=colour, label=label, zorder=3)
    for source in ("hiv_1", "phage_phix174"):
        one = contigs[contigs["source"] == source].iloc[0]
        axes.annotate(SOURCES[source], (one["length"], one["score"]), xytext=(0, -16), **BELOW)
    axes.axhline(0.5, color="grey", linewidth=1, linestyle="dotted")
    axes.set(
        xscale="log", xlabel="length of the contig, bases", ylabel="score, with its 95 % interval", ylim=(-0.03, 1.06)
    )
    axes.set_xticks([500, 1000, 2000, 5000, 10_000], ["500", "1,000", "2,000", "5,000", "10,000"])
    axes.minorticks_off()
    axes.legend(title="truth", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None}, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sequences", type=Path, help="results/assembly/assembly.sequences.tsv")
    parser.add_argument("truth", type=Path, help="truth.tsv of make_assembly.py")
    parser.add_argument("figure", type=Path, nargs="?", help="SVG, to be written")
    arguments = parser.parse_args()
    contigs = pd.read_csv(arguments.sequences, sep="\t").merge(pd.read_csv(arguments.truth, sep="\t"), on="sequence_id")
    print(table(contigs))
    if arguments.figure:
        draw(contigs, arguments.figure)


if __name__ == "__main__":
    main()
