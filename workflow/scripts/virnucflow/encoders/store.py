"""Finished embeddings, kept where Snakemake deletes nothing, so that a job of many outputs embeds none of them twice.

Snakemake deletes all outputs of a job that failed, or that runs again because a sample joined its batch. So each
finished output has a hard link beside it, a hidden file that is no output of a rule and takes no room of its own. Its
name has a digest of all that the values depend on, known before a model is loaded or a GPU is taken.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

from virnucflow.cli import Failure, InputError, log, staged
from virnucflow.files.digests import digest_json
from virnucflow.files.kinds import STORED


def place_in_store(output: Path, depends: Mapping[str, Any]) -> Path:
    """Where the store has an output whose values depend on this."""
    return output.with_name(f".{output.name}.{digest_json(depends)}.{STORED}")


def put(output: Path, stored: Path) -> None:
    """Keep an output that is in place. Where that cannot be, it is told; nothing but time is lost by it."""
    try:
        _link(output, stored)
    except (OSError, Failure) as error:
        log.warning("a finished embedding is not kept for another attempt: %s", error)


def take(stored: Path, output: Path, read: Callable[[Path], object]) -> bool:
    """Put an output in place that the store has; False where it has none. One that cannot be read is removed."""
    if not stored.exists():
        return False
    try:
        read(stored)
    except (InputError, OSError) as error:
        log.warning("an embedding that was kept is of no use, and is computed anew: %s", error)
        drop(stored)
        return False
    _link(stored, output)
    return True


def drop(stored: Path) -> None:
    """Remove what the store has of an output, as far as that can be."""
    with suppress(OSError):
        stored.unlink()


def drop_others(output: Path, stored: Path) -> None:
    """Remove what the store has of an output from other computations: it would take room of its own from now on."""
    for other in output.parent.glob(f".{escape(output.name)}.*.{STORED}"):
        if other != stored:
            drop(other)


def _link(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has none, in place of whatever is there."""
    with staged(target) as (partial,):
        partial.unlink()
        try:
            os.link(source, partial)
        except OSError:
            shutil.copyfile(source, partial)
