"""How far an encoder is: the line that it logs, and what is read back of it."""

import pytest

from virnucflow.files.progress import Reached, describe, in_time, read_progress


def test_line_is_read_back() -> None:
    first, last = Reached(12_345, 100_000, 690.4), Reached(100_000, 100_000, 700)
    log = "".join(
        f"embed_esm2.py: info: {line}\n"
        for line in (
            "100000 frames, esm2, attention flash, fp16 on cuda",
            describe(first, "105,000 tokens/s", 127.2),
            describe(last, "105,000 tokens/s", 0),
            describe(Reached(0, 5, 0.2), "1 tokens/s", 100),
        )
    )
    assert "12,345 of 100,000 frames (12 %), 690 frames/s, 105,000 tokens/s, 2 min left\n" in log
    assert "100,000 of 100,000 frames (100 %), 700 frames/s, 105,000 tokens/s\n" in log
    assert read_progress(log) == [Reached(100_000, 100_000, 700), Reached(0, 5, 0)]
    assert read_progress(log.partition("100,000 of 100,000")[0]) == [Reached(12_345, 100_000, 690)]
    assert read_progress("") == []


@pytest.mark.parametrize(
    "seconds, said", [(0, "0 s"), (99, "99 s"), (127, "2 min"), (5940, "99 min"), (9000, "2 h 30 min")]
)
def test_time(seconds: float, said: str) -> None:
    assert in_time(seconds) == said
