"""Make a model pack of what train_lite.py has trained: calibrated, with the figures of what was held back.

Scores are calibrated on the sequences to choose by, for each kind of frame and for whole sequences, to a share of
viruses of PREVALENCE. Figures are of the sequences to choose by and of those to test with, as far as they did not
train. A pack that is trained on these as well has the calibration and the figures of a run that was not.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from lite_data import learn_tokenizer
from lite_evaluation import LOGITS, SCORERS
from lite_splits import CALIBRATES, GROUPS, OTHER_GROUPS
from prepare_lite import SEQUENCES
from train_lite import LENGTHS, RUN, WEIGHTS, RunRecord
from virnucflow.cli import InputError, argument_parser, log, reading, run, staged
from virnucflow.encoders.dnabert_s import DnabertS
from virnucflow.encoders.esm2 import fair_esm_model
from virnucflow.files.json_files import read_published_json
from virnucflow.files.kinds import KINDS, LONGEST, WHOLE
from virnucflow.files.tables import write_tsv
from virnucflow.measures.discrimination import STRANDS, by_group, by_sequence_length, by_stratum
from virnucflow.measures.figures import save_reliability
from virnucflow.measures.genomes import by_genome, genome_shares, worst_genomes
from virnucflow.measures.reliability import reliability
from virnucflow.measures.thresholds import by_threshold
from virnucflow.packs.pack import Scaling, SequenceScaling, describe
from virnucflow.packs.pack_files import CLASSIFIER, FILES, REFERENCE
from virnucflow.packs.reference import save_reference
from virnucflow.packs.weights import save_weights
from virnucflow.published.reference_values import reference_values
from virnucflow.scoring.calls import bound_sequences, scale_sequences
from virnucflow.scoring.classifier import MLPClassifier
from virnucflow.training import fit as training
from virnucflow.training.evaluation import score_by_chunks

SETS = {"choose": "chosen by", "test": "test"}  # the splits that are evaluated, and their names in the tables
SOURCE = f"the split {CALIBRATES}"  # of what calibrates, in messages
PREVALENCE = 0.25  # share of viruses that scores are calibrated for: 0.5 then finds about 60 % of unseen ones
FULL_GROUP = 200  # chunks; a smaller group counts for less in the calibration
REST = 15  # chunks of a sequence besides a piece, by whose mean the interval of the piece's score is judged
SEED = 0  # of the reference values' chunks


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of prepare_lite.py")
    parser.add_argument("--run", type=Path, required=True, help="directory of train_lite.py, with scores of the sets")
    parser.add_argument(
        "--figures-of",
        type=Path,
        help="directory of a run of the same settings that held more back, for calibration and figures; default: --run",
    )
    parser.add_argument("--about", default="", help="for pack.json: what the sequences are, and the pack is good for")
    parser.add_argument("--licence", default="MIT", help="of the pack; default: MIT")
    parser.add_argument("--model", type=Path, required=True, help="directory of the pack, to be written")
    return parser.parse_args()


def chunk_weights(chunks: pd.DataFrame) -> np.ndarray:
    """How much each chunk counts in the calibration: groups by their shares in training, viruses PREVALENCE of all."""
    number = chunks.groupby(["viral", "group"])["group"].transform("size")
    weight = chunks["group"].map(GROUPS).fillna(OTHER_GROUPS) / np.maximum(number, FULL_GROUP)
    return training.weigh_labels(chunks["viral"], weight, PREVALENCE)


def chunks_that_calibrate(chunks: pd.DataFrame) -> pd.DataFrame:
    """Those of the chunks that have a score and are of no prophage."""
    return chunks[chunks["kind"].isin(KINDS) & (chunks["group"] != "prophage")]


def calibrate_frames(chunks: pd.DataFrame) -> dict[str, Scaling]:
    """The scaling of the logits of either kind of frame, by the chunks of the set to choose by.

    Viruses are PREVALENCE of the chunks of both kinds together: that a chunk has a whole frame says something too, and
    is in the shifts.
    """
    counted = chunks_that_calibrate(chunks).assign(viral=lambda chunks: chunks["label"] == 1)
    return training.calibrate_kinds(
        counted.assign(logit=counted[SCORERS[0]], weight=chunk_weights(counted)), KINDS, SOURCE
    )


def scored(chunks: pd.DataFrame, scalings: dict[str, Scaling]) -> pd.DataFrame:
    """The chunks with calibrated logits, as by_group() and its like take them: viral, score, and a score by strand.

    A chunk without a score is of no kind and has 0, so that it counts as one that is called no virus.
    """
    scale, shift = training.scale_and_shift(chunks["kind"], scalings)
    logits = chunks[LOGITS].mul(scale, axis=0).add(shift, axis=0).replace(-np.inf, np.nan)
    probability = 1 / (1 + np.exp(-logits))
    return chunks.assign(
        viral=chunks["label"] == 1,
        kind=chunks["kind"].replace("", None),
        logit=logits[SCORERS[0]],
        score=probability[SCORERS[0]].fillna(0.0),
        **{scorer: probability[scorer].fillna(0.0) for scorer in SCORERS[1:]},
        **{strand: probability[strand] for strand in STRANDS},
    )


def evaluate(
    sets: dict[tuple[str, int], pd.DataFrame], lengths: pd.Series, scaling: SequenceScaling
) -> dict[str, pd.DataFrame]:
    """The tables of figures by the names of their files; `sets` are scored chunks by set and length of a chunk.

    `lengths` are those of the sequences, by their rows, and `scaling` is that of their scores. Prophages are a group,
    and in nothing else.
    """
    tables: dict[str, dict[tuple, pd.DataFrame]] = {
        name: {} for name in ("evaluation", "by_genome", "worst_genomes", "thresholds", "reliability", "intervals")
    }
    for (name, length), chunks in sets.items():
        others, only = (chunks[(chunks["group"] == "prophage") == is_prophage] for is_prophage in (False, True))
        against_prophages = pd.concat([only, others[~others["viral"]]])
        for scorer in SCORERS:
            column = "score" if scorer == SCORERS[0] else scorer
            groups = by_group(others.assign(score=others[column]), "unit")
            prophages = by_group(against_prophages.assign(score=against_prophages[column]), "unit")
            parts = [groups, prophages[prophages["value"] == "prophage"]]
            if scorer == SCORERS[0]:
                parts += [by_stratum(others, "unit"), sequences_by_length(others, lengths, scaling)]
            tables["evaluation"][name, length, scorer] = pd.concat(parts)
        shares = genome_shares(others, "unit")
        tables["by_genome"][name, length] = by_genome(shares)
        tables["worst_genomes"][name, length] = worst_genomes(shares)
        for kind in ("all", WHOLE, LONGEST):
            members = others if kind == "all" else others[others["kind"] == kind]
            tables["thresholds"][name, length, kind] = by_threshold(members, "unit")
        tables["reliability"][name, length] = reliability(others["viral"], others["score"])
        tables["intervals"][name, length] = judge_intervals(others, scaling)
    names = {"evaluation": ["set", "length", "scorer"], "thresholds": ["set", "length", "kind"]}
    return {
        f"{table}.tsv": pd.concat(parts, names=names.get(table, ["set", "length"])).droplevel(-1).reset_index()
        for table, parts in tables.items()
    }


def sequences_by_length(chunks: pd.DataFrame, lengths: pd.Series, scaling: SequenceScaling) -> pd.DataFrame:
    """Figures of whole sequences by the score that the workflow gives them; one without a scored chunk has 0."""
    sequences = chunks.groupby("sequence")[["viral", "unit", "group"]].first()
    score = score_by_chunks(chunks, scaling)
    sequences = sequences.assign(sequence=sequences.index, score=score, sequence_length=lengths[sequences.index])
    return by_sequence_length(sequences, "unit")


def judge_intervals(chunks: pd.DataFrame, scaling: SequenceScaling) -> pd.DataFrame:
    """What the intervals of scores are worth, by pieces of sequences of so many chunks: one row per number of chunks.

    Over the `judged` pieces, of sequences with REST chunks more, `covered` is the share of which the interval has the
    score by the mean of those. Over all, in which each sequence counts once, `one_sided_virus` and `one_sided_others`
    are the shares that lie on one side of 0.5, and `wrong` is how many of these on the wrong one. `chunks` are in
    order.
    """
    chunks = chunks[chunks["logit"].notna()]
    chunks = chunks.assign(square=chunks["logit"] ** 2)
    whole = chunks.groupby("sequence")["logit"].agg(["size", "sum"])
    place, rows = chunks.groupby("sequence").cumcount(), []
    for number in training.PIECES if scaling.spread else ():
        groups = chunks.groupby(["sequence", place // number])
        pieces = groups.agg(viral=("viral", "first"), logits=("logit", "sum"), squares=("square", "sum"))
        pieces = pieces[groups.size() == number]
        rest = whole.loc[pieces.index.get_level_values(0)]
        viral, counted = pieces["viral"].to_numpy(), np.full(len(pieces), number)
        logits, more = pieces["logits"].to_numpy(), rest["size"].to_numpy() - number
        lower, upper = bound_sequences(counted, logits, pieces["squares"].to_numpy(), scaling)
        mean = (rest["sum"].to_numpy() - logits) / np.maximum(more, 1)
        by_rest = scale_sequences(counted, number * mean, scaling)
        covered = ((lower <= by_rest) & (by_rest <= upper))[more >= REST]
        one_sided = (lower > 0) | (upper < 0)
        once = 1 / pieces.groupby("sequence")["viral"].transform("size").to_numpy()
        shares = [_share(one_sided, once * (viral == label)) for label in (True, False)]
        wrong = _share(viral != (lower > 0), once * one_sided)
        rows.append((number, len(covered), covered.mean() if len(covered) else np.nan, *shares, wrong))
    return pd.DataFrame(rows, columns=["chunks", "judged", "covered", "one_sided_virus", "one_sided_others", "wrong"])


def _share(hits: np.ndarray, weight: np.ndarray) -> float:
    return float((hits * weight).sum() / weight.sum()) if weight.sum() else np.nan


def quality(evaluation: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The first scorer's figures over all and by group, by set and length, as pack.json has them."""
    chosen = evaluation[(evaluation["scorer"] == SCORERS[0]) & evaluation["by"].isin(["all", "group"])]
    named = chosen.set_index(chosen["set"] + ", " + chosen["length"].astype(str) + " bases, " + chosen["value"])
    return json.loads(named.drop(columns=["set", "length", "scorer", "by", "value"]).to_json(orient="index"))


def load_part(module: nn.Module, weights: dict[str, torch.Tensor], prefix: str) -> nn.Module:
    """A module with the weights whose names begin with `prefix`, in float32."""
    state = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    module.load_state_dict(state)
    return module.float().eval()


def write_pack(
    arguments: argparse.Namespace, record: RunRecord, scalings: dict[str, Scaling],
    sequences: SequenceScaling, tables: dict[str, pd.DataFrame],
) -> None:  # fmt: skip
    """The pack: encoders in half precision, classifier, tokenizer, description, and the tables of figures."""
    weights = load_file(arguments.run / WEIGHTS)
    shape = record.shape
    protein = load_part(fair_esm_model(shape.esm2, device="cpu"), weights, "protein.esm2.")
    nucleotide = load_part(DnabertS(shape.dnabert_s), weights, "nucleotide.dnabert_s.")
    classifier = load_part(MLPClassifier(shape.width, shape.hidden), weights, "classifier.")
    training.scale_logits(classifier, scalings[WHOLE])
    tokenizer = learn_tokenizer()
    torch.manual_seed(SEED)
    reference = reference_values(protein, nucleotide, tokenizer, classifier)
    content = {
        "name": arguments.model.name,
        "trained": True,
        "chunk_lengths": LENGTHS,
        "frames": LONGEST,
        "calibration": msgspec.to_builtins(training.describe_calibration(scalings, PREVALENCE, sequences)),
        "esm2": asdict(shape.esm2),
        "dnabert_s": asdict(shape.dnabert_s),
        "provenance": " ".join(filter(None, ["train_lite.py.", arguments.about, json.dumps(record.settings)])),
        "licence": arguments.licence,
        "quality": quality(tables["evaluation.tsv"]),
    }
    names = (*FILES, "pack.json", *tables, "reliability.svg")
    with staged(*(arguments.model / name for name in names)) as partial:
        paths = dict(zip(names, partial))
        save_weights(protein.half(), paths["esm2.safetensors"])
        save_weights(nucleotide.half(), paths["dnabert_s.safetensors"])
        tokenizer.save(str(paths["tokenizer.json"]))
        save_weights(classifier, paths[CLASSIFIER])
        save_reference(reference, paths[REFERENCE])
        paths["pack.json"].write_text(describe(content, {name: paths[name] for name in FILES}), encoding="utf-8")
        for name, table in tables.items():
            write_tsv(table, paths[name])
        save_reliability(tables["reliability.tsv"], paths["reliability.svg"])


def read_record(directory: Path) -> RunRecord:
    """What a run of train_lite.py says of itself. Raises InputError when it does not."""
    return read_published_json(directory / RUN, RunRecord, "make it again with train_lite.py")


def read_scores(directory: Path, trained_on: list[str]) -> dict[tuple[str, int], pd.DataFrame]:
    """A run's scores of the chunks that it did not train on, by split and length.

    Raises InputError when it trained on those that calibrate.
    """
    if CALIBRATES in trained_on:
        raise InputError(
            f"{directory}: trained on the split {CALIBRATES}, which cannot calibrate it then; give --figures-of a run "
            "that did not"
        )
    splits = [split for split in SETS if split not in trained_on]
    with reading(directory, "a run of train_lite.py", f"call it with --evaluate {' '.join(splits)}"):
        return {
            (split, length): pd.read_parquet(directory / f"{split}-{length}.parquet")
            for split in splits
            for length in LENGTHS
        }


def main() -> None:
    arguments = parse_arguments()
    measured = arguments.figures_of or arguments.run
    record, measured_record = map(read_record, (arguments.run, measured))
    names = (record.settings.keys() | measured_record.settings.keys()) - {"seed"}
    if differing := sorted(name for name in names if record.settings.get(name) != measured_record.settings.get(name)):
        raise InputError(
            f"{measured}: not of the settings of {arguments.run}: {', '.join(differing)}; give another run"
        )
    chunks = read_scores(measured, measured_record.splits)
    scalings = calibrate_frames(pd.concat(chunks[CALIBRATES, length] for length in LENGTHS))
    lengths = pd.read_parquet(arguments.data / SEQUENCES, columns=["length"])["length"]
    sets = {(SETS[split], length): scored(table, scalings) for (split, length), table in chunks.items()}
    counted = chunks_that_calibrate(sets[SETS[CALIBRATES], LENGTHS[0]])
    scaling = training.calibrate_sequences(counted[["sequence", "viral", "group", "logit"]], chunk_weights, SOURCE)
    tables = evaluate(sets, lengths, scaling)
    write_pack(arguments, record, scalings, scaling, tables)
    evaluation = tables["evaluation.tsv"]
    log.info("%s: %s", arguments.model, evaluation[evaluation["by"] == "all"].to_string(index=False))


if __name__ == "__main__":
    run(main)
