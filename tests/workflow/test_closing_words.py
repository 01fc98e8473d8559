"""How a run ends when something fails, with the profile that users run it with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from helpers import EXAMPLE, REPOSITORY, planned_jobs, snakemake, write_fasta

# No sample is in a batch, which would wait for all that are in it.
ALONE = {"shard_megabases": 0.0001}


def command(profile: str = "local") -> list[str]:
    """Of a run that is started in a folder which has a config.yaml."""
    words = [sys.executable, "-m", "snakemake", "--configfile", "config.yaml", "--snakefile", REPOSITORY / "Snakefile"]
    return list(map(str, [*words, "--profile", REPOSITORY / "profiles" / profile, "--cores", "2"]))


def run(
    folder: Path, *arguments: str, code: int = 0, profile: str = "local", environment: dict[str, str] | None = None
) -> str:
    """What it says."""
    done = subprocess.run(
        [*command(profile), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | (environment or {}),
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def settings(folder: Path, **differing: object) -> None:
    chosen = {"samples": "samples.tsv", "model_pack": "models/untrained", "device": "cpu", "gate": {"frames": 0}}
    (folder / "config.yaml").write_text(yaml.safe_dump(chosen | differing))


def test_failed_run_says_what_is_ready_and_why_the_rest_is_not(copy: Path) -> None:
    for name, bases in (("protein", "MKVLAAGIVG"), ("bad", "JJ")):
        write_fasta(copy / f"{name}.fa", {"p1": bases})
        with (copy / "samples.tsv").open("a") as sheet:
            sheet.write(f"{name}\t{name}.fa\t\n")
    settings(copy, shards=3, **ALONE)
    said = run(copy, code=1)
    assert "Trying to restart job" not in said
    closing = said[said.index("sample  ") :]
    assert [line.split()[-1] for line in closing.splitlines()[1:3]] == ["results/mixed/", "results/v1/"]
    for name in ("protein", "bad"):
        reason = f"    split_fasta.py: error: {name}.fa, line 2: "
        assert f"Failed: {name}, in split_fasta. logs/split_fasta/{name}.log ends with:\n{reason}" in closing
        assert said.count(reason.strip()) == 1
    assert "give the same command again: what is ready stays, only the rest is computed." in closing
    # What is mended is computed, and nothing else.
    for name in ("protein", "bad"):
        write_fasta(copy / f"{name}.fa", {"p1": "GCCGCAGCTGCG" * 10})
    jobs = planned_jobs(run(copy, "-n"))
    assert jobs["split_fasta"] == jobs["write_results"] == 2 and jobs["predict"] == 6


def test_finished_run_ends_with_a_table_and_a_quiet_one_says_nothing(copy: Path) -> None:
    settings(copy, shards=3)
    again = ("--forcerun", "summarize")
    said = run(copy, *again)
    titles, *rows = said[said.index("sample  ") :].splitlines()[:3]
    assert titles.split() == ["sample", "sequences", "scored", "viral", "gate", "where"]
    for row, sample in zip(rows, ("mixed", "v1"), strict=True):
        table = pd.read_csv(copy / "results" / sample / f"{sample}.sequences.tsv", sep="\t", keep_default_na=False)
        share = table["scored_chunks"].sum() / table["chunks"].sum()
        numbers = [f"{len(table)}", f"{share:.1%}", f"{(table['call'] == 'virus').sum()}"]
        assert row.split() == [sample, *numbers, "-", f"results/{sample}/"]
    assert "\nAll samples on one page: results/report.html\n" in said and "\x1b" not in said
    for quiet in ([], ["all"]):
        said = run(copy, *again, "--quiet", *quiet)
        assert "results/" not in said and "Warning" not in said


def test_final_error_of_a_rule_that_is_tried_again_is_said_once(copy: Path) -> None:
    scores = copy / "work" / "v1" / "scores" / "standard" / "00001.parquet"
    (copy / "work" / "v1" / "embeddings" / "esm2-untrained-standard-fp32" / "00001.safetensors").write_bytes(b"damaged")
    scores.unlink()
    settings(copy, shards=3)
    said = run(copy, str(scores.relative_to(copy)), "--rerun-triggers", "mtime", code=1)
    assert said.count("Trying to restart job") == 1
    reason = (copy / "logs" / "concat_features" / "v1" / "standard" / "00001.log").read_text().splitlines()
    assert len(reason) == 1 and reason[0].startswith("concat_features.py: error: ")
    assert said.count(reason[0]) == 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of which only the first step is asked for."""
    write_fasta(tmp_path / "a.fa", {"a": "GCCGCAGCTGCG" * 30})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\ta.fa\n")
    settings(tmp_path)
    return tmp_path


SPLIT = "work/a/sequences.parquet"


def test_programs_run_with_the_python_of_snakemake(folder: Path) -> None:
    """From an environment that is not activated, and with another Python before it on the PATH."""
    (folder / "bin").mkdir()
    for name in ("python", "python3"):
        (folder / "bin" / name).write_text("#!/bin/sh\necho old Python; exit 77\n")
        (folder / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "VIRTUAL_ENV": ""}
    run(folder, SPLIT, environment=environment)
    assert (folder / SPLIT).exists()


def test_results_of_a_run_that_was_interrupted(copy: Path) -> None:
    """The words say what is missing, and nothing of what is left behind counts as ready."""
    write_fasta(copy / "new.fa", {"new": (EXAMPLE / "hiv_1.fasta").read_text().partition("\n")[2].replace("\n", "")})
    with (copy / "samples.tsv").open("a") as sheet:
        sheet.write("new\tnew.fa\t\n")
    settings(copy, shards=3, **ALONE)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # Where the tests run in the background, a shell has them ignore Ctrl-C, and what they start would too.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    running = subprocess.Popen(command(), cwd=copy, preexec_fn=heed, **pipes)
    said = ""
    for line in running.stdout:
        said += line
        if "Finished jobid" in line:
            running.send_signal(signal.SIGINT)
            break
    said += running.communicate(timeout=120)[0]
    assert running.returncode == 1 and "Traceback" not in said
    assert "  results/mixed/\n" in said and "  results/new/" not in said
    assert "Not finished: new\n" in said and "give the same command again" in said


def test_setup_problems_come_at_once_and_before_the_first_job(folder: Path, tmp_path: Path) -> None:
    os.utime(folder / "a.fa", (time.time() + 7200,) * 2)
    settings(folder, container="")
    (tmp_path / "few").mkdir()
    for program in ("bash", "sh", "which", "env"):
        (tmp_path / "few" / program).symlink_to(f"/bin/{program}")
    said = run(folder, SPLIT, profile="slurm", code=1, environment={"PATH": str(tmp_path / "few")})
    assert "check_setup.py: error: a.fa: dated in the future, " in said
    for command in ("sbatch", "scancel", "sacct or squeue"):
        assert f"check_setup.py: error: {command}: no such command here" in said
    assert "nothing was started" in said and "Traceback" not in said and not (folder / "work").exists()


def test_disk_is_checked_for_what_this_run_makes(folder: Path) -> None:
    """Files of a sample that is not of this run are not taken for its own."""
    with (folder / "a.fa").open("ab") as file:
        file.truncate(int(1e13))
    (folder / "work" / "other").mkdir(parents=True)
    with (folder / "work" / "other" / "features").open("wb") as file:
        file.truncate(int(1.5e13))
    said = snakemake(folder, SPLIT, code=1, shards=1)
    assert "check_setup.py: error: work: about 20000.0 GB are needed" in said
