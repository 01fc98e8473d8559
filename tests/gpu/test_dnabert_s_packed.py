"""DNABERT-S packed on a GPU against the one-by-one computation in float32."""

import random
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import run_program
from interrupted import embed_interrupted

from virnucflow.encoders.load import load_dnabert_s
from virnucflow.packs.pack import ModelPack, read_model_pack

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

NO_FLASH_ATTN = pytest.mark.skipif(find_spec("flash_attn") is None, reason="flash-attn is not installed")
KERNELS = ["triton", pytest.param("flash_attn", marks=NO_FLASH_ATTN), "sdpa"]


@pytest.fixture(scope="module")
def wide_pack(tmp_path_factory: pytest.TempPathFactory) -> ModelPack:
    """Heads of 64, six of them, so that the slopes are not those of a power of two."""
    directory = tmp_path_factory.mktemp("wide") / "pack"
    run_program("build_untrained_pack", "--model", directory, "--dnabert-s", 4, 384, 6)
    return read_model_pack(directory)


def embed(pack: ModelPack, sequences: list[str], kernel: str, budget: int = 4096) -> torch.Tensor:
    encoder, used = load_dnabert_s(pack, "flash", kernel, "fp16", torch.device("cuda"), budget)
    assert used == kernel
    return encoder(sequences)


@pytest.fixture(scope="module")
def sequences() -> list[str]:
    letters = random.Random(3)
    lengths = [500, 1, 2, 3, 10, *(letters.randint(1, 500) for _ in range(300)), *[499] * 500]
    return ["".join(letters.choices("ACGT", k=length)) for length in lengths]


@pytest.mark.parametrize("kernel", KERNELS)
def test_agrees_with_standard(kernel: str, wide_pack: ModelPack, sequences: list[str]) -> None:
    standard = load_dnabert_s(wide_pack, "standard", "auto", "fp32", torch.device("cuda"), 2048)[0](sequences)
    cosine = F.cosine_similarity(embed(wide_pack, sequences, kernel).double(), standard.double(), dim=1)
    assert cosine.min() >= 0.9999


@pytest.mark.parametrize("kernel", KERNELS[:2])
def test_a_frame_does_not_depend_on_its_batch(kernel: str, wide_pack: ModelPack, sequences: list[str]) -> None:
    whole = embed(wide_pack, sequences, kernel)
    for row in (0, 1, 4, 7, 100, len(sequences) - 1):
        assert torch.equal(embed(wide_pack, [sequences[row]], kernel)[0], whole[row])
    assert torch.equal(embed(wide_pack, sequences[::-1], kernel).flip(0), whole)


@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupted_three_times_gives_the_same_bytes(
    kernel: str, wide_pack: ModelPack, sequences: list[str], tmp_path: Path
) -> None:
    encoder, _ = load_dnabert_s(wide_pack, "flash", kernel, "fp16", torch.device("cuda"), 4096)
    result = embed_interrupted(lambda progress: encoder(sequences, progress=progress), [30, 300, 600], tmp_path)
    assert torch.equal(result, encoder(sequences))
