"""Train the encoders and the classifier of a small model pack on what prepare_lite.py has prepared.

For one GPU (it runs on a CPU as well, for tests). Both encoders first predict masked tokens, then learn the labels of
fragments of 300 to 500 bases, by a fragment's best frame or longest stretch, as the workflow scores chunks. A run that
was stopped goes on from its checkpoint. What is written are the weights, the settings, and the scores of what was held
back, of which publish_lite.py makes a pack.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from lite_data import Genomes, learn_tokenizer
from lite_evaluation import score_chunks
from lite_model import LITE, LiteModel, LiteShape
from lite_splits import CALIBRATES, SPLITS, weights
from lite_training import KINDS, Settings, Trainer
from prepare_lite import LETTERS, SEQUENCES
from virnucflow.cli import InputError, add_settings, argument_parser, log, read_settings, run, staged
from virnucflow.files.json_files import publish_json

LENGTHS = (500, 300)
LONG = max(*LENGTHS, *(3 * kind.codons + 4 for kind in KINDS))  # bases that every fragment and chunk can be cut from
WEIGHTS, RUN, CHECKPOINT = "weights.safetensors", "run.json", "checkpoint.pt"


class RunRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run says of itself: the splits that it trained on, the shapes of what it trained, and its settings."""

    splits: list[str]
    shape: LiteShape
    settings: dict[str, int | float]


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of prepare_lite.py")
    parser.add_argument(
        "--splits", nargs="+", choices=SPLITS, default=["train"], help="what to train on; default: train"
    )
    parser.add_argument(
        "--evaluate", nargs="*", choices=SPLITS, default=[CALIBRATES], help=f"what to score; default: {CALIBRATES}"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--hidden", type=int, default=LITE.hidden, help=f"of the classifier; default: {LITE.hidden}")
    add_settings(parser, Settings)
    parser.add_argument("--run", type=Path, required=True, help="directory, to be written")
    return parser.parse_args()


def check_sequences(table: pd.DataFrame, trains: np.ndarray, evaluated: list[str], path: Path) -> None:
    """InputError when what trains or calibrates lacks long sequences of a label, or another split has none at all.

    `trains` (sequences) is what to train on, `evaluated` the splits to score, and `path` the file of the table.
    """
    long = table["length"] >= LONG
    uses = [("to train on", trains, True)]
    uses += [(f"in the split {split}", table["split"] == split, split == CALIBRATES) for split in evaluated]
    for use, rows, needs_both in uses:
        labels = set(table["label"][rows & long])
        if not labels or (needs_both and len(labels) < 2):
            lacking = f" with label={1 - labels.pop()}" if labels else ""
            raise InputError(f"{path}: no sequence of {LONG} bases or more{lacking} {use}; give prepare_lite.py more")


def main() -> None:
    arguments = parse_arguments()
    settings = read_settings(arguments, Settings)
    if both := set(arguments.splits) & set(arguments.evaluate):
        raise InputError(f"--evaluate {' '.join(sorted(both))}: trained on; leave it out here, or in --splits")
    torch.manual_seed(settings.seed)
    table = pd.read_parquet(arguments.data / SEQUENCES)
    trains = table["split"].isin(arguments.splits).to_numpy()
    check_sequences(table, trains, arguments.evaluate, arguments.data / SEQUENCES)
    weight = np.zeros(len(table))
    weight[trains] = weights(table[trains])
    device = torch.device(arguments.device)
    genomes = Genomes(table, np.load(arguments.data / LETTERS), learn_tokenizer(), device)
    shape = replace(LITE, hidden=arguments.hidden)
    log.info("%d sequences, %d to train on; %s", len(table), trains.sum(), shape)
    model = LiteModel(shape, genomes, settings.dropout).to(device)
    model = Trainer(model, genomes, weight, settings, arguments.run / CHECKPOINT).run()
    for encoder in (model.protein.esm2, model.nucleotide.dnabert_s):
        encoder.half().float()  # what is evaluated is what the pack will have
    scores = {
        f"{split}-{length}.parquet": score_chunks(
            model, genomes, table, np.flatnonzero((table["split"] == split) & (table["representative"] != "0")), length
        )
        for split in arguments.evaluate
        for length in LENGTHS
    }
    names = [WEIGHTS, RUN, *scores]
    with staged(*(arguments.run / name for name in names)) as paths:
        save_file(model.pack_weights(), paths[0])
        publish_json(msgspec.to_builtins(RunRecord(arguments.splits, shape, asdict(settings))), paths[1])
        for path, chunks in zip(paths[2:], scores.values()):
            chunks.to_parquet(path)
    log.info("%s", {name: len(chunks) for name, chunks in scores.items()})


if __name__ == "__main__":
    run(main)
