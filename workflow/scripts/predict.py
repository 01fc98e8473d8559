"""Score every frame with the model pack's classifier.

Writes one row per frame that the pack takes, in the table's order: name, sequence_id, chunk, frame, kind, residues,
score_others, score_virus, prediction. A tie is `others`, as in VirNucPro v1. Of several shards, each option has the
files in the same order.
"""

import argparse
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.files.kinds import LONGEST
from virnucflow.files.shards import Files, in_step
from virnucflow.files.tables import (
    FRAMES_WITHOUT_LETTERS,
    LABELS,
    SCORES,
    VIRUS,
    read_frames,
    read_provenance,
    write_parquet,
)
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.packs.pack_files import CLASSIFIER, ENCODER_FILES
from virnucflow.scoring.classifier import MLPClassifier, load_classifier, score
from virnucflow.scoring.features import check_frames, check_pack, load_features


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--frames", nargs="+", action=Files, required=True, help="tables of translate_frames.py")
    parser.add_argument("--features", nargs="+", action=Files, required=True, help="files of concat_features.py")
    parser.add_argument("--model", type=Path, required=True, help="directory of a model pack")
    parser.add_argument("--chunk-length", type=int, help="bases in a chunk; a pack for another length is refused")
    parser.add_argument("--scores", nargs="+", action=Files, required=True, help="parquet tables, to be written")
    return parser.parse_args()


def get_scaling(pack: ModelPack, kinds: pa.ChunkedArray) -> torch.Tensor | None:
    """(frames, 2) scale and shift of each frame's logit, by its kind, where the pack has them."""
    if not pack.calibration:
        return None
    rows = pc.equal(kinds, LONGEST).to_numpy(zero_copy_only=False).astype(np.int64)
    scalings = [pack.calibration.whole, pack.calibration.longest or pack.calibration.whole]
    return torch.tensor([[scaling.scale, scaling.shift] for scaling in scalings])[rows]


def predict(pack: ModelPack, classifier: MLPClassifier, frames_file: Path, features_file: Path, output: Path) -> None:
    """Write the scores of one shard."""
    frames = read_frames(frames_file, FRAMES_WITHOUT_LETTERS, pack.frames)
    features, made = load_features(features_file)
    check_frames(made, frames["name"].to_pylist(), features_file, frames_file)
    if len(features) != len(frames):
        raise InputError(f"{features_file}: {len(features)} rows for {len(frames)} frames; make it again")
    check_pack(made, features.shape[1], features_file, pack)
    scores = score(classifier, torch.from_numpy(features), get_scaling(pack, frames["kind"])).numpy()
    if not np.isfinite(scores).all():
        raise Failure(f"{features_file}: a score is not finite; restore the model pack")
    others, virus = scores[:, 1 - VIRUS], scores[:, VIRUS]
    prediction = np.array(LABELS)[(virus > others).astype(int)]
    table = pa.table([*frames.columns, others, virus, prediction], schema=SCORES)
    provenance = {
        "model": pack.name,
        "trained": pack.trained,
        "frames": pack.frames,
        "calibration": msgspec.to_builtins(pack.calibration),
        "attention": made["esm2"]["attention"],
        "classifier_sha256": pack.sha256[CLASSIFIER],
        "pack_sha256": {name: pack.sha256[name] for name in (*ENCODER_FILES, CLASSIFIER)},
        **made,
    } | read_provenance(frames_file)
    with staged(output) as (partial,):
        write_parquet(table, partial, provenance)
    log.info("%d frames, %d of them predicted viral", table.num_rows, int((virus > others).sum()))


def main() -> None:
    arguments = parse_arguments()
    pack = read_model_pack(arguments.model, arguments.chunk_length)
    classifier = load_classifier(pack)
    for shard in in_step(arguments, "frames", "features", "scores"):
        predict(pack, classifier, *shard)


if __name__ == "__main__":
    run(main)
