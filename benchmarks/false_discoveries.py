"""What `prevalence` and `max_fdr` say on labelled sequences, drawn so that few, some or many of them are viruses.

Takes the folder of a sample's results and a table of labels (sequence_id, label: virus or others). Sequences that have
a score are drawn with replacement. Of many draws: how often the printed interval has the share of viruses that was
drawn, and what is published at an expected false discovery rate, of which how much is false. Prints a Markdown table.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import shared  # noqa: F401  it puts the library there
from scipy.special import expit, logit

from virnucflow.files.result_files import RUN_JSON, SEQUENCES_TSV, result_of
from virnucflow.scoring.prevalence import estimate_prevalence, expected_fdr, shift

SHARES = (0.01, 0.1, 0.5)  # of viruses
CLOSEST = 0.00005  # to 0 and 1 that a score of four decimals may be


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="the folder of a sample's results")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--size", type=int, default=500, help="sequences in a draw")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--max-fdr", type=float, default=0.05)
    return parser.parse_args()


def measure(logits: np.ndarray, viral: np.ndarray, calibrated: float, max_fdr: float) -> dict[str, float]:
    """Of one draw (sequences), by its estimated share of viruses; `false` and `published` are numbers."""
    found = estimate_prevalence(logits, calibrated)
    expected = expected_fdr(expit(shift(logits, found.share, calibrated)))
    chosen = expected <= max_fdr
    return {
        "estimate": found.share,
        "lower": found.lower,
        "upper": found.upper,
        "inside": found.lower <= viral.mean() <= found.upper,
        "published": chosen.sum(),
        "false": (chosen & ~viral).sum(),
        "expected": (expected[chosen].max() if chosen.any() else 0) * chosen.sum(),
        "viruses": viral.sum(),
    }


def main() -> None:
    arguments = parse_arguments()
    folder = arguments.results.resolve()
    table = pd.read_csv(result_of(folder, SEQUENCES_TSV), sep="\t", dtype={"sequence_id": str})
    labels = pd.read_csv(arguments.labels, sep="\t", dtype=str).set_index("sequence_id")["label"]
    calibrated = json.loads(result_of(folder, RUN_JSON).read_text())["calibration"]["prevalence"]
    table = table.assign(label=table["sequence_id"].map(labels)).dropna(subset=["score", "label"])
    logits = logit(table["score"].clip(CLOSEST, 1 - CLOSEST).to_numpy())
    rows = [np.flatnonzero(table["label"] == label) for label in ("others", "virus")]
    print(f"{len(rows[1])} viruses and {len(rows[0])} others have a score.\n")
    print("| viruses | estimate (mean, interval) | has the share drawn | published | false | expected | found |")
    print("| --: | --- | --: | --: | --: | --: | --: |")
    random = np.random.default_rng(0)
    for share in SHARES:
        measured = []
        for _ in range(arguments.draws):
            viral = random.random(arguments.size) < share
            drawn = np.where(viral, random.choice(rows[1], arguments.size), random.choice(rows[0], arguments.size))
            measured.append(measure(logits[drawn], viral, calibrated, arguments.max_fdr))
        mean = pd.DataFrame(measured).mean()
        published = max(mean["published"], 1e-9)
        cells = [
            f"{share:.0%}",
            f"{mean['estimate']:.1%} ({mean['lower']:.1%} to {mean['upper']:.1%})",
            f"{mean['inside']:.0%}",
            f"{mean['published']:.1f}",
            f"{mean['false'] / published:.1%}",
            f"{mean['expected'] / published:.1%}",
            f"{(mean['published'] - mean['false']) / mean['viruses']:.0%}",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
