"""Draw the frames on which the fast path is compared with standard attention.

The sample is drawn from all frames of a run, by length and by how close the score is to the decision line. The same
frames, scores and seed give the same sample, whatever the shards.
"""

import argparse
from pathlib import Path

import pandas as pd
import pyarrow as pa

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.shards import Files
from virnucflow.files.tables import (
    FRAMES,
    SAMPLE,
    SCORES,
    ShardMade,
    ShardScored,
    read_frames,
    read_parquet,
    read_provenance,
    write_parquet,
)
from virnucflow.gate.sampling import draw, stratify, weigh

NAMES = pa.schema([FRAMES.field("name")])
SCORED = pa.schema([SCORES.field(name) for name in ("name", "residues", "score_virus")])


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--frames", action=Files, nargs="+", required=True, help="tables of translate_frames.py, in order"
    )
    parser.add_argument(
        "--scores", action=Files, nargs="+", required=True, help="tables of predict.py, in the same order"
    )
    parser.add_argument("--chunk-length", type=int, required=True, help="number of bases in one chunk")
    parser.add_argument("--number", type=int, default=1000, help="of frames, about")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--sampled-frames", type=Path, required=True, help="frames table of the sample, to be written")
    parser.add_argument("--sample", type=Path, required=True, help="table of where each comes from, to be written")
    return parser.parse_args()


def read_shard(frames_file: Path, scores_file: Path) -> tuple[pd.DataFrame, int]:
    """Residues and score of each frame of a shard that has one, and the number of chunks that the shard had."""
    made, scored = read_provenance(frames_file, ShardMade), read_provenance(scores_file, ShardScored)
    frames, scores = read_frames(frames_file, NAMES, scored["frames"]), read_parquet(scores_file, SCORED)
    if not frames["name"].equals(scores["name"]) or made["chunks"] != scored["chunks"]:
        raise InputError(f"{scores_file}: not the scores of the frames in {frames_file}; give both in shard order")
    return scores.select(["residues", "score_virus"]).to_pandas(), made["chunks"]


def main() -> None:
    arguments = parse_arguments()
    if len(arguments.frames) != len(arguments.scores):
        raise InputError(
            f"{len(arguments.frames)} tables of frames, {len(arguments.scores)} of scores; give them in pairs"
        )
    pairs = zip(arguments.frames, arguments.scores, strict=True)
    shards, chunks = zip(*(read_shard(*pair) for pair in pairs), strict=True)
    every = pd.concat(shards, keys=range(len(shards)), names=["shard", "row"]).reset_index()
    strata = stratify(every["residues"].to_numpy(), every["score_virus"].to_numpy(), arguments.chunk_length)
    rows = draw(strata, arguments.number, arguments.seed)
    sample = every.iloc[rows].assign(stratum=strata[rows], weight=weigh(strata, rows)).reset_index(drop=True)
    parts = [
        read_frames(path, FRAMES, read_provenance(scores, ShardScored)["frames"]).take(
            sample.loc[sample["shard"] == shard, "row"].to_numpy()
        )
        for shard, (path, scores) in enumerate(zip(arguments.frames, arguments.scores, strict=True))
        if (sample["shard"] == shard).any()
    ]
    frames = pa.concat_tables(parts) if parts else FRAMES.empty_table()
    columns = [frames["name"], *(pa.array(sample[name]) for name in SAMPLE.names[1:])]
    with staged(arguments.sampled_frames, arguments.sample) as (frames_file, sample_file):
        write_parquet(frames, frames_file)
        made = {"run_frames": len(every), "chunks": sum(chunks), "seed": arguments.seed}
        write_parquet(pa.table(columns, schema=SAMPLE), sample_file, made)
    log.info("%d of %d frames, in %d strata", len(sample), len(every), sample["stratum"].nunique())


if __name__ == "__main__":
    run(main)
