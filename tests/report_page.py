"""What the page over all samples says, and what it may say by the tables of the samples."""

import csv
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from virnucflow.files.result_files import (
    CHUNKS_TSV,
    DIVERGENCE_TSV,
    PREDICTIONS_TXT,
    REGIONS_TSV,
    RUN_JSON,
    SEQUENCES_TSV,
    result_of,
)
from virnucflow.overview.page import MOST_GATES_DRAWN, MOST_SAMPLES_DRAWN, MOST_SEQUENCES

FIELDS = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
NO_VALUE = "\N{EN DASH}"
OUTSIDE = ("style", "script", "svg", "title", "code", "data", "dt")  # whose text is not the page's own
VOID = ("meta", "input", "br")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, **FIELDS))


class Page(HTMLParser):
    """What is on a page: its numbers, its rows by table, its other text, and what its elements refer to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.numbers: list[tuple[str, str, str]] = []  # of what, exactly, and as shown
        self.rows: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self.links: list[str] = []
        self.warnings: list[tuple[str, str]] = []
        self.marks: list[Counter[str]] = []  # of each figure, by colour
        self._open: list[tuple[str, dict[str, Any]]] = []
        self.feed(path.read_text())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.links += [value for name, value in attributes if name.endswith(("href", "src", "action"))]
        if tag == "table":
            self.rows[given["id"]] = []
        if tag == "tr":
            self._table().append([])
        if tag in ("td", "th"):
            self._table()[-1].append("")
        if tag == "svg":
            self.marks.append(Counter())
        if tag == "use":
            self.marks[-1][given.get("style", "")] += 1
        if tag not in VOID:
            self._open.append((tag, given))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag, (tag, self.getpos())

    def handle_data(self, text: str) -> None:
        tags = [tag for tag, _ in self._open]
        given = self._open[-1][1] if self._open else {}
        if tags[-1:] == ["data"]:
            self.numbers.append((given["data-of"], given["value"], text))
        elif "data-warning-of" in given:
            self.warnings.append((given["data-warning-of"], text))
        elif not set(tags) & set(OUTSIDE) and "citations" not in [one.get("id") for _, one in self._open]:
            self.texts.append(text)
        if {"td", "th"} & set(tags):
            self._table()[-1][-1] += given["value"] if tags[-1] == "data" else text.strip()

    def _table(self) -> list[list[str]]:
        return self.rows[next(given["id"] for tag, given in reversed(self._open) if tag == "table")]


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for key, part in value.items() for pair in flat(part, f"{name}.{key}" if name else key)]
    if isinstance(value, list):
        return [pair for part in value for pair in flat(part, name)]
    return [] if value is None else [(name, str(value))]


def known_numbers(folder: Path, samples: list[str]) -> dict[str, set[str]]:
    """All that a page may say, by what it is of, from the tables of the samples."""
    known: dict[str, set[str]] = {"samples": {str(len(samples))}, "gated": {"0"}}
    totals: Counter[str] = Counter()

    def say(name: str, value: object) -> None:
        known.setdefault(name, set()).add("" if value in (None, "") else str(value))

    compared, timed = 0, Counter[str]()
    for sample in samples:
        of_sample = folder / sample
        sequences, chunks, frames, regions = (
            read(result_of(of_sample, name)) for name in (SEQUENCES_TSV, CHUNKS_TSV, PREDICTIONS_TXT, REGIONS_TSV)
        )
        run = json.loads(result_of(of_sample, RUN_JSON).read_text())
        calls = Counter(row["call"] for row in sequences)
        one = {
            "sequences": len(sequences),
            "bases": sum(int(row["length"]) for row in sequences),
            "chunks": len(chunks),
            "scored_chunks": sum(row["call"] != "" for row in chunks),
            "frames": sum(int(row["frames"]) for row in sequences),
            "virus_by_one_chunk": sum(row["call"] == "virus" and row["scored_chunks"] == "1" for row in sequences),
            "chunks_by_longest": sum(row["kind"] == "longest" for row in chunks),
            "regions": len(regions),
            "regions_within": sum(is_within(row) for row in regions),
        }
        for name, number in one.items():
            totals[name] += number
            say(f"{sample}.{name}", number)
        for call in ("virus", "others", ""):
            totals[f"calls.{call}"] += calls[call]
            totals[f"of_chunks.{call}"] += sum(row["call"] == call for row in chunks)
            say(f"{sample}.{call or 'uncalled'}", calls[call])
        totals.update(f"uncalled.{row['status']}" for row in sequences if row["call"] == "")
        say(f"{sample}.called", calls["virus"] + calls["others"])
        say(f"{sample}.scored_share", one["scored_chunks"] / one["chunks"])
        for row in sequences:
            for column in ("length", "scored_chunks", "viral_chunks", "viral_fraction", "score", "best_score"):
                say(f"{sample}/{row['sequence_id']}.{column}", row[column])
            own = [chunk for chunk in chunks if chunk["sequence_id"] == row["sequence_id"]]
            say(f"{sample}/{row['sequence_id']}.chunks_by_longest", sum(chunk["kind"] == "longest" for chunk in own))
            of_sequence = [region for region in regions if region["sequence_id"] == row["sequence_id"]]
            say(f"{sample}/{row['sequence_id']}.regions", len(of_sequence))
            for region in filter(is_within, of_sequence):
                for column in ("start", "end", "length", "scored_chunks", "score", "lower", "upper"):
                    say(f"{sample}/{row['sequence_id']}.region.{column}", region[column])
            names = [frame["Sequence_ID"].rpartition("_chunk_")[0] for frame in frames]
            say(f"{sample}/{row['sequence_id']}.whole_frames", names.count(row["sequence_id"]))
        gate = run["divergence"]
        if gate:
            for name, key in (("agreement", "estimate"), ("agreement_lower", "lower"), ("agreement_upper", "upper")):
                say(f"{sample}.{name}", gate["frame_agreement"][key])
            say(f"{sample}.compared_frames", gate["frames"])
            say(f"{sample}.frames", gate["run_frames"])
            table = read(result_of(of_sample, DIVERGENCE_TSV))
            fast, reference = ([float(row[f"score_virus_{path}"]) for row in table] for path in ("fast", "reference"))
            say(f"{sample}.gate.frames", len(table))
            flipped = sum(row["prediction_fast"] != row["prediction_reference"] for row in table)
            say(f"{sample}.gate.flipped", flipped)
            if table:
                compared += 1
                say(f"{sample}.gate.correlation", np.corrcoef(fast, reference)[0, 1])
        else:
            say(f"{sample}.agreement", None)
        for name, value in flat(run):
            say(name, value)
        its = run.get("device_minutes") or {}
        minutes = sum(its.values()) if its else None
        say(f"{sample}.device_minutes", minutes)
        say(f"{sample}.bases_per_minute", one["bases"] / minutes if its else None)
        for encoder in ("dnabert_s", "esm2"):
            say(f"{sample}.minutes.{encoder}", its.get(encoder))
            timed[encoder] += its.get(encoder, 0)
        timed["minutes"] += minutes or 0
        timed["bases"] += one["bases"] if its else 0
        for file in run["inputs"]:
            say("input.bytes", file["bytes"])
    for name, number in totals.items():
        say(f"total.{name}", number)
    say("total.scored_share", totals["scored_chunks"] / totals["chunks"])
    say("timed.minutes", timed["minutes"])
    for encoder in ("dnabert_s", "esm2"):
        say(f"timed.minutes.{encoder}", timed[encoder])
    say("timed.bases_per_minute", timed["bases"] / timed["minutes"] if timed["minutes"] else None)
    say("drawn.lengths", totals["calls.virus"] + totals["calls.others"])
    say("shown.viral", min(MOST_SEQUENCES, totals["calls.virus"]))
    say("shown.regions", min(MOST_SEQUENCES, totals["regions_within"]))
    known["gated"] = {str(compared)}
    known["drawn.samples"], known["drawn.gates"] = {str(MOST_SAMPLES_DRAWN)}, {str(MOST_GATES_DRAWN)}
    return known


def is_within(region: dict[str, str]) -> bool:
    """Whether a region is a part of its sequence, and not all of it."""
    return (region["start"], region["end"]) != ("1", region["length"])


def assert_numbers_are_known(folder: Path, samples: list[str]) -> Page:
    """Each number is one of the tables', and is shown as it is; and there is no number besides, but in names."""
    read_page, known = Page(folder / "report.html"), known_numbers(folder, samples)
    assert read_page.numbers
    for name, value, shown in read_page.numbers:
        assert name in known, name
        one_of = known[name]
        assert value in one_of or any(is_same(value, other) for other in one_of), (name, value, one_of)
        assert is_shown(value, shown), (name, value, shown)
    words = " ".join(read_page.texts)
    names = {"95 %", "VirNucPro v1", "ESM-2", "SHA-256", *samples}
    for sample in samples:
        names |= {row["sequence_id"] for row in read(result_of(folder / sample, SEQUENCES_TSV))}
        run = json.loads(result_of(folder / sample, RUN_JSON).read_text())
        names |= {how["device"] for how in run["dnabert_s"] + run["esm2"]}
    for name in sorted(names, key=len, reverse=True):
        words = words.replace(name, "")
    assert re.findall(r"\S*\d\S*", words) == []
    return read_page


def is_same(value: str, other: str) -> bool:
    try:
        return bool(np.isclose(float(value), float(other), rtol=1e-12))
    except ValueError:
        return False


def is_shown(value: str, shown: str) -> bool:
    """A share or a score is shown rounded; everything else as it is."""
    if value == "":
        return shown == NO_VALUE
    plain = shown.replace(",", "")
    if plain == value:
        return True
    digits = len(plain.rstrip("%").partition(".")[2])
    number = float(value) * (100 if plain.endswith("%") else 1)
    return abs(float(plain.rstrip("%")) - number) <= 0.5 * 10**-digits + 1e-12
