"""The encoders of a model pack as functions: which computation, plain or packed, and by which attention kernel."""

from functools import partial
from typing import Protocol

import torch

from virnucflow.cli import InputError
from virnucflow.devices.precision import DTYPES
from virnucflow.encoders import dnabert_s, esm2, esm2_packed
from virnucflow.encoders.attention_kernels import choose_kernel
from virnucflow.encoders.parts import KEEP_NOTHING, Progress
from virnucflow.packs.encoders import DNABERT_S, ESM2
from virnucflow.packs.pack import ModelPack
from virnucflow.packs.weights import load_weights, meta_device, read_weights


class Embed(Protocol):
    """What embeds: N sequences to (N, width) float32 on the CPU."""

    def __call__(self, sequences: list[str], /, progress: Progress = KEEP_NOTHING) -> torch.Tensor:
        """Rows that the progress has are taken from there, and it is told of the others."""


def load_esm2(
    pack: ModelPack, attention: str, kernel: str, precision: str, device: torch.device, token_budget: int
) -> tuple[Embed, str]:
    """The function that embeds proteins, a list of N to (N, embed_dim) float32 on the CPU, and the kernel it uses."""
    dtype = DTYPES[precision]
    standard = load_weights(
        esm2.fair_esm_model(pack.esm2), read_weights(pack, ESM2.weights, device), pack.directory / ESM2.weights
    )
    if attention == "standard":
        standard.to(dtype)
        return partial(esm2.embed_standard, standard, token_budget=token_budget), esm2.STANDARD_KERNEL
    kernel = choose_kernel(kernel, pack.esm2.embed_dim // pack.esm2.attention_heads, dtype, device)
    flash = esm2.flash_model(standard, dtype, device)
    if kernel == "sdpa" and precision == "fp8":
        raise InputError("--attention-kernel sdpa: has no fp8; choose auto, or --precision fp16")
    if device.type == "cpu":
        return partial(esm2.embed_flash, flash, token_budget=token_budget), kernel
    packed = esm2_packed.packed_model(flash, kernel, precision == "fp8")
    return partial(esm2_packed.embed_esm2, packed, token_budget=token_budget), kernel


def load_dnabert_s(
    pack: ModelPack, attention: str, kernel: str, precision: str, device: torch.device, token_budget: int
) -> tuple[Embed, str]:
    """The function that embeds nucleotides, N sequences to (N, hidden_size) float32 on the CPU, and its kernel."""
    if precision == "fp8":
        raise InputError("--precision fp8: ESM-2 alone has it; choose fp16 for DNABERT-S")
    if kernel == "varlen":
        raise InputError("--attention-kernel varlen: has no ALiBi, which DNABERT-S needs; choose auto or another")
    with meta_device():
        model = dnabert_s.DnabertS(pack.dnabert_s)
    dtype = DTYPES[precision]
    load_weights(model, read_weights(pack, DNABERT_S.weights, device), pack.directory / DNABERT_S.weights).to(dtype)
    with pack.file(DNABERT_S.tokenizer) as path:
        tokenizer = dnabert_s.load_tokenizer(path)
        if max(tokenizer.get_vocab().values(), default=0) >= pack.dnabert_s.vocab_size:
            raise InputError(f"{path}: has more tokens than the model's {pack.dnabert_s.vocab_size}; restore the pack")
    if attention == "standard":
        return partial(dnabert_s.embed_standard, model, tokenizer), dnabert_s.STANDARD_KERNEL
    kernel = choose_kernel(kernel, pack.dnabert_s.hidden_size // pack.dnabert_s.num_attention_heads, dtype, device)
    if kernel == "sdpa":
        return partial(dnabert_s.embed_flash, model, tokenizer, token_budget=token_budget), kernel
    from virnucflow.encoders import dnabert_s_packed  # needs Triton, which PyTorch has for GPUs alone

    return partial(dnabert_s_packed.embed_dnabert_s, model, kernel, tokenizer, token_budget=token_budget), kernel


LOADERS = {DNABERT_S.name: load_dnabert_s, ESM2.name: load_esm2}
