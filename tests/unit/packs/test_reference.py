"""Known answers: what is far off does not pass, whatever the precision, and what cannot be compared is said."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import error_line, rehash, run_program

from virnucflow.cli import Failure, InputError
from virnucflow.devices.precision import DTYPES
from virnucflow.encoders import esm2
from virnucflow.encoders.load import LOADERS, load_esm2
from virnucflow.packs.encoders import ESM2
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.packs.pack_files import REFERENCE
from virnucflow.packs.reference import (
    LARGEST_DIFFERENCE,
    LARGEST_SCORE_DIFFERENCE,
    Reference,
    check_encoder,
    compare_embedding,
    compare_scores,
    load_reference,
    save_reference,
)
from virnucflow.packs.weights import load_weights, read_weights

CPU = torch.device("cpu")
FLOAT = (torch.float32, CPU)


@pytest.fixture
def copy(pack_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack_directory, tmp_path / "pack"))


def test_reference_is_read_as_it_was_written(tmp_path: Path, pack: ModelPack) -> None:
    reference = load_reference(pack)
    assert len(reference.names) == len(reference.nucleotides) == len(reference.proteins) >= 4
    assert {name: array.shape[1] for name, array in reference.values.items()} == {
        "dnabert_s": 48,
        "esm2": 64,
        "scores": 2,
    }
    save_reference(reference, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == (pack.directory / REFERENCE).read_bytes()


@pytest.mark.parametrize("encoder", LOADERS)
@pytest.mark.parametrize(("attention", "precision"), [("standard", "fp32"), ("flash", "fp32"), ("flash", "bf16")])
def test_encoders_give_the_reference(encoder: str, attention: str, precision: str, pack: ModelPack) -> None:
    embed, _ = LOADERS[encoder](pack, attention, "auto", precision, CPU, 2048)
    reference = load_reference(pack)
    comparison = compare_embedding(reference, encoder, embed(reference.sequences(encoder)), precision)
    assert comparison.passed
    check_encoder(pack, encoder, embed, precision)


def test_every_precision_has_its_limits() -> None:
    assert set(LARGEST_DIFFERENCE) == set(LARGEST_SCORE_DIFFERENCE) == set(DTYPES)


def reference(**values: list) -> Reference:
    arrays = {name: np.array(value, np.float32) for name, value in values.items()}
    return Reference(["a", "b"], ["ACG", "ACGT"], ["M", "K"], "a test", arrays)


@pytest.mark.parametrize(
    ("found", "difference"),
    [([[3, 4], [0, 1]], 0), ([[3, 4], [0, 1.5]], 0.5), ([[3, 4.5], [0, 1]], 0.1), ([[3, 4], [0, float("nan")]], None)],
)
def test_difference_is_the_largest_of_a_row_relative_to_it(found: list, difference: float | None) -> None:
    comparison = compare_embedding(reference(esm2=[[3, 4], [0, 1]]), "esm2", torch.tensor(found), "fp16")
    if difference is None:
        assert not comparison.passed
    else:
        assert comparison.difference == pytest.approx(difference, abs=1e-6) and comparison.passed == (difference == 0)


def test_scores_are_compared_as_they_are() -> None:
    known = reference(scores=[[0.25, 0.75], [0.5, 0.5]])
    assert compare_scores(known, torch.tensor([[0.25, 0.75], [0.5, 0.5]]), "fp32").passed
    found = compare_scores(known, torch.tensor([[0.25, 0.75], [0.48, 0.52]]), "fp32")
    assert not found.passed and str(found) == "differs by 2.0e-02, may differ by 1e-03"


def test_what_is_off_stops_a_job(pack: ModelPack) -> None:
    embed, _ = load_esm2(pack, "flash", "auto", "fp32", CPU, 2048)
    with pytest.raises(Failure, match=r"esm2 differs by .*, may differ by 1e-03 in fp32; see check_models"):
        check_encoder(pack, "esm2", lambda proteins: embed(proteins) * 1.01, "fp32")
    with pytest.raises(Failure, match="differs by nan"):
        check_encoder(pack, "esm2", lambda proteins: embed(proteins) * float("nan"), "fp32")


def test_faults_of_the_past_are_off_in_every_half_precision(pack: ModelPack, monkeypatch) -> None:
    """The last residue left out of the mean; <eos> in it; token dropout's scale left out."""
    reference = load_reference(pack)
    standard = load_weights(esm2.fair_esm_model(pack.esm2), read_weights(pack, ESM2.weights), Path())
    model = esm2.flash_model(standard, *FLOAT)
    proteins = reference.proteins

    def off(found: torch.Tensor) -> bool:
        return not compare_embedding(reference, "esm2", found, "fp16").passed

    def with_ends(protein: str) -> torch.Tensor:
        return model(esm2.tokenize([protein], np.array([0])))[:, 1:].mean(1)

    assert not off(esm2.embed_flash(model, proteins, 2048))
    assert off(esm2.embed_flash(model, [protein[:-1] for protein in proteins], 2048))
    assert off(torch.cat([with_ends(protein) for protein in proteins]))
    monkeypatch.setattr(esm2, "TOKEN_DROPOUT", 1.0)
    assert off(esm2.embed_flash(esm2.flash_model(standard, *FLOAT), proteins, 2048))


def test_pack_without_reference_says_so(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    (copy / REFERENCE).unlink()
    description = json.loads((copy / "pack.json").read_text())
    description["sha256"].pop(REFERENCE)
    (copy / "pack.json").write_text(json.dumps(description))
    check_encoder(read_model_pack(copy), "esm2", lambda proteins: torch.zeros(len(proteins), 64), "fp32")
    assert "has no reference values of esm2: nothing is checked" in caplog.text
    said = run_program("check_models", "--model", copy, "--device", "cpu", code=2)
    assert "the pack has no reference values; make it again" in error_line(said)


def test_other_file_in_the_place_of_the_reference(copy: Path) -> None:
    shutil.copy(copy / "classifier.safetensors", copy / REFERENCE)
    rehash(copy)
    with pytest.raises(InputError, match="not reference values of a model pack"):
        load_reference(read_model_pack(copy))
    (copy / REFERENCE).write_bytes(b"")
    with pytest.raises(InputError, match=r"reference\.safetensors: SHA-256"):
        load_reference(read_model_pack(copy))
