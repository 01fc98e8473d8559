"""The steps that need no GPU, as the workflow runs them: seconds without their start, rate, and peak memory.

Contigs of random genes on either strand, with spacers between them, or a given file, go from FASTA to the tables.
Embeddings are random, of the widths of the built-in pack or a given one. Prints a table in Markdown.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from shared import REPOSITORY, SCRIPTS

from virnucflow.files.tables import FRAMES_WITHOUT_LETTERS, digest, read_frames  # shared.py has put the library there
from virnucflow.files.tensors import save_rows
from virnucflow.packs.encoders import ENCODERS, feature_widths
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.sequences.frames import COMPLEMENT, LETTERS, STANDARD_CODE

CHUNK_LENGTH = 500
CONTIG = 50_000  # bases
GENE, SPACER = 300, 80  # codons and bases, in the mean
CODONS = [
    codon
    for codon, residue in zip((a + b + c for a in LETTERS for b in LETTERS for c in LETTERS), STANDARD_CODE)
    if residue != "*"
]


class Measured(NamedTuple):
    """Of one call of a program."""

    seconds: float
    processor: float  # seconds of processor time, which other programs on the machine change less
    megabytes: float  # at most, of memory


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabases", type=float, default=100)
    parser.add_argument("--fasta", type=Path, help="take this file instead")
    parser.add_argument("--model", type=Path, default=REPOSITORY / "resources" / "models" / "lite", help="pack")
    return parser.parse_args()


def write_contigs(path: Path, bases: int) -> None:
    """FASTA in lines of 80 letters."""
    choice = random.Random(0)
    with path.open("w", encoding="ascii") as file:
        for number in range(-(-bases // CONTIG)):
            parts, length = [], 0
            while length < CONTIG:
                gene = "".join(choice.choices(CODONS, k=choice.randint(GENE // 2, GENE * 3 // 2)))
                strand = gene if choice.random() < 0.5 else gene.encode().translate(COMPLEMENT)[::-1].decode()
                parts += [strand, "".join(choice.choices(LETTERS, k=choice.randint(0, 2 * SPACER)))]
                length += len(parts[-1]) + len(parts[-2])
            contig = "".join(parts)[:CONTIG]
            file.write(f">contig_{number}\n" + "".join(f"{contig[i : i + 80]}\n" for i in range(0, CONTIG, 80)))


def write_embeddings(pack: ModelPack, names: list[str], folder: Path) -> dict[str, Path]:
    """Random embeddings of frames with these names, which say that they are the pack's."""
    numbers = np.random.default_rng(0)
    paths = {}
    for name, width in feature_widths(pack).items():
        made = {"encoder": name, "attention": "flash", "names_sha256": digest(names)}
        made |= {key: pack.sha256[file] for key, file in ENCODERS[name].files.items()}
        paths[name] = folder / f"{name}.safetensors"
        save_rows(numbers.standard_normal((len(names), width), dtype=np.float32), "embedding", paths[name], made)
    return paths


def measure(program: str, *arguments: object) -> Measured:
    """Run a program."""
    start = time.monotonic()
    command = [sys.executable, str(SCRIPTS / f"{program}.py"), *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{program} failed: {' '.join(command)}")
    return Measured(time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def run_steps(fasta: Path, model: Path, folder: Path) -> tuple[dict[str, Measured], int]:
    """All steps on one file as one shard: what each took, and the number of frames."""
    folder.mkdir()
    pack = read_model_pack(model)
    chunks, sequences, frames, features, scores = (
        folder / name for name in ("chunks.fa", "sequences.parquet", "frames.parquet", "features", "scores.parquet")
    )
    rules = ["--chunk-length", CHUNK_LENGTH]
    steps = {
        "split_fasta": measure("split_fasta", "--fasta", fasta, *rules, "--chunks", chunks, "--sequences", sequences),
        "translate_frames": measure("translate_frames", "--chunks", chunks, "--frames", frames),
    }
    names = read_frames(frames, FRAMES_WITHOUT_LETTERS, pack.frames)["name"].to_pylist()
    paths = write_embeddings(pack, names, folder)
    embeddings = ["--dnabert-s", paths["dnabert_s"], "--esm2", paths["esm2"]]
    steps["concat_features"] = measure("concat_features", *embeddings, "--features", features)
    options = ["--features", features, "--model", model, *rules, "--scores", scores]
    steps["predict"] = measure("predict", "--frames", frames, *options)
    outputs = ["predictions", "consensus", "summary", "chunk-summary", "viral-fasta", "provenance"]
    written = [word for name in outputs for word in (f"--{name}", folder / name)]
    given = ["--scores", scores, "--sequences", sequences, "--fasta", fasta]
    steps["write_results"] = measure("write_results", *given, *rules, *written)
    return steps, len(names)


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_contigs(folder / "few.fa", CONTIG)
        fasta = arguments.fasta or folder / "many.fa"
        if not arguments.fasta:
            write_contigs(fasta, int(arguments.megabases * 1e6))
        starts, _ = run_steps(folder / "few.fa", arguments.model, folder / "few")
        steps, frames = run_steps(fasta, arguments.model, folder / "many")
        megabytes = fasta.stat().st_size / 1e6
        print(f"\n{megabytes:,.0f} MB of FASTA, {frames:,} frames, {os.cpu_count()} cores\n")
        print(
            "| | start, s | after it, s | MB of FASTA a second | a processor second | frames a second | memory, MiB |"
        )
        print("| --- | --: | --: | --: | --: | --: | --: |")
        for step, taken in steps.items():
            seconds = taken.seconds - starts[step].seconds
            of_processor = megabytes / (taken.processor - starts[step].processor)
            rates = f"{megabytes / seconds:,.1f} | {of_processor:,.1f} | {frames / seconds:,.0f}"
            print(f"| {step} | {starts[step].seconds:.1f} | {seconds:.1f} | {rates} | {taken.megabytes:,.0f} |")


if __name__ == "__main__":
    main()
