"""What jobs ask for by the size of their input: memory in megabytes, run time in minutes, tokens in one batch, threads.

Nothing here changes a result. Programs whose errors are final are tried once (`retries: 0`), so what they ask for is
enough the first time; the others get more with each attempt, which is counted from 1. Sizes of files are in bytes.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

from virnucflow.packs.encoders import TOKEN_BUDGET

EMBED_MINUTES = {"flash": 240, "standard": 1440}
MOST_THREADS = 4  # of a job that embeds, beside which others run


def bytes_of(files: str | Iterable[str]) -> int:
    """The size of one file, or of several together."""
    return sum(Path(file).stat().st_size for file in ([files] if isinstance(files, str) else files))


def embed_memory(weights: int, frames: int, attempt: int) -> int:
    """At worst there are three copies of the weights, beside the frames with their embeddings."""
    return int((6000 + 3 * weights / 1e6 + 60 * frames / 1e6) * attempt)


def embed_runtime(attention: str, attempt: int) -> int:
    """Minutes for one shard."""
    return EMBED_MINUTES[attention] * attempt


def token_budget(attention: str, attempt: int) -> int:
    """Tokens in one batch; those of flash are halved with each attempt, in case a GPU ran out of memory."""
    return TOKEN_BUDGET[attention] >> (attempt - 1 if attention == "flash" else 0)


def embed_threads(cores: int, gpus: int) -> int:
    """Threads of a job that embeds on this machine: beside one job on each GPU there are cores for others; without a
    GPU such jobs go one at a time, each on all cores."""
    return max(1, min(MOST_THREADS, cores // (gpus + 1))) if gpus else cores


def table_memory(tables: float, attempt: int) -> int:
    """For a program that holds its input, of so many megabytes, and as much again."""
    return int((2000 + 3 * tables) * attempt)


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
    200 bytes, of which the file has at least 16, as that many a digest takes."""
    return int(4000 + 60 * max(scores) / 1e6 + 20 * sequences / 1e6)


def reading_runtime(bases: int) -> int:
    """For a program that reads all files of a sample."""
    return int(60 + bases / 1e8)
