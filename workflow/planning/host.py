"""The process in which Snakemake plans: where the workflow's files are, and what Snakemake alone knows.

Nothing else of `planning` uses Snakemake or knows a folder of the workflow. Snakemake reads a workflow before it says
anything about targets or options, but keeps its own parser for whoever asks.
"""

import contextlib
import datetime
import io
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from snakemake.cli import get_argument_parser
from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.io import WILDCARD_REGEX, local
from snakemake.pathvars import PATHVAR_REGEX
from snakemake.settings.types import DeploymentMethod, Quietness

from planning.closing import Failure
from planning.messages import PlanningError
from planning.sources import Needs

Workflow: TypeAlias = Any  # snakemake.workflow.Workflow, which has no types
RuleProxy: TypeAlias = Any  # snakemake.rules.RuleProxy, as `rules` of a Snakefile has them

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"  # the programs, by the names of their rules
LIBRARY = SCRIPTS / "virnucflow"
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
PACKS = ROOT / "resources" / "models"  # the model packs that come with the workflow
REQUIREMENTS = ROOT / "envs" / "programs.txt"
PAGE = LIBRARY / "overview" / "page.html"  # the template of the page over all samples
CITATION = ROOT / "CITATION.cff"
BUILD_IMAGE = ROOT / "containers" / "build.sh"

# Options that only list, describe or tidy: nothing is planned for a run.
NO_RUN = (
    "lint", "list_rules", "list_target_rules", "print_compilation", "report", "unlock", "summary", "detailed_summary",
    "list_changes", "list_input_changes", "list_params_changes", "list_untracked", "list_conda_envs", "archive",
    "cleanup_metadata", "cleanup_shadow", "conda_cleanup_envs", "conda_create_envs_only", "container_cleanup_images",
    "delete_all_output", "delete_temp_output", "generate_unit_tests", "containerize",
)  # fmt: skip
# Targets that need less than a run does. In a module their names have a prefix.
TARGETS = {
    "fetch_models": Needs.CATALOGUE,
    "check_models": Needs.PACK,
    "train": Needs.SAMPLES,
    "estimate": Needs.SAMPLES,
}


class Refused(WorkflowError):  # type: ignore[misc]  # Snakemake has no types
    """What keeps a run from being planned, for the user: Snakemake prints it without the places in our files."""

    __traceback__ = property(lambda self: None, lambda self, value: None)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Have Snakemake print a PlanningError as it is."""
    try:
        yield
    except PlanningError as error:
        raise Refused(str(error)) from None


def needs(arguments: list[str] | None = None) -> Needs:
    """What a call of Snakemake needs, by default this process's own; everything where the call is not understood."""
    call = _parse(*(sys.argv[1:] if arguments is None else arguments))
    if call is None:
        return max(Needs)
    if any(getattr(call, option, None) not in (None, False) for option in NO_RUN):
        return Needs.NOTHING
    return max((_needs_of(target) for target in call.targets or ()), default=max(Needs))


def asked_rules(*names: str, arguments: list[str] | None = None) -> list[str]:
    """Those of some rules that a call of Snakemake has among its targets; none where the call is not understood."""
    call = _parse(*(sys.argv[1:] if arguments is None else arguments))
    targets = (call.targets or ()) if call else ()
    return [name for name in names if any(_is_rule(target, name) for target in targets)]


def touches(arguments: list[str] | None = None) -> bool:
    """Whether the user says that what is there is up to date."""
    call = _parse(*(sys.argv[1:] if arguments is None else arguments))
    return call is not None and bool(call.touch)


def _needs_of(target: str) -> Needs:
    return next((need for name, need in TARGETS.items() if _is_rule(target, name)), max(Needs))


def _is_rule(target: str, name: str) -> bool:
    """Whether a target is the rule of this name and not a file."""
    return "/" not in target and (target == name or target.endswith(f"_{name}"))


@cache
def _parse(*arguments: str) -> Namespace | None:
    """The options of a call; nothing when Snakemake was called in another way than by its command."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            options: Namespace = get_argument_parser().parse_known_args(arguments)[0]
            return options
    except (SystemExit, Exception):
        return None


def sources_of_settings(workflow: Workflow) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The command line's settings and those of each file, the one with the last word first."""
    yield "--config", workflow.config_settings.config
    for file in reversed(workflow.configfiles):
        yield portable(file), load_configfile(file)


def portable(path: Path | str) -> str:
    """A path as rules name it: relative when it lies below the working directory, so that both can move together.

    `local` says that a file is where it is: a module's `prefix` is for what the rules make.
    """
    path = Path(path)
    if path.is_relative_to(Path.cwd()) and not (below := str(path.relative_to(Path.cwd()))).startswith("-"):
        path = Path(below)
    name: str = local(str(path))
    return name


def inputs(paths: Iterable[str]) -> list[str]:
    """Those files from outside that a rule can have as inputs.

    Names in braces and in angle brackets are wildcards and variables to Snakemake, which has no escape; such files are
    parameters alone, with their stamps.
    """
    return [local(path) for path in paths if not WILDCARD_REGEX.search(path) and not PATHVAR_REGEX.search(path)]


def is_made(workflow: Workflow, path: str) -> bool:
    """Whether a rule makes a file: where this workflow is a module, one above the statement that uses it."""
    return any(rule.is_producer(path) for rule in workflow.rules)


def make_ordinary(checkpoint: RuleProxy) -> None:
    """Have a checkpoint be a rule like any other: after each of its jobs Snakemake plans anew, which takes time."""
    checkpoint.rule.is_checkpoint = False


def ask_alike(workflow: Workflow, labels: Iterable[str]) -> None:
    """Have rules of batches and of the gate's frames, by their names' ends, ask for what is set for the rule itself.

    That is what --set-resources and --set-threads give, a partition or a model of GPU for example.
    """
    settings = workflow.resource_settings
    endings = {f"_{label}" for label in labels}
    for rule in workflow.rules:
        if ending := max(filter(rule.name.endswith, endings), key=len, default=None):
            name = rule.name.removesuffix(ending)
            rule.resources.update(settings._parsed_overwrite_resources.get(name, {}))
            if (threads := settings._parsed_overwrite_threads.get(name)) is not None:
                rule.resources["_cores"] = threads


def find_makers_by_name(workflow: Workflow, labels: Iterable[str]) -> None:
    """Have rules of batches, whose names end in these labels, say by a file's name whether they make it.

    Snakemake asks them for each input of each job, and would make a regular expression of each of their outputs, which
    have no wildcards, and try one after the other.
    """
    endings = tuple(f"_{label}" for label in labels)
    for rule in workflow.rules:
        if rule.name.endswith(endings):
            rule.is_producer = frozenset(map(str, rule.products())).__contains__


def is_contained(workflow: Workflow) -> bool:
    """Whether programs run in a container, when there is an image."""
    return DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method


def is_conda(workflow: Workflow) -> bool:
    """Whether programs run in an environment of conda."""
    return DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


def image_file(workflow: Workflow, image: str) -> Path | None:
    """The file of an image, once Snakemake has it."""
    pulled = workflow.dag.container_imgs.get(image)
    return Path(pulled.path) if pulled and Path(pulled.path).exists() else None


def start_of_job(workflow: Workflow, path: str) -> str:
    """When the job that made a file began, in UTC, as Snakemake noted it; empty when it did not."""
    record = workflow.persistence.metadata(path)
    if record is None or record.starttime is None:
        return ""
    return datetime.datetime.fromtimestamp(record.starttime, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commands_of_executor(workflow: Workflow) -> list[str]:
    """What the executor calls to submit jobs, to see how they are, and to cancel them; either of two as one|other."""
    if workflow.executor_plugin.name != "slurm":
        return []
    return ["sbatch", "scancel", workflow.executor_settings.status_command or "sacct|squeue"]


def lost_in_arrays(workflow: Workflow, jobs: int) -> str | None:
    """What to do where the executor for SLURM would lose some of so many jobs; None where it does not.

    Where more jobs of an array's rule are ready than Snakemake hands over, the plugin waits for the others and forgets
    those that it has, and the run never ends (its issue 473). So Snakemake must be free to hand over all of them.
    """
    if workflow.executor_plugin.name != "slurm" or not workflow.executor_settings.array_jobs:
        return None
    rate = workflow.scheduling_settings.max_jobs_per_timespan
    limits = [limit for limit in (workflow.nodes, rate and rate.max_jobs) if limit is not None]
    if "gpu" not in workflow.global_resources and jobs <= min(limits, default=jobs):
        return None
    return (
        f"this run has {jobs:,} jobs, and job arrays lose some where not all may be submitted at once; give"
        f" --jobs {jobs} --max-jobs-per-timespan {jobs}/1s and no --resources gpu=N,"
        " or go without arrays: --slurm-array-jobs ''"
    )


def failures(workflow: Workflow, earlier_logs: Mapping[str, int | None]) -> Iterator[Failure]:
    """The jobs that failed for good, each with its log, if that is not as it was before the first job."""
    for failed in workflow.scheduler.failed if workflow.scheduler else []:
        for job in failed.jobs if failed.is_group() else [failed]:
            logs = (Path(log) for log in job.log if time_of_change(log) not in (None, earlier_logs.get(log)))
            yield Failure(job.rule.name, job.wildcards.get("sample"), next(logs, None))


def is_quiet(workflow: Workflow, about: str) -> bool:
    """Whether --quiet asks to say nothing about `progress` for example, or `all`."""
    return not {Quietness.parse_choice(about), Quietness.ALL}.isdisjoint(workflow.output_settings.quiet or ())


def takes_colour(workflow: Workflow) -> bool:
    """Whether what is printed goes to a terminal and may be in colour."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not workflow.output_settings.nocolor


def time_of_change(path: str) -> int | None:
    """In nanoseconds; None where there is no file."""
    return Path(path).stat().st_mtime_ns if Path(path).exists() else None


def programs_run_with(python: str) -> None:
    """Have this process's jobs find the folder of an interpreter first, be its environment activated or not."""
    os.environ["PATH"] = f"{Path(python).parent}:{os.environ.get('PATH', os.defpath)}"
