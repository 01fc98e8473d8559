"""What jobs ask the scheduler for, as it is planned before anything is computed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from helpers import REPOSITORY, snakemake, write_fasta

OF_A_SHARD = {"translate_frames", "embed_dnabert_s", "embed_esm2", "concat_features", "predict"}
PROFILE = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large sample, in as many shards as the small one beside it."""
    folder = tmp_path_factory.mktemp("resources")
    write_fasta(folder / "large.fa", {f"a{i}": "ACGTTGCA" * 1000 for i in range(1000)})
    write_fasta(folder / "small.fa", {"b": "ACGTTGCA" * 100})
    (folder / "samples.tsv").write_text("sample\tfasta\nlarge\tlarge.fa\nsmall\tsmall.fa\n")
    return folder


def planned(folder: Path, **settings: object) -> list[dict]:
    # Of shards so small that the large sample is in no batch.
    settings = {"samples": "samples.tsv", "shards": 2, "device": "cpu", "shard_megabases": 6} | settings
    command = [sys.executable, REPOSITORY / "tests" / "planned_resources.py", folder, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_all_shards_of_a_run_ask_for_the_same_before_any_file_is_there(folder: Path) -> None:
    """As a job array does, and a group of jobs, of whose files none is there when it is submitted."""
    asked = defaultdict(set)
    for job in planned(folder, gate={"frames": 0}):
        if job["rule"] in OF_A_SHARD:
            asked[job["rule"]].add((job["mem_mb"], job["runtime"]))
    assert set(asked) == OF_A_SHARD and all(len(different) == 1 for different in asked.values())
    memory = {rule: int(mem_mb) for rule, ((mem_mb, _),) in asked.items()}
    # 10,000 frames in a shard: with 512 bytes of ESM-2's and 1,536 of DNABERT-S's values each.
    assert 6000 < memory["embed_esm2"] < memory["embed_dnabert_s"] < 6200 and memory["translate_frames"] == 2000
    assert memory["predict"] == memory["concat_features"] > 2000


def test_more_bases_in_a_shard_are_more_time(folder: Path) -> None:
    def minutes(**settings: object) -> dict[str, int]:
        jobs = planned(folder, gate={"frames": 0}, **settings)
        return {job["rule"]: int(job["runtime"]) for job in jobs if job["rule"] in OF_A_SHARD}

    long, short = minutes(shards=1), minutes(shards=10)
    assert long["embed_dnabert_s"] > short["embed_dnabert_s"] >= 20


def test_the_frames_of_the_gate_ask_for_little(folder: Path) -> None:
    jobs = planned(folder, gate={"frames": 100})
    of_sample = [job for job in jobs if job["wildcards"].get("shard") == "sampled" and job["rule"].startswith("embed")]
    assert len(of_sample) == 4 and all(int(job["runtime"]) <= 21 for job in of_sample)
    assert {job["rule"] for job in of_sample} == {"embed_esm2_sampled", "embed_dnabert_s_sampled"}


def test_all_jobs_of_a_rule_that_is_submitted_as_arrays_ask_for_the_same(folder: Path) -> None:
    """An array asks for all its tasks what its first one asks for."""
    assert set(PROFILE["slurm-array-jobs"].split(", ")) == OF_A_SHARD
    rows = ("fast\tfast.fa\tflash", "reference\treference.fa\tstandard", "small\tsmall.fa\t")
    for name in ("fast", "reference"):  # so large, in sparse files, that the reference takes longer
        shutil.copy(folder / "large.fa", folder / f"{name}.fa")
        os.truncate(folder / f"{name}.fa", 40 << 30)
    (folder / "mixed.tsv").write_text("\n".join(["sample\tfasta\tattention", *rows, ""]))
    asked = defaultdict(set)
    for job in planned(folder, samples="mixed.tsv", gate={"frames": 100}, device="auto"):
        if job["rule"] in OF_A_SHARD:
            asked[job["rule"]].add((job["mem_mb"], job["runtime"]))
    assert set(asked) == OF_A_SHARD and all(len(different) == 1 for different in asked.values()), asked
    assert max(int(minutes) for _, minutes in asked["embed_esm2"]) > 25


def test_no_job_asks_for_more_than_max_runtime(folder: Path) -> None:
    assert max(int(job["runtime"]) for job in planned(folder, gate={"frames": 100})) > 7
    assert {job["runtime"] for job in planned(folder, gate={"frames": 100}, max_runtime=7)} == {"7"}


def test_no_command_grows_with_the_number_of_shards(folder: Path) -> None:
    """Linux takes no command of more than 131,072 bytes from Snakemake, and a sample may have 5,000 shards."""
    rows = [f"{name}\t{label}\ttrain\n" for name, label in (("a1", "virus"), ("b", "others"))]
    (folder / "labels.tsv").write_text("sequence_id\tlabel\tsplit\n" + "".join(rows))
    sheet = "sample\tfasta\tlabels\nlarge\tlarge.fa\tlabels.tsv\nsmall\tsmall.fa\tlabels.tsv\n"
    (folder / "labelled.tsv").write_text(sheet)

    def lengths(shards: int) -> dict[str, int]:
        said = snakemake(
            folder, "-n", "-p", "all", "train", samples="labelled.tsv", shards=shards, gate={"frames": 100},
            training={"train_on": "annotated"},
        )  # fmt: skip
        longest: dict[str, int] = defaultdict(int)
        for program, command in re.findall(r"python \S*?(\w+)\.py(.*)", said):
            longest[program] = max(longest[program], len(command))
        return longest

    few, many = lengths(2), lengths(40)
    assert set(few) == set(many) >= {"split_fasta", "sample_frames", "compare_attention", "write_results"}
    # But by a digit where the number itself is said: --shards 40 40.
    assert "train_classifier" in few and max(many[name] - few[name] for name in few) <= 2
