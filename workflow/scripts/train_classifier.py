"""Train the classifier of a model pack on labelled sequences, and write a pack with it.

The encoders stay as they are. Sequences are split, never frames, so that no sequence has frames on both sides; with
--split-by COLUMN the sequences of one value of that column of the labels stay together, and a column `split` with the
values train, validation and test says it outright. The weights with the smallest loss on the validation sequences are
kept, calibrated on these, and evaluated on the test sequences. The same input and settings give the same pack on a CPU.
"""

import argparse
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from virnucflow import training
from virnucflow.classifier import LABELS, VIRUS, load_features
from virnucflow.cli import InputError, add_settings, log, read_settings, run, staged
from virnucflow.evaluation import STRANDS, by_group, by_stratum
from virnucflow.labels import SPLITS, read_labels, split_sequences
from virnucflow.model_card import model_card
from virnucflow.model_pack import CLASSIFIER, ENCODER_FILES, ModelPack, describe, read_model_pack, save_weights
from virnucflow.reliability import reliability
from virnucflow.reliability_figures import save_reliability
from virnucflow.tables import FRAMES, read_parquet, write_tsv

SEQUENCE = ["table", "sequence_id"]  # the number of the table of labels, and the name in it


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, nargs="*", required=True, help="tables of translate_frames.py")
    parser.add_argument("--features", type=Path, nargs="*", required=True, help="of concat_features.py, in their order")
    parser.add_argument(
        "--labels", type=Path, nargs="*", required=True,
        help="for each of them its table of labels: tab-separated; sequence_id, label (virus, others), group if known",
    )  # fmt: skip
    parser.add_argument("--model", type=Path, required=True, help="model pack that the features were made with")
    parser.add_argument("--chunk-length", type=int, required=True, help="bases a chunk")
    parser.add_argument("--split-by", default="sequence_id", help="column of the labels; default: sequence_id")
    parser.add_argument("--name", required=True, help="of the new pack")
    add_settings(parser, training.Settings)
    parser.add_argument("--threads", type=int, help="of PyTorch; default: all cores")
    parser.add_argument("--trained-model", type=Path, required=True, help="directory of the new pack, to be written")
    return parser.parse_args()


def read_frames(arguments: argparse.Namespace, pack: ModelPack) -> tuple[pd.DataFrame, torch.Tensor]:
    """A row a frame: table, sequence_id, chunk, frame, gc; and their features (frames, width)."""
    if not len(arguments.frames) == len(arguments.features) == len(arguments.labels):
        raise InputError("--frames, --features and --labels: give as many of each")
    tables = {path: number for number, path in enumerate(dict.fromkeys(arguments.labels))}
    frames, features = [], []
    for frames_file, features_file, labels_file in zip(arguments.frames, arguments.features, arguments.labels):
        table = read_parquet(frames_file, FRAMES)
        features.append(load_features(features_file, frames_file, table["name"].to_pylist(), pack)[0])
        part = table.select(["sequence_id", "chunk", "frame"]).to_pandas()
        frames.append(part.assign(table=tables[labels_file], gc=gc_content(table["nucleotide"])))
    return pd.concat(frames, ignore_index=True), torch.from_numpy(np.concatenate(features))


def gc_content(nucleotide: pa.ChunkedArray) -> pd.Series:
    """Share of G and C among a frame's letters A, C, G and T; all of its chunk's but one or two at the ends."""
    gc, known = (pc.count_substring_regex(nucleotide, letters).to_pandas() for letters in ("[GC]", "[ACGT]"))
    return gc / known


def read_sequences(paths: list[Path], split_by: str, seed: int) -> pd.DataFrame:
    """A row a labelled sequence: table, sequence_id, sequence (its number), viral, group, split."""
    tables = []
    for number, path in enumerate(dict.fromkeys(paths)):
        table = read_labels(path)
        if split_by not in table:
            raise InputError(f"{path}, line 1: no column {split_by!r} to split by; add it, or choose another")
        tables.append(table.assign(table=number))
    labels = pd.concat(tables, ignore_index=True)
    if split_by == "split":
        if wrong := set(labels["split"]) - {*SPLITS, ""}:
            raise InputError(f"{paths[0]}: split {min(wrong)!r}; give {', '.join(SPLITS)}, or nothing to leave one out")
    else:
        unknown = labels[split_by] == ""  # such a sequence is a unit of its own
        units = labels[split_by].mask(unknown, "\t" + labels.index.astype(str).to_series(labels.index))
        labels["split"] = split_sequences(labels, units, seed)
    group = labels["group"] if "group" in labels else labels["label"]
    viral = labels["label"] == LABELS[VIRUS]
    return labels[[*SEQUENCE, "split"]].assign(sequence=labels.index, viral=viral, group=group.fillna(""))


def evaluate(frames: pd.DataFrame, sequences: pd.DataFrame, score: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Figures of the test sequences by what is scored (frame, chunk, sequence) and by group, of chunks by stratum too.

    And the reliability of the chunks' scores.
    A chunk and a sequence have the best score of their frames; a sequence without a frame has 0.
    """
    held_out = frames.assign(score=score)[(frames["split"] == "test").to_numpy()]
    best = held_out.groupby(SEQUENCE)["score"].max()
    test = sequences[sequences["split"] == "test"].set_index(SEQUENCE)
    chunks = best_of_chunks(held_out)
    levels = {"frame": held_out, "chunk": chunks, "sequence": test.assign(score=best.reindex(test.index).fillna(0.0))}
    tables = {level: by_group(table) for level, table in levels.items()}
    tables["chunk"] = pd.concat([tables["chunk"], by_stratum(chunks)])
    found = pd.concat(tables, names=["scored"]).droplevel(-1).reset_index()
    return found, reliability(chunks["viral"], chunks["score"])


def best_of_chunks(frames: pd.DataFrame) -> pd.DataFrame:
    """A row a chunk: sequence, viral, group, best score, each strand's best score, number of frames, their mean gc."""
    strand = frames["frame"].str[0]
    scores = {name: frames["score"].where(strand == letter) for name, letter in STRANDS.items()}
    return (
        frames.assign(frames=1, **scores)
        .groupby([*SEQUENCE, "chunk"])
        .agg(
            dict.fromkeys(("sequence", "viral", "group"), "first")
            | dict.fromkeys(("score", *STRANDS), "max")
            | {"frames": "sum", "gc": "mean"}
        )
    )


def link(source: Path, target: Path) -> None:
    """The same bytes under another name; the encoders are large, so by a hard link where that can be."""
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def provenance(arguments: argparse.Namespace, pack: ModelPack, sequences: pd.DataFrame) -> dict[str, Any]:
    """What was trained on, how it was split, and with which settings."""
    label = sequences["viral"].map({True: LABELS[VIRUS], False: LABELS[1 - VIRUS]})
    counts = sequences.groupby(["split", label]).size().unstack(fill_value=0)
    return {
        "encoders": pack.name,
        "split_by": arguments.split_by,
        "sequences": counts.to_dict(orient="index"),
        "settings": asdict(read_settings(arguments, training.Settings)),
    }


def main() -> None:
    arguments = parse_arguments()
    if not arguments.labels:
        raise InputError("no labelled sequences; add the column labels to the sample sheet")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pack = read_model_pack(arguments.model)
    sequences = read_sequences(arguments.labels, arguments.split_by, arguments.seed)
    frames, features = read_frames(arguments, pack)
    frames = frames.merge(sequences, how="left", on=SEQUENCE, validate="many_to_one")
    viral = torch.from_numpy(frames["viral"].eq(True).to_numpy(dtype=np.int64))
    rows = {split: np.flatnonzero(frames["split"] == split) for split in SPLITS}
    for split, of in rows.items():
        if missing := {0, 1} - set(viral[of].tolist()):
            label = LABELS[VIRUS] if 1 in missing else LABELS[1 - VIRUS]
            raise InputError(
                f"{arguments.labels[0]}: no frame of {label} for {split}; give more sequences, or split otherwise"
            )
    log.info(", ".join(f"{len(of)} frames for {split}" for split, of in rows.items()))
    settings = read_settings(arguments, training.Settings)
    classifier = training.fit(features, viral, rows["train"], rows["validation"], settings)
    best = frames.assign(best=training.differences(classifier, features)).iloc[rows["validation"]]
    chunks = best.groupby([*SEQUENCE, "chunk"]).agg({"best": "max", "viral": "first"})
    scale, shift = training.calibrate(classifier, chunks["best"].to_numpy(), chunks["viral"].to_numpy(dtype=bool))
    score = torch.from_numpy(training.differences(classifier, features)).sigmoid().numpy()
    evaluation, bins = evaluate(frames, sequences, score)
    write_pack(arguments, pack, classifier, sequences, evaluation, bins, {"scale": scale, "shift": shift})


def write_pack(
    arguments: argparse.Namespace,
    pack: ModelPack,
    classifier: torch.nn.Module,
    sequences: pd.DataFrame,
    evaluation: pd.DataFrame,
    bins: pd.DataFrame,
    calibration: dict[str, float],
) -> None:
    """The encoders as they are, the new classifier, its description, its evaluation and its card."""
    made = provenance(arguments, pack, sequences) | {"calibration": calibration}
    chunk = evaluation[(evaluation["scored"] == "chunk") & (evaluation["by"] == "all")].iloc[0]
    content = {
        "name": arguments.name,
        "trained": pack.trained,
        "chunk_lengths": [arguments.chunk_length],
        "esm2": asdict(pack.esm2),
        "dnabert_s": asdict(pack.dnabert_s),
        "provenance": f"classifier of train_classifier.py on the encoders of {pack.name}: {json.dumps(made)}",
        "licence": pack.licence,
        "quality": json.loads(chunk.drop(["scored", "by", "value"]).to_json()),
    }
    pack_files = (*ENCODER_FILES, CLASSIFIER)
    names = (*pack_files, "pack.json", "evaluation.tsv", "reliability.tsv", "reliability.svg", "MODEL_CARD.md")
    with staged(*(arguments.trained_model / name for name in names)) as partial:
        paths = dict(zip(names, partial))
        for name in ENCODER_FILES:
            link(pack.directory / name, paths[name])
        save_weights(classifier, paths[CLASSIFIER])
        paths["pack.json"].write_text(describe(content, {name: paths[name] for name in pack_files}), encoding="utf-8")
        write_tsv(evaluation, paths["evaluation.tsv"])
        bins = pd.concat({("test", arguments.chunk_length): bins}, names=["set", "length"]).droplevel(-1).reset_index()
        write_tsv(bins, paths["reliability.tsv"])
        save_reliability(bins, paths["reliability.svg"])
        paths["MODEL_CARD.md"].write_text(model_card(content, made, evaluation), encoding="utf-8")
    log.info("%s: AUROC %.4f over the chunks of the test sequences", arguments.trained_model, chunk["auroc"])


if __name__ == "__main__":
    run(main)
