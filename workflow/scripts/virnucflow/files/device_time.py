"""How long a device, a GPU or the CPU, was held to compute embeddings.

It stands in a file of its own beside the embeddings, whose bytes do not depend on how long they took.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypedDict

import msgspec

from virnucflow.files.json_files import read_json, write_json

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e10)]


class DeviceTime(TypedDict):
    """What such a file says."""

    encoder: str
    seconds: Seconds


def write_device_time(seconds: float, encoder: str, path: Path) -> None:
    """Write for how long a device was held for one file of this encoder's embeddings."""
    write_json({"encoder": encoder, "seconds": round(seconds, 3)}, path)


def read_device_time(path: Path) -> DeviceTime:
    """What write_device_time wrote. InputError when it is anything else."""
    return read_json(path, DeviceTime)


def device_minutes(paths: Iterable[Path]) -> dict[str, float]:
    """The minutes that such files say, by encoder. InputError when one is anything else."""
    seconds: dict[str, float] = {}
    for its in map(read_device_time, paths):
        seconds[its["encoder"]] = seconds.get(its["encoder"], 0.0) + its["seconds"]
    return {encoder: round(number / 60, 3) for encoder, number in sorted(seconds.items())}
