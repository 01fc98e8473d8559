"""Which device computes, and how PyTorch and the C library are set for it."""

import ctypes
import os

import torch

from virnucflow.cli import Failure, InputError
from virnucflow.devices.gpu_lease import lease_gpu
from virnucflow.devices.precision import Liberties, allow

MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 1 << 25), (-1, (1 << 31) - 1)  # of glibc's mallopt, and their largest values


def prepare_device(name: str, threads: int | None, liberties: Liberties) -> torch.device:
    """Choose the device by its name, and set this process for it; to be called before CUDA is touched.

    `threads` are those of the CPU; None leaves PyTorch's number, all cores. Raises InputError and Failure as
    choose_device does.
    """
    device = choose_device(name)
    if threads:
        torch.set_num_threads(threads)
    allow(liberties)
    if device.type == "cpu":
        keep_freed_memory()
    return device


def choose_device(name: str) -> torch.device:
    """The device to compute on, a GPU leased from the other jobs of this machine; to be called before CUDA is touched.

    `auto` never goes to the CPU on a machine that was given a GPU which does not work; `cuda:N` takes no lease. Raises
    InputError for an unknown name, and Failure where there is no such device.
    """
    if name in ("auto", "cuda"):
        lease_gpu()
    if name != "auto":
        try:
            device = torch.device(name)
        except RuntimeError:
            raise InputError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N") from None
        if device.type not in ("cpu", "cuda"):
            raise InputError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise Failure(f"--device {name}: this PyTorch ({torch.__version__}) sees no GPU here; choose cpu or auto")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES", "")) not in ("", "-1", "NoDevFiles"):  # ways to say: none
        raise Failure(
            f"--device auto: this job was given GPU {given} (CUDA_VISIBLE_DEVICES), but PyTorch {torch.__version__} "
            "cannot use it; repair driver or installation, or choose --device cpu"
        )
    return torch.device("cpu")


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: to give it back and ask for it anew took a quarter of ESM-2's time on a CPU."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(*MMAP_THRESHOLD)
        mallopt(*TRIM_THRESHOLD)
