"""How far a run is with its embeddings, for a terminal: a line each minute, from the logs of its jobs."""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from virnucflow.files.progress import Reached, in_time, read_progress

SAY_EVERY = 60  # seconds


class Embedding(NamedTuple):
    """A job that embeds. `is_done` says whether it has ended well, and `has_log` whether its log is of this run."""

    encoder: str
    shards: int
    log: Path
    is_done: Callable[[], bool]
    has_log: Callable[[], bool]

    def reached(self) -> list[Reached]:
        """What its log says of its shards."""
        try:
            return read_progress(self.log.read_text(encoding="utf-8", errors="replace")) if self.has_log() else []
        except OSError:
            return []


def progress_line(jobs: Collection[Embedding], frames: float) -> str:
    """Shards that are done of all, and frames of about so many, by encoder."""
    words = []
    for encoder in dict.fromkeys(job.encoder for job in jobs):
        own = [(job, job.is_done(), job.reached()) for job in jobs if job.encoder == encoder]
        shards = sum(job.shards for job, is_done, _ in own if is_done)
        said = f"{encoder} {shards:,} of {sum(job.shards for job, _, _ in own):,} shards"
        if done := sum(shard.done for _, _, reached in own for shard in reached):
            said += f", {done:,} of about {max(frames, done):,.0f} frames"
        if speed := sum(reached[-1].per_second for _, is_done, reached in own if reached and not is_done):
            said += f", {speed:,.0f} frames/s, {in_time(max(frames - done, 0) / speed)} left"
        words.append(said)
    return f"Embedded: {'; '.join(words)}"


def watch(say: Callable[[str], None], line: Callable[[], str], every: float = SAY_EVERY) -> None:
    """Say the line again and again, where it has changed, in a thread that ends with the process."""

    def go_on() -> None:
        last = line()
        while True:
            time.sleep(every)
            if (now := line()) != last:
                say(last := now)

    Thread(target=go_on, daemon=True).start()
