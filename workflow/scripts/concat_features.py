"""Concatenate the two encoders' embeddings of the same frames: DNABERT-S first, then ESM-2.

Of several shards, each option has the files in the same order.
"""

import argparse
import json
from pathlib import Path

from virnucflow.cli import argument_parser, run, staged
from virnucflow.files.shards import Files, in_step
from virnucflow.files.tensors import save_rows
from virnucflow.scoring.features import load_embeddings


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--dnabert-s", nargs="+", action=Files, required=True, help="embeddings of embed_dnabert_s.py")
    parser.add_argument("--esm2", nargs="+", action=Files, required=True, help="embeddings of embed_esm2.py")
    parser.add_argument("--features", nargs="+", action=Files, required=True, help="safetensors files, to be written")
    return parser.parse_args()


def concatenate(dnabert_s: Path, esm2: Path, output: Path) -> None:
    """Write the features of one shard."""
    features, made = load_embeddings([dnabert_s, esm2])
    with staged(output) as (partial,):
        save_rows(
            features,
            "features",
            partial,
            {encoder: json.dumps(values, sort_keys=True) for encoder, values in made.items()},
        )


def main() -> None:
    for shard in in_step(parse_arguments(), "dnabert_s", "esm2", "features"):
        concatenate(*shard)


if __name__ == "__main__":
    run(main)
