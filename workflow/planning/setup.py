"""The check before the first job: what check_setup.py is told of a run."""

from collections.abc import Collection, Iterable, Mapping
from glob import escape
from pathlib import Path
from typing import Any

from planning.paths import argument
from planning.settings import UNTRAINED
from virnucflow.files.kinds import STORED

WORK = "work"  # the folder of what lies between input and results


def setup_options(
    config: Mapping[str, Any], bases: int, outputs: Iterable[str], attentions: Collection[str],
    commands: Iterable[str], requirements: Path | None,
) -> list[str]:  # fmt: skip
    """The options of check_setup.py for a run of so many bases, which makes these outputs.

    `attentions` are those that run on this machine, if any do; `requirements` are of the Python that runs Snakemake, if
    that runs the programs.
    """
    options = ["--work", WORK, "--chunk-length", config["chunk_length"], "--bases", bases]
    options += ["--copies", 2 if config["keep"] == "all" else 1]
    options += ["--there", sum(map(bytes_in_work, set(outputs)))]
    options += ["--model", argument(config["model_pack"])] if config["model_pack"] != UNTRAINED else []
    if attentions:
        options += ["--device", config["device"], "--precision"]
        options += sorted({config["precision"][attention] for attention in attentions})
    options += ["--commands", *commands]
    options += ["--requirements", requirements] if requirements else []
    return list(map(str, options))


def bytes_in_work(output: str) -> int:
    """The size of an output that is below work/ already: it is kept, or written anew in its own place.

    What the store has of an output that is not there will be linked to its place.
    """
    path = Path(output)
    if WORK not in path.parts[:1]:
        return 0
    files: Iterable[Path] = [path]
    if path.is_dir():
        files = path.rglob("*")
    elif not path.exists():
        files = path.parent.glob(f".{escape(path.name)}.*.{STORED}")
    return sum(file.stat().st_size for file in files if file.is_file())


def null_separated(paths: Iterable[str]) -> bytes:
    """Paths as check_setup.py reads them from its standard input."""
    return "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
