"""Encoders that are interrupted, as by SIGTERM, and go on from the parts that they have kept."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from virnucflow.encoders.parts import Parts, Progress, keeping_parts


@contextmanager
def interrupted_at(rows: float) -> Iterator[list[int]]:
    """Within this, what embeds ends as by SIGTERM when it has so many rows; gives how many there were at each batch."""
    reached, seen = Parts.reached, []

    def reached_and_ended(self: Parts, done: int) -> None:
        reached(self, done)
        seen.append(done)
        if done >= rows:
            sys.exit(143)

    with patch.object(Parts, "reached", reached_and_ended):
        yield seen


def embed_interrupted(embed: Callable[[Progress], torch.Tensor], rows: list[int], folder: Path) -> torch.Tensor:
    """What an encoder gives in the end that is interrupted at each of these numbers of rows, and leaves no part."""
    for number in [*rows, None]:
        kept = sorted(int(path.stem) for path in folder.glob(".out.*.parts/*.safetensors"))
        assert len(kept) == (rows.index(number) if number else len(rows)), "nothing was kept"
        with interrupted_at(number or float("inf")) as seen:
            try:
                with keeping_parts(folder / "out", {}) as parts:
                    result = embed(parts)
            except SystemExit:
                assert seen[-1] >= number
    assert not list(folder.iterdir())
    return result
