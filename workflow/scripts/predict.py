"""Score every frame with the model pack's classifier.

Writes one row per frame, in the table's order: name, sequence_id, chunk, frame, residues, score_others,
score_virus, prediction. A tie is `others`, as in VirNucPro v1.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.files.tables import (
    FRAMES,
    IDENTITY,
    LABELS,
    SCORES,
    VIRUS,
    read_parquet,
    read_provenance,
    write_parquet,
)
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack import read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER, ENCODER_FILES
from virnucflow.scoring.classifier import load_classifier, load_features, score


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--frames", type=Path, required=True, help="parquet table of translate_frames.py")
    parser.add_argument("--features", type=Path, required=True, help="safetensors file of concat_features.py")
    parser.add_argument("--model", type=Path, required=True, help="directory of a model pack")
    parser.add_argument("--chunk-length", type=int, help="bases a chunk; a pack for another length is refused")
    parser.add_argument("--scores", type=Path, required=True, help="parquet table, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    frames = read_parquet(arguments.frames, FRAMES)
    pack = read_model_pack(arguments.model, arguments.chunk_length)
    features, metadata = load_features(arguments.features, arguments.frames, frames["name"].to_pylist(), pack)
    if "attention" not in metadata:
        raise InputError(f"{arguments.features}: does not say its attention; make it again")
    scores = score(load_classifier(pack), torch.from_numpy(features)).numpy()
    if not np.isfinite(scores).all():
        raise Failure(f"{arguments.features}: a score is not finite; restore the model pack")
    others, virus = scores[:, 1 - VIRUS], scores[:, VIRUS]
    identity = [frames[name] for name, _ in IDENTITY]
    residues = pc.utf8_length(frames["protein"])
    prediction = np.array(LABELS)[(virus > others).astype(int)]
    table = pa.table([*identity, residues, others, virus, prediction], schema=SCORES)
    provenance = {
        "model": pack.name,
        "trained": pack.trained,
        "attention": metadata["attention"],
        "classifier_sha256": pack.sha256[CLASSIFIER],
        "pack_sha256": {name: pack.sha256[name] for name in (*ENCODER_FILES, CLASSIFIER)},
        **{encoder: json.loads(metadata[encoder]) for encoder in ENCODERS},
    } | read_provenance(arguments.frames)
    with staged(arguments.scores) as (partial,):
        write_parquet(table, partial, provenance)
    log.info("%d frames, %d of them predicted viral", table.num_rows, int((virus > others).sum()))


if __name__ == "__main__":
    run(main)
