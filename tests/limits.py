"""Work in a process of its own that may take little time and memory."""

import os
import resource
import signal
import traceback
from collections.abc import Callable

SECONDS, MEMORY = 10, 512 << 20  # of processor time; bytes beside what the process has already


def limited(work: Callable[[], str]) -> str:
    """What `work` returns. Fails when it raises anything, takes longer or more memory, or kills its process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        said = "!died"
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            resource.setrlimit(resource.RLIMIT_DATA, (_data() + MEMORY,) * 2)
            said = work()
        except BaseException:
            said = "!" + traceback.format_exc()
        finally:
            os.write(writing, said.encode("utf-8", "backslashreplace")[-4000:])
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:  # noqa: PTH123 - a pipe
        said = answer.read().decode()
    _, status = os.waitpid(child, 0)
    ending = f"killed by {signal.Signals(os.WTERMSIG(status)).name}" if os.WIFSIGNALED(status) else ""
    assert not ending and not said.startswith("!"), ending or said
    return said


def _data() -> int:
    """Bytes of this process that RLIMIT_DATA counts."""
    with open("/proc/self/status") as file:  # noqa: PTH123
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmData"))
