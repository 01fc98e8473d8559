"""The table and the page over all samples: every number is one of the samples' tables, and the page stands alone."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import REPOSITORY, error_line, run_program
from report_page import NO_VALUE, Page, assert_numbers_are_known, known_numbers, read

from virnucflow.files.result_files import (
    CHUNKS_TSV,
    DIVERGENCE_TSV,
    REGIONS_TSV,
    RUN_JSON,
    SEQUENCES_TSV,
    result_of,
)
from virnucflow.files.tables import write_tsv
from virnucflow.overview import page
from virnucflow.overview.page import MOST_SAMPLES_DRAWN, MOST_SEQUENCES, MOST_SEQUENCES_DRAWN

SAMPLES = ["viral", "cellular"]


# A sample's sequences, each with the best scores of its chunks: None where a chunk has no frame. Above 2, scored by the
# longest stretch, by 2 less.
VIRAL: dict[str, list[float | None]] = {
    "contig_1": [0.9, 0.8, 2.7, 0.2],
    "contig_2": [0.75],
    "<b>&\"odd'": [0.6, None, 0.95],
    "NA": [0.1, 0.3],
    "stops": [None, None],
    "host": [0.1, 0.2, 0.85, None, 0.99, 0.1, 0.1, 0.6, 0.1],
}
CELLULAR: dict[str, list[float | None]] = {f"c{i}": [i / 40, 2 + i / 50, 0.01] for i in range(15)}
EMPTY: dict[str, list[float | None]] = {"nothing": [], "stop": [None]}


def regions_of(length: int, chunks: list[list]) -> list[list]:
    """A region for each run of viral chunks (start, end, call) of a sequence."""
    regions: list[list] = []
    for before, chunk in zip([None, *chunks], chunks, strict=False):
        _, n, start, end, _, _, score, call, _ = chunk
        if call == "virus" and before and before[7] == "virus":
            regions[-1][4:7] = [end, regions[-1][5] + 1, max(score, regions[-1][6])]
        elif call == "virus":
            regions.append([chunk[0], length, f"region_{n}", start, end, 1, score, 0.25, 0.875])
    return regions


def publish(
    folder: Path, sample: str, sequences: dict[str, list[float | None]], scored: bool = True, gated: bool = True
) -> None:
    """The published files of a sample, as write_results.py and compare_attention.py write them."""
    chunks, rows, frames, regions = [], [], [], []
    for name, scores in sequences.items():
        of_sequence = []
        for n, given in enumerate(scores, start=1):
            kind = "" if given is None else "longest" if given >= 2 else "whole"
            score = np.nan if given is None else given % 2
            call = "" if given is None else "virus" if score >= 0.5 else "others"
            of_sequence.append([name, n, 450 * n - 449, 450 * n + 50, int(given is not None), kind, score, call, "ok"])
            if kind == "whole":
                frames.append([f"{name}_chunk_{n}{'FR'[n % 2]}{n % 3 + 1}", call, 1 - score, score])
        chunks += of_sequence
        length = 450 * len(scores) + 50 * bool(scores)
        regions += regions_of(length, of_sequence) if scored else []
        counted = [row for row in of_sequence if row[7]]
        viral = sum(row[7] == "virus" for row in counted)
        call = "" if not counted else "virus" if 2 * viral >= len(counted) else "others"
        values = [viral / len(counted), np.mean([row[6] for row in counted]).round(4)] if counted else [np.nan, np.nan]
        best = max((row[6] for row in counted), default=np.nan)
        status = ("ok" if len(counted) == len(scores) else "partly") if counted else "no_frame" if scores else "empty"
        row = [name, length, len(scores), len(counted), viral, best, call, status]
        rows.append([*row, len(counted), values[0], values[1] if scored else np.nan, 0.25, "one_chunk"])
    of_chunks = ["sequence_id", "chunk", "start", "end", "frames", "kind", "best_score", "call", "status"]
    of_sequences = [
        "sequence_id",
        "length",
        "chunks",
        "frames",
        "viral_chunks",
        "best_score",
        "call",
        "status",
        "scored_chunks",
    ]
    of_sequences += ["viral_fraction", "score", "lower", "evidence"]  # the last two are not read
    folder = folder / sample
    folder.mkdir(parents=True)
    write_tsv(pd.DataFrame(rows, columns=of_sequences), result_of(folder, SEQUENCES_TSV))
    write_tsv(pd.DataFrame(chunks, columns=of_chunks), result_of(folder, CHUNKS_TSV))
    of_regions = ["sequence_id", "length", "region", "start", "end", "scored_chunks", "score", "lower", "upper"]
    write_tsv(pd.DataFrame(regions, columns=of_regions), result_of(folder, REGIONS_TSV))
    columns = ["Sequence_ID", "Prediction", "score1", "score2"]
    write_tsv(pd.DataFrame(frames, columns=columns), folder / "prediction_results.txt")
    reference = np.array([frame[3] for frame in frames])
    fast = np.clip(reference + np.linspace(-0.11, 0.02, len(frames)), 0, 1)
    labels = [np.where(scores >= 0.5, "virus", "others") for scores in (fast, reference)]
    compared = {"score_virus_fast": fast, "prediction_fast": labels[0]}
    compared |= {"score_virus_reference": reference, "prediction_reference": labels[1]}
    if gated:
        (folder / "divergence").mkdir()
        write_tsv(pd.DataFrame(compared), result_of(folder, DIVERGENCE_TSV))
    same = float((labels[0] == labels[1]).mean()) if frames else None
    statuses = Counter(row[7] for row in rows)
    number = {"frames": len(frames), "run_frames": len(frames) + 3 if frames else 0}
    around = {"lower": same and same - 0.0123, "upper": same and min(1, same + 0.01)}
    gate = {"decision": "validate", "attention": "flash", "message": "labels of 80 % agree", **number}
    gate |= {"frame_agreement": {"estimate": same, **around}}
    how = {"precision": "fp16", "device": "NVIDIA H200", "kernel": "triton"}
    run = {
        "sample": sample,
        "inputs": [{"path": f"{sample}.fa", "sha256": "a" * 64, "bytes": 12345}],
        "settings": {"chunk_length": 500, "min_residues": 30, "rna": "as_dna", "gate": {"accept": 0.99}},
        "counts": {
            "sequences": len(rows),
            "chunks": len(chunks),
            "scored_chunks": sum(row[8] for row in rows),
            "frames": sum(row[3] for row in rows),
            "rna_sequences": 2 if sample == "viral" else 0,
            "status": dict(statuses),
            "virus": sum(row[6] == "virus" for row in rows),
            "virus_by_one_chunk": sum(row[6] == "virus" and row[8] == 1 for row in rows),
            "regions": len(regions),
        },
        "device_minutes": {"dnabert_s": 0.25, "esm2": 61.125}
        if sample == "viral"
        else {"dnabert_s": 1.5, "esm2": 0.001},
        "model": "lite",
        "trained": True,
        "calibration": {"sequences": {"scale": 1.0}} if scored else None,
        "attention": "flash",
        "pack_sha256": {"esm2.safetensors": "e" * 64},
        "dnabert_s": [how],
        "esm2": [how, how | {"device": "cpu"}],
        "divergence": gate if gated else None,
        "workflow": {"version": "0.1.0", "commit": "b" * 40, "changed": False},
        "versions": {"python": "3.11.7", "snakemake": "9.27.1", "torch": "2.13.0"},
    }
    result_of(folder, RUN_JSON).write_text(json.dumps(run))


def summarize(folder: Path, *samples: str, code: int = 0) -> str:
    outputs = ["--summary", folder / "summary.tsv", "--page", folder / "report.html"]
    citation = ["--citation", REPOSITORY / "CITATION.cff"]
    return run_program("summarize", "--results", folder, "--samples", *samples, *citation, *outputs, code=code)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    publish(tmp_path, "viral", VIRAL)
    publish(tmp_path, "cellular", CELLULAR, gated=False)
    return tmp_path


def test_every_number_of_the_page_is_in_the_tables(results: Path) -> None:
    summarize(results, *SAMPLES)
    page_ = assert_numbers_are_known(results, SAMPLES)
    assert [row[0] for row in page_.rows["table-samples"]] == ["sample", *SAMPLES]
    viral = [row for row in read(results / "viral" / "viral.sequences.tsv") if row["call"] == "virus"]
    surest = sorted(viral, key=lambda row: (-float(row["score"]), -int(row["scored_chunks"])))
    assert [row[0] for row in page_.rows["table-viral"]] == ["sequence", *(row["sequence_id"] for row in surest)]
    assert page_.warnings == [
        ("viral", "validate: labels of 80 % agree; published are those of attention flash"),
        ("viral", "sequences with U, read as T: 2"),
        ("viral", "called virus by a single chunk: 1 of 3"),
    ]


def test_along_a_sequence_every_whole_frame_has_its_dot(results: Path) -> None:
    summarize(results, *SAMPLES)
    page_ = Page(results / "report.html")
    frames = Counter(
        row["Sequence_ID"].rpartition("_chunk_")[0] for row in read(results / "viral" / "prediction_results.txt")
    )
    drawn = [*(row[0] for row in page_.rows["table-viral"][1:]), "host"]
    figures = page_.marks[-1 - len(drawn) : -1]  # before that of the gate
    dots = [
        sum(number for style, number in marks.items() if "--virus" in style or "--others" in style) for marks in figures
    ]
    assert dots == [frames[name] for name in drawn] and sum(dots) > 0


def test_regions_within_longer_sequences_are_listed_and_drawn(results: Path) -> None:
    summarize(results, *SAMPLES)
    page_ = Page(results / "report.html")
    regions = read(result_of(results / "viral", REGIONS_TSV))
    within = [row for row in regions if row["sequence_id"] != "contig_2"]
    columns = ("sequence_id", "start", "end", "length", "scored_chunks", "score", "lower", "upper")
    surest = sorted(within, key=lambda row: (-float(row["score"]), -int(row["scored_chunks"])))
    assert len(surest) > 3
    listed = page_.rows["table-regions"][1:]
    assert [[row[0], *row[2:]] for row in listed] == [[row[name] for name in columns] for row in surest]
    # All of these sequences are drawn, with a region in either part of the picture.
    assert (results / "report.html").read_text().count("opacity: 0.15") == 2 * len(regions)
    numbers = {name: value for name, value, _ in page_.numbers}
    assert numbers["total.regions"] == str(len(regions)) and numbers["viral/host.regions"] == "3"
    assert [row["regions"] for row in read(results / "summary.tsv")] == [str(len(regions)), "0"]


def test_summary_has_a_row_for_each_sample(results: Path) -> None:
    summarize(results, *reversed(SAMPLES))
    cellular, viral = read(results / "summary.tsv")
    known = known_numbers(results, SAMPLES)
    for row in (cellular, viral):
        for column in ("sequences", "bases", "chunks", "scored_chunks", "scored_share", "virus", "others", "uncalled"):
            assert known[f"{row['sample']}.{column}"] == {row[column]}, column
    assert (cellular["sample"], cellular["gate"], cellular["agreement"], cellular["warnings"]) == (
        "cellular",
        "",
        "",
        "",
    )
    assert viral["virus"] == "3" and viral["uncalled"] == "1" and viral["virus_by_one_chunk"] == "1"
    gate = json.loads((results / "viral" / "viral.run.json").read_text())["divergence"]["frame_agreement"]
    assert [float(viral[f"agreement{name}"]) for name in ("", "_lower", "_upper")] == list(gate.values())
    assert viral["gate"] == "validate" and viral["device"] == "NVIDIA H200, cpu" and viral["model"] == "lite"
    assert "; sequences with U, read as T: 2; called virus by" in viral["warnings"]
    assert (viral["device_minutes"], cellular["device_minutes"]) == ("61.375", "1.501")


def test_what_devices_were_held_for_is_told_or_that_it_is_not_known(results: Path) -> None:
    """Bases a minute are of those samples alone that say their minutes."""
    path = results / "cellular" / "cellular.run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device_minutes": None}))
    summarize(results, *SAMPLES)
    page_ = assert_numbers_are_known(results, SAMPLES)
    viral, cellular = read(results / "summary.tsv")
    shown = {name: shown for name, _, shown in page_.numbers}
    assert (shown["viral.device_minutes"], shown["cellular.device_minutes"]) == ("61.38", NO_VALUE)
    assert shown["timed.minutes"] == "61.38" and cellular["device_minutes"] == ""
    assert shown["timed.bases_per_minute"] == f"{int(viral['bases']) / 61.375:,.0f}"
    summarize(results, "cellular")
    assert "No sample says for how long its devices were held" in (results / "report.html").read_text()


def test_few_scored_chunks_are_a_warning(tmp_path: Path) -> None:
    publish(tmp_path, "few", {"a": [0.1, None, None], "b": [0.1]}, gated=False)
    publish(tmp_path, "half", {"a": [0.2, None], "b": [0.1, None]}, gated=False)
    summarize(tmp_path, "few", "half")
    assert [row["warnings"] for row in read(tmp_path / "summary.tsv")] == ["", ""]
    publish(tmp_path, "fewer", {"a": [0.1, None, None]}, gated=False)
    summarize(tmp_path, "fewer")
    assert read(tmp_path / "summary.tsv")[0]["warnings"] == "chunks without a call: 2 of 3"


def test_the_page_stands_alone_and_is_the_same_each_time(results: Path) -> None:
    summarize(results, *SAMPLES)
    text = (results / "report.html").read_bytes()
    links = Page(results / "report.html").links
    assert links and all(link.startswith("#") for link in links)
    assert b"url(http" not in text and b"@import" not in text and b"default-src 'none'" in text
    for colour in (b"#01010", b"#02020", b"#03030", b"#04040"):
        assert colour not in text
    summarize(results, *SAMPLES)
    assert (results / "report.html").read_bytes() == text


def luminance(colour: str) -> float:
    """Of #rrggbb or #rgb, relative, as WCAG 2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_colours_stand_out_light_and_dark_and_in_print() -> None:
    """By WCAG 2: text with a contrast of 4.5, and what is drawn of 3."""
    themes = re.findall(r":root { (.*?) }", page.TEMPLATE.read_text(), re.DOTALL)
    assert len(themes) == 3
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#\w+);", theme))
        for least, names in ((4.5, ("ink", "soft", "link", "virus", "others")), (3, ("none",))):
            for name in names:
                for ground in ("page", "band", "warn"):
                    dark, light = sorted((luminance(colours[name]), luminance(colours[ground])))
                    assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)


def test_names_are_text_and_nothing_else(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>\x1b[31m$\\alpha$"
    publish(tmp_path, "odd", {name: [0.9, 0.8]})
    run = json.loads((tmp_path / "odd" / "odd.run.json").read_text())
    run["esm2"][0]["device"] = "\ud800<img src=x>"
    (tmp_path / "odd" / "odd.run.json").write_text(json.dumps(run))
    summarize(tmp_path, "odd")
    text = (tmp_path / "report.html").read_text()
    assert "<script>alert" not in text and "<img" not in text and "\x1b" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m$\\alpha$" in text


@pytest.mark.parametrize("sequences", [EMPTY, {}])
def test_of_nothing_there_is_a_page_as_well(sequences: dict, tmp_path: Path) -> None:
    publish(tmp_path, "none", sequences)
    summarize(tmp_path, "none")
    text = (tmp_path / "report.html").read_text()
    assert (
        "No sequence is called virus" in text
        and "No sequence has a score" in text
        and "No frames were compared" in text
    )
    (row,) = read(tmp_path / "summary.tsv")
    assert row["virus"] == "0" and row["gate"] == "validate" and row["agreement"] == ""
    assert row["scored_share"] == ("0.0" if sequences else "")


def test_without_a_score_of_whole_sequences_the_best_one_is_shown_as_what_it_is(tmp_path: Path) -> None:
    publish(tmp_path, "v1", VIRAL, scored=False)
    summarize(tmp_path, "v1")
    text = (tmp_path / "report.html").read_text()
    assert "no regions are looked for" in text and "table-regions" not in text
    assert "It grows with the length" in text and ">best score</text>" in text
    rows = Page(tmp_path / "report.html").rows["table-viral"][1:]
    assert [row[0] for row in rows] == ["<b>&\"odd'", "contig_2", "contig_1"]  # by share, scored chunks
    assert {row[6] for row in rows} == {""}


def test_tables_that_are_not_of_one_run_are_refused(results: Path) -> None:
    path = results / "viral" / "viral.sequences.tsv"
    text = path.read_text()
    for damaged, said in (
        (text.rpartition("NA\t")[0], "its tables and run.json are not of one run"),
        (text.replace("\tvirus\t", "\tphage\t"), "call is 'phage'"),
        (text.replace("\t0.75\t", "\t75\t"), "best_score is '75.0'"),
        (text.replace("best_score", "score_best"), "not a table of results"),
        ("", "not a table of results"),
    ):
        path.write_text(damaged)
        line = error_line(summarize(results, *SAMPLES, code=2))
        assert said in line and str(results / "viral") in line
    path.write_text(text)
    run = (results / "viral" / "viral.run.json").read_text()
    (results / "viral" / "viral.run.json").write_text(run.replace('"sample": "viral"', '"sample": "other"'))
    assert "is of sample 'other'" in error_line(summarize(results, *SAMPLES, code=2))
    for given, damaged in (('"rna": "as_dna"', '"tna": 1'), ('"accept": 0.99', '"accept": {"a": [[[1]]]}'), ("}", "")):
        (results / "viral" / "viral.run.json").write_text(run.replace(given, damaged))
        assert "viral/viral.run.json: " in error_line(summarize(results, *SAMPLES, code=2))
    assert not (results / "summary.tsv").exists() and not (results / "report.html").exists()


def test_the_page_says_what_it_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (
        ("SAMPLES", 2),
        ("SEQUENCES", 4),
        ("SEQUENCES_DRAWN", 1),
        ("AROUND_DRAWN", 1),
        ("SAMPLES_DRAWN", 1),
        ("GATES_DRAWN", 1),
    ):
        monkeypatch.setattr(page, f"MOST_{name}", most)
    for i in range(3):
        publish(tmp_path, f"s{i}", VIRAL)
    summarize(tmp_path, "s0", "s1", "s2")
    read_page = Page(tmp_path / "report.html")
    rows = {name.removeprefix("table-"): len(rows) for name, rows in read_page.rows.items()}
    assert rows == {"samples": 3, "viral": 5, "regions": 5, "gate": 4, "cost": 3, "inputs": 4}
    said = {name: value for name, value, _ in read_page.numbers}
    shown = [said[name] for name in ("shown.samples", "shown.viral", "drawn.samples", "drawn.gates")]
    assert shown == ["2", "4", "1", "1"] and len(read_page.marks) == 5
    assert len(read(tmp_path / "summary.tsv")) == 3


@pytest.mark.long
@pytest.mark.parametrize(("samples", "sequences", "most"), [(1, 100_000, 2e6), (300, 100, 5e6)])
def test_a_large_run_has_a_page_of_a_bounded_size(samples: int, sequences: int, most: float, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    names = [f"sample_{i}" for i in range(samples)]
    for name in names:
        scores = random.random((sequences, 2))
        publish(tmp_path, name, {f"k141_{i}": list(scores[i]) for i in range(sequences)})
    summarize(tmp_path, *names)
    assert (tmp_path / "report.html").stat().st_size < most
    read_page = Page(tmp_path / "report.html")
    assert len(read_page.rows["table-viral"]) == 1 + MOST_SEQUENCES
    drawn = MOST_SEQUENCES_DRAWN + 1 + min(samples, MOST_SAMPLES_DRAWN) + min(samples, page.MOST_GATES_DRAWN)
    assert len(read_page.marks) == drawn
    assert sum(int(value) for name, value, _ in read_page.numbers if name == "total.sequences") % sequences == 0
