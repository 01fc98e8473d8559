"""What a run takes from outside, looked for when the configuration is read and before anything is planned.

Snakemake takes a target that is there for a source file when it cannot plan the job that makes it. So without this, a
run whose input has gone would leave the results of an earlier input in place and say that there is nothing to be done.
"""

import json
import stat
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import yaml

from planning.messages import PlanningError, named, nearest
from planning.paths import hint
from planning.samples import Sample
from planning.settings import UNTRAINED
from planning.shards import embeddings_of_run, shards_of_run
from virnucflow.files.result_files import RESULTS, RUN_JSON
from virnucflow.packs.check import check_pack
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack_files import CLASSIFIER

BUILT_IN = "lite"  # the pack that comes with the workflow
MOST_CATALOGUE = 1 << 18  # bytes


class Needs(IntEnum):
    """How much of what comes from outside must be there; each has what the ones before it have."""

    NOTHING = 0
    CATALOGUE = 1
    PACK = 2
    SAMPLES = 3
    CLASSIFIER = 4  # in the pack


def missing_sources(
    needs: Needs,
    config: Mapping[str, Any],
    catalogue: str,
    samples: Mapping[str, Sample],
    is_made: Callable[[str], bool],
) -> list[str]:
    """One line for each thing that is not there, or not whole; `is_made` says which files a rule will make."""
    problems, model = [], config["model_pack"]
    if needs >= Needs.CATALOGUE:
        problems += [f"catalogue: {problem}"] if (problem := problem_of_file(catalogue)) else []
    if needs >= Needs.PACK and model != UNTRAINED:
        problems += (
            missing_pack(model, catalogue)
            or check_pack(Path(model), config["chunk_length"])[0]
            or (missing_classifier(model) + missing_scores(model, config) if needs >= Needs.CLASSIFIER else [])
        )
    if needs >= Needs.SAMPLES:
        problems += missing_run(config["reference_run"])
        problems += missing_inputs(samples.values(), is_made)
    return problems


def missing_scores(model: str, config: Mapping[str, Any]) -> list[str]:
    """A line for each setting that asks for scores of sequences, where the pack gives them none."""
    calibration = read_pack(model).get("calibration")
    if isinstance(calibration, dict) and calibration.get("sequences"):
        return []
    asked = {"min_score": 0, "max_fdr": "none"}  # what asks for one, and what does not
    return [
        f"{name}: the pack {named(model)} gives sequences no score; give {name}: {nothing}"
        for name, nothing in asked.items()
        if config[name] != nothing
    ]


def missing_inputs(samples: Iterable[Sample], is_made: Callable[[str], bool]) -> list[str]:
    """A line for each file of the sheet that is not there, or not to be read."""
    return [
        f"{file.place}: {file.column}: {problem}"
        for sample in samples
        for file in sample.files
        if (problem := problem_of_file(file.path)) and not is_made(file.path)
    ]


def problem_of_file(path: str) -> str:
    """Why a path leads to no file, and what to do; empty when it does. One stat, where all is well."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if Path(path).is_symlink():
            return f"{named(path)} is a link to a file that is not there; restore that file, or name another"
        return f"{named(path)} is not there; {hint(path)}"
    except (OSError, ValueError) as error:  # a folder that may not be searched, a name that no file can have
        return f"{named(path)}: {getattr(error, 'strerror', None) or error}; {hint(path)}"
    if stat.S_ISDIR(mode):
        return f"{named(path)} is a folder; name the file in it"
    return "" if stat.S_ISREG(mode) else f"{named(path)} is no regular file, and it is read twice; give a file"


def stamps(paths: Iterable[str]) -> list[tuple[int, int]]:
    """Bytes and seconds of the last change of those files that are there.

    As a parameter of a rule they tell of an older file in the place of a newer one, which Snakemake overlooks.
    """
    status = [Path(path).stat() for path in paths if Path(path).exists()]
    return [(one.st_size, int(one.st_mtime)) for one in status]


def pack_directory(model: str, built_in: Path) -> str:
    """The directory of a pack that is given by its path, or by its name among the workflow's own or below models/."""
    if Path(model).name != model or Path(model).is_dir():
        return model
    own = built_in / model
    return str(own) if own.is_dir() else f"models/{model}"


def read_pack(model: str) -> dict[str, Any]:
    """What pack.json says.

    Nothing of the untrained pack, which may be built anew, nor of one that is not there, which fetch_models makes.
    """
    try:
        pack = json.loads(Path(model, "pack.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return pack if model != UNTRAINED and isinstance(pack, dict) else {}


def sha256_of_pack(pack: Mapping[str, Any]) -> dict[str, str]:
    """What pack.json states of each file."""
    sha256 = pack.get("sha256")
    return sha256 if isinstance(sha256, dict) else {}


def missing_pack(model: str, catalogue: str) -> list[str]:
    """Why there is no model pack at a path, in a line; the catalogue's packs are those that fetch_models makes."""
    if (Path(model) / "pack.json").is_file():
        return []
    problem = f"model_pack: {named(model)} is not there"
    if Path(model).is_dir():
        problem = f"model_pack: {named(model)} is no model pack, as it has no pack.json"
    published = _packs(catalogue)
    name = Path(model).name
    if name in published:
        return [f"{problem}; make it first: snakemake --profile local fetch_models --config model_pack={name}"]
    return [f"{problem}; give the directory or the name of a model pack ({nearest(name, [BUILT_IN, *published])})"]


def missing_classifier(model: str) -> list[str]:
    """That a pack is of encoders alone, on which `train` makes a classifier; in a line."""
    if CLASSIFIER in sha256_of_pack(read_pack(model)):
        return []
    return [f"model_pack: {named(model)} has no classifier; train one on it (snakemake train), or give another pack"]


def _packs(catalogue: str) -> list[str]:
    """The names in a catalogue; none where it cannot be read, which fetch_models tells."""
    try:
        if Path(catalogue).stat().st_size > MOST_CATALOGUE:
            return []
        # As fetch_models reads it: without tags and merge keys, which can be made to grow without end.
        return list(map(str, yaml.load(Path(catalogue).read_text(encoding="utf-8"), yaml.BaseLoader)["packs"]))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError):
        return []


def missing_records(samples: Iterable[str], folder: Path = Path()) -> list[str]:
    """That there are results, or what leads to them, and no record of what made any of them, in a line.

    Snakemake sees by its records alone that a setting or the model was changed. What a copy without hidden folders has
    would pass for up to date with any.
    """
    records = folder / ".snakemake"
    kept = (path for name in ("metadata", "incomplete") for path in (records / name).glob("*"))
    outputs = (
        folder / path.format(sample=sample)
        for sample in samples
        for path in (f"{RESULTS}/{RUN_JSON}", "work/{sample}/sequences.parquet")
    )
    there = next(filter(Path.exists, outputs), None)
    if not there or (records / "metadata.db").exists() or any(True for _ in kept):
        return []
    return [
        f"{there.parent}: Snakemake has no record of what made it, so that changed settings would not be noticed; "
        "bring .snakemake of that run along, or delete results and work, or, if nothing was changed, give "
        "--touch --forceall once"
    ]


def missing_run(reference_run: str) -> list[str]:
    """Why there is no run to compare with, in a line; none is needed where the setting is empty."""
    if not reference_run or Path(reference_run).is_dir():
        return []
    return [f"reference_run: {named(reference_run)} is no directory; {hint(reference_run)}"]


def files_of_run(reference_run: str, pattern: str, sample: str) -> list[str]:
    """The files of a sample of the run with which `compare` compares, by a pattern with {sample} and {shard}.

    In a pattern {esm2} and {dnabert_s} are the names of the embeddings that its scores were made of. That run's shards
    may be others than this one's. PlanningError where it is not set, or has not all of them.
    """
    if not reference_run:
        raise PlanningError("reference_run: not set; give the working directory of a run of the same samples by flash")
    run = Path(reference_run)
    embeddings = {name: embeddings_of_run(run, sample, name) for name in ENCODERS if f"{{{name}}}" in pattern}
    names = [pattern.format(sample=sample, shard=shard, **embeddings) for shard in shards_of_run(run, sample)]
    if missing := [name for name in names if not (run / name).exists()]:
        raise PlanningError(f"reference_run: {named(run)}: no {missing[0]}; run its samples by flash first")
    return [str(run / name) for name in names]
