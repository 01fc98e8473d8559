"""The packed path on a GPU against fair-esm in float32, for each kernel that is there."""

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import run_program

from virnucflow import esm2_kernels
from virnucflow.model_pack import ModelPack, read_model_pack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

NO_FLASH_ATTN = pytest.mark.skipif(find_spec("flash_attn") is None, reason="flash-attn is not installed")
KERNELS = ["triton", "varlen", pytest.param("flash_attn", marks=NO_FLASH_ATTN), "sdpa"]
GPU = torch.device("cuda")


@pytest.fixture(scope="module")
def wide_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """Heads of 64, as the large published models have."""
    directory = tmp_path_factory.mktemp("wide") / "pack"
    run_program("build_untrained_pack", "--model", directory, "--esm2", 4, 320, 5)
    return read_model_pack(directory)


def embed(pack: ModelPack, proteins: list[str], kernel: str, budget: int = 4096, dtype=torch.float16) -> torch.Tensor:
    encoder, used = esm2_kernels.load_esm2(pack, "flash", kernel, dtype, GPU, budget)
    assert used == kernel
    return encoder(proteins)


def standard(pack: ModelPack, proteins: list[str]) -> torch.Tensor:
    return esm2_kernels.load_esm2(pack, "standard", "auto", torch.float32, GPU, 2048)[0](proteins)


def many(number: int) -> list[str]:
    letters = random.Random(5)
    lengths = [letters.choice([165, 166]) if letters.random() < 0.8 else letters.randint(1, 170) for _ in range(number)]
    return ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", ["pack", "wide_pack"])
def test_agrees_with_standard(kernel: str, shape: str, request, proteins: list[str]) -> None:
    pack = request.getfixturevalue(shape)
    frames = proteins + many(2000)
    cosine = F.cosine_similarity(embed(pack, frames, kernel).double(), standard(pack, frames).double(), dim=1)
    assert cosine.min() >= 0.9999


def test_bf16_agrees_with_standard(wide_pack: ModelPack, proteins: list[str]) -> None:
    half = embed(wide_pack, proteins, "triton", dtype=torch.bfloat16)
    assert F.cosine_similarity(half.double(), standard(wide_pack, proteins).double(), dim=1).min() >= 0.999


@pytest.mark.parametrize("kernel", KERNELS[:3])
def test_a_frame_does_not_depend_on_its_batch(kernel: str, wide_pack: ModelPack, proteins: list[str]) -> None:
    """Alone, among others, in another order, in other shards: the same bytes."""
    frames = list(dict.fromkeys(proteins + many(300)))
    whole = embed(wide_pack, frames, kernel)
    for row in (0, 1, 4, 7, 100, len(frames) - 1):
        assert torch.equal(embed(wide_pack, [frames[row]], kernel)[0], whole[row])
    turned = embed(wide_pack, frames[::-1], kernel).flip(0)
    assert torch.equal(turned, whole)
    parts = torch.cat([embed(wide_pack, frames[first : first + 37], kernel) for first in range(0, len(frames), 37)])
    assert torch.equal(parts, whole)


def test_sequences_longer_than_the_budget_and_no_sequences(wide_pack: ModelPack) -> None:
    long = "ACDEFGHIKL" * 100
    assert F.cosine_similarity(embed(wide_pack, [long], "triton", 64), standard(wide_pack, [long])).min() >= 0.9999
    assert embed(wide_pack, [], "triton").shape == (0, 320)


def test_auto_takes_triton_and_says_so(wide_pack: ModelPack) -> None:
    assert esm2_kernels.choose_kernel("auto", wide_pack.esm2, torch.float16, GPU) == "triton"
    assert esm2_kernels.choose_kernel("auto", wide_pack.esm2, torch.float32, GPU) == "sdpa"


def test_out_of_memory_halves_the_batch_and_goes_on(wide_pack: ModelPack, monkeypatch, caplog) -> None:
    from virnucflow import esm2_packed

    real, frames = esm2_packed._embed, many(50)

    def scarce(model, kernel, proteins, budget):
        if budget > 2048:
            raise torch.OutOfMemoryError("no")
        return real(model, kernel, proteins, budget)

    monkeypatch.setattr(esm2_packed, "_embed", scarce)
    result = embed(wide_pack, frames, "triton", 8192)
    assert "going on with 2048 tokens a batch" in caplog.text
    assert F.cosine_similarity(result, standard(wide_pack, frames)).min() >= 0.9999


def test_program_on_the_gpu_names_kernel_and_device(wide_pack: ModelPack, tmp_path: Path) -> None:
    from helpers import write_fasta

    from virnucflow.embeddings import load_tensor

    chunks = write_fasta(tmp_path / "chunks.fa", {"a_chunk_1": "GCCGCAGCTGCG" * 30})
    run_program("translate_frames", "--chunks", chunks, "--frames", tmp_path / "frames")
    arguments = ["--frames", tmp_path / "frames", "--model", wide_pack.directory, "--attention", "flash"]
    run_program("embed_esm2", *arguments, "--precision", "auto", "--embeddings", tmp_path / "out")
    _, metadata = load_tensor(tmp_path / "out", "embedding")
    assert (metadata["kernel"], metadata["precision"]) == ("triton", "fp16")
    assert metadata["device"] == torch.cuda.get_device_name()
