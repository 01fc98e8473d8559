"""Damaged, mixed-up and wrong files between programs: each ends in one line that names it, or changes nothing."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from helpers import REPOSITORY, call_program, error_line, tree, write_sequences

from virnucflow.files.tables import FRAMES, SCORES, digest, read_parquet, read_provenance, write_parquet
from virnucflow.files.tensors import load_tensor, save_rows
from virnucflow.packs.encoders import ENCODERS
from virnucflow.packs.pack import ModelPack

DAMAGED = REPOSITORY / "tests" / "data" / "damaged"
FRAMES_OF_A_SHARD = 30

# The inputs of each program, by its options.
INPUTS = {
    "concat_features": {"--dnabert-s": "1.dnabert_s", "--esm2": "1.esm2"},
    "predict": {"--frames": "1.frames", "--features": "1.features", "--model": "pack"},
    "sample_frames": {"--frames": "1.frames 2.frames", "--scores": "1.scores 2.scores"},
    "compare_attention": {
        "--sequences": "sequences",
        "--sample": "sample",
        "--fast-dnabert-s": "1.dnabert_s 2.dnabert_s",
        "--fast-esm2": "1.esm2 2.esm2",
        "--fast-scores": "1.scores 2.scores",
        "--reference-dnabert-s": "sampled.dnabert_s",
        "--reference-esm2": "sampled.esm2",
        "--reference-scores": "sampled.scores",
        "--model": "pack",
        "--labels": "labels",
    },
    "divergence_gate": {"--divergence": "divergence.json"},
}
SETTINGS = {
    "sample_frames": ["--chunk-length", 500, "--number", 20],
    "divergence_gate": ["--on-failure", "fallback"],
}
OUTPUTS = {
    "concat_features": ["features"],
    "predict": ["scores"],
    "sample_frames": ["sampled-frames", "sample"],
    "compare_attention": ["divergence", "compared-frames", "figures"],
    "divergence_gate": ["gate"],
}
# What is damaged bit by bit: everything but the pack, whose files have SHA-256, and the labels, which users write.
CHECKED = [
    (program, name)
    for program, inputs in INPUTS.items()
    for option, names in inputs.items()
    if option not in ("--model", "--labels")
    for name in names.split()[:1]
]


def call(program: str, folder: Path, out: Path) -> tuple[int, str]:
    inputs = [word for option, names in INPUTS[program].items() for word in (option, *paths(folder, names))]
    outputs = [word for name in OUTPUTS[program] for word in (f"--{name}", out / name)]
    return call_program(program, *inputs, *SETTINGS.get(program, []), *outputs)


def paths(folder: Path, names: str) -> list[Path]:
    return [folder / name for name in names.split()]


def make(program: str, folder: Path, *names: str) -> None:
    """Run a program of a folder's files; its outputs get these names there."""
    code, said = call(program, folder, folder / "out")
    assert code == 0, said
    for output, name in zip(OUTPUTS[program], names, strict=True):
        (folder / "out" / output).rename(folder / name)


def embed(frames: Path, folder: Path, pack: ModelPack, attention: str) -> None:
    """Files as the embed programs write them, of random numbers."""
    names = read_parquet(frames, FRAMES)["name"].to_pylist()
    random = np.random.default_rng(len(names))
    for name, encoder in ENCODERS.items():
        made = {"encoder": name, "attention": attention, "kernel": "sdpa"}
        made |= {"precision": "fp32", "allowed": "", "device": "cpu", "names_sha256": digest(names)}
        made |= {key: pack.sha256[file] for key, file in encoder.files.items()}
        rows = random.normal(size=(len(names), encoder.width(getattr(pack, name)))).astype(np.float32)
        save_rows(rows, "embedding", folder / f"1.{name}", made)


@pytest.fixture(scope="module")
def run(pack: ModelPack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run of two shards, with the gate, as the programs write them."""
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(pack.directory, folder / "pack")
    write_sequences(folder / "sequences", {"s1": "GCA" * 100, "s2": "GCA" * 100})
    (folder / "labels").write_text("sequence_id\tlabel\ns1\tvirus\ns2\tothers\n")
    for shard in ("2", "1"):
        columns: dict[str, list] = {name: [] for name in FRAMES.names}
        for chunk in range(1, FRAMES_OF_A_SHARD + 1):
            residues = 99 + chunk
            identity = [f"s{shard}_chunk_{chunk}F1", f"s{shard}", chunk, "F1", "whole"]
            row = [*identity, "GCA" * residues, "A" * residues, residues]
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
        write_parquet(pa.table(columns, schema=FRAMES), folder / "1.frames", {"chunks": FRAMES_OF_A_SHARD})
        embed(folder / "1.frames", folder, pack, "flash")
        make("concat_features", folder, "1.features")
        make("predict", folder, "1.scores")
        if shard == "2":
            for kind in ("frames", "dnabert_s", "esm2", "features", "scores"):
                (folder / f"1.{kind}").rename(folder / f"2.{kind}")
    make("sample_frames", folder, "sampled.frames", "sample")
    other = folder / "other"
    shutil.copytree(folder, other)
    shutil.copy(folder / "sampled.frames", other / "1.frames")
    embed(other / "1.frames", other, pack, "standard")
    make("concat_features", other, "1.features")
    make("predict", other, "1.scores")
    for kind in ("dnabert_s", "esm2", "scores"):
        shutil.copy(other / f"1.{kind}", folder / f"sampled.{kind}")
    shutil.rmtree(other)
    make("compare_attention", folder, "divergence.json", "frames.tsv", "figures.svg")
    shutil.rmtree(folder / "out")
    return folder


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "run"


def refused(program: str, folder: Path, name: str) -> str:
    """The one line in which a program refuses one of its files."""
    code, said = call(program, folder, folder / "out")
    line = error_line(said)
    assert code == 2 and f"{folder / name}" in line and line.isprintable() and len(line) <= 1000, said
    assert not list(folder.glob("out/*"))
    return line


def flips(data: bytes, number: int) -> Iterator[bytes]:
    """The data with one bit flipped, in so many places spread over all of it."""
    for bit in np.unique(np.linspace(0, 8 * len(data) - 1, number).astype(int)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def unchanged_or_refused(program: str, copy: Path, name: str, damaged: list[bytes]) -> int:
    """How often a file was refused; elsewhere nobody reads what is damaged, and the outputs are the same bytes."""
    code, said = call(program, copy, copy / "good")
    assert code == 0, said
    good, number = tree(copy / "good"), 0
    for data in damaged:
        (copy / name).write_bytes(data)
        code, _ = call(program, copy, copy / "out")
        if code == 0:
            assert tree(copy / "out") == good
            shutil.rmtree(copy / "out")
        else:
            refused(program, copy, name)
            number += 1
    return number


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without figures, which take a second."""
    monkeypatch.setattr("compare_attention.save_figures", lambda *given: given[-1].write_text("drawn"))


@pytest.mark.parametrize(("program", "name"), CHECKED)
def test_no_flipped_bit_changes_a_result(program: str, name: str, copy: Path, quick: None) -> None:
    damaged = list(flips((copy / name).read_bytes(), 60))
    assert unchanged_or_refused(program, copy, name, damaged) > len(damaged) // 4


@pytest.mark.parametrize(("program", "name"), CHECKED)
def test_files_that_are_cut_short_empty_or_others_are_refused(program: str, name: str, copy: Path, quick: None) -> None:
    data = (copy / name).read_bytes()
    damaged = [b"", data[:1], data[: len(data) // 2], data[:-1], data[1:], data + data]
    damaged += [(copy / other).read_bytes() for other in ("pack/pack.json", "labels", "pack/classifier.safetensors")]
    assert unchanged_or_refused(program, copy, name, damaged) >= len(damaged) - 2
    (copy / name).unlink()
    (copy / name).mkdir()
    code, said = call(program, copy, copy / "out")
    assert code in (1, 2) and str(copy / name) in error_line(said)


def test_one_bit_of_a_value_in_the_middle_is_found(copy: Path) -> None:
    """Of features it changed a published score."""
    data = bytearray((copy / "1.features").read_bytes())
    data[len(data) // 2] ^= 1 << 6
    (copy / "1.features").write_bytes(data)
    assert "damaged: rows " in refused("predict", copy, "1.features")


@pytest.mark.parametrize("path", sorted(DAMAGED.rglob("*.*")), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_files_that_were_found_are_refused(path: Path, copy: Path) -> None:
    """Of an earlier version, where each ended in a traceback, a message without the file, or other results."""
    program, name = {
        "frames": ("predict", "1.frames"),
        "scores": ("sample_frames", "1.scores"),
        "compare": ("compare_attention", "sample"),
        "embeddings": ("concat_features", "1.esm2"),
        "json": ("divergence_gate", "divergence.json"),
        "pack": ("predict", "pack/pack.json"),
        "labels": ("compare_attention", "labels"),
    }[path.parent.name]
    shutil.copyfile(path, copy / name)
    refused(program, copy, name)


@pytest.mark.parametrize(
    "value", [None, [], {}, "", "x", -1, 0, 1e300, 1 << 70, True, [None], {"x": []}, "\x1b[2J"], ids=repr
)
def test_a_packs_description_of_other_types_is_refused(value: object, copy: Path) -> None:
    path = copy / "pack" / "pack.json"
    description = json.loads(path.read_text())
    fine = {"name": str, "provenance": str, "licence": str, "quality": dict | None, "trained": bool}
    for name in description:
        if not isinstance(value, fine.get(name, ())) and (name, value) != ("chunk_lengths", []):
            path.write_text(json.dumps(description | {name: value}))
            refused("predict", copy, "pack/pack.json")
    for name in ("esm2", "dnabert_s", "sha256"):
        for key in description[name]:
            path.write_text(json.dumps(description | {name: description[name] | {key: value}}))
            refused("predict", copy, "pack/pack.json")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({}, "missing required field `chunks`"),
        ({"chunks": "30"}, "Expected `int`, got `str`"),
        ({"chunks": 29}, "1.scores: not the scores of the frames in"),
    ],
)
def test_frames_that_do_not_say_of_how_many_chunks_they_are_are_refused(made: dict, message: str, copy: Path) -> None:
    write_parquet(read_parquet(copy / "1.frames", FRAMES), copy / "1.frames", made)
    assert message in refused("sample_frames", copy, "1.frames")


@pytest.mark.parametrize("change", [{"esm2": 3}, {"attention": None}, {"dnabert_s": {"kernel": "sdpa"}}])
def test_scores_that_do_not_say_what_made_them_are_refused(change: dict, copy: Path) -> None:
    made = read_provenance(copy / "1.scores")
    write_parquet(read_parquet(copy / "1.scores", SCORES), copy / "1.scores", made | change)
    assert "1.scores: not as expected: " in refused("compare_attention", copy, "1.scores")


def test_embeddings_of_other_rows_or_without_what_made_them_are_refused(copy: Path) -> None:
    rows, made = load_tensor(copy / "1.esm2", "embedding")
    save_rows(rows[:-1], "embedding", copy / "1.esm2", made)
    assert f"{len(rows) - 1} rows, not {len(rows)} as " in refused("concat_features", copy, "1.esm2")
    for path in ("1.esm2", "1.dnabert_s"):
        rows, made = load_tensor(copy / path, "embedding")
        save_rows(rows, "embedding", copy / path, {key: value for key, value in made.items() if key != "names_sha256"})
    assert "does not say its names_sha256" in refused("concat_features", copy, "1.dnabert_s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"esm2": "{"}, "not a JSON text"),
        ({"esm2": "[]"}, "Expected `object`, got `array`"),
        ({"esm2": '{"weights_sha256": 3}'}, "Expected `str`, got `int`"),
        ({"dnabert_s": "{}"}, "embeddings of None, not of dnabert_s"),
    ],
)
def test_features_that_do_not_say_what_made_them_are_refused(change: dict, message: str, copy: Path) -> None:
    rows, made = load_tensor(copy / "1.features", "features")
    save_rows(rows, "features", copy / "1.features", made | change)
    assert message in refused("predict", copy, "1.features")


def test_features_of_another_width_or_number_are_refused(copy: Path) -> None:
    rows, made = load_tensor(copy / "1.features", "features")
    save_rows(rows[:, 1:], "features", copy / "1.features", made)
    assert f"{rows.shape[1] - 1} values per frame, not {rows.shape[1]}" in refused("predict", copy, "1.features")
    save_rows(rows[1:], "features", copy / "1.features", made)
    assert f"{len(rows) - 1} rows for {len(rows)} frames" in refused("predict", copy, "1.features")
    rows, made = load_tensor(copy / "1.dnabert_s", "embedding")
    save_rows(rows[:, 1:], "embedding", copy / "1.dnabert_s", made)
    assert "of another model's shape" in refused("compare_attention", copy, "1.dnabert_s")


def test_embeddings_that_the_scores_are_not_of_are_refused(copy: Path) -> None:
    """Of the same frames, but with other settings."""
    for encoder in ENCODERS:
        rows, made = load_tensor(copy / f"1.{encoder}", "embedding")
        save_rows(rows, "embedding", copy / f"1.{encoder}", made | {"precision": "bf16"})
    assert "has not the scores of these embeddings" in refused("compare_attention", copy, "1.dnabert_s")


def test_a_shard_of_another_cut_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too few, one too many, and one more without any of the sampled frames."""
    made = read_provenance(copy / "1.scores")
    write_parquet(SCORES.empty_table(), copy / "3.scores", made)
    for encoder in ENCODERS:
        rows, described = load_tensor(copy / f"1.{encoder}", "embedding")
        save_rows(rows[:0], "embedding", copy / f"3.{encoder}", described | {"names_sha256": digest([])})
    for shards, chunks in (("1", 30), ("121", 90), ("123", 90)):
        files = {
            f"--fast-{kind.replace('_', '-')}": " ".join(f"{shard}.{kind}" for shard in shards)
            for kind in ("scores", *ENCODERS)
        }
        monkeypatch.setitem(INPUTS, "compare_attention", INPUTS["compare_attention"] | files)
        said = refused("compare_attention", copy, "1.scores")
        assert f"its run has {chunks} chunks, but the sample is of 60; give each shard" in said
