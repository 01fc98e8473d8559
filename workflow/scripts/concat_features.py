"""Concatenate the two encoders' embeddings of the same frames: DNABERT-S first, then ESM-2."""

import argparse
import json
from pathlib import Path

from virnucflow.cli import argument_parser, run, staged
from virnucflow.files.tensors import save_rows
from virnucflow.scoring.features import load_embeddings


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--dnabert-s", type=Path, required=True, help="embeddings of embed_dnabert_s.py")
    parser.add_argument("--esm2", type=Path, required=True, help="embeddings of embed_esm2.py")
    parser.add_argument("--features", type=Path, required=True, help="safetensors file, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    features, made = load_embeddings([arguments.dnabert_s, arguments.esm2])
    with staged(arguments.features) as (partial,):
        save_rows(
            features,
            "features",
            partial,
            {encoder: json.dumps(values, sort_keys=True) for encoder, values in made.items()},
        )


if __name__ == "__main__":
    run(main)
