"""ESM-2: `standard` against fair-esm itself, bit for bit, and `flash` against `standard`."""

from pathlib import Path

import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from esm.data import Alphabet, FastaBatchedDataset
from esm.model.esm2 import ESM2
from helpers import rehash, run_program
from safetensors.torch import load_file, save_file

from virnucflow.cli import InputError
from virnucflow.encoders import esm2
from virnucflow.encoders.attention_kernels import choose_kernel
from virnucflow.encoders.load import load_esm2
from virnucflow.files.tables import FRAMES, digest, write_parquet
from virnucflow.files.tensors import load_tensor
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack import ModelPack

CPU = torch.device("cpu")
WEIGHTS = ENCODERS["esm2"].weights
PUBLISHED = [(6, 320, 20), (12, 480, 20), (30, 640, 20), (33, 1280, 20), (36, 2560, 40), (48, 5120, 40)]


@pytest.fixture(scope="module")
def frames(proteins: list[str], nucleotides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frames") / "frames.parquet"
    rows = list(zip(proteins, nucleotides))
    identity = [[f"s{i}_chunk_1F1" for i in range(len(rows))], [f"s{i}" for i in range(len(rows))]]
    columns = [
        *identity,
        [1] * len(rows),
        ["F1"] * len(rows),
        ["whole"] * len(rows),
        [n for _, n in rows],
        [p for p, _ in rows],
        [len(p) for p, _ in rows],
    ]
    write_parquet(pa.table(columns, schema=FRAMES), path)
    return path


def fair_esm(pack: ModelPack, proteins: list[str], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The computation of v1 with fair-esm alone: its whole model, its batches, its mean."""
    alphabet = Alphabet.from_architecture("ESM-1b")
    shape = pack.esm2
    model = ESM2(shape.num_layers, shape.embed_dim, shape.attention_heads, alphabet).eval()
    loaded = model.load_state_dict(load_file(pack.directory / WEIGHTS), strict=False)
    assert not loaded.unexpected_keys
    assert {name.split(".")[0] for name in loaded.missing_keys} == {"lm_head", "contact_head"}
    model = model.to(dtype)
    dataset = FastaBatchedDataset([str(i) for i in range(len(proteins))], proteins)
    batches = dataset.get_batch_indices(2048, extra_toks_per_seq=1)
    loader = torch.utils.data.DataLoader(dataset, collate_fn=alphabet.get_batch_converter(), batch_sampler=batches)
    result = torch.empty(len(proteins), shape.embed_dim)
    with torch.no_grad():
        for labels, sequences, tokens in loader:
            hidden = model(tokens, repr_layers=[shape.num_layers])["representations"][shape.num_layers]
            for i, label in enumerate(labels):
                result[int(label)] = hidden[i, 1 : len(sequences[i]) + 1].mean(0).float()
    return result


def embed(pack: ModelPack, attention: str, proteins: list[str], budget: int, precision="fp32") -> torch.Tensor:
    return load_esm2(pack, attention, "auto", precision, CPU, budget)[0](proteins)


def cosines(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(one.double(), other.double(), dim=1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_standard_is_fair_esm_bit_for_bit(pack: ModelPack, frames: Path, proteins, precision: str, tmp_path) -> None:
    out = tmp_path / "embeddings.safetensors"
    arguments = ["--frames", frames, "--model", pack.directory, "--attention", "standard", "--device", "cpu"]
    run_program("embed_esm2", *arguments, "--precision", precision, "--embeddings", out)
    embedding, metadata = load_tensor(out, "embedding")
    dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
    assert torch.equal(torch.from_numpy(embedding), fair_esm(pack, proteins[: len(embedding)], dtype))
    assert metadata | {"torch": "", "virnucflow": ""} == {
        "encoder": "esm2", "key": "", "weights_sha256": pack.sha256[WEIGHTS],
        "attention": "standard", "kernel": "fair-esm", "precision": precision, "allowed": "none", "device": "cpu",
        "names_sha256": digest(f"s{i}_chunk_1F1" for i in range(len(embedding))), "torch": "", "virnucflow": "",
    }  # fmt: skip


def test_batches_of_standard_are_padded(proteins: list[str]) -> None:
    batches = FastaBatchedDataset(range(len(proteins)), proteins).get_batch_indices(2048, extra_toks_per_seq=1)
    assert any(len({len(proteins[i]) for i in batch}) > 1 for batch in batches), "the test above shows nothing"


@pytest.mark.parametrize("budget", [1, 700, 16384])
def test_flash_agrees_with_standard(pack: ModelPack, proteins: list[str], budget: int) -> None:
    flash, standard = embed(pack, "flash", proteins, budget), embed(pack, "standard", proteins, 2048)
    assert cosines(flash, standard).min() >= 0.999999
    assert (flash - standard).abs().max() < 1e-5


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("bf16", 0.999)])
def test_flash_in_half_precision(pack: ModelPack, proteins: list[str], precision: str, least: float) -> None:
    assert (
        cosines(embed(pack, "flash", proteins, 4096, precision), embed(pack, "standard", proteins, 2048)).min() >= least
    )


def test_equal_proteins_have_equal_embeddings(pack: ModelPack, proteins: list[str]) -> None:
    flash = embed(pack, "flash", proteins, 16384)
    assert torch.allclose(flash[4], flash[-1], atol=1e-6)
    assert not torch.allclose(flash[4], flash[5], atol=1e-3)


def test_rotary_frequencies_are_those_of_the_pack(pack: ModelPack) -> None:
    """A checkpoint in half precision has them rounded, and v1 used them so."""
    model = esm2.flash_model(load_model(pack), torch.float32, CPU)
    head_dim = pack.esm2.embed_dim // pack.esm2.attention_heads
    exact = 1 / 10000 ** (torch.arange(0, head_dim, 2).float() / head_dim)
    assert torch.equal(model.inv_freq, exact.half().float()) and not torch.equal(model.inv_freq, exact)


@pytest.mark.parametrize("kernel", ["triton", "varlen", "flash_attn"])
def test_kernel_that_is_not_there_is_refused(kernel: str, pack: ModelPack, frames: Path, tmp_path: Path) -> None:
    assert choose_kernel("auto", 16, torch.float32, CPU) == "sdpa"
    arguments = ["--frames", frames, "--model", pack.directory, "--attention", "flash", "--precision", "fp32"]
    arguments += ["--device", "cpu", "--attention-kernel", kernel, "--embeddings", tmp_path / "x"]
    said = run_program("embed_esm2", *arguments, code=2)
    assert f"--attention-kernel {kernel}: needs a GPU of compute capability 8.0 or more; precision fp16 or bf16" in said
    assert not (tmp_path / "x").exists()


def load_model(pack: ModelPack) -> ESM2:
    model = esm2.fair_esm_model(pack.esm2)
    model.load_state_dict(load_file(pack.directory / WEIGHTS), assign=True)
    return model


def test_frequencies_that_differ_are_refused(pack: ModelPack) -> None:
    model = load_model(pack)
    model.layers[1].self_attn.rot_emb.inv_freq = model.layers[1].self_attn.rot_emb.inv_freq * 2
    with pytest.raises(InputError, match="rotary frequencies differ"):
        esm2.flash_model(model, torch.float32, CPU)


@pytest.mark.parametrize("shape", PUBLISHED)
def test_published_shapes_have_the_published_tensors(shape: tuple[int, int, int]) -> None:
    """The names and shapes of a pack's tensors are those of fair-esm's checkpoint, less its two heads."""
    layers, width, heads = shape
    ours = esm2.fair_esm_model(esm2.Esm2Shape(layers, width, heads)).state_dict()
    with torch.device("meta"):
        theirs = ESM2(layers, width, heads).state_dict()
    theirs = {name: t for name, t in theirs.items() if not name.startswith(("lm_head", "contact_head"))}
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_not_finite_embedding_stops_the_program_and_names_the_frame(pack: ModelPack, frames: Path, tmp_path) -> None:
    directory = tmp_path / "pack"
    run_program("build_untrained_pack", "--model", directory)
    tensors = load_file(directory / WEIGHTS)
    tensors["embed_tokens.weight"][esm2.ALPHABET.get_idx("W")] = float("nan")
    save_file(tensors, directory / WEIGHTS)
    rehash(directory)
    arguments = ["--frames", frames, "--model", directory, "--attention", "flash", "--precision", "fp32"]
    out = tmp_path / "out.safetensors"
    said = run_program("embed_esm2", *arguments, "--device", "cpu", "--embeddings", out, code=1)
    assert "the embedding of frame 's" in said and "_chunk_1F1' is not finite" in said
    assert not out.exists()
