"""The attention kernels of the flash path, and which of them can run here."""

from importlib.util import find_spec
from types import ModuleType

import torch

from virnucflow.cli import InputError

KERNELS = ("auto", "triton", "varlen", "flash_attn", "sdpa")
HEAD_DIMS = (16, 32, 64, 128)  # what the packed kernels know


def choose_kernel(asked: str, head_dim: int, dtype: torch.dtype, device: torch.device) -> str:
    """The attention kernel to use: `auto` takes the fastest that is there, any other name is taken or refused.

    All but `sdpa` need a GPU and half precision.
    """
    lacking = []
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        lacking.append("a GPU of compute capability 8.0 or more")
    if dtype == torch.float32:
        lacking.append("precision fp16 or bf16")
    if head_dim not in HEAD_DIMS:
        lacking.append(f"heads of {' or '.join(map(str, HEAD_DIMS))}, not {head_dim}")
    if find_spec("triton") is None:
        lacking.append("Triton, which comes with PyTorch for CUDA")
    if asked == "auto":
        return "sdpa" if lacking else "triton"
    if asked == "varlen" and find_spec("torch.nn.attention.varlen") is None:
        lacking.append("PyTorch 2.10 or later")
    if asked == "flash_attn" and find_spec("flash_attn") is None:
        lacking.append("the package flash-attn: pip install --no-build-isolation -r envs/gpu.txt")
    if asked != "sdpa" and lacking:
        raise InputError(f"--attention-kernel {asked}: needs {'; '.join(lacking)}; or choose auto or sdpa")
    return asked


def kernels_beside(attention_kernel: str) -> ModuleType:
    """What computes between the matrix products of packed batches: Triton's kernels, or beside `sdpa` PyTorch's own."""
    if attention_kernel == "sdpa":
        from virnucflow.encoders import torch_kernels

        return torch_kernels
    from virnucflow.encoders import triton_kernels  # PyTorch has Triton for GPUs alone

    return triton_kernels
