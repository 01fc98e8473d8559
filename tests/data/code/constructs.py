"""Constructs that versions of Python parse into other trees or write in other words. No program; see test_code.py."""

from __future__ import annotations

import os as system
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
NUMBERS = (0, -1, 1_000, 0x1F, 1e300, 1e-300, 0.1, 2j, True, False, None, ..., b"\x00", "ß\n\t\\'\"")


@dataclass(frozen=True)
class Pair(Generic[T]):
    """A docstring."""

    first: T
    second: list[T] = field(default_factory=list)


class Empty: ...


class OnlyDocumented:
    """A docstring alone."""


async def generate(*values: int, key: str = "x", **more: object) -> Iterator[str]:
    """A docstring."""
    async for value in values:
        yield f"{value!r:>{len(key)}} {key=} {'nested' + key} {{braces}} {more['k']:%Y-%m-%d}"


def match(value: object, /, first: int = 1, *, second: Callable[[int], int] | None = None) -> object:
    match value:
        case {"a": [1, *rest], **others} if rest:
            return others
        case Pair(first=int() | float() as number):
            return number
        case "text" | None:
            pass
        case _:
            return lambda x, *y, z=3: (x, y, z)
    try:
        with open(system.devnull) as one, open(system.devnull) as other:
            data = [x for line in one for x in line if x] + [*other]
    except* (OSError, ValueError) as error:
        raise RuntimeError("no " f"{error}" " such") from None
    else:
        data[1:-1, ..., ::2] = {k: v for k, v in zip("ab", "cd", strict=True)}
    finally:
        del data
    while (n := first) < 3 and not first == 2 is not None:
        first += 1
    assert first, "message"
    return (yield)
