"""The image in which programs run, and the folders that they must see in it."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from planning.messages import PlanningError
from planning.samples import Sample


def is_address(image: str) -> bool:
    """Whether an image is fetched from a registry, such as docker://…, and no file."""
    return "://" in image


def missing_image(image: str, build: str) -> list[str]:
    """That an image is a file which is not there, in a line with the command that builds it."""
    if is_address(image) or Path(image).exists():
        return []
    return [
        f"container: {image} is not there; build it with '{build}', or set container in the config "
        "(containers/README.md)"
    ]


def places(config: Mapping[str, Any], catalogue: str, samples: Iterable[Sample]) -> Iterator[tuple[str, Path]]:
    """The folders and files that programs read or write besides the workflow, each with the setting that names it."""
    for setting in ("model_pack", "published_files", "reference_run"):
        if config[setting]:
            yield setting, Path(config[setting])
    yield "training: trained_pack", Path(config["training"]["trained_pack"])
    packs = Path(config["model_pack"]).parent
    if (packs / "lock.json").exists():  # fetch_models has written beside the pack
        yield "model_pack", packs
    for setting, file in [
        *(("samples", file.path) for sample in samples for file in sample.files),
        ("catalogue", catalogue),
    ]:
        if Path(file).exists():
            yield setting, Path(file).parent
            yield setting, Path(file).resolve().parent


def folders_outside(places: Iterable[tuple[str, Path]], directory: Path) -> list[str]:
    """Those folders that are not below the working directory, which alone is seen in a container.

    Instead of one that is not there yet it is the nearest one above it. A folder is left out when it is below another.
    PlanningError, with the setting that names it, for one that Apptainer cannot show.
    """
    if ":" in str(directory):
        raise PlanningError(f"{directory}: Apptainer takes no working directory with a colon; rename it")
    folders = set()
    for setting, path in ((setting, path) for setting, place in places for path in (place.absolute(), place.resolve())):
        folder = next(folder for folder in (path, *path.parents) if folder.is_dir())
        if folder.is_relative_to(directory):
            continue
        if folder == Path("/"):
            raise PlanningError(
                f"{setting}: {path}: there is no folder above it that a container could be given; make one"
            )
        if re.search("[,:]", str(folder)):
            raise PlanningError(f"{setting}: {folder}: Apptainer takes no folder with a comma or colon; rename it")
        folders.add(folder)
    return sorted(str(folder) for folder in folders if not folders.intersection(folder.parents))
