"""`snakemake estimate`, and what a run says of itself at its start."""

import csv
from pathlib import Path

from helpers import planned_jobs, snakemake, write_fasta

LETTERS = "GCCGCAGCTGCG" * 200


def prepare(folder: Path) -> None:
    rows = [f"s{number}\ts{number}.fa\n" for number in range(4)]
    for number in range(4):
        write_fasta(folder / f"s{number}.fa", {"a": LETTERS[: 600 * (number + 1)]})
    (folder / "samples.tsv").write_text("sample\tfasta\n" + "".join(rows))


def test_estimate_of_a_whole_run(tmp_path: Path) -> None:
    prepare(tmp_path)
    settings = {"model_pack": "lite", "gate": {"frames": 100}}
    said = snakemake(tmp_path, "estimate", **settings)
    assert "4 samples, 4 sequences, 14 chunks, " in said and "(all counted)" in said
    assert "attention: standard (fp32)" in said and "H100" in said and "A100" in said and "projected" in said
    with (tmp_path / "results" / "estimate.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    jobs = next(int(row["value"]) for row in rows if row["quantity"] == "jobs")
    plan = planned_jobs(snakemake(tmp_path, "-n", **settings))
    assert jobs == sum(plan.values())
    one = next(row for row in rows if row["sample"] == "s3" and row["quantity"] == "chunks")
    assert (one["value"], one["error"], one["basis"]) == ("5", "0", "counted")
    assert not (tmp_path / "work").exists()


def test_estimate_says_what_is_wrong_with_an_input(tmp_path: Path) -> None:
    prepare(tmp_path)
    (tmp_path / "s1.fa").write_text("no FASTA\n")
    said = snakemake(tmp_path, "estimate", model_pack="lite", code=1)
    assert "s1.fa, line 1: text before the first header" in said and not (tmp_path / "results").exists()


def test_run_says_it_at_its_start_unless_it_is_quiet(tmp_path: Path) -> None:
    prepare(tmp_path)
    target = ["--until", "split_fasta"]
    assert "To embed" not in snakemake(tmp_path, *target, model_pack="lite")  # of which nothing is embedded
    said = snakemake(tmp_path, model_pack="lite")
    start = said[said.index("To embed: 4 sequences, 14 chunks, ") :].splitlines()
    assert start[1].startswith("About ") and start[1].endswith(" on 2 cores")
    assert start[2].startswith("Jobs: ") and "(keep: embeddings); snakemake estimate says more" in start[2]
    said = snakemake(tmp_path, "--forceall", "--quiet", model_pack="lite")
    assert "To embed" not in said and "results/s0/" not in said
