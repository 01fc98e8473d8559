"""Good files of every kind that the programs read, made by the programs themselves, and how each program is called."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pysam
import yaml
from harness import run
from helpers import EXAMPLE, ODD, REPOSITORY, start_program, write_fasta
from published import NAME, RECIPE, Published

from virnucflow.files.result_files import (
    CHUNKS_TSV,
    DIVERGENCE_TSV,
    PREDICTIONS_TXT,
    REGIONS_BED,
    REGIONS_TSV,
    RUN_JSON,
    SEQUENCES_TSV,
    result_of,
)
from virnucflow.sequences.fasta import read_fasta

LENGTH = ("--chunk-length", "300")
EMBED = ("--model", "pack", "--attention", "flash", "--precision", "fp32", "--device", "cpu", "--threads", "1")
GENBANK = "phage_phix174.gb"
SAMPLE = "mixed"


@dataclass(frozen=True)
class Call:
    """A program with its arguments, and the files of the chain that it reads and writes."""

    program: str
    arguments: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def call(program: str, reads: dict[str, str], writes: dict[str, str], *others: str, besides: str = "") -> Call:
    """Options with their files, several of one option separated by blanks; `besides` is what it reads besides."""
    words = [word for option, files in (reads | writes).items() for word in (f"--{option}", *files.split())]
    read, written = (tuple(" ".join(files.values()).split()) for files in (reads, writes))
    return Call(program, (*words, *others), (*read, *besides.split()), written)


def pack(*names: str) -> str:
    return " ".join(f"pack/{name}" for name in ("pack.json", *names))


def published(name: str) -> str:
    return str(result_of(Path("results", SAMPLE), name))


# In the order in which they make one another's input.
CALLS = [
    call(
        "split_fasta",
        {"fasta": f"in.fa {GENBANK}"},
        {"chunks": "chunks.fa", "sequences": "sequences.parquet"},
        *LENGTH, "--duplicate-ids", "rename",
    ),
    call(
        "split_fasta", {"reads": "in.fq in.bam", "interleaved": "pairs.fq"},
        {"chunks": "reads.fa", "sequences": "reads.parquet"}, *LENGTH, "--subsample-reads", "9",
    ),
    call("translate_frames", {"chunks": "chunks.fa"}, {"frames": "frames.parquet"}, besides="chunks.fa.xxh3"),
    call(
        "embed_esm2", {"frames": "frames.parquet"}, 
        {"embeddings": "esm2.safetensors", "device-time": "esm2.device_time.json"}, *EMBED,
        besides=pack("esm2.safetensors"),
    ),
    call(
        "embed_dnabert_s", {"frames": "frames.parquet"}, 
        {"embeddings": "dnabert_s.safetensors", "device-time": "dnabert_s.device_time.json"}, *EMBED,
        besides=pack("dnabert_s.safetensors", "tokenizer.json"),
    ),
    call(
        "concat_features",
        {"dnabert-s": "dnabert_s.safetensors", "esm2": "esm2.safetensors"},
        {"features": "features.safetensors"},
    ),
    call(
        "predict", {"frames": "frames.parquet", "features": "features.safetensors"}, {"scores": "scores.parquet"},
        "--model", "pack", besides=pack("classifier.safetensors"),
    ),
    call(
        "sample_frames", {"frames": "frames.parquet", "scores": "scores.parquet"},
        {"sampled-frames": "sampled.parquet", "sample": "sample.parquet"}, *LENGTH,
    ),
    call(
        "compare_attention",
        {
            "sequences": "sequences.parquet", "sample": "sample.parquet", "labels": "labels.tsv",
            "fast-dnabert-s": "dnabert_s.safetensors", "fast-esm2": "esm2.safetensors", "fast-scores": "scores.parquet",
            "reference-dnabert-s": "dnabert_s.safetensors", "reference-esm2": "esm2.safetensors",
            "reference-scores": "scores.parquet",
        },
        {"divergence": "divergence.json", "compared-frames": published(DIVERGENCE_TSV), "figures": "figures.svg"},
        "--model", "pack", besides=pack(),
    ),
    call("divergence_gate", {"divergence": "divergence.json"}, {"gate": "gate.json"}),
    call(
        "write_results",
        {
            "scores": "scores.parquet", "sequences": "sequences.parquet", "fasta": f"in.fa {GENBANK}",
            "gate": "gate.json", "device-time": "dnabert_s.device_time.json esm2.device_time.json",
        },
        {
            "predictions": published(PREDICTIONS_TXT), "consensus": "consensus.csv",
            "summary": published(SEQUENCES_TSV), "chunk-summary": published(CHUNKS_TSV),
            "regions": published(REGIONS_TSV), "regions-bed": published(REGIONS_BED),
            "viral-fasta": "viral.fasta", "provenance": published(RUN_JSON),
        },
        *LENGTH, "--sample", SAMPLE, "--settings", '{"rna": "as_dna"}',
    ),
    call(
        "summarize", {"citation": "CITATION.cff"}, {"summary": "summary.tsv", "page": "report.html"},
        "--results", "results", "--samples", SAMPLE,
        besides=" ".join(map(published, (
            SEQUENCES_TSV, CHUNKS_TSV, REGIONS_TSV, PREDICTIONS_TXT, DIVERGENCE_TSV, RUN_JSON,
        ))),
    ),
    call(
        "call_pairs",
        {
            "sequences": "sequences.parquet", "summary": published(SEQUENCES_TSV),
            "chunk-summary": published(CHUNKS_TSV), "provenance": published(RUN_JSON),
        },
        {"pairs": "pairs.tsv"},
    ),
    call(
        "list_proteins", {"fasta": f"in.fa {GENBANK}", "sequences": "sequences.parquet"},
        {"proteins": "proteins.parquet"},
    ),
    call(
        "cluster_sequences",
        {"fasta": f"in.fa {GENBANK}", "sequences": "sequences.parquet", "labels": "labels.tsv"},
        {"clusters": "clusters.parquet"},
    ),
    call(
        "train_classifier",
        {
            "frames": "frames.parquet", "dnabert-s": "dnabert_s.safetensors", "esm2": "esm2.safetensors",
            "labels": "labels.tsv",
            "sequences": "sequences.parquet", "proteins": "proteins.parquet", "clusters": "clusters.parquet",
        },
        {}, *LENGTH, "--model", "pack", "--name", "mine", "--trained-model", "trained", "--split-by", "split",
        "--epochs", "1", "--hidden", "4", "--threads", "1",
        besides=pack("esm2.safetensors", "dnabert_s.safetensors", "tokenizer.json"),
    ),
    call(
        "check_models", {}, {}, "--model", "pack", "--device", "cpu", "--threads", "1",
        besides=pack("esm2.safetensors", "dnabert_s.safetensors", "tokenizer.json", "classifier.safetensors",
                     "reference.safetensors"),
    ),
    call(
        "fetch_models", {"catalogue": "models.yaml"}, {}, "--source", "published", "--model", f"models/{NAME}",
        besides=" ".join(f"published/{name}" for name in RECIPE.files),
    ),
    call(
        "check_setup", {}, {}, *LENGTH, "--model", "pack", "--bases", "1000", "--work", ".",
        besides=pack("tokenizer.json", "classifier.safetensors"),
    ),
]  # fmt: skip


def make_published(folder: Path) -> None:
    """Published files, and a catalogue that holds them to no checksum, so that damaged ones are read."""
    published = Published(folder / "published")
    published.write_catalogue(folder / "models.yaml")
    catalogue = yaml.safe_load((folder / "models.yaml").read_text())
    for file in catalogue["files"].values():
        for known in ("size", "sha256", "git_blob"):
            file.pop(known, None)
    (folder / "models.yaml").write_text(yaml.safe_dump(catalogue))


def make_reads(folder: Path, letters: str) -> None:
    """FASTQ, single and in pairs, and BAM."""
    records = [f"@r{i}\n{letters[i * 100 :][:90]}\n+\n{'I' * 90}\n" for i in range(8)]
    (folder / "in.fq").write_text("".join(records[:4]))
    (folder / "pairs.fq").write_text("".join(2 * record for record in records[4:]))
    header = pysam.AlignmentHeader.from_dict({"SQ": [{"SN": "c", "LN": 1000}]})
    with pysam.AlignmentFile(str(folder / "in.bam"), "wb", header=header) as bam:
        for flag in (0x4, 0x10, 0x41, 0x81, 0x100):
            one = pysam.AlignedSegment(header)
            one.query_name, one.flag, one.query_sequence = f"b{flag // 0x80 + flag % 0x40}", flag, letters[flag:][:90]
            bam.write(one)


def make_chain(folder: Path) -> Path:
    """All the files, in a folder."""
    coli = next(read_fasta(EXAMPLE / "escherichia_coli.fasta")).sequence
    pieces = {f"coli_{i}": coli[i * 900 :][:700] for i in range(12)}
    write_fasta(folder / "in.fa", pieces | ODD | {"rna": "GCUGCCGCAGCC" * 12})
    shutil.copy(EXAMPLE / GENBANK, folder)
    shutil.copy(REPOSITORY / "CITATION.cff", folder)
    make_reads(folder, coli)
    splits = ("train", "train", "validation", "test")
    rows = [f"coli_{i}\t{'virus' if i % 2 else 'others'}\t{splits[i // 2 % 4]}" for i in range(12)]
    (folder / "labels.tsv").write_text("\n".join(["sequence_id\tlabel\tsplit", *rows]) + "\n")
    small = ("--esm2", "1", "16", "2", "--dnabert-s", "1", "12", "2", "--vocabulary", "64")
    # In processes of their own: once PyTorch has computed, a fork of this one could not.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, __file__, folder], check=True, env=environment)
    start_program("build_untrained_pack", "--model", folder / "pack", *LENGTH, *small)
    for one in CALLS:
        outcome = run(one.program, list(one.arguments), folder)
        assert outcome.code == 0, outcome.said
        assert outcome.problems(one.program) == []
        for made in ("trained", "models"):
            shutil.rmtree(folder / made, ignore_errors=True)
    return folder


if __name__ == "__main__":
    make_published(Path(sys.argv[1]))
