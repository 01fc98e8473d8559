"""Say what all samples are: one table with a row for each, and one page of figures.

Reads what write_results.py published, and of samples with a gate what compare_attention.py did. The same results give
the same bytes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from virnucflow.cli import argument_parser, log, one_line, run, staged
from virnucflow.files.results import Summary, columns_of
from virnucflow.files.tables import write_tsv
from virnucflow.overview.page import MOST_SEQUENCES, write_page
from virnucflow.overview.results import read_run
from virnucflow.overview.tally import Tally, tally


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the folder that has a folder for each sample")
    parser.add_argument("--samples", nargs="+", required=True, help="their names, in order")
    parser.add_argument("--citation", type=Path, required=True, help="CITATION.cff")
    parser.add_argument("--summary", type=Path, required=True, help="table with one row per sample, to be written")
    parser.add_argument("--page", type=Path, required=True, help="HTML page, to be written")
    return parser.parse_args()


def measure_of(folders: Sequence[Path]) -> str:
    """The column by which sequences are ranked: `score`, where the packs of all samples say how they come by it."""
    calibrations = [read_run(folder)["calibration"] for folder in folders]
    return "score" if all(one and one.get("sequences") for one in calibrations) else "best_score"


def summary(tallies: Sequence[Tally]) -> pd.DataFrame:
    """One row per sample."""
    return pd.DataFrame([row(one) for one in tallies], columns=columns_of(Summary))


def row(one: Tally) -> dict[str, object]:
    """What the table says of a sample; empty where there is nothing to say."""
    gate = one.run["divergence"]
    agreement = gate["frame_agreement"] if gate else {"estimate": None, "lower": None, "upper": None}
    shares = {name: np.nan if value is None else value for name, value in agreement.items()}
    values = {
        "sample": one.name,
        "sequences": one.sequences,
        "bases": one.bases,
        "chunks": one.chunks,
        "scored_chunks": one.scored_chunks,
        "scored_share": one.scored_share,
        "frames": one.frames,
        "virus": one.calls["virus"],
        "others": one.calls["others"],
        "uncalled": one.calls[""],
        "virus_by_one_chunk": one.virus_by_one_chunk,
        "regions": one.regions,
        "gate": gate["decision"] if gate else "",
        "agreement": shares["estimate"],
        "agreement_lower": shares["lower"],
        "agreement_upper": shares["upper"],
        "compared_frames": gate["frames"] if gate else 0,
        "attention": one.run["attention"],
        "model": one.run["model"],
        "device": ", ".join(one.devices),
        "device_minutes": one.device_minutes,
        "warnings": "; ".join(one.warnings),
    }
    return {name: one_line(value) if isinstance(value, str) else value for name, value in values.items()}


def main() -> None:
    arguments = parse_arguments()
    folders = [arguments.results / sample for sample in arguments.samples]
    measure = measure_of(folders)
    tallies = [tally(folder, measure, MOST_SEQUENCES) for folder in folders]
    with staged(arguments.summary, arguments.page) as (summary_file, page):
        write_tsv(summary(tallies), summary_file)
        write_page(tallies, measure, arguments.citation, page)
    log.info(
        "%d of %d sequences called virus", sum(t.calls["virus"] for t in tallies), sum(t.sequences for t in tallies)
    )


if __name__ == "__main__":
    run(main)
