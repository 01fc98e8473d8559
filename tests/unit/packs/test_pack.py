"""Model packs: the same arguments give the same bytes, and nothing but an intact pack is used."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY, error_line, rehash, run_program, tree, with_digest, write_fasta
from safetensors.torch import load_file, save_file

from virnucflow.cli import InputError
from virnucflow.packs.check import check_pack
from virnucflow.packs.encoders import ESM2
from virnucflow.packs.pack import read_model_pack
from virnucflow.packs.weights import read_weights
from virnucflow.scoring import classifier


@pytest.fixture
def copy(pack_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pack_directory, tmp_path / "pack"))


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    chunks = with_digest(write_fasta(tmp_path / "chunks.fa", {"a_chunk_1": "GCCGCAGCTGCG" * 4}))
    run_program("translate_frames", "--chunks", chunks, "--frames", tmp_path / "frames.parquet")
    return tmp_path / "frames.parquet"


def embed(program: str, frames: Path, pack: Path, code: int) -> str:
    out = frames.with_name("embeddings.safetensors")
    arguments = ["--frames", frames, "--model", pack, "--attention", "flash", "--precision", "fp32", "--device", "cpu"]
    said = run_program(program, *arguments, "--embeddings", out, code=code)
    assert out.exists() == (code == 0)
    return error_line(said) if code else said


def test_same_arguments_give_the_same_bytes(pack_directory: Path, tmp_path: Path) -> None:
    run_program("build_untrained_pack", "--model", tmp_path / "again")
    assert tree(tmp_path / "again") == tree(pack_directory)
    run_program("build_untrained_pack", "--model", tmp_path / "other", "--seed", 1)
    assert tree(tmp_path / "other")["esm2.safetensors"] != tree(pack_directory)["esm2.safetensors"]


def test_impossible_shape_is_refused(tmp_path: Path) -> None:
    said = run_program("build_untrained_pack", "--model", tmp_path / "p", "--esm2", 2, 30, 4, code=2)
    assert "the width must be a multiple of twice the heads" in error_line(said)


def test_untrained_pack_says_so(copy: Path, frames: Path) -> None:
    assert "model pack 'untrained' is untrained" in embed("embed_esm2", frames, copy, code=0)


@pytest.mark.parametrize(
    ("program", "file"),
    [
        ("embed_esm2", "esm2.safetensors"),
        ("embed_dnabert_s", "dnabert_s.safetensors"),
        ("embed_dnabert_s", "tokenizer.json"),
    ],
)
def test_changed_file_is_refused(program: str, file: str, copy: Path, frames: Path) -> None:
    content = bytearray((copy / file).read_bytes())
    content[-2] ^= 1
    (copy / file).write_bytes(content)
    said = embed(program, frames, copy, code=2)
    assert f"{copy / file}: SHA-256 " in said and "restore the pack" in said


def test_damage_is_noticed_also_where_nothing_was_read_wrong(copy: Path) -> None:
    """The checksum is taken while the file is used, and is waited for."""
    pack = read_model_pack(copy)
    with pack.file("tokenizer.json") as path:
        assert path == copy / "tokenizer.json"
    (copy / "tokenizer.json").write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"tokenizer\.json: SHA-256 .* restore the pack"), pack.file("tokenizer.json"):
        pass


def test_pack_for_another_chunk_length_is_refused(copy: Path) -> None:
    assert read_model_pack(copy, 500).chunk_lengths == (500,)
    with pytest.raises(InputError, match="the pack is for chunks of 500 bases, not of 300; change chunk_length"):
        read_model_pack(copy, 300)


def test_pack_for_several_chunk_lengths(copy: Path) -> None:
    description = json.loads((copy / "pack.json").read_text()) | {"chunk_lengths": [500, 300]}
    (copy / "pack.json").write_text(json.dumps(description))
    assert read_model_pack(copy, 500) == read_model_pack(copy, 300)
    with pytest.raises(InputError, match="for chunks of 500 or 300 bases, not of 400"):
        read_model_pack(copy, 400)


def test_a_pack_says_which_frames_it_takes(copy: Path) -> None:
    """Whole ones, as in VirNucPro v1, where it says nothing; it says nothing else, to whoever plans a run either."""
    path = copy / "pack.json"
    description = json.loads(path.read_text())
    description.pop("frames")
    path.write_text(json.dumps(description))
    assert read_model_pack(copy).frames == "whole" and check_pack(copy, 500)[0] == []
    path.write_text(json.dumps(description | {"frames": "longest"}))
    assert read_model_pack(copy).frames == "longest" and check_pack(copy, 500)[0] == []
    path.write_text(json.dumps(description | {"frames": "some"}))
    with pytest.raises(InputError, match=r"pack\.json: .*'some'.*restore the pack"):
        read_model_pack(copy)
    assert "frames is whole or longest" in check_pack(copy, 500)[0][0]


def test_a_pack_that_takes_longest_stretches_says_how_these_are_scaled(copy: Path) -> None:
    path = copy / "pack.json"
    calibration = {"prevalence": 0.2, "whole": {"scale": 1.0, "shift": 0.0}}
    description = json.loads(path.read_text()) | {"calibration": calibration}
    path.write_text(json.dumps(description))
    pack = read_model_pack(copy)
    assert pack.calibration and pack.calibration.longest is None
    path.write_text(json.dumps(description | {"frames": "longest"}))
    with pytest.raises(InputError, match=r"pack.json: calibration: not of longest stretches, which it takes; restore"):
        read_model_pack(copy)


def test_classifier_must_be_as_wide_as_both_encoders(copy: Path) -> None:
    path = copy / classifier.CLASSIFIER
    tensors = load_file(path)
    tensors["hidden_layer.weight"] = torch.zeros(512, 113)
    save_file(tensors, path)
    rehash(copy)
    with pytest.raises(InputError, match=f"{path}: takes 113 features, the encoders give 112; restore the pack"):
        classifier.load_classifier(read_model_pack(copy))


def test_pack_of_encoders_alone(copy: Path) -> None:
    """For a classifier of one's own: for any chunk length, and not for predictions."""
    (copy / classifier.CLASSIFIER).unlink()
    description = json.loads((copy / "pack.json").read_text()) | {"chunk_lengths": []}
    description["sha256"].pop(classifier.CLASSIFIER)
    (copy / "pack.json").write_text(json.dumps(description))
    pack = read_model_pack(copy, 300)
    with pytest.raises(InputError, match="has encoders, but no classifier; give a pack with one"):
        classifier.load_classifier(pack)
    (copy / "pack.json").write_text(json.dumps(description | {"chunk_lengths": [500]}))
    with pytest.raises(InputError, match=r"no SHA-256 of classifier\.safetensors"):
        read_model_pack(copy)


def test_modules_are_built_without_weights_and_without_the_compiler() -> None:
    """PyTorch imports its compiler for arithmetic on the meta device, which would take a second of each start."""
    command = "import sys; from virnucflow.encoders import esm2; m = esm2.fair_esm_model(esm2.Esm2Shape(2, 64, 4))"
    command += "; assert all(p.is_meta for p in m.parameters()); sys.exit('torch._dynamo' in sys.modules)"
    path = {"PYTHONPATH": str(REPOSITORY / "workflow" / "scripts")}
    subprocess.run([sys.executable, "-c", command], env=os.environ | path, check=True)


def test_tensors_keep_the_precision_of_the_file(copy: Path) -> None:
    tensors = read_weights(read_model_pack(copy), ESM2.weights)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}


def test_benchmark_of_loading_runs() -> None:
    command = [sys.executable, REPOSITORY / "benchmarks" / "load_pack.py", "--device", "cpu", "--runs", "1"]
    shapes = ["--esm2", "2", "64", "4", "--dnabert-s", "2", "48", "6"]
    said = subprocess.run([*command, *shapes], check=True, capture_output=True, text=True).stdout
    rows = [line.split("|")[1].strip() for line in said.splitlines()[4:]]
    assert rows == ["esm2 flash fp32", "esm2 standard fp32", "dnabert_s flash fp32"]


def test_missing_files_are_named(copy: Path, frames: Path) -> None:
    (copy / "esm2.safetensors").unlink()
    assert f"{copy / 'esm2.safetensors'}: no such file" in embed("embed_esm2", frames, copy, code=2)
    (copy / "pack.json").unlink()
    assert f"{copy / 'pack.json'}: no such file" in embed("embed_esm2", frames, copy, code=2)


@pytest.mark.parametrize(
    "change",
    [{"surprise": 1}, {"esm2": {"num_layers": 3}}, {"sha256": {}}, {"dnabert_s": 3}],
    ids=lambda c: next(iter(c)),
)
def test_bad_description_is_refused(change: dict, copy: Path, frames: Path) -> None:
    description = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps(description | change))
    assert "pack.json: " in embed("embed_esm2", frames, copy, code=2)
    (copy / "pack.json").write_text("{")
    assert "pack.json: not a JSON file" in embed("embed_esm2", frames, copy, code=2)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("layers.1.fc2.bias"), "missing layers.1.fc2.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "unknown extra"),
        (lambda t: t.update({"layers.0.fc1.bias": torch.zeros(3)}), "layers.0.fc1.bias is [3], not [256]"),
    ],
)
def test_tensors_that_do_not_fit_are_named(edit, message: str, copy: Path, frames: Path) -> None:
    tensors = load_file(copy / "esm2.safetensors")
    edit(tensors)
    save_file(tensors, copy / "esm2.safetensors")
    rehash(copy)
    assert message in embed("embed_esm2", frames, copy, code=2)


class Payload:
    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("writer", [pickle.dump, torch.save], ids=["pickle", "torch.save"])
def test_pickles_are_never_executed(writer, copy: Path, frames: Path, tmp_path: Path) -> None:
    payload, victim = Payload(), tmp_path / "victim"
    payload.path = str(victim)
    with (copy / "esm2.safetensors").open("wb") as file:
        writer(payload, file)
    rehash(copy)
    assert "esm2.safetensors: not a safetensors file" in embed("embed_esm2", frames, copy, code=2)
    assert not victim.exists()
