# Settings, sample sheet, shards and what rules take of them.

import json
import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.io import WILDCARD_REGEX
from snakemake.pathvars import PATHVAR_REGEX

WORKFLOW = Path(str(workflow.current_basedir)).parent
ROOT = WORKFLOW.parent
SCRIPTS = WORKFLOW / "scripts"
sys.path[:0] = [str(WORKFLOW), str(SCRIPTS)]

from check_setup import check_pack
from planning.code import digest_of_code
from planning.host import Needs, needs, touches
from planning.messages import PlanningError, named, shown
from planning.paths import argument, same_directory
from planning.samples import read_samples
from planning.settings import UNTRAINED, options, read_settings
from planning.shards import SAMPLED, estimated_bases, number_of_shards, shard_names, shards_of_run
from planning.sources import missing_catalogue, missing_inputs, missing_pack, missing_records, missing_run
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack_files import CLASSIFIER

V1_ATTENTION = "VIRNUCPRO_V1_ATTENTION"


class Refused(WorkflowError):
    """What keeps a run from being planned, for the user: Snakemake prints it without the places in our files."""

    __traceback__ = property(lambda self: None, lambda self, value: None)


def given_settings():
    """What gave the settings: the command line, and the files, of which the last goes before the others."""
    yield "--config", workflow.config_settings.config
    for file in reversed(workflow.configfiles):
        yield portable(file), load_configfile(file)


def inputs(paths):
    """Of files from outside those that a rule can have as inputs. Names in braces and in angle brackets are wildcards
    and variables to Snakemake, which has no escape. The others are parameters alone, with their stamps."""
    return [local(path) for path in paths if not WILDCARD_REGEX.search(path) and not PATHVAR_REGEX.search(path)]


def arguments(paths):
    """Paths as programs take them, as a parameter: what a function returns, Snakemake does not format."""
    return list(map(argument, paths))


def forced_attention():
    """`standard` when the environment asks for v1's attention, else nothing."""
    value = os.environ.get(V1_ATTENTION, "").strip().lower()
    if value in ("true", "1", "yes"):
        return "standard"
    if value in ("", "false", "0", "no"):
        return None
    raise Refused(f"{V1_ATTENTION}={named(value)}: unknown; set it to true or false")


def attention(sample):
    """The environment variable wins over the sample sheet, which wins over the config."""
    return FORCED_ATTENTION or SAMPLES[sample].attention or config["attention"]


def gated(sample):
    """Whether the sample's results are published only after both attentions were compared."""
    return attention(sample) == "flash" and config["gate"]["frames"] > 0


def gated_samples():
    """What the targets `validate` and `compare` are about."""
    if samples := list(filter(gated, SAMPLES)):
        return samples
    raise Refused("nothing to compare; set attention: flash and gate: frames, for example to 1000")


def published_attention(sample):
    """The attention whose scores are published; with `fallback` known when the gate has decided."""
    if gated(sample) and config["gate"]["on_failure"] == "fallback":
        return decided(Path(checkpoints.divergence_gate.get(sample=sample).output.gate))
    return attention(sample)


def decided(gate):
    """The attention that a gate's decision says; write_results holds the file to its digest."""
    try:
        if (path := json.loads(gate.read_text(encoding="utf-8"))["attention"]) in ("flash", "standard"):
            return path
        problem = f"attention {shown(path)}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        problem = shown(str(error))
    raise Refused(f"{gate}: damaged ({problem}); delete it and run again")


@cache
def shards(sample):
    """The names of a sample's shards, so that the whole DAG is known at the start."""
    return shard_names(number_of_shards(SAMPLES[sample].fasta, config["shards"], config["shard_megabases"]))


def stamps(paths):
    """Size and time of files from outside, as a parameter, so that also an older file in a newer's place is noticed."""
    found = [os.stat(path) for path in paths if os.path.exists(path)]
    return [(status.st_size, int(status.st_mtime)) for status in found]


def pack_directory(model):
    """Of a pack that is given by its name: one that comes with the workflow, or one below models/."""
    if Path(model).name != model or os.path.isdir(model):
        return model
    own = ROOT / "resources" / "models" / model
    return str(portable(own)) if own.is_dir() else f"models/{model}"


def of_pack(name):
    """A file of the model pack, as an input; only the untrained pack is built without being asked for.

    Of a pack that is there, the SHA-256 in pack.json says what a file is (`pack_sha256`), and every program that reads it
    holds it to that. Its time, which a copy changes, is no reason to compute again: ancient().
    """
    path = f"{config['model_pack']}/{name}"
    return path if config["model_pack"] == UNTRAINED else next(map(ancient, inputs([path])), [])


def model_argument(wildcards, input):
    """The directory of the model pack, as programs take it; where a rule builds it, below a module's prefix."""
    return argument(os.path.dirname(input.pack) if config["model_pack"] == UNTRAINED else config["model_pack"])


def pack_sha256(*names):
    """The SHA-256 of files of the model pack, as a parameter. That of the untrained pack is known when it is built."""
    return [PACK_SHA256.get(name, "") for name in names]


def read_pack_sha256():
    """What pack.json states of each file; nothing of a pack that is not there, which a run refuses and fetch_models makes."""
    try:
        sha256 = json.loads(Path(config["model_pack"], "pack.json").read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return sha256 if config["model_pack"] != UNTRAINED and isinstance(sha256, dict) else {}


def portable(path):
    """A path as rules name it: relative when it lies below the working directory, so that both can move together.

    `local` here and elsewhere says that a file is where it is: a module's `prefix` is for what the rules make.
    """
    path = Path(path)
    if path.is_relative_to(Path.cwd()) and not (below := str(path.relative_to(Path.cwd()))).startswith("-"):
        return local(below)
    return local(str(path))


def program(name):
    """The path of a program, as a parameter. Where it lies is no reason to compute again: Snakemake does not compare a
    parameter that is computed from `output`."""
    return lambda wildcards, output: str(portable(SCRIPTS / f"{name}.py"))


def code(name):
    """What a program does, as a parameter: a change of the code that it runs is a reason to compute again."""
    return lambda wildcards: digest_of_code(SCRIPTS / f"{name}.py", SCRIPTS / "virnucflow")


def of_all_shards(pattern):
    """The files of a sample's shards, in order, as a function of a job's wildcards."""
    return lambda wildcards: expand(pattern, sample=wildcards.sample, shard=shards(wildcards.sample))


def of_reference_run(pattern):
    """The files of the run with which `compare` compares, by name: its shards may be others, and are those of its last cut."""

    def files(wildcards):
        if not config["reference_run"]:
            raise Refused("reference_run: not set; give the working directory of a run of the same samples by flash")
        run = Path(config["reference_run"])
        try:
            shards = shards_of_run(run, wildcards.sample)
        except PlanningError as error:
            raise Refused(str(error)) from None
        names = [pattern.format(sample=wildcards.sample, shard=shard) for shard in shards]
        if missing := [name for name in names if not (run / name).exists()]:
            raise Refused(f"reference_run: {named(run)}: no {missing[0]}; run its samples by flash first")
        return [str(run / name) for name in names]

    return files


def scores(wildcards):
    """The scores of a sample, in shard order, on the attention path whose results are published."""
    path = published_attention(wildcards.sample)
    return of_all_shards(f"work/{{sample}}/scores/{path}/{{shard}}.parquet")(wildcards)


def embed_options(name):
    """What the settings ask of an encoder's program, as a function of a job's wildcards."""
    encoder = ENCODERS[name]

    def options(wildcards):
        precision = encoder.precision(config["precision"][wildcards.attention])
        allowed = config["precision"]["standard_allows"]
        if wildcards.shard == SAMPLED:
            precision, allowed = "fp32", []  # the gate's reference is v1 as it was
        words = ["--chunk-length", config["chunk_length"], "--device", config["device"], "--precision", precision]
        if wildcards.attention == "standard":
            words += ["--allow", *allowed]
        elif encoder.takes_kernel:
            words += ["--attention-kernel", config["attention_kernel"]]
        return " ".join(map(str, words))

    return options


def problems_of_sources():
    """What is missing of all that this call of Snakemake needs from outside, a line each."""
    problems, needed = [], needs()
    if needed >= Needs.CATALOGUE:
        problems += missing_catalogue(CATALOGUE)
    if needed >= Needs.PACK and config["model_pack"] != UNTRAINED:
        problems += (
            missing_pack(config["model_pack"], CATALOGUE)
            or check_pack(Path(config["model_pack"]), config["chunk_length"])[0]
            or (missing_classifier(config["model_pack"]) if needed >= Needs.CLASSIFIER else [])
        )
    if needed >= Needs.SAMPLES:
        problems += missing_run(config["reference_run"])
        problems += missing_inputs(SAMPLES.values(), made_by_a_rule)
        problems += [] if touches() else missing_records(SAMPLES)
    return problems


def missing_classifier(model):
    """That a pack is of encoders alone, on which `train` makes a classifier; in a line."""
    if CLASSIFIER in PACK_SHA256:
        return []
    return [f"model_pack: {named(model)} has no classifier; train one on it (snakemake train), or give another pack"]


def made_by_a_rule(path):
    """Whether a file is made: where this workflow is a module, by what stands above the statement that uses it."""
    return any(one.is_producer(path) for one in workflow.rules)


if set(str(ROOT)) & set("{}<>"):
    raise Refused(f"the workflow is in {ROOT}, and Snakemake takes braces for wildcards; move it")
try:
    read_settings(config, WORKFLOW / "schemas" / "config.schema.yaml", given_settings)
    SAMPLES = read_samples(config["samples"])
except PlanningError as error:
    raise Refused(str(error)) from None
config["model_pack"] = pack_directory(config["model_pack"])
PACK_SHA256 = read_pack_sha256()
FORCED_ATTENTION = forced_attention()
CATALOGUE = config["catalogue"]
if not os.path.exists(CATALOGUE) and (ROOT / CATALOGUE).exists():  # the workflow's own
    CATALOGUE = portable(ROOT / CATALOGUE)
if workflow.is_main_process and (problems := problems_of_sources()):  # the processes of jobs come after it
    raise Refused(str(PlanningError(*problems)))


wildcard_constraints:
    sample="|".join(map(re.escape, SAMPLES)),
    attention="flash|standard",
    shard=rf"\d{{5}}|{SAMPLED}",
