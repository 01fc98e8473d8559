"""The words with which a run ends."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from planning import closing
from planning.closing import MOST_FAILURES, Failure, closing_words
from virnucflow.cli import MOST_LETTERS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def publish(sample: str, **differing: object) -> None:
    run = {"model": "lite", "trained": True, "divergence": None, "settings": {"rna": "as_dna"}}
    run["counts"] = {"sequences": 3, "frames": 7, "rna_sequences": 0, "status": {"ok": 2}}
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
    publish("a")
    publish("b")
    assert closing_words(["a", "b"], [], []) == "Results of a: results/a/\nResults of b: results/b/"
    assert closing_words([], [], []) == ""
    words = closing_words(["a"], [], [], "results/report.html")
    assert words == "Results of a: results/a/\nAll samples on one page: results/report.html"


def test_failed_run_says_what_is_ready_what_failed_and_why() -> None:
    publish("good")
    reason = "predict.py: error: pack/pack.json: damaged; restore the pack"
    words = closing_words(["good"], [failed("bad", f"predict.py: info: begun\n{reason}\n")], ["bad", "waits"])
    assert words.splitlines() == [
        "Results of good: results/good/",
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


GATE = {"decision": "validate", "message": "labels of 97 % agree", "attention": "flash"}


@pytest.mark.parametrize(
    "run, said",
    [
        ({"trained": False, "model": "mine"}, "model mine is untrained: these results mean nothing"),
        ({"divergence": GATE}, "validate: labels of 97 % agree; published are those of attention flash"),
        ({"divergence": GATE | {"decision": "nothing to compare"}}, "the gate: nothing to compare"),
        ({"counts": {"sequences": 0, "frames": 0}}, "no sequence in its files"),
        ({"counts": {"sequences": 4, "frames": 0}}, "no frame without a stop codon, so nothing was scored"),
        ({"counts": {"sequences": 4, "frames": 5, "status": {"short": 4}}}, "no sequence is long enough for a call"),
        ({"counts": {"sequences": 4, "frames": 5, "status": {"ok": 0, "partly": 1, "short": 3}}}, ""),
        ({"counts": {"sequences": 4, "frames": 5, "rna_sequences": 2}}, "sequences with U, read as T: 2"),
        ({"counts": {}}, ""),
    ],
)
def test_what_to_beware_of(run: dict[str, object], said: str) -> None:
    publish("a", **run)
    assert closing_words(["a"], [], []) == f"Results of a: results/a/{f' ({said})' if said else ''}"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"trained": true, "divergence": 3}', "[" * 100000, "\xff"])
def test_damaged_run_json_is_told_in_one_line(text: str) -> None:
    publish("a")
    Path("results/a/a.run.json").write_text(text, encoding="latin-1")
    words = closing_words(["a"], [], [])
    assert words.startswith("Results of a: results/a/ (a.run.json cannot be read: ") and len(words.splitlines()) == 1
