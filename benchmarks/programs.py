"""The two embed programs as the workflow runs them: start-up, and frames a second after it.

Runs each program on a few frames of random letters and on many, with a pack of random weights or a given one. Prints a
table in Markdown.
"""

import argparse
import random
import tempfile
from pathlib import Path

import pyarrow as pa
from shared import add_shapes, build_pack, random_length, run

from virnucflow.files.tables import FRAMES, write_parquet  # shared.py has put the library on the path
from virnucflow.packs.encoders import ENCODERS

FEW = 100


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shapes(parser)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--model", type=Path, help="pack to run; default: random weights of the shapes")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="fp16", help="with fp8 DNABERT-S is in fp16")
    return parser.parse_args()


def write_frames(path: Path, number: int) -> int:
    """Write a frames table; gives its tokens for ESM-2."""
    letters = random.Random(0)
    proteins = ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=random_length(letters))) for _ in range(number)]
    nucleotides = ["".join(letters.choices("ACGT", k=3 * len(protein) + 1)) for protein in proteins]
    names = [f"s{i}" for i in range(number)]
    identity = [[f"{name}_chunk_1F1" for name in names], names, [1] * number, ["F1"] * number, ["whole"] * number]
    columns = [*identity, nucleotides, proteins, list(map(len, proteins))]
    write_parquet(pa.table(columns, schema=FRAMES), path, {"chunks": number})
    return sum(len(protein) + 2 for protein in proteins)


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        pack, few, many, out = (Path(folder) / name for name in ("pack", "few", "many", "out"))
        if arguments.model:
            pack = arguments.model
        else:
            build_pack(pack, arguments)
        write_frames(few, FEW)
        tokens = write_frames(many, arguments.frames)
        print(f"\n| | {FEW} frames, first time | again | {arguments.frames} frames | frames/s after that start |")
        print("| --- | --: | --: | --: | --: |", flush=True)
        for name, encoder in reversed(ENCODERS.items()):
            program, precision = f"embed_{name}", encoder.precision(arguments.precision)
            options = ["--model", pack, "--attention", "flash", "--precision", precision, "--device", arguments.device]
            options += ["--embeddings", out]
            first, again, whole = (run(program, "--frames", table, *options) for table in (few, few, many))
            rate = (arguments.frames - FEW) / (whole - again)
            label = f"{program} {precision}"
            if program == "embed_esm2":
                label += f", {rate * tokens / arguments.frames:,.0f} tokens/s"
            print(f"| {label} | {first:.1f} s | {again:.1f} s | {whole:.1f} s | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
