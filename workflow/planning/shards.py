"""Shards: the pieces of a sample that are computed side by side, one job per shard in each step."""

import math
from pathlib import Path
from typing import Any

from planning.messages import PlanningError, named, shown
from planning.samples import InputFile, Sample, is_bam
from virnucflow.files.shards import shard_name

MOST_SHARDS = 5000
SAMPLED = "sampled"  # the shard of the frames on which both attentions are compared
COMPRESSED = (".gz", ".bgz", ".bz2", ".xz", ".zst")
COMPRESSION = 4  # bases in one byte of a compressed FASTA file, about
FASTQ_BYTES = 2.2  # for a base: its letter, that of its quality, and its part of the name, about
PACKED_READS = 2  # bases in one byte of compressed FASTQ or of BAM, about
DRAWN_BASES = 300  # of a pair of short reads
# A short read is a chunk by itself, with two frames in 150 bases, about, where a longer chunk has one.
BASES_PER_FRAME = 75


def estimated_bases(file: InputFile) -> int:
    """The number of bases in a file of sequences, about, from its size alone; 0 where there is no such file."""
    path = Path(file.path)
    size = path.stat().st_size if path.exists() else 0
    packed = path.suffix in COMPRESSED
    if file.layout == "fasta":
        return size * COMPRESSION if packed else size
    return size * PACKED_READS if packed or is_bam(file.path) else round(size / FASTQ_BYTES)


def bases_to_read(sample: Sample) -> int:
    """The bases in all files of a sample, about."""
    return sum(map(estimated_bases, sample.inputs))


def bases_to_embed(sample: Sample, chunk_length: int, drawn_reads: int) -> int:
    """The bases of a sample, about, as far as what is computed of them goes.

    Of reads no more count than are drawn, if any are, and each base as many times as short reads have more frames than
    sequences that are cut into chunks.
    """
    reads = sum(estimated_bases(file) for file in sample.inputs if file.layout != "fasta")
    drawn = min(reads, drawn_reads * DRAWN_BASES) if drawn_reads else reads
    return bases_to_read(sample) - reads + round(drawn * max(1, chunk_length / BASES_PER_FRAME))


def number_of_shards(bases: int, shards: int | str, shard_megabases: float) -> int:
    """How many shards a sample of so many bases has, by the settings of these names; known before anything is read."""
    if isinstance(shards, int):
        return shards
    return min(MOST_SHARDS, math.ceil(bases / (shard_megabases * 1e6)) or 1)


def shard_names(number: int) -> list[str]:
    """The names of so many shards, from 00001 on."""
    return [shard_name(shard) for shard in range(1, number + 1)]


def shards_of_run(run: Path, sample: str) -> list[str]:
    """The names of the shards into which another run cut a sample, as its split_fasta noted their number.

    PlanningError where that run has no table of the sample's sequences, or pyarrow, which reads it, is not installed.
    """
    return shard_names(_noted(run / "work" / sample / "sequences.parquet", "shards"))


def embeddings_of_run(run: Path, sample: str, encoder: str) -> str:
    """The name below which another run has an encoder's embeddings of which its scores by flash were made.

    PlanningError as of shards_of_run.
    """
    return str(_noted(run / "work" / sample / "scores" / "flash" / f"{shard_names(1)[0]}.parquet", encoder, "key"))


def _noted(path: Path, *keys: str) -> Any:  # noqa: ANN401
    """What a table of another run notes of what made it."""
    try:
        from virnucflow.cli import InputError
        from virnucflow.files.tables import read_provenance
    except ImportError as error:  # where an image or conda has what the programs need
        raise PlanningError(
            f"compare: this Python has no {error.name}; install envs/run.txt for the Python of snakemake"
        ) from None
    try:
        value = read_provenance(path)
        for key in keys:
            value = value[key]
    except (InputError, OSError, KeyError, TypeError) as error:
        problem = f"no table of a run, or it does not say its {keys[-1]} ({shown(str(error))})"
        raise PlanningError(f"reference_run: {named(path)}: {problem}; run it first") from None
    return value
