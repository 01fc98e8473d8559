"""`snakemake --profile local` on one and on several GPUs of one machine, from frames to results.

Builds a pack of random weights and, for each number of GPUs, a sample that keeps them busy for about as long as the
first (or, with --same-input, the same for all). What the CPU does before (split and translate) is done before the
clock starts, and so is a small run that compiles kernels and reads the weights. Utilization and processes are what
nvidia-smi says each second. Prints a table in Markdown.

The default is for an H200: 100,000 frames of 168 tokens at 105,000 tokens/s are 160 s of ESM-2 and 6 s of DNABERT-S,
and four starts of a program (two shards, two encoders) 34 s more. Without a GPU it runs on the CPU: give small shapes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import yaml
from shared import REPOSITORY, add_shapes, build_pack

from virnucflow.devices.gpu_lease import VISIBLE, visible_gpus  # shared.py has put the library on the path

SENSE_CODONS = [a + b + c for a in "ACGT" for b in "ACGT" for c in "ACGT" if a + b + c not in ("TAA", "TAG", "TGA")]
CHUNK = 500  # bases; a chunk of sense codons has one frame without a stop, and rarely two


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shapes(parser)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2], help="numbers of GPUs, one run each")
    parser.add_argument("--frames", type=int, default=100_000, help="a GPU")
    parser.add_argument("--shards", type=int, default=2, help="a GPU")
    parser.add_argument("--same-input", action="store_true", help="every run has the frames and shards of the largest")
    return parser.parse_args()


@dataclass
class Watch:
    """What nvidia-smi says each second about each GPU, by UUID, while it runs."""

    utilization: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    most_processes: Counter = field(default_factory=Counter)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Watch":
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _run(self) -> None:
        there = visible_gpus()
        while there and not self.over.wait(1):
            for uuid, percent in nvidia_smi("--query-gpu=uuid,utilization.gpu"):
                self.utilization[uuid].append(int(percent))
            processes = Counter(uuid for uuid, _ in nvidia_smi("--query-compute-apps=gpu_uuid,pid"))
            self.most_processes |= processes  # the larger of both


def nvidia_smi(query: str) -> list[list[str]]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split(", ") for line in done.stdout.splitlines()]


def write_sample(folder: Path, frames: int) -> None:
    """A sample sheet, and a FASTA file of chunks with about one frame each."""
    folder.mkdir()
    codons = np.array(SENSE_CODONS)
    draw = np.random.default_rng(0)
    with (folder / "random.fasta").open("w") as file:
        for number in range(frames):
            sequence = "".join(codons[draw.integers(len(codons), size=CHUNK // 3)])
            file.write(f">s{number}\n{sequence:A<{CHUNK}}\n")
    (folder / "samples.tsv").write_text("sample\tfasta\nrandom\trandom.fasta\n")


def snakemake(folder: Path, gpus: list[str], pack: Path, shards: int, *options: str) -> float:
    """Seconds that `snakemake --profile local` took in a folder, which keeps what it said."""
    config = {"samples": "samples.tsv", "model_pack": str(pack), "gate": {"frames": 0}, "shards": shards}
    config["device"] = "cuda" if gpus else "cpu"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--profile", "local", "--directory", folder]
    command += ["--configfile", folder / "config.yaml", *options]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    start = time.monotonic()
    with (folder / "said.log").open("w") as said:
        environment = os.environ | {VISIBLE: ",".join(gpus), "PATH": path}
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=said, stderr=said)
    if done.returncode:
        sys.exit(f"snakemake failed:\n{(folder / 'said.log').read_text()}")
    return time.monotonic() - start


def measure(folder: Path, gpus: list[str], pack: Path, frames: int, shards: int) -> tuple[float, float, int, Watch]:
    """Wall seconds of a run from frames to results and until the last embedding, the frames, and what the GPUs did."""
    write_sample(folder, frames)
    snakemake(folder, gpus, pack, shards, "--until", "translate_frames")
    start = time.time()
    with Watch() as watch:
        seconds = snakemake(folder, gpus, pack, shards)
    work = folder / "work" / "random"
    embedded = max(path.stat().st_mtime for path in (work / "embeddings").rglob("*.safetensors")) - start
    return seconds, embedded, sum(pq.read_metadata(table).num_rows for table in work.glob("frames/*.parquet")), watch


def main() -> None:
    arguments = parse_arguments()
    machine = [gpu.uuid for gpu in visible_gpus()]
    if max(arguments.gpus) > max(1, len(machine)):
        sys.exit(f"--gpus {max(arguments.gpus)}: this machine has {len(machine)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_pack(folder / "pack", arguments)
        measure(folder / "first", machine[:1], folder / "pack", 100, 1)
        lines, alone = [], None
        for number in arguments.gpus:
            gpus, share = machine[:number], max(arguments.gpus) if arguments.same_input else number
            work = share * arguments.frames, share * arguments.shards
            seconds, embedded, frames, watch = measure(folder / f"{number}", gpus, folder / "pack", *work)
            rate = frames / seconds
            alone = alone or rate / number
            busy = ", ".join(f"{np.mean(watch.utilization[uuid]):.0f} %" for uuid in gpus) or "-"
            figures = [f"{number}", f"{frames}", f"{seconds:.1f}", f"{embedded:.1f}", f"{rate:,.0f}"]
            figures += [f"{rate / number / alone:.1%}", busy, f"{max(watch.most_processes.values(), default=0)}"]
            lines.append(f"| {' | '.join(figures)} |")
            print(lines[-1], flush=True)
    print("\n| GPUs | frames | wall, s | embedded by, s | frames/s | efficiency | busy | most processes on one GPU |")
    print("| --: | --: | --: | --: | --: | --: | --- | --: |\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
