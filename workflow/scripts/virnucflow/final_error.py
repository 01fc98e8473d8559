"""The mark of a final error: what is wrong with the input stays wrong, however often a job is tried.

Snakemake tries a failed job again whatever its exit code was. So a rule that is tried again tells its program the
number of the attempt, and a file beside the job's log. There the program leaves what it said when it stopped because of
its input or arguments, and the next attempt ends with it at once. It begins anew when in the meantime a file was mended
or another argument given, and in another run, whose attempts count from 1 again.
"""

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

# In the environment of a program: the number of the attempt, and the file.
ATTEMPT, MARK = "VIRNUCFLOW_ATTEMPT", "VIRNUCFLOW_FINAL_ERROR"


def of_an_earlier_attempt() -> str | None:
    """What an earlier attempt at this job said when it ended for good; None when there is nothing of the kind."""
    if not (mark := os.environ.get(MARK)):
        return None
    path, now = Path(mark), _digest()
    try:
        if os.environ.get(ATTEMPT, "1") == "1":
            path.unlink(missing_ok=True)
            return None
        then, _, message = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return message if then == now else None


def leave(message: str) -> None:
    """Leave the mark, if this program was told where."""
    if mark := os.environ.get(MARK):
        try:
            Path(mark).write_text(f"{_digest()}\n{message}", encoding="utf-8")
        except OSError:
            return  # it is tried again for nothing, which does no harm


@cache
def _digest() -> str:
    """A digest of the arguments, and of size and time of each file that they name or that is in a folder they name."""
    states = [(word, _state(Path(word.rpartition("=")[2]))) for word in sys.argv]
    return hashlib.sha256(repr(states).encode("utf-8", "surrogateescape")).hexdigest()


def _state(path: Path) -> list[tuple[str, int, int]]:
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except (OSError, ValueError):
        return []  # no path, or one of an output
