"""What an encoder's log says of how far it is."""

import logging

import numpy as np
import pytest
import torch

from virnucflow.encoders import report
from virnucflow.encoders.parts import Progress
from virnucflow.encoders.report import Report
from virnucflow.packs.encoders import DNABERT_S, ESM2


class Clock:
    """A second for each look at it, and what is added."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(report, "time", clock)
    return clock


def test_said_once_a_minute_and_at_the_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Report(Progress(), ESM2, ["AAA", "CC", "AAA", "GGGGG"], distinct=True)
    assert progress.begin(torch.empty(3, 1), np.array([1, 0, 2])) == 0
    progress.reached(1)
    assert caplog.messages == []
    clock.now += 58
    progress.reached(2)  # after 60 s: CC, and AAA for two frames; 9 of 16 tokens
    assert caplog.messages == ["3 of 4 frames (75 %), 0 frames/s, 0 tokens/s, 47 s left"]
    progress.reached(3)
    assert caplog.messages[1].startswith("4 of 4 frames (100 %), ") and "left" not in caplog.messages[1]


def test_rows_of_an_earlier_attempt_are_no_speed(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Half(Progress):
        def begin(self, result: torch.Tensor, order: np.ndarray) -> int:
            return len(order) // 2

    caplog.set_level(logging.INFO)
    progress = Report(Half(), DNABERT_S, ["A" * 100] * 8, distinct=False)
    assert progress.begin(torch.empty(8, 1), np.arange(8)) == 4
    progress.reached(8)
    assert caplog.messages == ["8 of 8 frames (100 %), 4 frames/s, 400 bases/s"]


def test_what_it_tells_of_hears_the_same() -> None:
    class Heard(Progress):
        rows: list[int] = []  # noqa: RUF012

        def reached(self, rows: int) -> None:
            self.rows.append(rows)

    heard, result = Heard(), torch.zeros(3, 1)
    batches = [np.array([2]), np.array([0, 1])]
    assert len(list(Report(heard, ESM2, ["A"] * 3, distinct=False).remaining(result, batches))) == 2
    assert heard.rows == [1, 3]
