# What jobs ask for; planning/sizes.py says how much. Nothing here changes a result.

from planning import sizes
from virnucflow.devices.gpu_lease import visible_gpus

GPUS = 0 if config["device"] == "cpu" else 1
# The process that schedules the jobs, and not on a cluster (whose nodes --jobs counts).
ON_THIS_MACHINE = workflow.is_main_process and workflow.nodes is None
GPUS_HERE = len(visible_gpus()) if GPUS and ON_THIS_MACHINE else 0
if GPUS and ON_THIS_MACHINE and "gpu" not in workflow.global_resources:  # nothing said with --resources gpu=N
    workflow.register_resource("gpu", max(1, GPUS_HERE))


def attempt_number(wildcards, attempt):
    """Counts from 1; by it a program knows whether it is tried again (virnucflow/final_error.py)."""
    return attempt


def token_budget(wildcards, attempt):
    return sizes.token_budget(wildcards.attention, attempt)


def embed_threads():
    if not ON_THIS_MACHINE or not GPUS:
        return sizes.MOST_THREADS
    return sizes.embed_threads(workflow.resource_settings.cores or 1, GPUS_HERE)  # a picture of the DAG needs no cores


def embed_runtime(wildcards, attempt):
    return sizes.embed_runtime(wildcards.attention, attempt)


def pack_bytes(files):
    """The size of files of the model pack; of all of it, where they could not be inputs."""
    return sizes.bytes_of(filter(None, files)) or sizes.bytes_of(map(str, Path(config["model_pack"]).iterdir()))


def embed_memory(name):
    def megabytes(wildcards, input, attempt):
        weights = input.weights or str(Path(config["model_pack"], ENCODERS[name].weights))
        return sizes.embed_memory(sizes.bytes_of(weights), sizes.bytes_of(input.frames), attempt)

    return megabytes


def check_memory(wildcards, input, attempt):
    return sizes.embed_memory(pack_bytes([input.esm2, input.dnabert_s]), 0, attempt)


def table_memory(wildcards, input, attempt):
    return sizes.table_memory(input.size_mb, attempt)


def cluster_memory(wildcards, attempt):
    return sizes.cluster_memory(sum(map(estimated_bases, LABELLED_FASTA)), attempt)


def split_memory(wildcards):
    return sizes.split_memory(sample_bases(wildcards))


def sample_memory(wildcards, input):
    return sizes.sample_memory(map(sizes.bytes_of, input.frames), sizes.bytes_of(input.scores))


def comparison_memory(wildcards, input):
    tables = [sizes.bytes_of(path) for path in input if path.endswith(".parquet")]
    return sizes.comparison_memory(tables, labels=bool(input.labels))


def results_memory(wildcards, input):
    # Until a checkpoint has decided which the scores are, Snakemake gives the checkpoint's own file, and no list.
    shards = [input.scores] if isinstance(input.scores, str) else input.scores
    return sizes.results_memory(map(sizes.bytes_of, shards), sizes.bytes_of(input.sequences))


def reading_runtime(wildcards):
    return sizes.reading_runtime(sample_bases(wildcards))


def sample_bases(wildcards):
    return sum(map(estimated_bases, SAMPLES[wildcards.sample].fasta))
