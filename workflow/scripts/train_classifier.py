"""Train the classifier of a model pack on labelled sequences, and write a pack with it.

The encoders stay as they are. Sequences are split, never frames, so that no sequence has frames on both sides; with
--split-by COLUMN the sequences of one value of that column of the labels stay together, and a column `split` with the
values train, validation and test says it outright. The weights with the smallest loss on the validation sequences are
kept, calibrated on these, and evaluated on the test sequences. With --proteins, of sequences from GenBank records only
frames whose protein is part of an annotated one train and choose the weights, as VirNucPro v1 has it; calibration and
evaluation are over all frames, as the workflow scores them. The same input and settings give the same pack on a CPU.
"""

import argparse
import json
import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch

from virnucflow.cli import InputError, add_settings, argument_parser, log, read_settings, run, staged
from virnucflow.files.kinds import KINDS, LONGEST, WHOLE
from virnucflow.files.shards import Files
from virnucflow.files.tables import (
    CLUSTERS,
    FRAMES,
    IDENTITY,
    LABELS,
    PROTEINS,
    VIRUS,
    ShardMade,
    read_frames,
    read_parquet,
    read_provenance,
    read_sequences,
    write_tsv,
)
from virnucflow.measures.figures import save_reliability
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack import ModelPack, Scaling, SequenceScaling, describe, read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER, ENCODER_FILES
from virnucflow.packs.weights import save_weights
from virnucflow.scoring.features import check_frames, check_pack, load_embeddings
from virnucflow.training import fit as training
from virnucflow.training.evaluation import SEQUENCE, evaluate
from virnucflow.training.labels import SPLITS, name_genomes, read_labels, split_sequences
from virnucflow.training.model_card import model_card

SOURCE = "the validation sequences"  # of what calibrates, in messages
# What of a frame is needed to train on it, and its protein where annotated ones are known.
OF_A_FRAME = pa.schema([*IDENTITY, FRAMES.field("nucleotide")])


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--frames", action=Files, nargs="*", required=True, help="tables of translate_frames.py")
    for encoder in ENCODERS:
        parser.add_argument(
            f"--{encoder.replace('_', '-')}", action=Files, nargs="*", required=True,
            help=f"for each of them its embeddings of embed_{encoder}.py",
        )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, nargs="*", required=True,
        help="for each sample its table of labels: tab-separated; sequence_id, label (virus, others), "
        "group and genome if known",
    )  # fmt: skip
    parser.add_argument(
        "--sequences", type=Path, nargs="*", required=True, help="for each sample its table of split_fasta.py"
    )
    parser.add_argument(
        "--proteins",
        type=Path,
        nargs="*",
        help="for each sample its table of list_proteins.py; default: all frames train",
    )
    parser.add_argument("--shards", type=int, nargs="*", help="for each sample how many of --frames; default: one each")
    parser.add_argument(
        "--clusters", type=Path, nargs="?", help="table of cluster_sequences.py; for --split-by cluster"
    )
    parser.add_argument("--model", type=Path, required=True, help="model pack that the embeddings were made with")
    parser.add_argument("--chunk-length", type=int, required=True, help="number of bases in one chunk")
    parser.add_argument(
        "--scored-frames", choices=KINDS, help="frames that the new pack is for; default: those of --model"
    )
    parser.add_argument("--split-by", default="sequence_id", help="column of the labels; default: sequence_id")
    parser.add_argument("--name", required=True, help="of the new pack")
    add_settings(parser, training.Settings)
    parser.add_argument("--threads", type=int, help="of PyTorch; default: all cores")
    parser.add_argument("--trained-model", type=Path, required=True, help="directory of the new pack, to be written")
    return parser.parse_args()


def read_labelled_frames(
    arguments: argparse.Namespace, pack: ModelPack, scored_frames: str, sequences: pd.DataFrame
) -> tuple[pd.DataFrame, torch.Tensor]:
    """One row per frame of the labelled sequences: table, sequence_id, chunk, frame, kind, gc, annotated.

    And their features, float32 (frames, width).
    """
    tables = {path: number for number, path in enumerate(dict.fromkeys(arguments.labels))}
    proteins = arguments.proteins or [None] * len(arguments.frames)
    frames, features = [], []
    for path, labels_file, proteins_file, *embeddings in zip(
        arguments.frames, arguments.labels, proteins, arguments.dnabert_s, arguments.esm2
    ):
        columns = OF_A_FRAME.append(FRAMES.field("protein")) if proteins_file else OF_A_FRAME
        table = read_frames(path, columns, scored_frames)
        labelled = sequences.loc[sequences["table"] == tables[labels_file], "sequence_id"]
        rows = np.flatnonzero(table["sequence_id"].to_pandas().isin(labelled))
        values, made = load_embeddings(embeddings, rows)
        check_frames(made, table["name"].to_pylist(), embeddings[0], path)
        check_pack(made, values.shape[1], embeddings[0], pack)
        features.append(values)
        table = table.take(rows)
        part = table.select(["sequence_id", "chunk", "frame", "kind"]).to_pandas()
        of_table = {"table": tables[labels_file], "annotated": annotated(table, proteins_file)}
        frames.append(part.assign(**of_table, gc=gc_content(table["nucleotide"])))
    return pd.concat(frames, ignore_index=True), torch.from_numpy(np.concatenate(features))


def gc_content(nucleotide: pa.ChunkedArray) -> pd.Series:
    """Share of G and C among a frame's letters A, C, G and T; all of its chunk's but one or two at the ends."""
    gc, known = (pc.count_substring_regex(nucleotide, letters).to_pandas() for letters in ("[GC]", "[ACGT]"))
    return gc / known


def annotated(frames: pa.Table, proteins_file: Path | None) -> list[bool | None]:
    """For each frame whether its protein is part of an annotated one of its sequence; None without annotation."""
    if not proteins_file:
        return [None] * len(frames)
    known = read_proteins(proteins_file)
    pairs = zip(frames["sequence_id"].to_pylist(), frames["protein"].to_pylist())
    return [protein in known[name] if name in known else None for name, protein in pairs]


def check_shards(arguments: argparse.Namespace) -> None:
    """InputError when the frames are not of all chunks of each sample: a shard lacks, or is of another cut."""
    for path in dict.fromkeys(arguments.sequences):
        frames = [file for file, of in zip(arguments.frames, arguments.sequences) if of == path]
        found = sum(read_provenance(file, ShardMade)["chunks"] for file in frames)
        if found != (wanted := read_sequences(path)["chunks"].sum()):
            raise InputError(f"{path}: {wanted} chunks, but the frames are of {found}; give those of every shard once")


@cache
def read_proteins(path: Path) -> dict[str, str]:
    """The annotated proteins of each sequence, a line each."""
    table = read_parquet(path, PROTEINS)
    return dict(zip(table["sequence_id"].to_pylist(), map("\n".join, table["proteins"].to_pylist())))


def read_labelled(arguments: argparse.Namespace) -> pd.DataFrame:
    """One row per labelled sequence of the samples.

    Its columns: table, sequence_id, sequence (its number), sequence_length, viral, group, genome, split.
    """
    split_by, tables = arguments.split_by, []
    for number, path in enumerate(dict.fromkeys(arguments.labels)):
        files = {file for file, of in zip(arguments.sequences, arguments.labels) if of == path}
        table = of_samples(read_labels(path), path, files)
        if arguments.clusters:
            table["cluster"] = table["sequence_id"].map(read_clusters(arguments.clusters, path)).fillna("")
        if split_by not in table:
            raise InputError(f"{path}, line 1: no column {split_by!r} to split by; add it, or choose another")
        lengths = pd.concat([read_sequences(file) for file in files]).groupby("sequence_id")["length"].max()
        tables.append(table.assign(table=number, sequence_length=table["sequence_id"].map(lengths)))
    labels = pd.concat(tables, ignore_index=True)
    unknown = labels[split_by].eq("") if split_by != "split" else pd.Series(True, index=labels.index)
    # A sequence of which nothing is known is a unit of its own.
    units = labels[split_by].mask(unknown, "\t" + labels.index.astype(str).to_series(labels.index))
    if split_by == "split":
        if wrong := set(labels["split"]) - {*SPLITS, ""}:
            names = ", ".join(SPLITS)
            raise InputError(f"{arguments.labels[0]}: split {min(wrong)!r}; give {names}, or nothing to leave one out")
    else:
        labels["split"] = split_sequences(labels, units, arguments.seed)
    group = labels["group"] if "group" in labels else labels["label"]
    viral = labels["label"] == LABELS[VIRUS]
    genome = name_genomes(labels, units, unknown)
    columns = labels[[*SEQUENCE, "split", "sequence_length"]]
    return columns.assign(sequence=labels.index, viral=viral, group=group.fillna(""), genome=genome)


def of_samples(labels: pd.DataFrame, path: Path, sequences: set[Path]) -> pd.DataFrame:
    """The labels of those sequences that the samples have."""
    there = labels["sequence_id"].isin(set().union(*(read_sequences(file)["sequence_id"] for file in sequences)))
    if not there.all():
        example = labels["sequence_id"][~there].iloc[0]
        if not there.any():
            raise InputError(
                f"{path}: its samples have none of its sequences, for example {example!r}; give the first word of a "
                "FASTA header, or a GenBank record's accession with its version"
            )
        log.warning("%s: %d sequences are in no sample, for example %r", path, (~there).sum(), example)
    return labels[there].reset_index(drop=True)


def read_clusters(path: Path, labels: Path) -> pd.Series:
    """The cluster of each sequence of a table of labels, by its name."""
    table = read_parquet(path, CLUSTERS).to_pandas()
    return table[table["labels"] == str(labels)].set_index("sequence_id")["cluster"]


def training_rows(frames: pd.DataFrame, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The frames that may train and choose the weights: annotated ones, and all of sequences without annotation."""
    kept = {}
    for split in ("train", "validation"):
        known = frames["annotated"].iloc[rows[split]]
        kept[split] = rows[split][known.ne(False).to_numpy()]
        within, outside, without = (int(found.sum()) for found in (known.eq(True), known.eq(False), known.isna()))
        log.info(
            "%s: %d of %d frames are part of an annotated protein; %d more are of sequences without annotation",
            split, within, within + outside, without,
        )  # fmt: skip
    return kept


def check_labels(rows: dict[str, np.ndarray], viral: np.ndarray, labels: Path, kind: str) -> None:
    """InputError when a split lacks frames of a label."""
    for split, of in rows.items():
        if missing := {0, 1} - set(viral[of].tolist()):
            label = LABELS[VIRUS] if 1 in missing else LABELS[1 - VIRUS]
            raise InputError(f"{labels}: no {kind} of {label} for {split}; give more sequences, or split otherwise")


def calibrate_sequences(chunks: pd.DataFrame, scalings: dict[str, Scaling], prevalence: float) -> SequenceScaling:
    """The scaling of a sequence's mean logit, by the validation chunks; viruses are `prevalence` of its pieces."""
    scale, shift = training.scale_and_shift(chunks["kind"], scalings)
    scored = chunks[["sequence", "viral"]].assign(logit=scale * chunks["logit"] + shift)

    def weigh(pieces: pd.DataFrame) -> np.ndarray:
        return training.weigh_labels(pieces["viral"], pd.Series(1.0, pieces.index), prevalence)

    return training.calibrate_sequences(scored, weigh, SOURCE)


def provenance(
    arguments: argparse.Namespace, pack: ModelPack, sequences: pd.DataFrame, scalings: dict[str, Scaling]
) -> dict[str, Any]:
    """What was trained on, how it was split, with which settings, and how each kind of frame was scaled."""
    label = sequences["viral"].map({True: LABELS[VIRUS], False: LABELS[1 - VIRUS]})
    counts = sequences.groupby(["split", label]).size().unstack(fill_value=0)
    return {
        "encoders": pack.name,
        "split_by": arguments.split_by,
        "train_on": "annotated" if arguments.proteins else "all",
        "sequences": counts.to_dict(orient="index"),
        "settings": asdict(read_settings(arguments, training.Settings)),
        "calibration": msgspec.to_builtins(scalings),
    }


def repeat_for_shards(arguments: argparse.Namespace) -> None:
    """Give the arguments that have one file for each sample one for each of its shards, as the others have.

    Raises InputError where one has too many files or too few.
    """
    of_samples = ["labels", "sequences", *["proteins"] * bool(arguments.proteins)]
    samples = len(arguments.labels)
    shards = [1] * samples if arguments.shards is None else arguments.shards
    wanted = dict.fromkeys(("shards", *of_samples), samples) | dict.fromkeys(("frames", *ENCODERS), sum(shards))
    for name, number in wanted.items():
        there = len(shards if name == "shards" else getattr(arguments, name))
        if there != number:
            option = name.replace("_", "-")
            raise InputError(f"--{option}: {there} for {samples} of --labels with {sum(shards)} shards; give {number}")
    for name in of_samples:
        files = zip(getattr(arguments, name), shards)
        setattr(arguments, name, [file for file, number in files for _ in range(number)])


def main() -> None:
    arguments = parse_arguments()
    if not arguments.labels:
        raise InputError("no labelled sequences; add the column labels to the sample sheet")
    repeat_for_shards(arguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    pack = read_model_pack(arguments.model)
    scored_frames = arguments.scored_frames or pack.frames
    check_shards(arguments)
    sequences = read_labelled(arguments)
    frames, features = read_labelled_frames(arguments, pack, scored_frames, sequences)
    frames = frames.merge(sequences, how="left", on=SEQUENCE, validate="many_to_one")
    viral = torch.from_numpy(frames["viral"].eq(True).to_numpy(dtype=np.int64))
    rows = {split: np.flatnonzero(frames["split"] == split) for split in SPLITS}
    check_labels(rows, viral.numpy(), arguments.labels[0], "frame")
    log.info(", ".join(f"{len(of)} frames for {split}" for split, of in rows.items()))
    kept = rows
    if arguments.proteins:
        if not any(map(read_proteins, arguments.proteins)):
            raise InputError("no sample with labels is of GenBank records; give such files, or training: train_on: all")
        kept = training_rows(frames, rows)
        check_labels(kept, viral.numpy(), arguments.labels[0], "frame within an annotated protein")
    settings = read_settings(arguments, training.Settings)
    classifier = training.fit(features, viral, kept["train"], kept["validation"], settings)
    difference = training.differences(classifier, features)
    best = frames.assign(logit=difference).iloc[rows["validation"]]
    chunks = best.groupby([*SEQUENCE, "chunk"]).agg(
        {"logit": "max", "viral": "first", "kind": "first", "sequence": "first"}
    )
    kinds = KINDS if scored_frames == LONGEST else (WHOLE,)
    scalings = training.calibrate_kinds(chunks.assign(weight=1.0), kinds, SOURCE)
    training.scale_logits(classifier, scalings[WHOLE])
    scale, shift = training.scale_and_shift(frames["kind"], scalings)
    logit = (scale * difference + shift).to_numpy(dtype=np.float32)
    prevalence = float(chunks["viral"].mean())
    sequence_scaling = calibrate_sequences(chunks, scalings, prevalence)
    calibration = training.describe_calibration(scalings, prevalence, sequence_scaling)
    made = provenance(arguments, pack, sequences, scalings)
    description = {"frames": scored_frames, "calibration": msgspec.to_builtins(calibration)}
    write_pack(arguments, pack, classifier, made, evaluate(frames, sequences, logit, sequence_scaling), description)


def write_pack(
    arguments: argparse.Namespace,
    pack: ModelPack,
    classifier: torch.nn.Module,
    made: dict[str, Any],
    figures: dict[str, pd.DataFrame],
    description: dict[str, Any],
) -> None:
    """The encoders as they are, the new classifier, its description, its tables of figures and its card.

    `made` is provenance(), `description` what `pack.json` says of the frames and of how they are calibrated.
    """
    evaluation = figures["evaluation.tsv"]
    chunk = evaluation[(evaluation["scored"] == "chunk") & (evaluation["by"] == "all")].iloc[0]
    content = {
        "name": arguments.name,
        "trained": pack.trained,
        "chunk_lengths": [arguments.chunk_length],
        **description,
        "esm2": asdict(pack.esm2),
        "dnabert_s": asdict(pack.dnabert_s),
        "provenance": f"classifier of train_classifier.py on the encoders of {pack.name}: {json.dumps(made)}",
        "licence": pack.licence,
        "quality": json.loads(chunk.drop(["scored", "by", "value"]).to_json()),
    }
    pack_files = (*ENCODER_FILES, CLASSIFIER)
    names = (*pack_files, "pack.json", *figures, "reliability.svg", "MODEL_CARD.md")
    with staged(*(arguments.trained_model / name for name in names)) as partial:
        paths = dict(zip(names, partial))
        for name in ENCODER_FILES:
            # No hard link: Snakemake renews the times of outputs, and with them those of the encoders in use.
            with pack.file(name) as path:
                shutil.copyfile(path, paths[name])
        save_weights(classifier, paths[CLASSIFIER])
        paths["pack.json"].write_text(describe(content, {name: paths[name] for name in pack_files}), encoding="utf-8")
        test = ("test", arguments.chunk_length)
        bins = pd.concat({test: figures["reliability.tsv"]}, names=["set", "length"]).droplevel(-1).reset_index()
        for name, table in (figures | {"reliability.tsv": bins}).items():
            write_tsv(table, paths[name])
        save_reliability(bins, paths["reliability.svg"])
        paths["MODEL_CARD.md"].write_text(model_card(content, made, figures), encoding="utf-8")
    log.info("%s: AUROC %.4f over the chunks of the test sequences", arguments.trained_model, chunk["auroc"])


if __name__ == "__main__":
    run(main)
