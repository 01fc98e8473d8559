"""How long runs would take that nobody has measured: 10^6 and 10^8 fragments on 1, 8 and 64 GPUs (planning/cost.py).

The model is fitted to two measured runs of `pipeline.py`, which are printed first. It adds up the starts, what one job
does for the whole sample (`split_fasta`, `write_results`), what the jobs of the last shard do without a GPU, and the
encoders, whose shards are dealt out evenly to the GPUs. The gate is off. Needs no GPU; prints tables in Markdown.
"""

import math
import sys
from typing import NamedTuple

from shared import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "workflow"))

from planning.cost import ESM2_SPEED, MEASURED_CARD, Work, gpu_seconds, work_bytes

PACK = {
    "esm2": {"num_layers": 36, "embed_dim": 2560},
    "dnabert_s": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072},
}
BASES, RESIDUES = 500, 166  # of a fragment, which has one frame
SHARD_FRAMES = 1_200_000  # of 600 megabases, the default of shard_megabases

# docs/performance.md, "The steps that need no GPU": megabases and frames a second of the two programs that are one job.
SPLIT_BASES, WRITTEN_FRAMES = 84.7e6, 137_855
# Fitted: the starts of a run's programs, one after the other, and for each frame of a shard what `translate_frames`,
# `concat_features` and `predict` take.
STARTS, PER_SHARD_FRAME = 29.7, 1.17e-4

MEASURED = {(200_000, 1): 406.7, (200_000, 2): 228.9}  # seconds, by fragments and GPUs (`pipeline.py`, H200)
PROJECTED = [(fragments, gpus) for fragments in (10**6, 10**8) for gpus in (1, 8, 64)]


class Projection(NamedTuple):
    """Of a run: its shards, and the seconds of its parts."""

    shards: int
    encoders: float
    of_last_shard: float  # without a GPU; those of the other shards run while GPUs embed
    of_one_job: float

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return STARTS + self.encoders + self.of_last_shard + self.of_one_job


def project(fragments: int, gpus: int) -> Projection:
    """A run with shards of the default size at most, and as many for each GPU."""
    shards = gpus * math.ceil(fragments / SHARD_FRAMES / gpus)
    frames = fragments / shards
    shard = Work(frames, RESIDUES * frames, BASES * frames, 1, 1)
    return Projection(
        shards,
        encoders=shards // gpus * gpu_seconds(PACK, shard, MEASURED_CARD, "fp16"),
        of_last_shard=PER_SHARD_FRAME * frames,
        of_one_job=fragments * (BASES / SPLIT_BASES + 1 / WRITTEN_FRAMES),
    )


def alone(fragments: int, gpus: int) -> float:
    """Seconds of ESM-2 at its full rate on all GPUs."""
    return fragments * (RESIDUES + 2) / ESM2_SPEED["fp16"] / gpus


def in_time(seconds: float) -> str:
    """Seconds, or hours of a long run."""
    return f"{seconds:,.0f} s" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def main() -> None:
    print("| fragments | GPUs | model, s | measured, s |\n| --: | --: | --: | --: |")
    for (fragments, gpus), seconds in MEASURED.items():
        print(f"| {fragments:,} | {gpus} | {project(fragments, gpus).seconds:.1f} | {seconds} |")
    print("\n| fragments | GPUs | shards | encoders | one job for all | whole run | ESM-2 alone | work/ |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: |")
    for fragments, gpus in PROJECTED:
        run = project(fragments, gpus)
        of_all = {"sequences": fragments, "frames": fragments, "rows": fragments, "bases": BASES * fragments}
        of_all |= {"residues": RESIDUES * fragments, "nucleotides": BASES * fragments}
        room = work_bytes(PACK, of_all)["embeddings"] / 1e12
        times = map(in_time, (run.encoders, run.of_one_job, run.seconds))
        share = alone(fragments, gpus) / run.seconds
        print(f"| {fragments:,} | {gpus} | {run.shards} | {' | '.join(times)} | {share:.0%} | {room:.2g} TB |")


if __name__ == "__main__":
    main()
