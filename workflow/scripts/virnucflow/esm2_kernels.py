"""Which way ESM-2 is computed: fair-esm's own for `standard`, one of the kernels for `flash`."""

from collections.abc import Callable
from importlib.util import find_spec

import torch

from virnucflow import esm2
from virnucflow.cli import InputError
from virnucflow.model_pack import Esm2Shape, ModelPack, load_weights

FILE = "esm2.safetensors"
STANDARD_KERNEL = "fair-esm"
PACKED_HEAD_DIMS = (16, 32, 64, 128)


def load_esm2(
    pack: ModelPack, attention: str, kernel: str, dtype: torch.dtype, device: torch.device, token_budget: int
) -> tuple[Callable[[list[str]], torch.Tensor], str]:
    """The function that embeds proteins, a list of N to (N, embed_dim) float32 on the CPU, and the kernel it uses."""
    tensors = pack.tensors(FILE)
    standard = load_weights(esm2.fair_esm_model(pack.esm2), tensors, pack.directory / FILE)
    if attention == "standard":
        standard.to(device=device, dtype=dtype)
        return lambda proteins: esm2.embed_standard(standard, proteins, token_budget), STANDARD_KERNEL
    kernel = choose_kernel(kernel, pack.esm2, dtype, device)
    flash = esm2.flash_model(standard, dtype, device)
    if kernel == "sdpa":
        return lambda proteins: esm2.embed_flash(flash, proteins, token_budget), kernel
    from virnucflow.esm2_packed import embed_packed  # needs Triton, which PyTorch has for GPUs alone

    return lambda proteins: embed_packed(flash, kernel, proteins, token_budget), kernel


def choose_kernel(asked: str, shape: Esm2Shape, dtype: torch.dtype, device: torch.device) -> str:
    """The attention kernel to use: `auto` takes the fastest that is there, any other name is taken or refused."""
    head_dim = shape.embed_dim // shape.attention_heads
    lacking = []
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        lacking.append("a GPU of compute capability 8.0 or more")
    if dtype == torch.float32:
        lacking.append("precision fp16 or bf16")
    if head_dim not in PACKED_HEAD_DIMS:
        lacking.append(f"heads of {' or '.join(map(str, PACKED_HEAD_DIMS))}, not {head_dim}")
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
