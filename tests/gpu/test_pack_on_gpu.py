"""A model pack on a GPU: the file's tensors, and the known answers in every precision."""

from pathlib import Path

import pytest
import torch
from helpers import start_program

from virnucflow.packs.encoders import DNABERT_S, ESM2
from virnucflow.packs.pack import ModelPack
from virnucflow.packs.weights import read_weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize("file", [ESM2.weights, DNABERT_S.weights])
def test_tensors_arrive_unchanged(file: str, pack: ModelPack) -> None:
    there, here = read_weights(pack, file, torch.device("cuda")), read_weights(pack, file)
    assert there.keys() == here.keys()
    for name, tensor in there.items():
        assert tensor.is_cuda and tensor.dtype == here[name].dtype and torch.equal(tensor.cpu(), here[name])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_known_answers(precision: str, pack_directory: Path) -> None:
    said = start_program("check_models", "--model", pack_directory, "--device", "cuda", "--precision", precision)
    assert "passed: untrained on cuda computes what it should" in said
    assert f"esm2, flash {precision} (" in said and "scores, standard fp32: differs by" in said
