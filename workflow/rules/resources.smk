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


def bases_of_shard(sample):
    return embedded_bases(sample) // len(shards(sample))


@cache
def largest_shard():
    """The estimated bases of the largest shard of the run."""
    return max(map(bases_of_shard, SAMPLES), default=0)


def sizes_there(files):
    """The size of each file, 0 of one that is not there; where jobs are planned in groups, none of their inputs is."""
    paths = [files] if isinstance(files, str) else files
    return [sizes.bytes_of(path) if os.path.exists(path) else 0 for path in paths]


def frames_of_shard(shard, bases, kind=SCORED_FRAMES):
    """The frames of a shard of so many bases, about."""
    return config["gate"]["frames"] if shard == SAMPLED else sizes.estimated_frames(bases, config["chunk_length"], kind)


def frames_to_embed(scope, encoder, wildcards, input):
    """The frames of each shard of a job: as many as there are in the run's largest shard, or in the batch's; or in this
    one, where sequences are so short that it has more."""
    kind = LONGEST if asked(scope, encoder, wildcards)[1].endswith(LONGEST) else WHOLE
    of_batch = [(shard, bases_of_shard(member.name)) for member in scope.members for shard in member.shards]
    shards_of_job = of_batch or [(wildcards.shard, largest_shard())]
    estimated = [frames_of_shard(shard, bases, kind) for shard, bases in shards_of_job]
    there = [size // sizes.FRAME_BYTES for size in sizes_there(input.frames)]
    return list(map(max, estimated, there))


def embed_speed(scope, encoder, wildcards):
    """The speed of the slowest job of the rule in this run, as samples may differ in their attention."""
    ways = {asked(scope, encoder, wildcards)}
    if scope is EACH:
        shard = wildcards.shard
        chosen = {attention(sample) for sample in SAMPLES if sample not in IN_BATCHES}
        ways |= {(each, name_request(ENCODERS[encoder], each, shard, SCORED_FRAMES, config)) for each in chosen}
    return min(sizes.speed_of(config["device"], each, request.split("-")[0], embed_threads()) for each, request in ways)


def embed_runtime(scope, encoder):
    def minutes(wildcards, input, attempt):
        frames = sum(frames_to_embed(scope, encoder, wildcards, input))
        tokens = frames * (config["chunk_length"] / sizes.LETTERS_PER_TOKEN[encoder] + 2)
        speed = embed_speed(scope, encoder, wildcards)
        values = sizes.matrix_values(PACK)[encoder]
        return sizes.limited(sizes.embed_minutes(values, tokens, speed, attempt), config["max_runtime"])

    return minutes


def embed_memory(scope, encoder):
    def megabytes(wildcards, input, attempt):
        weights = input.weights or str(Path(config["model_pack"], ENCODERS[encoder].weights))
        frames = max(frames_to_embed(scope, encoder, wildcards, input))  # one shard after the other
        return sizes.embed_memory(sizes.bytes_of(weights), frames, PACK_WIDTHS[encoder], attempt)

    return megabytes


def check_memory(wildcards, input, attempt):
    """By both encoders' weights; by all of the model pack, where they could not be inputs."""
    weights = list(filter(None, [input.esm2, input.dnabert_s])) or Path(config["model_pack"]).iterdir()
    return sizes.embed_memory(sizes.bytes_of(weights), 0, 0, attempt)


def features_memory(scope):
    """Of one shard: for its features and, where they are there, whatever else a job reads of it."""

    def megabytes(wildcards, input, attempt):
        shard = scope.members[0].shards[0] if scope.members else wildcards.shard
        estimated = 4 * sum(PACK_WIDTHS.values()) * frames_of_shard(shard, largest_shard())
        return sizes.table_memory(max(estimated, sum(sizes_there(input))) / 1e6, attempt)

    return megabytes


def translate_runtime(scope):
    def minutes(wildcards, attempt):
        translated = sum(member.bases for member in scope.members) or largest_shard()
        return sizes.limited(sizes.translate_minutes(translated, attempt), config["max_runtime"])

    return minutes


def cluster_memory(wildcards, attempt):
    return sizes.cluster_memory(sum(bases_to_read(SAMPLES[sample]) for sample in LABELLED_SAMPLES), attempt)


def sample_memory(wildcards, input):
    return sizes.sample_memory(map(sizes.bytes_of, input.frames), sizes.bytes_of(input.scores))


def comparison_memory(wildcards, input):
    tables = [sizes.bytes_of(path) for path in input if path.endswith(".parquet") and path != input.sequences]
    return sizes.comparison_memory(tables, labels=bool(input.labels))


def results_memory(wildcards, input):
    # Until a checkpoint has decided which the scores are, Snakemake gives the checkpoint's own file, and no list.
    shards = [input.scores] if isinstance(input.scores, str) else input.scores
    return sizes.results_memory(map(sizes.bytes_of, shards), sizes.bytes_of(input.sequences))


def reading_runtime(wildcards):
    return sizes.limited(sizes.reading_runtime(sample_bases(wildcards)), config["max_runtime"])


def sampling_runtime(scope):
    def minutes(wildcards):
        read = sum(member.bases for member in scope.members) or sample_bases(wildcards)
        return sizes.limited(sizes.reading_runtime(read), config["max_runtime"])

    return minutes


def sample_bases(wildcards):
    return bases_to_read(SAMPLES[wildcards.sample])
