"""The registry of the encoders: in the features' order, true to the packs' shapes, and there without any package."""

import os
import subprocess
import sys

import pytest
from helpers import SCRIPTS

from virnucflow.encoders.load import LOADERS
from virnucflow.files.tables import FRAMES
from virnucflow.packs.encoders import ENCODERS, feature_widths
from virnucflow.packs.pack import ModelPack
from virnucflow.packs.pack_files import ENCODER_FILES


def test_features_are_of_dnabert_s_then_of_esm2(pack: ModelPack) -> None:
    assert list(feature_widths(pack).items()) == [("dnabert_s", 48), ("esm2", 64)]
    assert pack.feature_width == 112


@pytest.mark.parametrize("name", ENCODERS)
def test_entries_are_true_to_a_pack(name: str, pack: ModelPack) -> None:
    encoder, shape = ENCODERS[name], getattr(pack, name)
    assert encoder.width(shape) % encoder.heads(shape) == 0 < encoder.heads(shape)
    assert encoder.column in FRAMES.names and name in LOADERS
    assert set(encoder.files.values()) <= pack.sha256.keys()


def test_pack_names_the_files_of_esm2_first() -> None:
    """The order of the text of pack.json, whose bytes the same arguments give again."""
    assert ENCODER_FILES == ("esm2.safetensors", "dnabert_s.safetensors", "tokenizer.json")


def test_what_is_asked_of_both_encoders() -> None:
    assert {name: encoder.precision("fp8") for name, encoder in ENCODERS.items()} == {
        "dnabert_s": "fp16",
        "esm2": "fp8",
    }
    assert all(encoder.precision(one) == one for encoder in ENCODERS.values() for one in ("auto", "fp32", "bf16"))
    assert ENCODERS["dnabert_s"].kernel("varlen") == "auto" and ENCODERS["esm2"].kernel("varlen") == "varlen"


def test_the_standard_library_is_enough() -> None:
    command = [sys.executable, "-S", "-c", "import virnucflow.packs.encoders, virnucflow.packs.pack_files"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(SCRIPTS)})
