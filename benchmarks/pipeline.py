"""`snakemake --profile local` from FASTA to tables on one machine: one and several GPUs, with and without the gate.

Builds a pack of random weights and a FASTA file of random coding fragments, one for each number of GPUs, measures the
bare rate of ESM-2 in a process of its own, and runs the workflow. A small run before compiles kernels and reads the
weights. Prints two tables in Markdown: the runs, with the share of the wall time in which ESM-2 at its bare rate on all
GPUs would be done; and the seconds of each rule's jobs.

The default is for an H100: 200,000 fragments are as many frames of 168 tokens, so 320 s of ESM-2 on one GPU. Without a
GPU it runs on the CPU: give small shapes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import yaml
from shared import REPOSITORY, add_shapes, build_pack

from virnucflow.devices.gpu_lease import VISIBLE, visible_gpus  # shared.py has put the library on the path
from virnucflow.encoders.load import load_esm2
from virnucflow.packs.encoders import TOKEN_BUDGET
from virnucflow.packs.pack import read_model_pack

SENSE_CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in ("TAA", "TAG", "TGA")]
CHUNK = 500  # bases; a chunk of sense codons has one frame without a stop, and rarely two
WARM_UP, TIMED = 2000, 20_000  # proteins of the bare rate, of the length that nearly all frames have
RESIDUES = 166


def asked(run: str) -> tuple[int, int]:
    """GPUs and frames of the gate of one run."""
    gpus, frames = run.split(":")
    return int(gpus), int(frames)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shapes(parser)
    parser.add_argument(
        "--runs",
        type=asked,
        nargs="+",
        default=[(1, 0), (2, 0), (2, 1000)],
        metavar="GPUS:FRAMES",
        help="the GPUs of each run and the frames of its gate; default: 1:0 2:0 2:1000",
    )
    parser.add_argument("--fragments", type=int, default=200_000, help="sequences of 500 bases")
    parser.add_argument("--per-gpu", action="store_true", help="as many for each GPU, instead of in all")
    parser.add_argument("--shards", type=int, help="default: as many as there are GPUs")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass(frozen=True)
class Run:
    """One run of the workflow: what it was asked for, and what it took."""

    gpus: int
    shards: int
    gate: int
    frames: int
    tokens: int  # of ESM-2, each frame with two ends
    seconds: float
    rules: dict[str, list[float]]  # seconds of each job, by rule


def write_sample(folder: Path, fragments: int) -> None:
    """A sample sheet, and a FASTA file of fragments with about one frame each."""
    folder.mkdir()
    codons = np.array(SENSE_CODONS)
    draw = np.random.default_rng(0)
    with (folder / "random.fasta").open("w") as file:
        for number in range(fragments):
            sequence = "".join(codons[draw.integers(len(codons), size=CHUNK // 3)])
            file.write(f">s{number}\n{sequence:A<{CHUNK}}\n")
    (folder / "samples.tsv").write_text("sample\tfasta\nrandom\trandom.fasta\n")


def snakemake(folder: Path, gpus: list[str], pack: Path, shards: int, gate: int) -> float:
    """Seconds that `snakemake --profile local` took in a folder, which keeps what it said."""
    config = {"samples": "samples.tsv", "model_pack": str(pack), "gate": {"frames": gate}, "shards": shards}
    config["device"] = "cuda" if gpus else "cpu"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--profile", "local", "--directory", folder]
    command += ["--configfile", folder / "config.yaml"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    start = time.monotonic()
    with (folder / "said.log").open("w") as said:
        environment = os.environ | {VISIBLE: ",".join(gpus), "PATH": path}
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=said, stderr=said)
    seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"snakemake failed:\n{(folder / 'said.log').read_text()}")
    return seconds


def seconds_of_rules(folder: Path) -> dict[str, list[float]]:
    """Seconds of each job, by rule, as Snakemake notes them with each output."""
    jobs = defaultdict[str, dict[str, float]](dict)  # by log, which the outputs of a job have in common
    for path in (folder / ".snakemake" / "metadata").rglob("*"):
        if path.is_file() and (noted := json.loads(path.read_text())).get("endtime"):
            jobs[noted["rule"]][str(noted["log"])] = noted["endtime"] - noted["starttime"]
    return {rule: sorted(seconds.values()) for rule, seconds in jobs.items()}


def measure(folder: Path, gpus: list[str], pack: Path, fragments: int, shards: int, gate: int) -> Run:
    """Run the workflow from a new FASTA file to the tables."""
    write_sample(folder, fragments)
    seconds = snakemake(folder, gpus, pack, shards, gate)
    tables = [pq.read_table(path, columns=["residues"]) for path in (folder / "work/random/frames").glob("0*.parquet")]
    lengths = np.concatenate([table["residues"].to_numpy() for table in tables])
    tokens = int((lengths + 2).sum())
    return Run(len(gpus), shards, gate, len(lengths), tokens, seconds, seconds_of_rules(folder))


def bare_rate(pack: Path) -> float:
    """Tokens a second of ESM-2 alone, from letters to embeddings on the CPU, in a process of its own."""
    command = [sys.executable, __file__, "--bare", pack]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def print_bare_rate(folder: Path) -> None:
    """Load ESM-2 and time it on one GPU, or on the CPU where there is none."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    warm_up, timed = (WARM_UP, TIMED) if device.type == "cuda" else (8, 32)
    precision = "fp16" if device.type == "cuda" else "fp32"
    embed, _ = load_esm2(read_model_pack(folder), "flash", "auto", precision, device, TOKEN_BUDGET["flash"])
    letters = np.frombuffer(b"ACDEFGHIKLMNPQRSTVWY", dtype=np.uint8)
    drawn = letters[np.random.default_rng(1).integers(20, size=(timed, RESIDUES))]
    proteins = [row.tobytes().decode() for row in drawn]
    embed(proteins[:warm_up])
    start = time.monotonic()
    embed(proteins)
    print(timed * (RESIDUES + 2) / (time.monotonic() - start))


def print_runs(runs: list[Run], rate: float) -> None:
    """The table of the runs, by the bare rate of one GPU."""
    print(f"\nESM-2 alone: {rate:,.0f} tokens/s on one GPU\n")
    print("| GPUs | shards | gate, frames | frames | wall, s | frames/s | ESM-2 alone, share of the wall time |")
    print("| --: | --: | --: | --: | --: | --: | --: |")
    for run in runs:
        share = run.tokens / rate / max(1, run.gpus) / run.seconds
        figures = [run.gpus, run.shards, run.gate, f"{run.frames:,}", f"{run.seconds:.1f}"]
        print("|", " | ".join(map(str, [*figures, f"{run.frames / run.seconds:,.0f}", f"{share:.1%}"])), "|")


def print_rules(runs: list[Run]) -> None:
    """The seconds of each rule's jobs, in each run."""
    rules = dict.fromkeys(rule for run in runs for rule in run.rules)
    titles = [f"{run.gpus} GPUs, {run.shards} shards, gate {run.gate}" for run in runs]
    print(f"\n| rule | {' | '.join(titles)} |\n| --- |{' --- |' * len(runs)}")
    for rule in sorted(rules):
        seconds = [" + ".join(f"{second:.1f}" for second in run.rules.get(rule, [])) for run in runs]
        print(f"| {rule} | {' | '.join(seconds)} |")


def main() -> None:
    arguments = parse_arguments()
    if arguments.bare:
        print_bare_rate(arguments.bare)
    else:
        measure_all(arguments)


def measure_all(arguments: argparse.Namespace) -> None:
    """Measure all runs that are asked for, and print the tables."""
    machine = [gpu.uuid for gpu in visible_gpus()]
    if (most := max(gpus for gpus, _ in arguments.runs)) > max(1, len(machine)):
        sys.exit(f"--runs {most}: this machine has {len(machine)} GPUs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack = folder / "pack"
        build_pack(pack, arguments)
        first = measure(folder / "first", machine[:1], pack, 100, 1, 0)
        print(f"100 fragments, kernels compiled: {first.seconds:.1f} s", flush=True)
        rate = bare_rate(pack)
        runs = []
        for number, gate in arguments.runs:
            fragments = arguments.fragments * (number if arguments.per_gpu else 1)
            shards = arguments.shards or number
            runs.append(measure(folder / f"{number}-{gate}", machine[:number], pack, fragments, shards, gate))
            print(f"{number} GPUs, gate {gate}: {runs[-1].seconds:.1f} s", flush=True)
    print_runs(runs, rate)
    print_rules(runs)


if __name__ == "__main__":
    main()
