# What jobs ask for, by the size of their input and the number of the attempt. Nothing here changes a result.

from virnucflow.devices.gpu_lease import visible_gpus

GPUS = 0 if config["device"] == "cpu" else 1
# The process that schedules the jobs, and not on a cluster (whose nodes --jobs counts).
ON_THIS_MACHINE = workflow.is_main_process and workflow.nodes is None
GPUS_HERE = len(visible_gpus()) if GPUS and ON_THIS_MACHINE else 0
if GPUS and ON_THIS_MACHINE and "gpu" not in workflow.global_resources:  # nothing said with --resources gpu=N
    workflow.register_resource("gpu", max(1, GPUS_HERE))


def token_budget(wildcards, attempt):
    """Tokens a batch: v1's number for standard; for flash halved with each attempt, if a GPU ran out of memory."""
    return 2048 if wildcards.attention == "standard" else 33792 // 2 ** (attempt - 1)


def embed_threads():
    """On this machine: beside a job on each GPU others find a core; without a GPU the jobs go one at a time."""
    if not ON_THIS_MACHINE or not GPUS:
        return 4
    cores = workflow.resource_settings.cores or 1  # a picture of the DAG needs none
    return max(1, min(4, cores // (GPUS_HERE + 1))) if GPUS_HERE else cores


def pack_bytes(file):
    """The size of a pack's file; of the whole pack, where the file could not be an input."""
    return os.path.getsize(file) if file else sum(path.stat().st_size for path in Path(config["model_pack"]).iterdir())


def embed_memory(wildcards, input, attempt):
    """Megabytes: three copies of the weights at worst, and the frames with their embeddings."""
    return int((6000 + 3 * pack_bytes(input.weights) / 1e6 + 60 * os.path.getsize(input.frames) / 1e6) * attempt)


def check_memory(wildcards, input, attempt):
    """Megabytes: as for embedding, without frames."""
    return int((6000 + 3 * (pack_bytes(input.esm2) + pack_bytes(input.dnabert_s)) / 1e6) * attempt)


def table_memory(wildcards, input, attempt):
    """Megabytes for a program that holds its input and as much again."""
    return int((2000 + 3 * input.size_mb) * attempt)


def cluster_memory(wildcards, input, attempt):
    """Megabytes: of each base 10 bytes, for its k-mers."""
    return int((2000 + 10 * sum(map(estimated_bases, LABELLED_FASTA)) / 1e6) * attempt)


# Programs whose errors are final are tried once (`retries: 0`), so what they ask for is enough the first time.


def megabytes(paths):
    """Of one file or several; until a checkpoint has decided which they are, Snakemake gives the checkpoint's own."""
    return sum(map(os.path.getsize, [paths] if isinstance(paths, str) else paths)) / 1e6


def split_memory(wildcards):
    """Megabytes: 16 bytes a record, of 50 bases on average at worst; a GenBank record is held whole."""
    return int(2000 + 16 / 50 * sample_bases(wildcards) / 1e6)


def sample_memory(wildcards, input):
    """Megabytes: the frames of one shard at a time (measured: 11 of each that the file has), and a few numbers a frame."""
    return int(2000 + 15 * max(megabytes([path]) for path in input.frames) + 15 * megabytes(input.scores))


def comparison_memory(wildcards, input):
    """Megabytes: a shard's scores at a time, of all shards where there are labels; of the features a few rows."""
    tables = [path for path in input if path.endswith(".parquet")]
    return int(2000 + 100 * (megabytes(tables) if input.labels else max(megabytes([path]) for path in tables)))


def results_memory(wildcards, input):
    """Megabytes: all scores (measured: 55 of each that the files have)."""
    return int(4000 + 100 * megabytes(input.scores))


def sample_bases(wildcards):
    return sum(map(estimated_bases, SAMPLES[wildcards.sample].fasta))


def reading_runtime(wildcards):
    """Minutes for a program that reads a sample's files."""
    return int(60 + sample_bases(wildcards) / 1e8)


def attempt_number(wildcards, attempt):
    """Counts from 1; by it a program knows whether it is tried again (virnucflow/final_error.py)."""
    return attempt


def embed_runtime(wildcards, attempt):
    """Minutes."""
    return {"flash": 240, "standard": 1440}[wildcards.attention] * attempt
