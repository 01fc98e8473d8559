"""How numbers are computed: the precisions by name, and what PyTorch may do to a matrix product."""

from typing import NamedTuple

import torch

from virnucflow.cli import InputError
from virnucflow.devices.gpu_lease import LEAST_CAPABILITY

# What each attention knows; auto is fp16 on a GPU and fp32 on the CPU.
PRECISIONS = {"flash": ("auto", "fp32", "fp16", "bf16", "fp8"), "standard": ("fp32", "fp16")}
# In fp8 the operands of the products alone are: everything between them is in half precision.
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "fp8": torch.float16}


class Liberties(NamedTuple):
    """What PyTorch may do to products on a GPU, by its own names; none is v1, the reference of every comparison."""

    tf32: bool = False
    fp16_accumulation: bool = False
    reduced_precision_reduction: bool = False

    def __str__(self) -> str:
        return ",".join(name for name, allowed in self._asdict().items() if allowed) or "none"


def allow(liberties: Liberties) -> None:
    """Set PyTorch's switches, all of them, whatever their defaults are."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = liberties.tf32
    torch.backends.cuda.matmul.allow_fp16_accumulation = liberties.fp16_accumulation
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = liberties.reduced_precision_reduction
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = liberties.reduced_precision_reduction


def choose_precision(asked: str, attention: str, device: torch.device) -> str:
    """The precision to use, after it was found to be one that the attention and the device know."""
    if asked not in PRECISIONS[attention]:
        known = ", ".join(PRECISIONS[attention])
        raise InputError(f"--precision {asked}: --attention {attention} knows {known}; choose one of these")
    if asked == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if asked == "fp8" and device.type != "cuda":
        raise InputError("--precision fp8: needs a GPU; choose fp32")
    least = LEAST_CAPABILITY.get(asked, (0, 0))
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < least:
        number = ".".join(map(str, least))
        raise InputError(f"--precision {asked}: needs a GPU of compute capability {number} or more; choose fp16")
    return asked
