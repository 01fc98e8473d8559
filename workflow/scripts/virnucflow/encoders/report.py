"""How far an encoder is, in its log: once a minute, and when a shard is done."""

import time
from collections import Counter
from collections.abc import Collection

import numpy as np
import torch

from virnucflow.cli import log
from virnucflow.encoders.parts import Progress
from virnucflow.files.progress import Reached, describe
from virnucflow.packs.encoders import ESM2, Encoder

REPORT_EVERY = 60  # seconds


class Report(Progress):
    """Tells what another progress hears. Nothing waits for it: it looks at the clock after each batch."""

    def __init__(self, progress: Progress, encoder: Encoder, sequences: Collection[str], distinct: bool) -> None:
        """Of `distinct` sequences, each is a row in the order in which it comes first; else each one is."""
        self._progress = progress
        numbers = Counter(sequences) if distinct else None
        rows = list(numbers if numbers is not None else sequences)
        # A protein's tokens are its letters and two more; of DNA they are known when it is tokenized.
        self._unit, ends = ("tokens", 2) if encoder == ESM2 else ("bases", 0)
        self._frames = np.fromiter(numbers.values() if numbers is not None else (1 for _ in rows), np.int64, len(rows))
        self._letters = np.fromiter(map(len, rows), np.int64, len(rows)) + ends

    def begin(self, result: torch.Tensor, order: np.ndarray) -> int:
        """From here on time is taken."""
        self._sums = np.zeros((len(order) + 1, 2), dtype=np.int64)  # of frames and letters before each row of the order
        np.cumsum(np.stack([self._frames[order], self._letters[order]], axis=1), axis=0, out=self._sums[1:])
        done = self._progress.begin(result, order)
        self._first, self._began = done, time.monotonic()
        self._due = self._began + REPORT_EVERY
        return done

    def reached(self, rows: int) -> None:
        """Tell it, where a minute has passed or all is done."""
        self._progress.reached(rows)
        now = time.monotonic()
        if now < self._due and rows < len(self._sums) - 1:
            return
        self._due = now + REPORT_EVERY
        seconds = max(now - self._began, 1e-3)
        frames, letters = (self._sums[rows] - self._sums[self._first]) / seconds
        left = (self._sums[-1, 1] - self._sums[rows, 1]) / letters if letters else 0.0
        reached = Reached(int(self._sums[rows, 0]), int(self._sums[-1, 0]), frames)
        log.info("%s", describe(reached, f"{letters:,.0f} {self._unit}/s", left))
