"""Check what can be checked before hours are spent: model pack, disk space, GPUs, commands, home, packages, dates.

Called at the start of a run, before any job, by the Python that runs Snakemake, which need not have PyTorch. Each
problem is one line, and all come at once.
"""

import argparse
import importlib.metadata
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from virnucflow.cli import argument_parser, log, run
from virnucflow.devices.gpu_lease import LEAST_CAPABILITY, visible_gpus
from virnucflow.packs.check import check_pack

# What work/ takes: of an input, the chunks' FASTA and the frames' tables, and of each frame the values of its
# embeddings, twice where its features are kept.
BYTES_PER_BASE = 2
BYTES_PER_VALUE = 4
# Frames without a stop a chunk, by its bases, as the example's E. coli has them: for 300 and 500 these are the manual's
# 3,025 and 1,275 a megabase. Eukaryotes have fewer.
FRAMES_PER_CHUNK = {30: 4.3, 100: 2.23, 300: 0.91, 500: 0.64, 1000: 0.28}
MOST_DATES = 10  # of files dated ahead, that are named
INSTALL = "install envs/run.txt there, or give --sdm conda, or --sdm apptainer with an image"


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--chunk-length", type=int, required=True, help="number of bases in one chunk")
    parser.add_argument("--bases", type=float, required=True, help="of all input of the run, about")
    parser.add_argument("--work", type=Path, required=True, help="directory of what lies between input and results")
    parser.add_argument("--copies", type=int, default=1, help="2 where features are kept beside the embeddings")
    parser.add_argument("--there", type=int, default=0, help="bytes that it has already of what the run makes")
    parser.add_argument("--model", type=Path, help="directory of a model pack; left out when the workflow builds it")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), help="when the encoders run on this machine")
    parser.add_argument("--precision", nargs="*", default=[], help="that are to be used on it")
    parser.add_argument("--commands", nargs="*", default=[], help="that the run needs; either of two as one|other")
    parser.add_argument("--requirements", type=Path, help="what the programs need, when they run with this Python")
    parser.add_argument("--inputs", action="store_true", help="names of input files come in, each ended by a null byte")
    return parser.parse_args()


def frames_per_chunk(chunk_length: int) -> float:
    """By FRAMES_PER_CHUNK; of lengths between two of these, and beyond the last, as a power of the length."""
    known = list(FRAMES_PER_CHUNK)
    shorter, longer = next((pair for pair in pairwise(known) if chunk_length <= pair[1]), tuple(known[-2:]))
    more, fewer = FRAMES_PER_CHUNK[shorter], FRAMES_PER_CHUNK[longer]
    return more * (chunk_length / shorter) ** (math.log(fewer / more) / math.log(longer / shorter))


def work_bytes(bases: float, chunk_length: int, width: int, copies: int) -> float:
    """About what work/ will take, with so many copies of each frame's `width` values."""
    values = bases * frames_per_chunk(chunk_length) / chunk_length * width
    return bases * BYTES_PER_BASE + values * BYTES_PER_VALUE * copies


def check_disk(work: Path, needed: float, there: int) -> list[str]:
    """Whether what is still to be written fits on the disk."""
    disk = next(folder for folder in (work.absolute(), *work.absolute().parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    if needed - there <= free:
        return []
    return [
        f"{work}: about {(needed - there) / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; give another "
        "--directory, or free some; --no-hooks goes without this check"
    ]


def check_dates(paths: Iterable[str]) -> list[str]:
    """Files dated ahead: Snakemake takes nothing that is made from one for newer than it, and stops.

    The clock is that of the disk on which things are made, which on a file server may be another than this machine's.
    """
    with tempfile.NamedTemporaryFile(dir=".") as made:
        now = Path(made.name).stat().st_mtime
    problems = []
    for path in filter(Path.exists, map(Path, paths)):
        if (ahead := path.stat().st_mtime - now) > 0:
            by = timedelta(seconds=math.ceil(ahead))
            problems.append(f"{path}: dated in the future, {by} ahead of what is made now; touch it")
    more = len(problems) - MOST_DATES
    return [*problems[:MOST_DATES], *[f"and {more} more files are dated in the future; touch them"] * (more > 0)]


def check_home() -> list[str]:
    """Whether there is a place for the caches that Snakemake and, on a GPU, Triton keep."""
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home())
        folder = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
        if home.is_absolute() and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return []
    except RuntimeError:  # neither set nor known to the system
        home = Path("~")
    return [f"HOME: {home} is no folder that can be written, and caches are kept there; set HOME to one that can"]


def check_commands(commands: Iterable[str]) -> list[str]:
    """Whether what the run calls is on the PATH."""
    missing = [names.replace("|", " or ") for names in commands if not any(map(shutil.which, names.split("|")))]
    return [
        f"{names}: no such command here; load its module, install it, or choose another profile" for names in missing
    ]


def check_python(requirements: Path) -> list[str]:
    """Whether the Python that runs Snakemake has what the programs need."""
    problems = []
    beside = Path(sys.executable).with_name("python")
    if not beside.exists():
        problems.append(f"{beside}: is not there, and rules call it; start snakemake from a virtual environment")
    pins = re.findall(r"^([\w.-]+)==", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    if missing := [name for name in pins if not is_installed(name)]:
        problems.append(f"{sys.executable}: has no {', '.join(missing)}; {INSTALL}")
    return problems


def is_installed(package: str) -> bool:
    """Whether a package is there, by the name that requirements have for it."""
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def check_gpus(device: str, precisions: list[str]) -> list[str]:
    """Whether the GPUs of this machine can do what is asked of them."""
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "cuda" and not gpus:
        return ["device: cuda: nvidia-smi finds no GPU here; repair the driver, or set device: cpu"]
    problems = []
    for precision in LEAST_CAPABILITY.keys() & set(precisions):
        least = LEAST_CAPABILITY[precision]
        needs = f"precision: {precision}: needs GPUs of compute capability {least[0]}.{least[1]} or more"
        if not gpus and precision == "fp8":
            problems.append(f"{needs}, and there is none; choose auto")
        if weak := {gpu.capability for gpu in gpus if gpu.capability < least}:
            capabilities = ", ".join(f"{major}.{minor}" for major, minor in sorted(weak))
            problems.append(
                f"{needs}, and one here has {capabilities}; choose fp16, or leave it out of CUDA_VISIBLE_DEVICES"
            )
    return problems


def main() -> None:
    arguments = parse_arguments()
    problems, width = check_pack(arguments.model, arguments.chunk_length) if arguments.model else ([], 0)
    needed = work_bytes(arguments.bases, arguments.chunk_length, width, arguments.copies)
    problems += check_disk(arguments.work, needed, arguments.there)
    if arguments.device:
        problems += check_gpus(arguments.device, arguments.precision)
    problems += check_commands(arguments.commands) + check_home()
    if arguments.requirements:
        problems += check_python(arguments.requirements)
    if arguments.inputs:
        problems += check_dates(filter(None, sys.stdin.buffer.read().decode("utf-8", "surrogateescape").split("\0")))
    for problem in problems:
        log.error("%s", problem)
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    run(main)
