"""The packed path on a GPU against fair-esm in float32, for each kernel that is there."""

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import run_program, start_program
from interrupted import embed_interrupted

from virnucflow.encoders.attention_kernels import choose_kernel
from virnucflow.encoders.load import load_esm2
from virnucflow.packs.pack import ModelPack, read_model_pack

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


def embed(pack: ModelPack, proteins: list[str], kernel: str, budget: int = 4096, precision="fp16") -> torch.Tensor:
    encoder, used = load_esm2(pack, "flash", kernel, precision, GPU, budget)
    assert used == kernel
    return encoder(proteins)


def standard(pack: ModelPack, proteins: list[str]) -> torch.Tensor:
    return load_esm2(pack, "standard", "auto", "fp32", GPU, 2048)[0](proteins)


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


def test_fused_product_is_the_product_and_its_gelu() -> None:
    """Widths and depths that are no multiple of a tile; values that half precision can hold, and large ones."""
    from virnucflow.encoders import triton_kernels as kernels

    torch.manual_seed(0)
    for tokens, depth, width in ((128, 320, 1280), (384, 480, 1920), (1024, 2560, 10240)):
        x = torch.randn(tokens, depth, device=GPU).half()
        linear = torch.nn.Linear(depth, width, device=GPU, dtype=torch.float16).requires_grad_(False)
        linear.weight.normal_(std=0.1)
        linear.bias.normal_()
        out = torch.full((tokens, width), float("nan"), device=GPU).half()
        kernels.linear_gelu(x, linear, out)
        expected = F.gelu(x.float() @ linear.weight.float().t() + linear.bias.float())
        assert ((out.float() - expected).abs() <= 1e-3 * expected.abs() + 2e-4).all()


@pytest.mark.parametrize("kernel", ["triton", "sdpa"])
def test_bf16_agrees_with_standard(kernel: str, wide_pack: ModelPack, proteins: list[str]) -> None:
    half = embed(wide_pack, proteins, kernel, precision="bf16")
    assert F.cosine_similarity(half.double(), standard(wide_pack, proteins).double(), dim=1).min() >= 0.999


@pytest.mark.parametrize("kernel", KERNELS)
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


@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupted_three_times_gives_the_same_bytes(kernel: str, wide_pack: ModelPack, tmp_path: Path) -> None:
    encoder, _ = load_esm2(wide_pack, "flash", kernel, "fp16", GPU, 4096)
    frames = many(1000)
    result = embed_interrupted(lambda progress: encoder(frames, progress=progress), [30, 400, 800], tmp_path)
    assert torch.equal(result, encoder(frames))


def test_fp32_agrees_with_standard(wide_pack: ModelPack, proteins: list[str]) -> None:
    whole = embed(wide_pack, proteins, "sdpa", precision="fp32")
    torch.testing.assert_close(whole, standard(wide_pack, proteins), rtol=1e-3, atol=1e-3)


def test_sequences_longer_than_the_budget_and_no_sequences(wide_pack: ModelPack) -> None:
    long = "ACDEFGHIKL" * 100
    assert F.cosine_similarity(embed(wide_pack, [long], "triton", 64), standard(wide_pack, [long])).min() >= 0.9999
    assert embed(wide_pack, [], "triton").shape == (0, 320)


def test_auto_takes_triton_and_says_so(wide_pack: ModelPack) -> None:
    assert choose_kernel("auto", 64, torch.float16, GPU) == "triton"
    assert choose_kernel("auto", 64, torch.float32, GPU) == "sdpa"


def test_out_of_memory_halves_the_batch_and_goes_on(wide_pack: ModelPack, monkeypatch, caplog) -> None:
    """Twice: before the first batch, and in the third, after which the embeddings that are there are kept."""
    from virnucflow.encoders import esm2_packed

    frames, seen = many(200), []
    real = esm2_packed.half_forward

    def scarce(model, batch, cos, sin, buffers):
        seen.append((len(batch.tokens), len(batch.cu_seqlens) - 1))
        if len(batch.tokens) > 8192 or len(seen) == 4:
            raise torch.OutOfMemoryError("no")
        return real(model, batch, cos, sin, buffers)

    monkeypatch.setattr(esm2_packed, "half_forward", scarce)
    result = embed(wide_pack, frames, "triton", 16384)
    assert "going on with 8192" in caplog.text and "going on with 4096" in caplog.text
    assert [rows for rows, _ in seen[:5]] == [16384, 8192, 8192, 8192, 4096]
    assert sum(number for _, number in seen) < 2.5 * len(frames), "what was done is done again"
    assert F.cosine_similarity(result, standard(wide_pack, frames)).min() >= 0.9999


def test_fp8(wide_pack: ModelPack) -> None:
    frames = many(300)
    whole = embed(wide_pack, frames, "triton", precision="fp8")
    assert F.cosine_similarity(whole.double(), standard(wide_pack, frames).double(), dim=1).min() >= 0.99
    assert torch.equal(embed(wide_pack, frames[40:50], "triton", precision="fp8"), whole[40:50])


def test_program_on_the_gpu_names_kernel_and_device(wide_pack: ModelPack, tmp_path: Path) -> None:
    from helpers import with_digest, write_fasta

    from virnucflow.files.tensors import load_tensor

    chunks = with_digest(write_fasta(tmp_path / "chunks.fa", {"a_chunk_1": "GCCGCAGCTGCG" * 30}))
    run_program("translate_frames", "--chunks", chunks, "--frames", tmp_path / "frames")
    arguments = ["--frames", tmp_path / "frames", "--model", wide_pack.directory, "--attention", "flash"]
    start_program("embed_esm2", *arguments, "--precision", "auto", "--embeddings", tmp_path / "out")
    _, metadata = load_tensor(tmp_path / "out", "embedding")
    assert (metadata["kernel"], metadata["precision"]) == ("triton", "fp16")
    assert metadata["device"] == torch.cuda.get_device_name()
