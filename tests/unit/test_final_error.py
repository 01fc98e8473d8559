"""What is wrong with the input is said once, and not tried again."""

from pathlib import Path

import pytest
from helpers import start_program, with_digest

from virnucflow import final_error


def chunks(folder: Path, text: str) -> None:
    (folder / "chunks.fa").write_text(text)
    with_digest(folder / "chunks.fa")


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An attempt at a job of translate_frames whose input is bad; what it says."""
    chunks(tmp_path, "no chunk\n")

    def run(number: int, *options: str, code: int = 2) -> str:
        monkeypatch.setenv(final_error.ATTEMPT, str(number))
        monkeypatch.setenv(final_error.MARK, str(tmp_path / "log.final"))
        frames = ("--chunks", tmp_path / "chunks.fa", "--frames", tmp_path / "frames.parquet")
        return start_program("translate_frames", *frames, *options, code=code)

    return run


def test_second_attempt_ends_with_what_the_first_said_without_reading(attempt, tmp_path: Path) -> None:
    said = attempt(1)
    mark = tmp_path / "log.final"
    mark.write_text(mark.read_text().replace("not a header", "NOT A HEADER"))
    assert attempt(2) == said.replace("not a header", "NOT A HEADER") != said


def test_mended_input_is_tried_again(attempt, tmp_path: Path) -> None:
    attempt(1)
    chunks(tmp_path, ">a_chunk_1\nGCCGCAGCT\n")
    attempt(2, code=0)
    assert (tmp_path / "frames.parquet").exists()


def test_next_run_begins_anew(attempt, tmp_path: Path) -> None:
    said = attempt(1)
    mark = tmp_path / "log.final"
    mark.write_text(mark.read_text().replace("not a header", "NOT A HEADER"))
    assert attempt(1) == said


def test_other_failures_leave_no_mark(attempt, tmp_path: Path) -> None:
    chunks(tmp_path, ">a_chunk_1\nGCCGCAGCT\n")
    (tmp_path / "frames.parquet").mkdir()
    (tmp_path / "frames.parquet" / "file").touch()
    attempt(1, code=1)
    assert not (tmp_path / "log.final").exists()


def test_another_argument_is_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(final_error.MARK, str(tmp_path / "mark"))
    for number, words, expected in (
        (1, ["--threads", "2", "--frames", "a"], None),
        (2, ["--threads", "2", "--frames", "a"], "bad"),
        (2, ["--threads", "2", "--frames", "b"], None),
    ):
        monkeypatch.setattr("sys.argv", ["program.py", *words])
        monkeypatch.setenv(final_error.ATTEMPT, str(number))
        final_error._digest.cache_clear()
        assert final_error.of_an_earlier_attempt() == expected
        if number == 1:
            final_error.leave("bad")


def test_without_a_place_for_it_there_is_no_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(final_error.MARK, raising=False)
    final_error.leave("bad")
    assert final_error.of_an_earlier_attempt() is None
    monkeypatch.setenv(final_error.MARK, str(tmp_path / "absent" / "mark"))
    final_error.leave("bad")
    monkeypatch.setenv(final_error.ATTEMPT, "2")
    assert final_error.of_an_earlier_attempt() is None
