"""How far an encoder is, as a line of its log: written once a minute, and read back by whoever watches the run."""

import re
from typing import NamedTuple

LINE = re.compile(r": info: ([\d,]+) of ([\d,]+) frames \(\d+ %\), ([\d,]+) frames/s", re.ASCII)


class Reached(NamedTuple):
    """Frames that are done, of all of a shard, and how many a second."""

    done: int
    frames: int
    per_second: float


def describe(reached: Reached, others: str, seconds_left: float) -> str:
    """The line; `others` is the same speed in another unit."""
    share = 100 * reached.done // reached.frames if reached.frames else 100
    words = f"{reached.done:,} of {reached.frames:,} frames ({share} %), {reached.per_second:,.0f} frames/s, {others}"
    return words if reached.done == reached.frames else f"{words}, {in_time(seconds_left)} left"


def read_progress(log: str) -> list[Reached]:
    """What a log says of each of its shards at last, in order."""
    reached: list[Reached] = []
    for match in LINE.finditer(log):
        done, frames, per_second = (int(number.replace(",", "")) for number in match.groups())
        if reached and reached[-1].done < reached[-1].frames:
            reached.pop()
        reached.append(Reached(done, frames, per_second))
    return reached


def in_time(seconds: float) -> str:
    """Seconds, minutes, or hours and minutes, as fits."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"
