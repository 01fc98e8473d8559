"""GPUs shared out by file locks: one job a GPU, whatever becomes of the jobs before."""

import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import SCRIPTS, fake_gpus, run_program, start_program, with_digest, write_fasta

from virnucflow.cli import Failure
from virnucflow.devices import gpu_lease

UUIDS = ["GPU-a1b2", "GPU-a1c3", "GPU-d4e5"]

# Leases a GPU as a program does, says which and when, and holds it until it is told to go on or is killed.
HOLDER = """
import logging, sys, time
from pathlib import Path
from virnucflow.devices import gpu_lease
from virnucflow.cli import Failure
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
gpu_lease.LOCKS = Path(sys.argv[1])
print(gpu_lease.lease_gpu(), time.monotonic(), flush=True)
sys.stdin.readline()
print(time.monotonic(), flush=True)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of three GPUs without a scheduler; gives the directory of the locks."""
    fake_gpus(tmp_path / "bin", UUIDS)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SCRIPTS))
    for variable in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(gpu_lease, "LOCKS", tmp_path / "locks")
    return tmp_path / "locks"


def hold(locks: Path) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", HOLDER, locks], text=True, **pipes)


def leased(holder: subprocess.Popen) -> str:
    return holder.stdout.readline().split()[0]


def end(holder: subprocess.Popen) -> None:
    holder.communicate("\n")


@pytest.mark.parametrize(
    "given, seen",
    [
        (None, UUIDS),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1", UUIDS[1:2]),
        ("2, 0", [UUIDS[2], UUIDS[0]]),
        ("0,0", UUIDS[:1]),
        ("0,7,1", UUIDS[:1]),
        ("GPU-d4e5,GPU-a1b", [UUIDS[2], UUIDS[0]]),
        ("GPU-a1", []),
        ("GPU-", []),
        ("MIG-1234", ["MIG-1234"]),
    ],
)
def test_preset_devices_are_honoured(
    given: str | None, seen: list[str], machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert [gpu.uuid for gpu in gpu_lease.visible_gpus()] == seen


def test_machine_without_a_driver_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_lease.visible_gpus() == [] and gpu_lease.lease_gpu() is None
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpu_lease.visible_gpus() == []


def test_slurm_has_given_the_job_its_gpu(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    for given in (None, "1", UUIDS[1]):
        if given:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert gpu_lease.lease_gpu() is None and os.environ.get("CUDA_VISIBLE_DEVICES") == given
    assert not machine.exists()
    # An allocation of several, in which a whole workflow runs: its jobs share them out.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    holders = [hold(machine), hold(machine)]
    assert {leased(holder) for holder in holders} == set(UUIDS[:2])
    for holder in holders:
        end(holder)


def test_no_gpu_is_shared_and_none_is_idle(machine: Path) -> None:
    holders = [hold(machine) for _ in range(9)]
    taken: dict[str, list[tuple[float, float]]] = {uuid: [] for uuid in UUIDS}
    waiting = list(holders)
    for _ in range(3):
        # Only as many as there are GPUs get one; each that ends lets another in.
        running = []
        while len(running) < len(UUIDS):
            running += [holder for holder in waiting if holder.stdout in _readable(waiting)]
            waiting = [holder for holder in waiting if holder not in running]
        assert not _readable(waiting, 0.2)
        for holder in running:
            uuid, start = holder.stdout.readline().split()
            taken[uuid].append((float(start), float(holder.communicate("\n")[0])))
    assert [len(leases) for leases in taken.values()] == [3, 3, 3]
    for leases in map(sorted, taken.values()):
        assert all(finish < start for (_, finish), (start, _) in pairwise(leases))


def _readable(holders: list[subprocess.Popen], seconds: float = 5) -> list:
    return select.select([holder.stdout for holder in holders], [], [], seconds)[0] if holders else []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_lease_ends_with_the_process(number: int, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    first = hold(machine)
    assert leased(first) == UUIDS[1]
    second = hold(machine)
    assert "other jobs have all GPUs (1): waiting for one" in second.stderr.readline()
    first.send_signal(number)
    first.communicate()
    assert leased(second) == UUIDS[1]
    end(second)


def test_locks_are_for_every_user(machine: Path) -> None:
    umask = os.umask(0o077)
    try:
        first = hold(machine)
        name = leased(first)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(machine.stat().st_mode) == 0o1777
    assert stat.S_IMODE((machine / name).stat().st_mode) == 0o666
    end(first)


def dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize("obstacle", [dangling_link, os.mkfifo, Path.mkdir], ids=["link", "fifo", "directory"])
def test_what_lies_in_a_locks_place_is_named_at_once(obstacle, machine: Path) -> None:
    machine.mkdir()
    obstacle(machine / UUIDS[0])
    with pytest.raises(Failure, match=rf"{UUIDS[0]}: .*; remove it"):
        gpu_lease.lease_gpu()


def test_a_link_in_place_of_the_locks_folder_is_named_at_once(machine: Path) -> None:
    dangling_link(machine)
    with pytest.raises(Failure, match=rf"{machine.name}/{UUIDS[0]}: .*; remove it"):
        gpu_lease.lease_gpu()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_finds_the_lock(machine: Path) -> None:
    """Where the kernel protects files of others (fs.protected_regular), opening them to write would fail."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        first = hold(Path(folder) / "locks")
        path = Path(folder) / "locks" / leased(first)
        assert not locked_by_nobody(path)
        end(first)
        assert locked_by_nobody(path)


def locked_by_nobody(path: Path) -> bool:
    """Whether the user `nobody` gets a lock; an error counts as neither."""
    child = os.fork()
    if child == 0:
        try:
            os.setuid(65534)
            os._exit(0 if gpu_lease._lock(path) else 1)
        finally:
            os._exit(2)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 1)
    return code == 0


def test_programs_lease_before_they_look_for_a_gpu(
    machine: Path, pack_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU behind it the lease is seen in what the program refuses."""
    with_digest(write_fasta(tmp_path / "chunks.fa", {"a_chunk_1": "GCCGCAGCTGCG" * 10}))
    run_program("translate_frames", "--chunks", tmp_path / "chunks.fa", "--frames", tmp_path / "frames")
    uuid = f"GPU-test-{os.getpid()}-{time.monotonic_ns()}"  # the programs lock in the machine's own directory
    fake_gpus(tmp_path / "bin", [uuid])
    arguments = ["--frames", tmp_path / "frames", "--model", pack_directory, "--attention", "flash"]
    arguments += ["--precision", "fp32", "--embeddings", tmp_path / "out"]
    try:
        for program in ("embed_esm2", "embed_dnabert_s"):
            said = start_program(program, *arguments, code=1)
            assert f"on {uuid}" in said and f"this job was given GPU {uuid}" in said
            assert uuid not in start_program(program, *arguments, "--device", "cpu")
    finally:
        (Path("/tmp/virnucflow-gpus") / uuid).unlink()
