"""The finished parts of an embedding, kept on the disk, so that a job that was killed goes on from them.

They lie in a hidden folder beside the output. It is no output of a rule, because Snakemake deletes those of a job that
failed. Its name has a digest of all that the values depend on, so that no other computation looks into it; each part
says the same in full, has digests of its rows, and how long a device was held for the rows up to it. An encoder
computes the rows in an order of its own, batch by batch, and a part has the rows of whole batches. So the batches that
are left are those of a run that nothing disturbed.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from virnucflow.cli import Failure, InputError, lock, log, staged
from virnucflow.files.digests import digest_json
from virnucflow.files.tensors import load_tensor, save_rows

KEEP_EVERY = 180  # seconds: with the last batch and the time to write them, less than five minutes are lost
LOCK = "lock"


class Progress:
    """How far an encoder is with its result, whose rows it computes in an order of its own. This one keeps nothing."""

    def begin(self, result: torch.Tensor, order: np.ndarray) -> int:
        """Fill in those rows of the result that are there already: so many, the first in this order of row numbers."""
        return 0

    def reached(self, rows: int) -> None:
        """Take note that so many rows of the order are in the result, where nothing changes them any more."""

    def remaining(self, result: torch.Tensor, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the batches, each the numbers of its rows, that the caller is to put into the result one by one."""
        batches = list(batches)
        done = self.begin(result, np.concatenate([np.empty(0, dtype=np.int64), *batches]))
        end = 0
        for batch in batches:
            end += len(batch)
            if end > done:
                yield batch
                self.reached(end)


KEEP_NOTHING = Progress()


class Parts(Progress):
    """Keeps what is new every few minutes, in a thread, so that the encoder goes on meanwhile.

    A part is named by the number of rows before it. Another attempt that is alive may keep parts in the same folder: of
    the same rows they have the same values.
    """

    def __init__(self, folder: Path, depends: dict[str, str], since: float | None = None) -> None:
        """The device is held for these rows since this reading of time.monotonic(), or from now on."""
        self._folder, self._depends = folder, depends
        self._since, self._earlier = time.monotonic() if since is None else since, 0.0  # seconds
        self._done = self._kept = 0  # rows of the order
        self._lock: BinaryIO | None = None
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None

    @property
    def seconds(self) -> float:
        """For which a device is held so far, by this attempt and for the rows that earlier ones have kept."""
        return self._earlier + time.monotonic() - self._since

    def begin(self, result: torch.Tensor, order: np.ndarray) -> int:
        """Fill in what parts have, from the first row up to the first part that is missing or of no use."""
        self._result, self._order = result, order
        if self._folder.exists():
            with suppress(OSError):
                self._hold()
        while len(rows := self._read(self._kept)):
            result[order[self._kept : self._kept + len(rows)]] = torch.from_numpy(rows)
            self._kept += len(rows)
        if self._kept:
            log.info("going on after %d of %d sequences, which an earlier attempt has kept", self._kept, len(order))
        self._done = self._kept
        self._due = time.monotonic() + KEEP_EVERY
        return self._kept

    def reached(self, rows: int) -> None:
        """Keep what is new when it is time to. Nothing waits for it, nor for the GPU: the rows have arrived."""
        self._done = rows
        if time.monotonic() >= self._due and (self._writing is None or self._writing.done()):
            self._due = time.monotonic() + KEEP_EVERY
            self._writing = self._thread.submit(self._keep, rows)

    def keep_rest(self) -> None:
        """Keep what is new at once."""
        self._thread.shutdown()
        self._keep(self._done)

    def close(self) -> None:
        """Wait for what is being written, and let go of the folder."""
        self._thread.shutdown()
        if self._lock:
            self._lock.close()

    def _keep(self, end: int) -> None:
        """Keep the rows before this one. Where that cannot be, it is told, and they are kept with the next ones."""
        if end == self._kept:
            return
        rows = self._result[self._order[self._kept : end]].numpy()
        try:
            self._hold()
            with staged(self._path(self._kept)) as (partial,):
                save_rows(rows, "embedding", partial, self._about(self._kept) | {"seconds": f"{self.seconds:.3f}"})
        except (OSError, Failure) as error:
            log.warning("a finished part is not kept for another attempt: %s", error)
        else:
            self._kept = end

    def _read(self, first: int) -> np.ndarray:
        """The rows of the part that begins with this one, or none. One that is damaged or foreign is removed."""
        path, nothing = self._path(first), np.empty((0, 0), dtype=np.float32)
        if not path.exists():
            return nothing
        try:
            rows, about = load_tensor(path, "embedding")
            seconds = float(about.pop("seconds", "nan"))
            if about == self._about(first) and seconds >= 0:
                self._earlier = seconds
                return rows
            said = f"{path}: of another computation"
        except (InputError, OSError, ValueError) as error:
            said = str(error)
        log.warning("a part that was kept is of no use, and is computed anew: %s", said)
        with suppress(OSError):
            path.unlink()
        return nothing

    def _path(self, first: int) -> Path:
        return self._folder / f"{first}.safetensors"

    def _about(self, first: int) -> dict[str, str]:
        return self._depends | {"first": str(first)}

    def _hold(self) -> None:
        """Make the folder, and mark it as one of a process that is alive."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._lock:
            self._lock = (self._folder / LOCK).open("a+b")
            lock(self._lock, shared=True)


@contextmanager
def keeping_parts(output: Path, depends: dict[str, str], since: float | None = None) -> Iterator[Parts]:
    """Keep parts of an output, whose values depend on this, until the block ends well: then the output is in place.

    The device is held for it since this reading of time.monotonic(), or from now on.

    SIGTERM and Ctrl-C keep what has been computed by then. After a Failure nothing is kept: it would come again. Parts
    of another computation that lie beside the output are removed, unless a process is at work on them.
    """
    folder = output.with_name(f".{output.name}.{digest_json(depends)}.parts")
    for other in output.parent.glob(f".{escape(output.name)}.*.parts"):
        if other != folder:
            _remove(other)
    parts = Parts(folder, depends, since)
    try:
        yield parts
    except (SystemExit, KeyboardInterrupt):
        parts.keep_rest()
        raise
    except Failure:
        parts.close()
        _remove(folder)
        raise
    finally:
        parts.close()
    _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder of parts, as far as that can be, unless another process that is alive keeps some in it."""
    with suppress(OSError), (folder / LOCK).open("r+b") as file:
        if not lock(file):
            return
    shutil.rmtree(folder, ignore_errors=True)
