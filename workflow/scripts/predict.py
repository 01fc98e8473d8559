"""Score every frame with the model pack's classifier.

Writes one row per frame, in the table's order: name, sequence_id, chunk, frame, residues, score_others,
score_virus, prediction. A tie is `others`, as in VirNucPro v1.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.files.tables import (
    FRAMES_WITHOUT_LETTERS,
    LABELS,
    SCORES,
    VIRUS,
    read_parquet,
    read_provenance,
    write_parquet,
)
from virnucflow.packs.pack import read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER, ENCODER_FILES
from virnucflow.scoring.classifier import load_classifier, score
from virnucflow.scoring.features import check_frames, check_pack, load_features


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--frames", type=Path, required=True, help="parquet table of translate_frames.py")
    parser.add_argument("--features", type=Path, required=True, help="safetensors file of concat_features.py")
    parser.add_argument("--model", type=Path, required=True, help="directory of a model pack")
    parser.add_argument("--chunk-length", type=int, help="bases in a chunk; a pack for another length is refused")
    parser.add_argument("--scores", type=Path, required=True, help="parquet table, to be written")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    frames = read_parquet(arguments.frames, FRAMES_WITHOUT_LETTERS)
    pack = read_model_pack(arguments.model, arguments.chunk_length)
    features, made = load_features(arguments.features)
    check_frames(made, frames["name"].to_pylist(), arguments.features, arguments.frames)
    if len(features) != len(frames):
        raise InputError(f"{arguments.features}: {len(features)} rows for {len(frames)} frames; make it again")
    check_pack(made, features.shape[1], arguments.features, pack)
    scores = score(load_classifier(pack), torch.from_numpy(features)).numpy()
    if not np.isfinite(scores).all():
        raise Failure(f"{arguments.features}: a score is not finite; restore the model pack")
    others, virus = scores[:, 1 - VIRUS], scores[:, VIRUS]
    prediction = np.array(LABELS)[(virus > others).astype(int)]
    table = pa.table([*frames.columns, others, virus, prediction], schema=SCORES)
    provenance = {
        "model": pack.name,
        "trained": pack.trained,
        "attention": made["esm2"]["attention"],
        "classifier_sha256": pack.sha256[CLASSIFIER],
        "pack_sha256": {name: pack.sha256[name] for name in (*ENCODER_FILES, CLASSIFIER)},
        **made,
    } | read_provenance(arguments.frames)
    with staged(arguments.scores) as (partial,):
        write_parquet(table, partial, provenance)
    log.info("%d frames, %d of them predicted viral", table.num_rows, int((virus > others).sum()))


if __name__ == "__main__":
    run(main)
