"""Embeddings are found by what their numbers depend on, and the name says what the program is asked."""

import re

import pytest
import yaml
from helpers import REPOSITORY

from planning.embeddings import REQUEST, missing_embeddings, name_encoder, name_request, options_of_request
from virnucflow.files.kinds import LONGEST, WHOLE
from virnucflow.packs.encoders import DNABERT_S, ENCODERS, ESM2, Encoder

CONFIG = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())


def test_a_name_begins_with_the_encoder_and_its_files() -> None:
    pack = {file: f"{number}" * 64 for number, file in enumerate(["esm2.safetensors", "dnabert_s.safetensors"])}
    pack |= {"tokenizer.json": "3" * 64, "classifier.safetensors": "4" * 64}
    names = {name: name_encoder(encoder, pack) for name, encoder in ENCODERS.items()}
    assert all(re.fullmatch(f"{name}-[0-9a-f]{{8}}", begin) for name, begin in names.items())
    assert name_encoder(ESM2, pack | {"classifier.safetensors": "5" * 64}) == names["esm2"]
    assert name_encoder(ESM2, pack | {"tokenizer.json": "5" * 64}) == names["esm2"]
    assert name_encoder(DNABERT_S, pack | {"tokenizer.json": "5" * 64}) != names["dnabert_s"]
    assert name_encoder(ESM2, pack | {"esm2.safetensors": "5" * 64}) != names["esm2"]
    assert name_encoder(ESM2, {}) == "esm2-untrained"


@pytest.mark.parametrize(
    ("encoder", "attention", "shard", "precision", "name", "options"),
    [
        (ESM2, "flash", "00001", {}, "auto-sdpa", "--precision auto --attention-kernel sdpa"),
        (DNABERT_S, "flash", "00001", {}, "auto", "--precision auto --attention-kernel auto"),
        (ESM2, "flash", "00001", {"flash": "fp8"}, "fp8-sdpa", "--precision fp8 --attention-kernel sdpa"),
        (DNABERT_S, "flash", "00001", {"flash": "fp8"}, "fp16", "--precision fp16 --attention-kernel auto"),
        (ESM2, "standard", "00001", {"standard": "fp16"}, "fp16-tf32", "--precision fp16 --allow tf32"),
        (DNABERT_S, "standard", "00001", {"standard_allows": []}, "fp32", "--precision fp32 --allow"),
        # The gate's reference is v1 as it was, whatever the settings say.
        (ESM2, "standard", "sampled", {"standard": "fp16"}, "fp32", "--precision fp32 --allow"),
    ],
)
def test_a_name_ends_with_what_is_requested(
    encoder: Encoder, attention: str, shard: str, precision: dict, name: str, options: str
) -> None:
    settings = {
        "attention_kernel": "sdpa",
        "precision": CONFIG["precision"] | {"standard_allows": ["tf32"]} | precision,
    }
    for frames, end in ((WHOLE, ""), (LONGEST, "-longest")):
        assert name_request(encoder, attention, shard, frames, settings) == name + end
        assert re.fullmatch(REQUEST, name + end)
        assert options_of_request(attention, name + end) == f"{options} --scored-frames {frames}"


def test_what_goes_on_from_embeddings_is_refused_where_they_are_not_kept() -> None:
    assert missing_embeddings("embeddings", ["train"]) == missing_embeddings("scores", []) == []
    (line,) = missing_embeddings("scores", ["train"])
    assert line == "keep: scores leaves no embeddings for train; give keep: embeddings"
