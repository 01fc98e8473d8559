"""From embeddings to scores: what belongs together is checked, and the classifier is v1's formula."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import error_line, rehash, run_program, with_digest, write_fasta
from safetensors.numpy import load_file, save_file

from virnucflow.files.tables import read_provenance
from virnucflow.files.tensors import load_tensor, save_rows
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack import ModelPack
from virnucflow.scoring.classifier import MLPClassifier, score


@pytest.fixture(scope="module")
def run(pack_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames, embeddings, features and scores of two chunk files, as the workflow makes them."""
    folder = tmp_path_factory.mktemp("run")
    for part, letters in (("1", "GCCGCAGCTGCG"), ("2", "GGCACCGATCTG")):
        chunks = write_fasta(folder / f"{part}.fa", {f"{part}_chunk_1": letters * 6, f"{part}_chunk_2": letters * 9})
        with_digest(chunks)
        frames = folder / f"{part}.frames"
        run_program("translate_frames", "--chunks", chunks, "--frames", frames)
        common = ["--frames", frames, "--model", pack_directory, "--device", "cpu"]
        for encoder in ("esm2", "dnabert_s"):
            how = ["--attention", "flash", "--precision", "fp32", "--embeddings", folder / f"{part}.{encoder}"]
            run_program(f"embed_{encoder}", *common, *how)
        concat(folder, f"{part}.dnabert_s", f"{part}.esm2", f"{part}.features")
        predict(folder, pack_directory, f"{part}.frames", f"{part}.features", f"{part}.scores")
    return folder


def concat(folder: Path, dnabert_s: str, esm2: str, features: str, code: int = 0) -> str:
    inputs = ["--dnabert-s", folder / dnabert_s, "--esm2", folder / esm2]
    return run_program("concat_features", *inputs, "--features", folder / features, code=code)


def predict(folder: Path, pack: Path, frames: str, features: str, scores: str, code: int = 0) -> str:
    inputs = ["--frames", folder / frames, "--features", folder / features, "--model", pack]
    return run_program("predict", *inputs, "--scores", folder / scores, code=code)


def test_features_are_dnabert_s_then_esm2(run: Path, pack: ModelPack) -> None:
    features, _ = load_tensor(run / "1.features", "features")
    parts = [load_tensor(run / f"1.{encoder}", "embedding")[0] for encoder in ("dnabert_s", "esm2")]
    assert features.shape[1] == pack.feature_width == pack.dnabert_s.hidden_size + pack.esm2.embed_dim
    assert np.array_equal(features, np.concatenate(parts, axis=1))


def test_embeddings_of_other_frames_are_refused(run: Path) -> None:
    assert "names_sha256 differ" in error_line(concat(run, "1.dnabert_s", "2.esm2", "x", code=2))
    assert "embeddings of esm2, not of dnabert_s; swap" in error_line(concat(run, "1.esm2", "1.dnabert_s", "x", code=2))
    assert not (run / "x").exists()


def test_embeddings_of_another_attention_are_refused(run: Path) -> None:
    embedding, metadata = load_tensor(run / "1.esm2", "embedding")
    save_rows(embedding, "embedding", run / "other.esm2", metadata | {"attention": "standard"})
    assert "attention differ" in error_line(concat(run, "1.dnabert_s", "other.esm2", "x", code=2))


def test_features_of_other_frames_are_refused(run: Path, pack_directory: Path) -> None:
    said = predict(run, pack_directory, "2.frames", "1.features", "x", code=2)
    assert "1.features: not of the frames in " in error_line(said)


def test_scores_follow_the_published_formula(run: Path, pack: ModelPack) -> None:
    w = {name: value.astype(np.float64) for name, value in load_file(pack.directory / "classifier.safetensors").items()}
    features = load_tensor(run / "1.features", "features")[0].astype(np.float64)
    hidden = features @ w["hidden_layer.weight"].T + w["hidden_layer.bias"]
    hidden = (hidden - w["bn1.running_mean"]) / np.sqrt(w["bn1.running_var"] + 1e-5) * w["bn1.weight"] + w["bn1.bias"]
    logits = np.maximum(hidden, 0) @ w["output_layer.weight"].T + w["output_layer.bias"]
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    table = pq.read_table(run / "1.scores").to_pandas()
    assert table["score_others"].dtype == np.float32
    assert np.abs(table[["score_others", "score_virus"]].to_numpy() - expected).max() < 1e-5
    assert (table["prediction"] == np.where(expected[:, 1] > expected[:, 0], "virus", "others")).all()
    names = pq.read_table(run / "1.frames")["name"]
    assert table["name"].to_list() == names.to_pylist()


def test_a_frame_with_a_tie_is_others(run: Path, pack_directory: Path, tmp_path: Path) -> None:
    classifier = load_file(pack_directory / "classifier.safetensors")
    tied = {name: value * 0 if name.startswith("output_layer") else value for name, value in classifier.items()}
    for file in pack_directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(tied, tmp_path / "classifier.safetensors")
    rehash(tmp_path)
    predict(run, tmp_path, "1.frames", "1.features", "tied.scores")
    table = pq.read_table(run / "tied.scores").to_pandas()
    assert set(table["score_virus"]) == {0.5} and set(table["prediction"]) == {"others"}


def test_classifier_of_another_width_is_refused(run: Path, pack_directory: Path, tmp_path: Path) -> None:
    for file in pack_directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file({k: v.numpy() for k, v in MLPClassifier(7, 4).state_dict().items()}, tmp_path / "classifier.safetensors")
    rehash(tmp_path)
    said = predict(run, tmp_path, "1.frames", "1.features", "x", code=2)
    assert "takes 7 features, the encoders give 112" in error_line(said)


@pytest.mark.parametrize("encoder", ["esm2", "dnabert_s"])
def test_embeddings_of_another_pack_of_the_same_name_are_refused(
    encoder: str, run: Path, pack_directory: Path, tmp_path: Path
) -> None:
    run_program("build_untrained_pack", "--model", tmp_path, "--seed", 1)
    for other in ENCODERS.keys() - {encoder}:
        for file in ENCODERS[other].files.values():
            (tmp_path / file).write_bytes((pack_directory / file).read_bytes())
    rehash(tmp_path)
    said = predict(run, tmp_path, "1.frames", "1.features", "x", code=2)
    assert f"1.features: not made with {encoder}.safetensors of " in error_line(said)


def test_scores_that_are_not_finite_stop_the_program(run: Path, pack_directory: Path, tmp_path: Path) -> None:
    for file in pack_directory.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    classifier = load_file(tmp_path / "classifier.safetensors")
    classifier["output_layer.bias"] = classifier["output_layer.bias"] * np.float32("nan")
    save_file(classifier, tmp_path / "classifier.safetensors")
    rehash(tmp_path)
    assert "a score is not finite" in error_line(predict(run, tmp_path, "1.frames", "1.features", "x", code=1))


@pytest.mark.parametrize("program", ["embed_esm2", "predict"])
def test_pack_for_another_chunk_length_is_refused(program: str, run: Path, pack_directory: Path) -> None:
    outputs = {
        "embed_esm2": ["--attention", "flash", "--precision", "fp32", "--embeddings", run / "x"],
        "predict": ["--features", run / "1.features", "--scores", run / "x"],
    }
    common = ["--frames", run / "1.frames", "--model", pack_directory, "--chunk-length", 300]
    said = run_program(program, *common, *outputs[program], code=2)
    assert "the pack is for chunks of 500 bases, not of 300" in error_line(said)


def test_scores_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    classifier, features = MLPClassifier(20, 8).eval(), torch.randn(100, 20)
    assert torch.allclose(score(classifier, features, batch=7), score(classifier, features), atol=1e-6)


def test_scores_name_the_model_that_made_them(run: Path) -> None:
    made = read_provenance(run / "1.scores")
    assert (made["model"], made["trained"], made["attention"]) == ("untrained", False, "flash")
    assert made["esm2"]["kernel"] == "sdpa" and made["chunks"] == 2


def test_the_pack_says_which_frames_are_scored_and_how_their_scores_are_scaled(
    run: Path, pack_directory: Path, tmp_path: Path
) -> None:
    """A pack of whole frames knows nothing of the longest stretches; another one has a score for each chunk."""
    chunks = {
        "c_chunk_1": "GCCGCAGCTGCG" * 9,
        "c_chunk_2": "TAATTAGTTAATCTAAC" + "TGGCTCGAC" * 12 + "TAATTAGTTAATCTAAC",
    }
    with_digest(write_fasta(tmp_path / "c.fa", chunks))
    outputs = ["--frames", tmp_path / "frames", "--protein-fasta", tmp_path / "proteins"]
    run_program("translate_frames", "--chunks", tmp_path / "c.fa", *outputs)
    scores = {}
    scaling = {"scale": 2.0, "shift": -1.0}
    for name, said in (
        ("whole", {"frames": "whole"}),
        ("scaled whole", {"frames": "whole", "calibration": {"prevalence": 0.2, "whole": scaling}}),
        ("longest", {"frames": "longest"}),
        ("scaled", {"frames": "longest", "calibration": {
            "prevalence": 0.2, "whole": {"scale": 1.0, "shift": 0.0}, "longest": scaling}}),
    ):  # fmt: skip
        pack = tmp_path / name
        shutil.copytree(pack_directory, pack)
        description = json.loads((pack / "pack.json").read_text())
        (pack / "pack.json").write_text(json.dumps(description | said))
        common = ["--frames", tmp_path / "frames", "--model", pack, "--device", "cpu"]
        for encoder in ("esm2", "dnabert_s"):
            how = ["--attention", "flash", "--precision", "fp32", "--embeddings", tmp_path / encoder]
            run_program(f"embed_{encoder}", *common, *how)
        concat(tmp_path, "dnabert_s", "esm2", "features")
        predict(tmp_path, pack, "frames", "features", "scores")
        scores[name] = pq.read_table(tmp_path / "scores").to_pandas()
        assert read_provenance(tmp_path / "scores")["frames"] == said["frames"]
    longest = scores["longest"]
    assert (
        list(longest["kind"]) == ["whole"] * (len(longest) - 1) + ["longest"] and list(longest["name"])[-1][-2:] == "_L"
    )
    assert scores["whole"].equals(longest[longest["kind"] == "whole"])
    assert (tmp_path / "proteins").read_text().count(">") == len(longest) - 1
    before, after, whole = (
        np.log(table["score_virus"] / table["score_others"])
        for table in (longest, scores["scaled"], scores["scaled whole"])
    )
    assert np.allclose(whole, 2 * before[:-1] - 1, atol=1e-4)
    assert np.allclose(after[:-1], before[:-1], atol=1e-5)
    assert after.iloc[-1] == pytest.approx(2 * before.iloc[-1] - 1, abs=1e-4)
    sampled = ["--sampled-frames", tmp_path / "sampled", "--sample", tmp_path / "sample", "--chunk-length", 500]
    run_program("sample_frames", "--frames", tmp_path / "frames", "--scores", tmp_path / "scores", *sampled)
    assert pq.read_table(tmp_path / "sampled")["name"].to_pylist() == list(longest["name"])


@pytest.mark.parametrize("program", ["embed_esm2", "embed_dnabert_s"])
def test_arguments_that_do_not_fit_are_refused(program: str, run: Path, pack_directory: Path) -> None:
    common = ["--frames", run / "1.frames", "--model", pack_directory, "--embeddings", run / "x"]

    def refuse(*arguments: object, code: int = 2) -> str:
        return error_line(run_program(program, *common, *arguments, code=code))

    assert "knows fp32, fp16" in refuse("--attention", "standard", "--precision", "bf16")
    assert "give a positive number" in refuse("--attention", "flash", "--precision", "fp32", "--token-budget", 0)
    assert "unknown; give auto" in refuse("--attention", "flash", "--precision", "fp32", "--device", "tpu9")
    if not torch.cuda.is_available():
        assert "sees no GPU" in refuse("--attention", "flash", "--precision", "fp32", "--device", "cuda", code=1)
    assert not (run / "x").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_does_not_work_is_no_reason_to_use_the_cpu(run: Path, pack_directory: Path, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    arguments = ["--frames", run / "1.frames", "--model", pack_directory, "--attention", "flash", "--precision", "auto"]
    said = run_program("embed_esm2", *arguments, "--embeddings", run / "x", code=1)
    assert "was given GPU 0 (CUDA_VISIBLE_DEVICES), but PyTorch" in error_line(said)


def test_tables_without_rows_go_through(pack_directory: Path, tmp_path: Path) -> None:
    with_digest(write_fasta(tmp_path / "empty.fa", {}))
    run_program("translate_frames", "--chunks", tmp_path / "empty.fa", "--frames", tmp_path / "frames")
    common = ["--frames", tmp_path / "frames", "--model", pack_directory, "--device", "cpu"]
    for attention in ("flash", "standard"):
        for encoder in ("esm2", "dnabert_s"):
            how = ["--attention", attention, "--precision", "fp32", "--embeddings", tmp_path / encoder]
            run_program(f"embed_{encoder}", *common, *how)
        concat(tmp_path, "dnabert_s", "esm2", "features")
        predict(tmp_path, pack_directory, "frames", "features", "scores")
        assert pq.read_table(tmp_path / "scores").num_rows == 0


def test_other_tables_are_refused(tmp_path: Path, pack_directory: Path) -> None:
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "frames")
    said = predict(tmp_path, pack_directory, "frames", "features", "scores", code=2)
    assert "frames: no column sequence_id, chunk, frame, kind, residues" in error_line(said)
    (tmp_path / "frames").write_text("hello")
    assert "frames: not a parquet file" in error_line(predict(tmp_path, pack_directory, "frames", "f", "s", code=2))
