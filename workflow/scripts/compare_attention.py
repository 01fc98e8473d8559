"""Compare the fast path with a reference on a sample of frames: embeddings, scores and labels.

Succeeds whatever it finds: divergence_gate.py judges. `--fast-*` and `--reference-*` take the files of shards
in which the sampled frames are, among others or alone. Any two ways to compute the same frames can be compared.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.json_files import write_json
from virnucflow.files.results import ComparedFrames, columns_of
from virnucflow.files.shards import Files
from virnucflow.files.tables import (
    LABELS,
    SAMPLE,
    SCORES,
    VIRUS,
    check_accepted,
    read_parquet,
    read_provenance,
    write_tsv,
)
from virnucflow.gate.comparison import compare, compare_with_truth, distances, in_words
from virnucflow.gate.figures import save_figures
from virnucflow.measures.reliability import reliability
from virnucflow.packs.encoders import ENCODERS, feature_widths
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.scoring.calls import call_chunks
from virnucflow.scoring.features import check_frames, load_embeddings
from virnucflow.training.labels import read_labels

COMPARED = ["score_others", "score_virus", "prediction"]  # columns of both runs, side by side


class EncoderMade(TypedDict):
    """What of an encoder's run may change numbers."""

    kernel: str
    precision: str
    allowed: str
    device: str


class ScoresMade(TypedDict):
    """What is read of the provenance of scores; `chunks` only of a shard of a run."""

    attention: str
    dnabert_s: EncoderMade
    esm2: EncoderMade
    chunks: NotRequired[int]


class SampleMade(TypedDict):
    """The provenance of a sample: frames and chunks of the run, and the seed that it was drawn with."""

    run_frames: int
    chunks: int
    seed: int


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--sample", type=Path, required=True, help="table of sample_frames.py")
    parser.add_argument(
        "--sequences", type=Path, required=True, help="table of split_fasta.py, which refuses bad input"
    )
    parser.add_argument("--model", type=Path, required=True, help="directory of the model pack")
    for path in ("fast", "reference"):
        for encoder in ENCODERS:
            option = f"--{path}-{encoder.replace('_', '-')}"
            parser.add_argument(
                option, action=Files, nargs="+", required=True, help=f"embeddings of embed_{encoder}.py"
            )
        parser.add_argument(f"--{path}-scores", action=Files, nargs="+", required=True, help="of predict.py")
    parser.add_argument(
        "--labels", type=Path, nargs="?", help="true labels: tab-separated, sequence_id and label (virus, others)"
    )
    parser.add_argument("--divergence", type=Path, required=True, help="JSON of the findings, to be written")
    parser.add_argument("--compared-frames", type=Path, required=True, help="table, one row per frame, to be written")
    parser.add_argument("--figures", type=Path, required=True, help="SVG, to be written")
    return parser.parse_args()


def read_run(
    scores_files: list[Path], embeddings_files: Sequence[list[Path]], names: pd.Series, pack: ModelPack
) -> tuple[pd.DataFrame, np.ndarray]:
    """Scores and features of the frames of these names, in their order, from the shards of a run.

    `embeddings_files` are those of each encoder, in the order of ENCODERS, as wide as the pack's.
    """
    for encoder, files in zip(ENCODERS, embeddings_files, strict=True):
        if len(files) != len(scores_files):
            raise InputError(f"{len(files)} embeddings of {encoder}, {len(scores_files)} files of scores; give as many")
    scores, features = [], []
    for scores_file, *shard in zip(scores_files, *embeddings_files, strict=True):
        table = read_parquet(scores_file, SCORES).to_pandas()
        rows = np.flatnonzero(table["name"].isin(names))
        values, made = load_embeddings(shard, rows)
        check_frames(made, table["name"], shard[0], scores_file)
        if values.shape[1] != pack.feature_width:
            raise InputError(f"{shard[0]}: of another model's shape than {pack.directory}; compare models of one shape")
        described = read_provenance(scores_file)
        if any(described.get(encoder) != of_encoder for encoder, of_encoder in made.items()):
            raise InputError(f"{shard[0]}: {scores_file} has not the scores of these embeddings; score them again")
        scores.append(table.iloc[rows])
        features.append(values)
    table = pd.concat(scores, ignore_index=True)
    if table["name"].duplicated().any() or len(table) != len(names):
        raise InputError(f"{scores_files[0]}: its run has not each sampled frame once; give all shards of one run")
    order = pd.Index(table["name"]).get_indexer(names)
    return table.iloc[order].reset_index(drop=True), np.concatenate(features)[order]


def reliability_of_chunks(fast_scores: list[Path], truth: pd.Series) -> pd.DataFrame:
    """Of the best scores of all chunks of a run, not of those sampled alone, whose sequence has a label."""
    tables = (read_parquet(path, SCORES).to_pandas() for path in fast_scores)
    chunks = call_chunks(pd.concat(table[table["sequence_id"].isin(truth.index)] for table in tables))
    return reliability(chunks["sequence_id"].map(truth) == LABELS[VIRUS], chunks["best_score"])


def read_made(paths: list[Path], chunks: int) -> list[ScoresMade]:
    """The provenance of the scores of a run, which has so many chunks, or of its sampled frames alone."""
    made = [read_provenance(path, ScoresMade) for path in paths]
    found = [one["chunks"] for one in made if "chunks" in one]
    if found and sum(found) != chunks:
        raise InputError(
            f"{paths[0]}: its run has {sum(found)} chunks, but the sample is of {chunks}; give each shard of one run"
        )
    return made


def settings(made: ScoresMade) -> dict[str, Any]:
    """What of a shard's provenance may change numbers."""
    described: dict[str, Any] = {**made}
    return {"attention": made["attention"]} | {
        encoder: {key: described[encoder][key] for key in EncoderMade.__annotations__} for encoder in ENCODERS
    }


def distinct(several: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each value once, in the order in which they first come."""
    return list({json.dumps(one, sort_keys=True): one for one in several}.values())


def main() -> None:
    arguments = parse_arguments()
    check_accepted(arguments.sequences)
    pack = read_model_pack(arguments.model)
    sample = read_parquet(arguments.sample, SAMPLE).to_pandas()
    provenance = read_provenance(arguments.sample, SampleMade)
    runs = {"fast": arguments.fast_scores, "reference": arguments.reference_scores}
    made = {run: distinct(map(settings, read_made(files, provenance["chunks"]))) for run, files in runs.items()}
    fast, fast_features = read_run(
        arguments.fast_scores, (arguments.fast_dnabert_s, arguments.fast_esm2), sample["name"], pack
    )
    reference, reference_features = read_run(
        arguments.reference_scores, (arguments.reference_dnabert_s, arguments.reference_esm2), sample["name"], pack
    )
    frames = fast.merge(reference[["name", *COMPARED]], on="name", suffixes=("_fast", "_reference"))
    frames = frames.assign(**{name: sample[name] for name in ("residues", "stratum", "weight")})
    edges = np.cumsum([*feature_widths(pack).values()])[:-1]
    parts = (np.split(features, edges, axis=1) for features in (fast_features, reference_features))
    for encoder, fast_part, reference_part in zip(ENCODERS, *parts, strict=True):
        for name, column in distances(fast_part, reference_part).items():
            frames[f"{encoder}_{name}"] = column
    precisions = {}
    for encoder in ENCODERS:
        used = {how[encoder]["precision"] for how in made["fast"]}  # more than one where shards ran on other devices
        precisions[encoder] = used.pop() if len(used) == 1 else "mixed"
    findings = compare(frames, provenance["run_frames"] == len(frames), precisions)
    findings |= {"run_frames": provenance["run_frames"], "seed": provenance["seed"], **made}
    findings["truth"], bins = None, pd.DataFrame()
    if arguments.labels:
        truth = read_labels(arguments.labels).set_index("sequence_id")["label"]
        bins = reliability_of_chunks(arguments.fast_scores, truth)
        findings["truth"] = compare_with_truth(frames, truth) | {"reliability": bins.to_dict("records")}
    outputs = (arguments.divergence, arguments.compared_frames, arguments.figures)
    with staged(*outputs) as (divergence_file, frames_file, figures_file):
        write_tsv(frames[columns_of(ComparedFrames)], frames_file)
        save_figures(frames, bins, in_words(findings), figures_file)
        write_json(findings, divergence_file)
    log.info(in_words(findings))


if __name__ == "__main__":
    run(main)
