"""Train the encoders and the classifier of a small model pack on what prepare_lite.py has prepared.

For one GPU (it runs on a CPU as well, for tests). Both encoders first predict masked tokens, then learn the labels of
fragments of 300 to 500 bases, by a fragment's best frame or longest stretch, as the workflow scores chunks. A run that
was stopped goes on from its checkpoint. What is written are the weights, the settings, and the scores of what was held
back, of which publish_lite.py makes a pack.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from lite_data import Genomes, learn_tokenizer
from lite_evaluation import score_chunks
from lite_model import LITE, LiteModel
from lite_splits import weights
from lite_training import Settings, Trainer
from prepare_lite import LETTERS, SEQUENCES
from virnucflow.cli import add_settings, argument_parser, log, read_settings, run, staged

LENGTHS = (500, 300)
WEIGHTS, RUN, CHECKPOINT = "weights.safetensors", "run.json", "checkpoint.pt"


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of prepare_lite.py")
    parser.add_argument("--splits", nargs="+", default=["train"], help="what to train on; default: train")
    parser.add_argument("--evaluate", nargs="*", default=["choose"], help="what to score; default: choose")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--hidden", type=int, default=LITE.hidden, help=f"of the classifier; default: {LITE.hidden}")
    add_settings(parser, Settings)
    parser.add_argument("--run", type=Path, required=True, help="directory, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    settings = read_settings(arguments, Settings)
    torch.manual_seed(settings.seed)
    table = pd.read_parquet(arguments.data / SEQUENCES)
    trains = table["split"].isin(arguments.splits).to_numpy()
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
        about = {"splits": arguments.splits, "shape": asdict(shape), "settings": asdict(settings)}
        paths[1].write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        for path, chunks in zip(paths[2:], scores.values()):
            chunks.to_parquet(path)
    log.info("%s", {name: len(chunks) for name, chunks in scores.items()})


if __name__ == "__main__":
    run(main)
