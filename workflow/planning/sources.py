"""What a run takes from outside, looked for when the configuration is read and before anything is planned.

Snakemake takes a target that is there for a source file when it cannot plan the job that makes it. So without this, a
run whose input has gone would leave the results of an earlier input in place and say that there is nothing to be done.
"""

import stat
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from planning.messages import named, nearest
from planning.paths import hint
from planning.samples import InputFile, Sample

BUILT_IN = "lite"  # the pack that comes with the workflow
MOST_CATALOGUE = 1 << 18  # bytes


def missing_inputs(samples: Iterable[Sample], made: Callable[[str], bool]) -> list[str]:
    """A line for each file of the sheet that is not there, or not to be read; `made` says what a rule will make."""
    problems = (_problem(file, made) for sample in samples for file in sample.files)
    return list(filter(None, problems))


def _problem(file: InputFile, made: Callable[[str], bool]) -> str:
    wrong = problem_of_file(file.path)
    return f"{file.place}: {file.column}: {wrong}" if wrong and not made(file.path) else ""


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


def _packs(catalogue: str) -> list[str]:
    """The names in a catalogue; none where it cannot be read, which fetch_models tells."""
    try:
        if Path(catalogue).stat().st_size > MOST_CATALOGUE:
            return []
        # As fetch_models reads it: without tags and merge keys, which can be made to grow without end.
        return list(map(str, yaml.load(Path(catalogue).read_text(encoding="utf-8"), yaml.BaseLoader)["packs"]))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError):
        return []


def missing_catalogue(catalogue: str) -> list[str]:
    wrong = problem_of_file(catalogue)
    return [f"catalogue: {wrong}"] if wrong else []


def missing_records(samples: Iterable[str], folder: Path = Path()) -> list[str]:
    """That there are results, or what leads to them, and no record of what made any of them, in a line.

    Snakemake sees by its records alone that a setting or the model was changed. What a copy without hidden folders has
    would pass for up to date with any.
    """
    records = folder / ".snakemake"
    kept = (path for name in ("metadata", "incomplete") for path in (records / name).glob("*"))
    made = (
        folder / path
        for sample in samples
        for path in (f"results/{sample}/run.json", f"work/{sample}/sequences.parquet")
    )
    there = next(filter(Path.exists, made), None)
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
