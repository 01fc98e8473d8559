"""How many jobs with a GPU run at a time, and with how many threads."""

import os
import re
from pathlib import Path

import pytest
from helpers import fake_gpus, snakemake, write_fasta

pytestmark = pytest.mark.long

UUIDS = ["GPU-1", "GPU-2", "GPU-3"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sample, on a machine of three GPUs."""
    fake_gpus(tmp_path / "bin", UUIDS)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for variable in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(variable, raising=False)
    write_fasta(tmp_path / "one.fa", {"one": "GCCGCAGCTGCG" * 50})
    (tmp_path / "samples.tsv").write_text("sample\tfasta\na\tone.fa\n")
    return tmp_path


def limit(folder: Path, *options: str, device: str = "auto") -> str | None:
    """The GPU jobs at a time, as a run says that does nothing with a GPU."""
    said = snakemake(folder, "work/a/sequences.parquet", "--forceall", *options, device=device)
    found = re.search(r"^Provided resources: gpu=\D*(\d+)", said, re.MULTILINE)
    return found and found[1]


def threads(folder: Path, *options: str, device: str = "auto") -> set[str]:
    """The threads of the programs that embed."""
    return set(re.findall(r"--threads (\d+)", snakemake(folder, "-n", "-p", *options, device=device)))


def test_all_gpus_of_the_machine_are_used(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit(machine) == "3"
    assert limit(machine, "--resources", "gpu=2") == "2"
    assert limit(machine, device="cpu") is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,0")
    assert limit(machine) == "2"


def test_machine_without_a_gpu_runs_one_encoder_at_a_time_on_all_cores(machine: Path) -> None:
    fake_gpus(machine / "bin", [])
    assert limit(machine) == "1"
    assert threads(machine, "--cores", "24") == {"24"}
    assert threads(machine, "--cores", "24", device="cpu") == {"4"}


def test_jobs_on_all_gpus_leave_cores_to_others(machine: Path) -> None:
    # Of the cores, the threads of three jobs: 3 of 4, 9 of 12, 12 of 24.
    for cores, expected in (("1", "1"), ("4", "1"), ("12", "3"), ("24", "4")):
        assert threads(machine, "--cores", cores) == {expected}


def test_cluster_counts_by_itself(machine: Path) -> None:
    said = snakemake(machine, "-n", "-p", "--executor", "slurm", "--jobs", "7", device="auto")
    assert set(re.findall(r"--threads (\d+)", said)) == {"2"}, "4, of which helpers.py allows 2"
