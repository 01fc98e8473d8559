"""The words with which a run ends."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from planning import closing
from planning.closing import MOST_FAILURES, MOST_SAMPLES, MOST_WARNINGS, Failure, closing_words
from virnucflow.cli import MOST_LETTERS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


GATE = {"decision": "validate", "message": "labels of 97 % agree", "attention": "flash"}
GATE |= {"frame_agreement": {"estimate": None}}
COUNTS = {"sequences": 1234, "chunks": 8, "scored_chunks": 6, "frames": 7, "rna_sequences": 0, "status": {"ok": 2}}
COUNTS |= {"virus": 2, "virus_by_one_chunk": 0}
TITLES = "sample      sequences    scored    viral  gate    where"
ROW = "a               1,234     75.0%        2  -       results/a/"


def publish(sample: str, counts: dict[str, object] | None = None, **differing: object) -> None:
    run = {"model": "lite", "trained": True, "divergence": None, "settings": {"rna": "as_dna"}}
    run["counts"] = COUNTS | (counts or {})
    Path("results", sample).mkdir(parents=True)
    Path("results", sample, f"{sample}.run.json").write_text(json.dumps(run | differing))


def failed(sample: str | None, text: str | None, rule: str = "predict") -> Failure:
    if text is None:
        return Failure(rule, sample)
    log = Path("logs", rule, f"{sample}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(text)
    return Failure(rule, sample, log)


def test_run_in_which_all_is_well() -> None:
    agreement = {"estimate": 0.998, "lower": 0.99, "upper": 1.0}
    publish("a")
    publish("long_name", {"sequences": 0}, divergence=GATE | {"decision": "accept", "frame_agreement": agreement})
    assert closing_words([], [], []) == ""
    assert closing_words(["a"], [], []).splitlines() == [TITLES, ROW]
    words = closing_words(["a", "long_name"], [], [], "results/report.html")
    assert words.splitlines()[:3] == [
        "sample       sequences    scored    viral  gate                   where",
        "a                1,234     75.0%        2  -                      results/a/",
        "long_name            0     75.0%        2  accept (99.80% agree)  results/long_name/",
    ]
    assert words.splitlines()[-1] == "All samples on one page: results/report.html"


def test_many_samples_are_cut_with_a_word_where_the_rest_is() -> None:
    """What is to beware of is said of every one."""
    names = [f"s{number:03}" for number in range(300)]
    for name in names:
        publish(name, {"rna_sequences": int(name == "s299")}, trained=False)
    lines = closing_words(names, [], [], "results/report.html").splitlines()
    assert [line.split()[0] for line in lines[: MOST_SAMPLES + 1]] == ["sample", *names[:MOST_SAMPLES]]
    assert lines[MOST_SAMPLES + 1] == f"{300 - MOST_SAMPLES} more samples are in results/summary.tsv"
    (model, rna) = lines[MOST_SAMPLES + 2 : -1]
    assert model.startswith("Warning: s000, s001, ") and model.endswith(
        "s299: model lite is untrained: these results mean nothing"
    )
    assert rna == "Warning: s299: sequences with U, read as T: 1" and max(map(len, lines)) < 200
    assert "more samples are in results/\n" in closing_words(names, [], []), "there is no summary"


def test_many_warnings_are_cut_with_a_word_where_the_rest_is() -> None:
    for number in range(MOST_WARNINGS + 5):
        publish(f"s{number}", {"rna_sequences": number + 1})
    lines = closing_words(
        [f"s{number}" for number in range(MOST_WARNINGS + 5)], [], [], "results/report.html"
    ).splitlines()
    assert sum(line.startswith("Warning: ") for line in lines) == MOST_WARNINGS
    assert lines[-2] == "5 more warnings are in results/summary.tsv"


def test_colours_are_for_terminals() -> None:
    publish("a", trained=False)
    failures = [failed("b", "x.py: error: bad\n")]
    plain, painted = (closing_words(["a"], failures, ["b"], colour=colour) for colour in (False, True))
    assert "\x1b" not in plain and re.sub(r"\x1b\[\d+m", "", painted) == plain
    assert "\x1b[33mWarning: a: " in painted and "\x1b[31mFailed: b, " in painted


def test_failed_run_says_what_is_ready_what_failed_and_why() -> None:
    publish("good")
    reason = "predict.py: error: pack/pack.json: damaged; restore the pack"
    words = closing_words(["good"], [failed("bad", f"predict.py: info: begun\n{reason}\n")], ["bad", "waits"])
    assert words.splitlines() == [
        TITLES,
        "good            1,234     75.0%        2  -       results/good/",
        "Failed: bad, in predict. logs/predict/bad.log ends with:",
        f"    {reason}",
        "Not finished: waits",
        "Mend that and give the same command again: what is ready stays, only the rest is computed.",
    ]


def test_of_a_log_without_an_error_line_the_last_lines_are_told() -> None:
    words = closing_words([], [failed(None, "\n".join(map(str, range(100000))), "train_classifier")], [])
    assert words.splitlines()[:-1] == [
        "Failed: train_classifier. logs/train_classifier/None.log ends with:",
        *(f"    {number}" for number in range(99995, 100000)),
    ]


@pytest.mark.parametrize("text", [None, "", "\n\n"])
def test_job_that_wrote_nothing(text: str | None) -> None:
    assert closing_words([], [failed("a", text)], ["a"]).startswith(
        "Failed: a, in predict. It wrote no log: it was killed"
    )


def test_results_of_an_earlier_run_are_told_from_those_of_this_one() -> None:
    publish("a")
    words = closing_words([], [failed("a", "x.py: error: bad\n")], ["a", "b"])
    assert "Of an earlier run, and not of this one: what results/ has of a" in words.splitlines()


def test_whatever_a_log_holds_is_printed_on_short_lines_without_control_characters() -> None:
    words = closing_words([], [failed("a", "x.py: error: \x1b]0;owned\x07\x9b2J " + "A\x07" * 10**4)], ["a"])
    line = words.splitlines()[1]
    assert r"\x1b]0;owned\x07\x9b2J" in line and len(line) < MOST_LETTERS + 100
    assert all(letter.isprintable() for line in words.splitlines() for letter in line)


def test_many_failures_are_counted_in_few_lines() -> None:
    words = closing_words([], [failed(f"s{i:04}", "x.py: error: bad\n") for i in range(5000)], [])
    assert words.count("error: bad") == MOST_FAILURES and len(words) < 5000
    assert words.splitlines()[2 * MOST_FAILURES].startswith(f"Failed as well: s{MOST_FAILURES:04}, ")


def test_full_disk_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    words = closing_words([], [failed("a", "x.py: error: [Errno 28] No space left on device: 'work/a/x'\n")], ["a"])
    assert f" GB are free in {folder}; make room" in words and "The disk is full" in words
    assert "disk" not in closing_words([], [failed("a", "")], ["a"])
    # Where not even the log could be written.
    monkeypatch.setattr(closing.shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    assert "The disk is full: 0.0 GB are free" in closing_words([], [failed("a", "")], ["a"])


@pytest.mark.parametrize(
    "run, said",
    [
        ({}, ""),
        ({"trained": False, "model": "mine"}, "model mine is untrained: these results mean nothing"),
        ({"divergence": GATE}, "validate: labels of 97 % agree; published are those of attention flash"),
        ({"divergence": GATE | {"decision": "nothing to compare"}}, "the gate: nothing to compare"),
        ({"counts": {"sequences": 0, "chunks": 0, "scored_chunks": 0, "frames": 0}}, "no sequence in its files"),
        ({"counts": {"scored_chunks": 0, "frames": 0}}, "no frame without a stop codon, so nothing was scored"),
        ({"counts": {"scored_chunks": 0, "status": {"short": 4}}}, "no sequence is long enough for a call"),
        ({"counts": {"status": {"ok": 0, "partly": 1, "short": 3}}}, ""),
        ({"counts": {"scored_chunks": 4}}, ""),
        ({"counts": {"scored_chunks": 3}}, "chunks without a call: 5 of 8"),
        ({"counts": {"virus_by_one_chunk": 1}}, "called virus by a single chunk: 1 of 2"),
        ({"counts": {"rna_sequences": 2}}, "sequences with U, read as T: 2"),
    ],
)
def test_what_to_beware_of(run: dict[str, object], said: str) -> None:
    publish("a", **run)
    assert closing_words(["a"], [], []).splitlines()[2:] == ([f"Warning: a: {said}"] if said else [])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"counts": {}}', "null", '{"trained": true, "divergence": 3}', "[" * 100000, "\xff"]
)
def test_damaged_run_json_is_told_in_one_line(text: str) -> None:
    publish("a")
    Path("results/a/a.run.json").write_text(text, encoding="latin-1")
    words = closing_words(["a"], [], [])
    row, warning = words.splitlines()[1:]
    assert row.split() == ["a", "-", "-", "-", "-", "results/a/"]
    assert warning.startswith("Warning: a: a.run.json cannot be read: ")
