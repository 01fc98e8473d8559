# What rules take: their input files and parameters, mostly as functions of a job's wildcards.

from functools import cache
from itertools import product

from planning.attention import decided_attention
from planning.batches import EACH, Member, make_batches, most_bases, one_of, samples_outside
from planning.code import digest_of_code
from planning.embeddings import name_encoder, name_request, options_of_request
from planning.host import inputs
from planning.paths import argument, arguments
from planning.provenance import CHOICE
from planning.settings import UNTRAINED, options
from planning.shards import bases_to_embed, bases_to_read, number_of_shards, shard_names
from planning.sources import files_of_run, stamps
from virnucflow.files.kinds import FILES, LONGEST, WHOLE
from virnucflow.files.result_files import (
    CHUNKS_TSV,
    COMPARISON_JSON,
    COMPARISON_SVG,
    COMPARISON_TSV,
    DIVERGENCE_JSON,
    DIVERGENCE_SVG,
    DIVERGENCE_TSV,
    FASTA,
    GATE_JSON,
    HIGHESTSCORE_CSV,
    PAIRS_TSV,
    PREDICTIONS_TXT,
    REGIONS_BED,
    REGIONS_TSV,
    RESULTS,
    RUN_JSON,
    SEQUENCES_TSV,
    result_of,
)
from virnucflow.files.shards import as_ranges
from virnucflow.packs.encoders import ENCODERS, ESM2
from virnucflow.packs.pack_files import CLASSIFIER, ENCODER_FILES, REFERENCE

EMBEDDED = {name: name_encoder(encoder, PACK_SHA256) for name, encoder in ENCODERS.items()}
SCORED_FRAMES = LONGEST if PACK.get("frames") == LONGEST else WHOLE
KEEPS = ("scores", "embeddings", "all")  # values of `keep`; each keeps what the ones before it keep
# What a job is about, in messages, where that is no batch.
SAMPLE, OF_SAMPLE = "{wildcards.sample}", "shard {wildcards.shard} of {wildcards.sample}"
SHARD = f"{OF_SAMPLE} ({{wildcards.attention}})"


def attention(sample):
    """The environment variable wins over the sample sheet, which wins over the config."""
    return FORCED_ATTENTION or SAMPLES[sample].attention or config["attention"]


def is_gated(sample):
    """Whether the sample's results are published only after both attentions were compared."""
    return attention(sample) == "flash" and config["gate"]["frames"] > 0


def gated_samples():
    """What the targets `validate` and `compare` are about."""
    if samples := list(filter(is_gated, SAMPLES)):
        return samples
    raise host.Refused("nothing to compare; set attention: flash and gate: frames, for example to 1000")


@cache
def embedded_bases(sample):
    """The bases of a sample, about, as far as what is computed of them goes."""
    return bases_to_embed(SAMPLES[sample], config["chunk_length"], config["subsample"]["reads"])


@cache
def shards(sample):
    """The names of a sample's shards, so that the whole DAG is known at the start."""
    return shard_names(number_of_shards(embedded_bases(sample), config["shards"], config["shard_megabases"]))


MOST_BASES = most_bases(config["shard_megabases"])  # of a sample that may be in a batch with others
# What one job computes (the shard that its wildcards name, or those of a batch of small samples).
BATCHES = make_batches(
    (Member(name, attention(name), embedded_bases(name), tuple(shards(name))) for name in SAMPLES), MOST_BASES
)
GATED_BATCHES = [batch for batch in BATCHES if is_gated(batch.members[0].name)]
SCOPES = [EACH, *BATCHES]
EMBEDDED_SCOPES = [*SCOPES, *(scope.sampled() for scope in [EACH, *GATED_BATCHES])]
LABELS = [scope.label for scope in EMBEDDED_SCOPES if scope.label]
BATCH_LABELS = [scope.label for scope in EMBEDDED_SCOPES if scope.members]


# The samples that no batch has.
IN_BATCHES, IN_GATED_BATCHES = (
    {member.name for batch in some for member in batch.members} for some in (BATCHES, GATED_BATCHES)
)
NOT_IN_BATCHES = one_of(sample for sample in SAMPLES if sample not in IN_BATCHES)
NOT_IN_GATED_BATCHES = one_of(sample for sample in SAMPLES if sample not in IN_GATED_BATCHES)


def outside_of_batches(scope, pattern):
    """Samples whose files of a pattern no batch makes, for a rule with wildcards; a function gives a batch's own pattern."""
    if scope.members:
        return "(?!)"
    batches = [scope for scope in EMBEDDED_SCOPES if scope.members]
    patterns = (pattern(scope) if callable(pattern) else pattern for scope in batches)
    return samples_outside(SAMPLES, (scope.beginnings(one) for scope, one in zip(batches, patterns)))


def program(name):
    """The path of a program, as a parameter. Where it lies is no reason to compute again: Snakemake does not compare a
    parameter that is computed from `output`."""
    return lambda wildcards, output: host.portable(host.SCRIPTS / f"{name}.py")


def code(name):
    """What a program does, as a parameter: a change of the code that it runs is a reason to compute again."""
    return lambda wildcards: digest_of_code(host.SCRIPTS / f"{name}.py", host.LIBRARY)


def pack_file(name):
    """A file of the model pack, as an input; only the untrained pack is built without being asked for.

    Of a pack that is there, the SHA-256 in pack.json says what a file is (`pack_sha256`), and every program that reads it
    holds it to that. Its time, which a copy changes, is no reason to compute again: ancient().
    """
    path = f"{config['model_pack']}/{name}"
    return path if config["model_pack"] == UNTRAINED else next(map(ancient, inputs([path])), [])


def built_pack_file(name):
    """A file of the pack that the workflow builds, as an input. Any other pack is known by what it is: where it lies is no
    reason to compute again."""
    return pack_file(name) if config["model_pack"] == UNTRAINED else []


def pack_sha256(*names):
    """The SHA-256 of files of the model pack, as a parameter. That of the untrained pack is known when it is built."""
    return [PACK_SHA256.get(name, "") for name in names]


def get_pack_argument(wildcards, input):
    """The directory of the model pack, as programs take it; where a rule builds it, below a module's prefix."""
    return argument(os.path.dirname(input.pack) if config["model_pack"] == UNTRAINED else config["model_pack"])


def get_files(wildcards):
    """The files with a sample's sequences, as inputs."""
    return inputs(SAMPLES[wildcards.sample].paths)


def get_file_options(wildcards):
    """The same as a program is given them, by their layouts."""
    return SAMPLES[wildcards.sample].options


def get_stamps(wildcards):
    return stamps(SAMPLES[wildcards.sample].paths)


def get_subsample(wildcards):
    """What split_fasta is asked to draw, which is nothing where there are no reads."""
    if not (SAMPLES[wildcards.sample].has_reads and config["subsample"]["reads"]):
        return ""
    return "--subsample-reads {reads} --subsample-seed {seed}".format(**config["subsample"])


def get_refused(wildcards, output):
    """What split_fasta does with bad input: a batch needs the files of all its samples, so the one that is refused is
    noted, and has no results. Which samples are in batches is no reason to split one again, hence `output`."""
    return "note" if wildcards.sample in IN_BATCHES else "stop"


def get_labels(wildcards):
    return inputs(SAMPLES[wildcards.sample].labels)


def kept_with(least, output):
    """An output that stays with this value of `keep` and those that keep more; with less it is temporary."""
    return output if KEEPS.index(config["keep"]) >= KEEPS.index(least) else temp(output)


def embeddings_path(name, attention="{attention}", request="{request}", shard="{shard}"):
    """The path of an encoder's embeddings, as a rule writes them; what is not given is a wildcard."""
    return f"work/{{sample}}/embeddings/{EMBEDDED[name]}-{attention}-{request}/{shard}.safetensors"


def embeddings(name, attention, shard, frames=SCORED_FRAMES):
    """The path of those embeddings of a shard that the settings ask for, as rules read them."""
    request = name_request(ENCODERS[name], attention, shard, frames, config)
    return embeddings_path(name, attention, request, shard)


def asked(scope, encoder, wildcards):
    """The attention and the end of the name of the embeddings that a job makes: its wildcards', or those of its batch."""
    if not scope.members:
        return wildcards.attention, wildcards.request
    shard = scope.members[0].shards[0]
    return scope.attention, name_request(ENCODERS[encoder], scope.attention, shard, SCORED_FRAMES, config)


def embeddings_of(scope, encoder):
    """The pattern of an encoder's embeddings that a job makes."""
    return embeddings_path(encoder, *asked(scope, encoder, None)) if scope.members else embeddings_path(encoder)


def without_ending(path):
    """The path of embeddings without the ending, as all files of a shard's embeddings begin."""
    return path.removesuffix(".safetensors")


def device_time_of(path):
    """The path of the file that says for how long a device was held for embeddings."""
    return f"{without_ending(path)}.device_time.json"


def get_key(scope, encoder):
    """The name below which a job's embeddings lie."""
    return lambda wildcards: "-".join([EMBEDDED[encoder], *asked(scope, encoder, wildcards)])


def get_store(scope):
    """What becomes of embeddings in the store: those of small samples stay there, so that one more in a batch embeds none
    again; where embeddings are deleted after use, so are they."""

    def store(wildcards):
        small = scope.members or embedded_bases(wildcards.sample) <= MOST_BASES
        return "keep" if small and config["keep"] != "scores" else "drop"

    return store


def get_embeddings(scope, name):
    """An encoder's embeddings of a job's shards, as the rules that read them take them."""
    if scope.members:
        return scope.files(embeddings_of(scope, name))
    return lambda wildcards: embeddings(name, wildcards.attention, wildcards.shard).format(sample=wildcards.sample)


def ranges_of(files):
    """One file or many as ranges, which programs expand: a command line has no room for more."""
    return as_ranges([files] if isinstance(files, str) else files)


def input_as_ranges(name):
    """Input files of many shards as ranges, for a parameter."""
    return lambda wildcards, input: ranges_of(input[name])


def output_as_ranges(name):
    """The same of output files. Snakemake compares no parameter that is computed from `output`."""
    return lambda wildcards, output: ranges_of(output[name])


def for_each_sample(option, name):
    """Input files of many shards as an option that is given once for each sample, whose shards are one word."""
    return lambda wildcards, input: [f"{option}={word}" for word in ranges_of(input[name])]


def out_for_each_sample(option, name):
    """The same of output files."""
    return lambda wildcards, output: [f"{option}={word}" for word in ranges_of(output[name])]


def get_files_of_samples(scope, pattern):
    """The files of all shards of the sample that a job is about, or of its batch, in order."""
    return scope.files(pattern) if scope.members else get_files_of_shards(pattern)


def get_chunk_files(scope):
    """The files of chunks that a job translates, in the folders that are its input."""

    def get_files(wildcards, input):
        if not scope.members:
            return f"{input.chunks}/{wildcards.shard}.fa"
        folders = zip(input.chunks, scope.members, strict=True)
        return as_ranges(f"{folder}/{shard}.fa" for folder, member in folders for shard in member.shards)

    return get_files


def get_files_of_shards(pattern):
    """A function that gives the files of a sample's shards, in order."""
    return lambda wildcards: expand(pattern, sample=wildcards.sample, shard=shards(wildcards.sample))


def get_files_of_run(pattern):
    """A function that gives the files of the run with which `compare` compares."""

    def get_files(wildcards):
        with host.refusing():
            return files_of_run(config["reference_run"], pattern, wildcards.sample)

    return get_files


def published_attention(wildcards):
    """The attention whose scores are published; with `fallback` known when the gate has decided."""
    if not (is_gated(wildcards.sample) and config["gate"]["on_failure"] == "fallback"):
        return attention(wildcards.sample)
    with host.refusing():
        return decided_attention(Path(checkpoints.divergence_gate.get(sample=wildcards.sample).output.gate))


def get_scores(wildcards):
    """Those of all shards, by the attention whose scores are published."""
    pattern = f"work/{{sample}}/scores/{published_attention(wildcards)}/{{shard}}.parquet"
    return get_files_of_shards(pattern)(wildcards)


def get_device_times(wildcards):
    """How long devices were held for all embeddings of a sample: by each attention that was computed, and the gate's."""
    computed = {attention(wildcards.sample), published_attention(wildcards)}
    wanted = [(one, shard) for one in sorted(computed) for shard in shards(wildcards.sample)]
    wanted += [("standard", SAMPLED)] * is_gated(wildcards.sample)
    paths = (embeddings(name, *one) for name in ENCODERS for one in wanted)
    return [device_time_of(path).format(sample=wildcards.sample) for path in paths]


def get_gate(wildcards):
    return f"{RESULTS}/{GATE_JSON}" if is_gated(wildcards.sample) else []


def get_also_written(wildcards, output):
    """The files that `also_write` asks for, as options of write_results."""
    return [word for name in config["also_write"] for word in (f"--{name}-fasta", output[name])]


def get_not_written(wildcards, output):
    """Those that it might ask for, and does not."""
    folder = Path(output.viral_fasta).parent
    return [str(result_of(folder, FASTA[name])) for name in FILES[1:] if name not in config["also_write"]]


def get_embed_options(scope, encoder):
    """What an encoder's program is asked: what is in the path, for which chunks, and where."""

    def get_options(wildcards):
        attention, request = asked(scope, encoder, wildcards)
        options = options_of_request(attention, request)
        return f"--attention {attention} --chunk-length {config['chunk_length']} --device {config['device']} {options}"

    return get_options
