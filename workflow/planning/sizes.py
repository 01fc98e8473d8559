"""What jobs ask for by the size of their input: memory in megabytes, run time in minutes, threads.

Nothing here changes a result. Programs whose errors are final are tried once (`retries: 0`), so what they ask for is
enough the first time; the others get more with each attempt, which is counted from 1. Jobs of one rule ask for the
same, by the largest shard of the run: a scheduler's arrays give all their jobs what the first one asks for. Sizes of
files are in bytes.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.packs.encoders import ENCODERS

MOST_THREADS = 4  # of a job that embeds, beside which others run

# Frames of a chunk, on average, of DNA that codes nearly everywhere. Escherichia coli has 0.64 whole ones in a chunk of
# 500 bases and 0.91 in one of 300; half or a third of the chunks have none, and with LONGEST one then.
FRAMES_PER_CHUNK = {WHOLE: 1.0, LONGEST: 1.25}
FRAME_BYTES = 150  # of a frames table, per frame at least
LETTERS_PER_TOKEN = {"esm2": 3, "dnabert_s": 4}  # at least, of a frame's bases

# What a job that embeds may count on, in operations a second: of a GPU a third of what an H100 does with ESM-2 3B
# (105,000 and 5,900 tokens a second), which is an A100; of a CPU half of what a core does with the lite pack.
SPEED = {"16 bits": 2e14, "32 bits": 1.1e13, "cpu": 2e10}
START_MINUTES = 20  # to read the weights from a slow disk, take their checksum, and compile kernels
MARGIN = 1.5  # times as long as that


def bytes_of(files: str | Iterable[str]) -> int:
    """The size of one file, or of several together."""
    return sum(Path(file).stat().st_size for file in ([files] if isinstance(files, str) else files))


def limited(minutes: float, most: int | str) -> int:
    """A run time, but no more than the setting max_runtime, where that is a number."""
    return math.ceil(minutes if isinstance(most, str) else min(minutes, most))


def estimated_frames(bases: int, chunk_length: int, kind: str) -> int:
    """The frames in so many bases of coding DNA, about; more only where sequences are shorter than a chunk."""
    return math.ceil(bases / chunk_length * FRAMES_PER_CHUNK[kind])


def embed_memory(weights: int, frames: int, width: int, attempt: int) -> int:
    """At worst there are three copies of the weights, beside the frames with their embeddings of so many values."""
    return int((6000 + 3 * weights / 1e6 + frames * (6 * width + 2000) / 1e6) * attempt)


def shape_value(pack: Mapping[str, Any], encoder: str, field: str) -> int:
    """A number of an encoder's shape in pack.json.

    0 where there is none: of a pack that is yet to be made, or a damaged one, of which is told before the first job.
    """
    shape = pack.get(encoder)
    value = shape.get(field) if isinstance(shape, Mapping) else None
    return value if isinstance(value, int) and 0 < value < 1 << 20 else 0


def widths(pack: Mapping[str, Any]) -> dict[str, int]:
    """The values that each encoder of a pack has for a frame."""
    return {name: shape_value(pack, name, encoder.width_field) for name, encoder in ENCODERS.items()}


def matrix_values(pack: Mapping[str, Any]) -> dict[str, int]:
    """The values of each encoder's matrices, through which every token goes.

    Of a layer they are 4 of width times width for the attention, and of ESM-2 two of 4 * width times width besides, of
    DNABERT-S three of its intermediate size.
    """
    layers, width = shape_value(pack, "esm2", "num_layers"), shape_value(pack, "esm2", "embed_dim")
    names = ("num_hidden_layers", "hidden_size", "intermediate_size")
    layers_of_dna, width_of_dna, intermediate = (shape_value(pack, "dnabert_s", name) for name in names)
    of_dna = layers_of_dna * width_of_dna * (4 * width_of_dna + 3 * intermediate)
    return {"esm2": layers * 12 * width**2, "dnabert_s": of_dna}


def embed_minutes(values: int, tokens: float, speed: float, attempt: int) -> float:
    """For tokens that go through matrices of so many values, each value once a multiplication and an addition."""
    return (START_MINUTES + MARGIN * 2 * values * tokens / speed / 60) * attempt


def speed_of(device: str, attention: str, precision: str, threads: int) -> float:
    """Operations a second that a job may count on, by the setting `device` and the precision as it is asked for."""
    if device == "cpu":
        return SPEED["cpu"] * threads
    short = precision in ("fp16", "bf16", "fp8") or (precision == "auto" and attention == "flash")
    return SPEED["16 bits" if short else "32 bits"]


def embed_threads(cores: int, gpus: int) -> int:
    """Threads of a job that embeds on this machine: beside one job on each GPU there are cores for others; without a
    GPU such jobs go one at a time, each on all cores."""
    return max(1, min(MOST_THREADS, cores // (gpus + 1))) if gpus else cores


def table_memory(tables: float, attempt: int) -> int:
    """For a program that holds its input, of so many megabytes, and as much again."""
    return int((2000 + 3 * tables) * attempt)


def translate_minutes(bases: int, attempt: int) -> float:
    """At a tenth of the speed of one core of a server."""
    return (15 + bases / 1e6 / 60) * attempt


def cluster_memory(bases: int, attempt: int) -> int:
    """10 bytes for each base, for its k-mers."""
    return int((2000 + 10 * bases / 1e6) * attempt)


def split_memory(bases: int) -> int:
    """16 bytes for each record, which has 50 bases on average at worst; a GenBank record is held whole."""
    return int(2000 + 16 / 50 * bases / 1e6)


def sample_memory(frames: Iterable[int], scores: int) -> int:
    """The frames of one shard at a time (measured: 11 bytes for each byte of the file), and a few numbers per frame."""
    return int(2000 + 15 * max(frames) / 1e6 + 15 * scores / 1e6)


def comparison_memory(tables: Collection[int], labels: bool) -> int:
    """The scores of one shard at a time, those of all shards where there are labels; of the features a few rows."""
    return int(2000 + 100 * (sum(tables) if labels else max(tables)) / 1e6)


def results_memory(scores: Iterable[int], sequences: int) -> int:
    """The scores of one shard at a time (measured: 25 bytes for each byte of the file), and of each sequence its row,
    450 bytes, of which the file has at least 16, as that many a digest takes."""
    return int(4000 + 60 * max(scores) / 1e6 + 32 * sequences / 1e6)


def pairs_memory(sequences: int) -> int:
    """Of each read its rows in the tables of sequences and of pairs, 1,000 bytes, of which the file has 16."""
    return int(2000 + 60 * sequences / 1e6)


def reading_runtime(bases: int) -> int:
    """For a program that reads all files of a sample."""
    return int(60 + bases / 1e8)
