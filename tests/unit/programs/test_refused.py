"""Input that is refused and noted, for a batch to go on: no program takes it for a sample without sequences."""

from pathlib import Path

import pytest
from helpers import call_program, error_line, run_program, tree, write_fasta

from virnucflow.files.tables import FRAMES, write_parquet
from virnucflow.packs.pack import ModelPack
from virnucflow.sequences.chunk_files import read_chunks

# What takes a table of sequences: the options besides, for which files will do that are of another kind.
READERS = {
    "write_results": {"inputs": ["scores"], "outputs": ["predictions", "consensus", "summary"]},
    "compare_attention": {
        "inputs": [
            "sample",
            *(f"{run}-{of}" for run in ("fast", "reference") for of in ("dnabert-s", "esm2", "scores")),
        ],
        "outputs": ["divergence", "compared-frames", "figures"],
    },
    "call_pairs": {"inputs": ["summary", "chunk-summary", "provenance"], "outputs": ["pairs"]},
    "list_proteins": {"inputs": ["fasta"], "outputs": ["proteins"]},
    "cluster_sequences": {"inputs": ["fasta"], "outputs": ["clusters"]},
    "train_classifier": {"inputs": ["frames", "dnabert-s", "esm2"], "outputs": ["trained-model"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bad letter, noted."""
    write_fasta(tmp_path / "bad.fa", {"a": "GCCJGC"})
    (tmp_path / "labels.tsv").write_text("sequence_id\tlabel\na\tvirus\n")
    outputs = ["--chunks", tmp_path / "1.fa", tmp_path / "2.fa", "--sequences", tmp_path / "sequences"]
    options = ["--fasta", tmp_path / "bad.fa", "--chunk-length", 500]
    refused = error_line(run_program("split_fasta", *options, *outputs, code=2))
    assert not (tmp_path / "sequences").exists()
    assert run_program("split_fasta", *options, *outputs, "--refused", "note") == f"{refused}\n"
    return tmp_path


def test_its_files_of_chunks_are_there_and_empty(folder: Path) -> None:
    assert [list(read_chunks(folder / name)) for name in ("1.fa", "2.fa")] == [[], []]


@pytest.mark.parametrize("program", READERS)
def test_every_reader_says_what_split_fasta_said(program: str, folder: Path, pack: ModelPack) -> None:
    write_parquet(FRAMES.empty_table(), folder / "frames", {"chunks": 0})
    options: list[object] = ["--sequences", folder / "sequences"]
    options += [word for name in READERS[program]["inputs"] for word in (f"--{name}", folder / "frames")]
    options += [word for name in READERS[program]["outputs"] for word in (f"--{name}", folder / "out" / name)]
    if program in ("cluster_sequences", "train_classifier"):
        options += ["--labels", folder / "labels.tsv"]
    if program in ("compare_attention", "train_classifier"):
        options += ["--model", pack.directory]
    if program == "train_classifier":
        options += ["--chunk-length", 500, "--name", "new"]
    code, said = call_program(program, *options)
    assert code == 2 and error_line(said).startswith(f"{program}.py: error: {folder}/bad.fa, line 2: ")
    assert not (folder / "out").exists() or not tree(folder / "out")
