"""GPUs of one machine shared out between jobs without a scheduler: a job takes one for itself until it ends.

A lease is a file lock (`flock`) that the process holds, so the kernel ends it however the process ends. The files lie
where every user of the machine and every container finds them. CUDA is not touched here, because what it sees is fixed
when it starts.
"""

import fcntl
import os
import re
import shutil
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from virnucflow.cli import Failure, log

LOCKS = Path("/tmp/virnucflow-gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"
LEAST_CAPABILITY = {"bf16": (8, 0), "fp8": (8, 9)}  # of a GPU, for a precision: Ampere; Ada (Hopper is 9.0)


class Gpu(NamedTuple):
    """A GPU as CUDA_VISIBLE_DEVICES can name it, and its compute capability."""

    uuid: str
    capability: tuple[int, int]


def installed_gpus() -> list[Gpu]:
    """The GPUs that nvidia-smi lists, in its order; none where there is no driver."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", "--query-gpu=uuid,compute_cap", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True)
    rows = re.findall(r"^(GPU-\S+), (\d+)\.(\d+)$", done.stdout, re.MULTILINE)
    return [Gpu(uuid, (int(major), int(minor))) for uuid, major, minor in rows]


def visible_gpus() -> list[Gpu]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves: a number counts as nvidia-smi does, a UUID may be cut short.

    As with CUDA, what follows an entry that names no GPU is not seen. Under SLURM there are none unless it gave some.
    A part of a GPU (MIG) is named by itself and is as good as a GPU.
    """
    installed = installed_gpus()
    words = os.environ.get(VISIBLE, "" if "SLURM_JOB_ID" in os.environ else None)
    if words is None or not installed:
        return installed
    visible = []
    for word in map(str.strip, words.split(",")):
        if word.startswith("MIG-"):
            visible.append(Gpu(word, installed[0].capability))
            continue
        matches = [gpu for number, gpu in enumerate(installed) if word == str(number) or _names(word, gpu)]
        if len(matches) != 1:
            break
        visible += matches
    return list(dict.fromkeys(visible))


def _names(word: str, gpu: Gpu) -> bool:
    return word.startswith("GPU-") and gpu.uuid.startswith(word)


def lease_gpu() -> str | None:
    """Take one of the visible GPUs until this process ends, and leave only that one visible; gives its UUID.

    Waits while other jobs have them all. Nothing is taken where there is no GPU, nor where SLURM has given this job its
    one. Call it before CUDA is touched.
    """
    gpus = visible_gpus()
    if not gpus or (len(gpus) == 1 and "SLURM_JOB_ID" in os.environ):
        return None
    uuids = [gpu.uuid for gpu in gpus]
    leased = _first_free(uuids)
    if leased is None:
        log.info("other jobs have all GPUs (%d): waiting for one", len(uuids))
    while leased is None:
        time.sleep(1)
        leased = _first_free(uuids)
    os.environ[VISIBLE] = leased
    log.info("on %s", leased)
    return leased


def _first_free(uuids: list[str]) -> str | None:
    return next((uuid for uuid in uuids if _lock(LOCKS / uuid.replace("/", "_"))), None)


def _lock(path: Path) -> bool:
    """Lock a file for the rest of this process, unless another process has."""
    file = _open(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return False
    return True  # the file stays open: closing it would end the lock


def _open(path: Path) -> int:
    """Open a file for reading, which is enough to lock it, and make it for everybody when it is not there.

    Where everybody may write, the kernel lets nobody open another's file with O_CREAT (fs.protected_regular). Nothing
    is waited for that another user put there instead: a link is not followed, and a pipe is not waited at.
    """
    umask = os.umask(0)
    try:
        path.parent.mkdir(mode=0o1777, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o666))
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise Failure(f"{path}: cannot be opened to lock the GPU ({error.strerror}); remove it") from None
    finally:
        os.umask(umask)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise Failure(f"{path}: not a plain file, as the lock of a GPU is; remove it")
    return file
