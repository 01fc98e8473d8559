"""The words with which a run ends, good or not: what is ready and where, what failed and why, and what to do."""

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tabulate import tabulate

from virnucflow.cli import one_line
from virnucflow.files.result_files import RUN_JSON, result_of
from virnucflow.overview.remarks import remarks_on_run

MOST_SAMPLES = 20  # rows of the table
MOST_WARNINGS = 20
MOST_FAILURES = 20  # that are described one by one
MOST_LINES = 5  # of a log
END_OF_LOG = 1 << 16  # bytes
LEAST_ROOM = 1 << 20  # bytes; with less a disk counts as full
TABLE = {"sample": "left", "sequences": "right", "scored": "right", "viral": "right", "gate": "left", "where": "left"}
NO_VALUE = "-"
BOLD, YELLOW, RED = 1, 33, 31  # of a terminal
NO_ROOM = ("No space left on device", "Disk quota exceeded")  # what the system says


class Failure(NamedTuple):
    """A job that failed for good: its sample, where it is of one, and its log, where it wrote one in this run."""

    rule: str
    sample: str | None = None
    log: Path | None = None


def closing_words(
    ready: Collection[str],
    failures: Sequence[Failure],
    unfinished: Collection[str],
    page: str | None = None,
    results: Path = Path("results"),
    colour: bool = False,
) -> str:
    """What to tell the user after a run.

    `ready` are the samples whose results are complete; `unfinished` those that were to be computed and are not. `page`
    is the page over all samples, where it is complete; then `results` has the table over all samples too.
    """
    words = describe_results(list(ready), results, page, colour)
    failures = sorted(failures, key=lambda failure: (failure.sample or "", failure.rule, str(failure.log)))
    ends = [last_lines(failure.log) if failure.log else [] for failure in failures]
    words += [painted(describe_failure(*pair), RED, colour) for pair in list(zip(failures, ends))[:MOST_FAILURES]]
    if more := failures[MOST_FAILURES:]:
        names = ", ".join(dict.fromkeys(failure.sample or failure.rule for failure in more))
        words.append(one_line(f"Failed as well: {names}; their logs are in logs/"))
    if waiting := [sample for sample in unfinished if sample not in {failure.sample for failure in failures}]:
        words.append(one_line(f"Not finished: {', '.join(waiting)}"))
    if older := [sample for sample in unfinished if result_of(results / sample, RUN_JSON).exists()]:
        words.append(one_line(f"Of an earlier run, and not of this one: what {results}/ has of {', '.join(older)}"))
    if full := full_disk([line for end in ends for line in end]):
        words.append(full)
    if failures or unfinished:
        words.append("Mend that and give the same command again: what is ready stays, only the rest is computed.")
    return "\n".join(words)


def describe_results(ready: Sequence[str], results: Path, page: str | None, colour: bool) -> list[str]:
    """A table of the first samples, what to beware of in any, and where all are."""
    if not ready:
        return []
    rows, notes = zip(*(describe_sample(results / sample) for sample in ready), strict=True)
    table = tabulate(rows[:MOST_SAMPLES], [*TABLE], "plain", colalign=[*TABLE.values()], disable_numparse=True)
    titles, *lines = map(str.rstrip, table.split("\n"))
    warnings = warnings_of(dict(zip(ready, notes, strict=True)))
    rest = results / "summary.tsv" if page else f"{results}/"
    words = [painted(titles, BOLD, colour), *lines]
    words += [f"{len(rows) - MOST_SAMPLES} more samples are in {rest}"] * (len(rows) > MOST_SAMPLES)
    words += [painted(warning, YELLOW, colour) for warning in warnings[:MOST_WARNINGS]]
    words += [f"{len(warnings) - MOST_WARNINGS} more warnings are in {rest}"] * (len(warnings) > MOST_WARNINGS)
    return [*words, f"All samples on one page: {page}"] if page else words


def warnings_of(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """What to beware of in the results of samples, each thing in a line with all samples that it is of."""
    samples_of: dict[str, list[str]] = {}
    for sample, its in notes.items():
        for note in its:
            samples_of.setdefault(note, []).append(sample)
    return [f"Warning: {one_line(', '.join(names), 80)}: {one_line(note)}" for note, names in samples_of.items()]


def describe_sample(folder: Path) -> tuple[list[str], list[str]]:
    """A sample's row of TABLE, and what to beware of in its results; all by its run.json."""
    path = result_of(folder, RUN_JSON)
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        counts, gate = run["counts"], run["divergence"]
        row = [f"{counts['sequences']:,}", share(counts["scored_chunks"], counts["chunks"]), f"{counts['virus']:,}"]
        row.append(describe_gate(gate) if gate else NO_VALUE)
        notes = remarks_on_run(run)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        row, notes = [NO_VALUE] * 4, [f"{path.name} cannot be read: {type(error).__name__}; delete it and run again"]
    return [folder.name, *row, f"{folder}/"], notes


def share(some: int, number: int) -> str:
    """How many of a number, in percent."""
    return f"{some / number:.1%}" if number else NO_VALUE


def describe_gate(gate: Mapping[str, Any]) -> str:
    """The gate's decision, and the share of labels on which it rests."""
    agreement = gate["frame_agreement"]["estimate"]
    return one_line(gate["decision"] if agreement is None else f"{gate['decision']} ({agreement:.2%} agree)")


def painted(text: str, code: int, colour: bool) -> str:
    """A text in a terminal's colour, where colours are wanted."""
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def describe_failure(failure: Failure, end: Sequence[str]) -> str:
    """A failed job, and why it failed."""
    where = f"{failure.sample}, in {failure.rule}" if failure.sample else failure.rule
    if not end:
        return f"Failed: {where}. It wrote no log: it was killed, or could not start; Snakemake says more above"
    return "\n    ".join([f"Failed: {where}. {failure.log} ends with:", *end])


def last_lines(log: Path) -> list[str]:
    """The line in which a program says why it stopped, or the last few of whatever else a log has."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - END_OF_LOG))
            text = file.read(END_OF_LOG).decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line for line in text.split("\n") if line.strip()]
    return list(map(one_line, lines[-1:] if lines and ": error: " in lines[-1] else lines[-MOST_LINES:]))


def full_disk(lines: Sequence[str], folder: Path = Path()) -> str:
    """That there is no room, where that is so: a program said it, or could not even say it."""
    free = shutil.disk_usage(folder).free
    if free < LEAST_ROOM or any(words in line for line in lines for words in NO_ROOM):
        return f"The disk is full: {free / 1e9:.1f} GB are free in {folder.absolute()}; make room"
    return ""
