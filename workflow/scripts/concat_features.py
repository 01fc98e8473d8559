"""Concatenate the two encoders' embeddings of the same frames: DNABERT-S first, then ESM-2."""

import argparse
import json
from pathlib import Path

import numpy as np

from virnucflow.cli import InputError, argument_parser, run, staged
from virnucflow.files.tensors import load_tensor, save_rows

SHARED = ("model", "trained", "attention", "names_sha256")  # what must be the same in both


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--dnabert-s", type=Path, required=True, help="embeddings of embed_dnabert_s.py")
    parser.add_argument("--esm2", type=Path, required=True, help="embeddings of embed_esm2.py")
    parser.add_argument("--features", type=Path, required=True, help="safetensors file, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    paths = {"dnabert_s": arguments.dnabert_s, "esm2": arguments.esm2}
    parts, metadata = [], {}
    for encoder, path in paths.items():
        part, metadata[encoder] = load_tensor(path, "embedding")
        if metadata[encoder].get("encoder") != encoder:
            raise InputError(
                f"{path}: embeddings of {metadata[encoder].get('encoder')}, not of {encoder}; swap the files"
            )
        parts.append(part)
    first, second = metadata.values()
    if differing := [key for key in SHARED if first.get(key) != second.get(key)]:
        raise InputError(
            f"{arguments.dnabert_s} and {arguments.esm2}: {', '.join(differing)} differ, so the rows are not of the "
            "same frames and run; embed the same frames table with both encoders"
        )
    if missing := [key for key in SHARED if key not in first]:
        raise InputError(f"{arguments.dnabert_s}: does not say its {', '.join(missing)}; make it again")
    if len(parts[0]) != len(parts[1]):
        raise InputError(
            f"{arguments.esm2}: {len(parts[1])} rows, not {len(parts[0])} as {arguments.dnabert_s}; make it again"
        )
    combined = {key: first[key] for key in SHARED}
    combined |= {encoder: json.dumps(values, sort_keys=True) for encoder, values in metadata.items()}
    with staged(arguments.features) as (partial,):
        save_rows(np.concatenate(parts, axis=1), "features", partial, combined)


if __name__ == "__main__":
    run(main)
