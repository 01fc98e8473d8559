"""Counts of samples: exact of small ones, of reads that are drawn as many, of very many files by some of them."""

import json
from pathlib import Path

import pytest
from helpers import EXAMPLE, GOLDEN, run_program, write_fasta

import count_frames


def count(
    folder: Path,
    samples: dict[str, list[tuple[str, list[Path]]]],
    length: int = 500,
    reads: int = 0,
    rna: str = "as_dna",
) -> dict:
    files = {
        name: [{"layout": layout, "paths": list(map(str, paths))} for layout, paths in its]
        for name, its in samples.items()
    }
    (folder / "inputs.json").write_text(json.dumps({"samples": files, "reads": reads}))
    options = ["--chunk-length", length, "--scored-frames", "whole", "--rna", rna, "--counts", folder / "counts.json"]
    run_program("count_frames", "--inputs", folder / "inputs.json", *options)
    return json.loads((folder / "counts.json").read_text())


@pytest.mark.parametrize("length", [300, 500])
def test_golden_cases_are_counted_exactly(length: int, tmp_path: Path) -> None:
    cases = {}
    for case in sorted((GOLDEN / "cases").iterdir()):
        run = json.loads((case / "meta.json").read_text())["runs"].get(str(length), {})
        if run.get("status") == "ok":
            cases[case.name] = (case / "input.fa", run)
    assert len(cases) > 10
    found = count(tmp_path, {name: [("fasta", [path])] for name, (path, _) in cases.items()}, length, rna="keep")
    for name, (_, run) in cases.items():
        counts = found["samples"][name]
        assert (counts["chunks"], counts["frames"]) == ([run["chunks"], 0], [run["orfs"], 0]), name


def test_example_is_all_counted(tmp_path: Path) -> None:
    samples = {
        path.name: [("fasta", [path])] for path in EXAMPLE.glob("*[!d]") if path.suffix in (".gb", ".gz", ".fasta")
    }
    found = count(tmp_path, samples)
    assert len(samples) == 6 and found["run"]["sequences"] == [6, 0]
    for field, (value, error) in found["run"].items():
        assert error == 0 and value == sum(counts[field][0] for counts in found["samples"].values())


def test_reads_that_are_drawn(tmp_path: Path) -> None:
    letters = "GCCGCAGCTGCG" * 12
    (tmp_path / "1.fastq").write_text("".join(f"@r{i}\n{letters}\n+\n{letters}\n" for i in range(1000)))
    (tmp_path / "2.fastq").write_text((tmp_path / "1.fastq").read_text())
    write_fasta(tmp_path / "a.fa", {"a": letters})
    files = [("paired", [tmp_path / "1.fastq", tmp_path / "2.fastq"]), ("fasta", [tmp_path / "a.fa"])]
    of_all, drawn = count(tmp_path, {"a": files}), count(tmp_path, {"a": files}, reads=100)
    assert of_all["run"]["reads"] == [1000, 0] and of_all["run"]["sequences"] == [2001, 0]
    assert drawn["run"]["reads"] == [100, 0] and drawn["run"]["sequences"][0] == 201
    value, error = drawn["run"]["frames"]
    assert abs(value - (of_all["run"]["frames"][0] / 2001 * 201)) < 1 and 0 < error < 0.2 * value
    assert count(tmp_path, {"a": files}, reads=5000) == of_all


def test_very_many_files_are_known_by_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than these are opened, and the error is that of the differences among them."""
    coli = "".join((EXAMPLE / "escherichia_coli.fasta").read_text().splitlines()[1:])
    samples = {}
    for number in range(300):
        path = write_fasta(tmp_path / f"{number}.fa", {"a": coli[number * 30 : number * 30 + 20_000 + 30 * number]})
        samples[str(number)] = [("fasta", [path])]
    exact = count(tmp_path, samples)["run"]  # small enough together
    opened, original = [], count_frames.count_file
    monkeypatch.setattr(count_frames, "BUDGET", 1 << 22)
    monkeypatch.setattr(count_frames, "count_file", lambda *given: opened.append(given) or original(*given))
    rules = count_frames.Rules(500, "whole")
    files = {path: "fasta" for its in samples.values() for _, paths in its for path in paths}
    estimates, shared = count_frames.count_files(files, rules)
    assert len(opened) == count_frames.MOST_FILES and len(estimates) == 300
    of = count_frames.FRAMES
    total = sum(estimate.values[of] for estimate in estimates.values())
    assert abs(total - exact["frames"][0]) < 1.5 * shared[of] < 0.1 * total
