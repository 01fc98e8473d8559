"""What the benchmarks share: shapes, packs of random weights, and running a program."""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))


def add_shapes(parser: argparse.ArgumentParser) -> None:
    shape = {"type": int, "nargs": 3, "metavar": ("LAYERS", "WIDTH", "HEADS")}
    parser.add_argument("--esm2", **shape, default=[36, 2560, 40], help="shape; default: ESM-2 3B")
    parser.add_argument("--dnabert-s", **shape, default=[12, 768, 12], help="shape; default: the published one")


def random_length(letters: random.Random) -> int:
    """80 % of 165 or 166 residues, the rest from 20 to 166: about what chunks of 500 bases give."""
    return letters.choice((165, 166)) if letters.random() < 0.8 else letters.randint(20, 166)


def run(program: str, *arguments: object) -> float:
    """Seconds that a program took."""
    start = time.monotonic()
    subprocess.run([sys.executable, SCRIPTS / f"{program}.py", *map(str, arguments)], check=True)
    return time.monotonic() - start


def build_pack(pack: Path, arguments: argparse.Namespace) -> None:
    """A pack of random weights of the shapes that were asked for."""
    shapes = ["--esm2", *arguments.esm2, "--dnabert-s", *arguments.dnabert_s, "--vocabulary", 4096]
    run("build_untrained_pack", "--model", pack, *shapes)
