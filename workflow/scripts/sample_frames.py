"""Draw the frames on which the fast path is compared with standard attention.

The sample is drawn from all frames of a run, by length and by how close the score is to the decision line. The same
frames, scores and seed give the same sample, whatever the shards. Of several samples, each option is given once for
each of them.
"""

import argparse
from pathlib import Path

import pandas as pd
import pyarrow as pa

from virnucflow.cli import InputError, argument_parser, log, run, staged
from virnucflow.files.shards import FilesOfSamples, in_step
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
        "--frames", action=FilesOfSamples, nargs="+", required=True, help="tables of translate_frames.py, in order"
    )
    parser.add_argument(
        "--scores", action=FilesOfSamples, nargs="+", required=True, help="tables of predict.py, in the same order"
    )
    parser.add_argument("--chunk-length", type=int, required=True, help="number of bases in one chunk")
    parser.add_argument("--number", type=int, default=1000, help="of frames, about")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument(
        "--sampled-frames", type=Path, action="append", required=True, help="frames table of the sample, to be written"
    )
    parser.add_argument(
        "--sample", type=Path, action="append", required=True, help="table of where each comes from, to be written"
    )
    return parser.parse_args()


def read_shard(frames_file: Path, scores_file: Path) -> tuple[pd.DataFrame, int]:
    """Residues and score of each frame of a shard that has one, and the number of chunks that the shard had."""
    made, scored = read_provenance(frames_file, ShardMade), read_provenance(scores_file, ShardScored)
    frames, scores = read_frames(frames_file, NAMES, scored["frames"]), read_parquet(scores_file, SCORED)
    if not frames["name"].equals(scores["name"]) or made["chunks"] != scored["chunks"]:
        raise InputError(f"{scores_file}: not the scores of the frames in {frames_file}; give both in shard order")
    return scores.select(["residues", "score_virus"]).to_pandas(), made["chunks"]


def draw_sample(
    how: argparse.Namespace,
    frames_files: list[Path],
    scores_files: list[Path],
    frames_output: Path,
    sample_output: Path,
) -> None:
    """Write the sampled frames of one sample, and where each comes from."""
    if len(frames_files) != len(scores_files):
        raise InputError(f"{len(frames_files)} tables of frames, {len(scores_files)} of scores; give them in pairs")
    pairs = zip(frames_files, scores_files, strict=True)
    shards, chunks = zip(*(read_shard(*pair) for pair in pairs), strict=True)
    every = pd.concat(shards, keys=range(len(shards)), names=["shard", "row"]).reset_index()
    strata = stratify(every["residues"].to_numpy(), every["score_virus"].to_numpy(), how.chunk_length)
    rows = draw(strata, how.number, how.seed)
    sample = every.iloc[rows].assign(stratum=strata[rows], weight=weigh(strata, rows)).reset_index(drop=True)
    parts = [
        read_frames(path, FRAMES, read_provenance(scores, ShardScored)["frames"]).take(
            sample.loc[sample["shard"] == shard, "row"].to_numpy()
        )
        for shard, (path, scores) in enumerate(zip(frames_files, scores_files, strict=True))
        if (sample["shard"] == shard).any()
    ]
    frames = pa.concat_tables(parts) if parts else FRAMES.empty_table()
    columns = [frames["name"], *(pa.array(sample[name]) for name in SAMPLE.names[1:])]
    with staged(frames_output, sample_output) as (frames_file, sample_file):
        write_parquet(frames, frames_file)
        made = {"run_frames": len(every), "chunks": sum(chunks), "seed": how.seed}
        write_parquet(pa.table(columns, schema=SAMPLE), sample_file, made)
    log.info("%d of %d frames, in %d strata", len(sample), len(every), sample["stratum"].nunique())


def main() -> None:
    arguments = parse_arguments()
    for sample in in_step(arguments, "frames", "scores", "sampled_frames", "sample"):
        draw_sample(arguments, *sample)


if __name__ == "__main__":
    run(main)
