# What jobs ask for; planning/sizes.py says how much. Nothing here changes a result.

from planning import sizes
from virnucflow.devices.gpu_lease import visible_gpus
from virnucflow.files.kinds import LONGEST, WHOLE

PACK_WIDTHS = sizes.widths(PACK)
GPUS = 0 if config["device"] == "cpu" else 1
# The process that schedules the jobs, and not on a cluster (whose nodes --jobs counts).
ON_THIS_MACHINE = workflow.is_main_process and workflow.nodes is None
GPUS_HERE = len(visible_gpus()) if GPUS and ON_THIS_MACHINE else 0
if GPUS and ON_THIS_MACHINE and "gpu" not in workflow.global_resources:  # nothing said with --resources gpu=N
    workflow.register_resource("gpu", max(1, GPUS_HERE))


def attempt_number(wildcards, attempt):
    """Counts from 1; by it a program knows whether it is tried again (virnucflow/final_error.py)."""
    return attempt


def embed_threads():
    if not ON_THIS_MACHINE or not GPUS:
        return sizes.MOST_THREADS
    return sizes.embed_threads(workflow.resource_settings.cores or 1, GPUS_HERE)  # a picture of the DAG needs no cores


def runtime(minutes):
    """A run time of so many minutes, and as many more with each attempt."""
    return lambda wildcards, attempt: sizes.limited(minutes * attempt, config["max_runtime"])


@cache
def largest_shard():
    """The estimated bases of the largest shard of the run."""
    return max((embedded_bases(sample) // len(shards(sample)) for sample in SAMPLES), default=0)


def bytes_there(files):
    """The size of those files that are there; where jobs are planned in groups, none of their inputs is."""
    return sizes.bytes_of(filter(os.path.exists, files))


def frames_of_shard(shard, kind=SCORED_FRAMES):
    """The frames of a shard, about, by the bases of the largest one."""
    if shard == SAMPLED:
        return config["gate"]["frames"]
    return sizes.estimated_frames(largest_shard(), config["chunk_length"], kind)


def frames_to_embed(wildcards, input):
    """As many as there are in the largest shard; or in this one, where sequences are so short that it has more."""
    kind = LONGEST if wildcards.request.endswith(LONGEST) else WHOLE
    return max(frames_of_shard(wildcards.shard, kind), bytes_there([input.frames]) // sizes.FRAME_BYTES)


def embed_runtime(name):
    def minutes(wildcards, input, attempt):
        tokens = frames_to_embed(wildcards, input) * (config["chunk_length"] / sizes.LETTERS_PER_TOKEN[name] + 2)
        precision = wildcards.request.split("-")[0]
        speed = sizes.speed_of(config["device"], wildcards.attention, precision, embed_threads())
        values = sizes.matrix_values(PACK)[name]
        return sizes.limited(sizes.embed_minutes(values, tokens, speed, attempt), config["max_runtime"])

    return minutes


def pack_bytes(files):
    """The size of files of the model pack; of all of it, where they could not be inputs."""
    return sizes.bytes_of(filter(None, files)) or sizes.bytes_of(map(str, Path(config["model_pack"]).iterdir()))


def embed_memory(name):
    def megabytes(wildcards, input, attempt):
        weights = input.weights or str(Path(config["model_pack"], ENCODERS[name].weights))
        frames = frames_to_embed(wildcards, input)
        return sizes.embed_memory(sizes.bytes_of(weights), frames, PACK_WIDTHS[name], attempt)

    return megabytes


def check_memory(wildcards, input, attempt):
    return sizes.embed_memory(pack_bytes([input.esm2, input.dnabert_s]), 0, 0, attempt)


def features_memory(wildcards, input, attempt):
    estimated = 4 * sum(PACK_WIDTHS.values()) * frames_of_shard(wildcards.shard)
    return sizes.table_memory(max(estimated, bytes_there(input)) / 1e6, attempt)


def training_memory(wildcards, input, attempt):
    return sizes.table_memory(input.size_mb, attempt)


def translate_runtime(wildcards, attempt):
    return sizes.limited(sizes.translate_minutes(largest_shard(), attempt), config["max_runtime"])


def cluster_memory(wildcards, attempt):
    return sizes.cluster_memory(sum(bases_to_read(SAMPLES[sample]) for sample in LABELLED_SAMPLES), attempt)


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


def pairs_memory(wildcards, input):
    return sizes.pairs_memory(sizes.bytes_of(input.sequences))


def reading_runtime(wildcards):
    return sizes.limited(sizes.reading_runtime(sample_bases(wildcards)), config["max_runtime"])


def sample_bases(wildcards):
    return bases_to_read(SAMPLES[wildcards.sample])
