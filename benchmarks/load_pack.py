"""How long a model pack takes to load, from the page cache to a device, and how much host memory.

Builds a pack of random weights, and loads each encoder in a process of its own, as the embed programs do, checksums
included. The time does not have the imports and the start of CUDA. The memory is the process's own (RssAnon + RssShmem
in /proc), so without the pages of mapped files, at its highest, less what it was before loading. Prints a table in
Markdown.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
from shared import add_shapes  # shared.py puts programs and library on the path

from build_untrained_pack import HIDDEN, build_tokenizer
from virnucflow.encoders import dnabert_s, esm2
from virnucflow.encoders.load import LOADERS
from virnucflow.packs.encoders import DNABERT_S, ENCODERS, ESM2
from virnucflow.packs.pack import DnabertSShape, Esm2Shape, describe, file_sha256, read_model_pack
from virnucflow.packs.pack_files import ENCODER_FILES
from virnucflow.packs.weights import save_weights
from virnucflow.scoring import classifier


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_shapes(parser)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--model", type=Path, help="directory of a pack to load instead of a random one")
    parser.add_argument("--load", nargs=3, metavar=("ENCODER", "ATTENTION", "PRECISION"), help=argparse.SUPPRESS)
    return parser.parse_args()


def build(folder: Path, arguments: argparse.Namespace) -> None:
    """A pack of random weights, without what makes its scores spread."""
    esm2_shape = Esm2Shape(*arguments.esm2)
    tokenizer = build_tokenizer(256)
    layers, width, heads = arguments.dnabert_s
    dnabert_s_shape = DnabertSShape(tokenizer.get_vocab_size(), layers, width, heads, 4 * width, 1e-12)
    features = width + esm2_shape.embed_dim
    folder.mkdir()
    encoder = esm2.fair_esm_model(esm2_shape, device=arguments.device).half().cpu()
    save_weights(encoder, folder / ESM2.weights)
    save_weights(dnabert_s.DnabertS(dnabert_s_shape), folder / DNABERT_S.weights)
    save_weights(classifier.MLPClassifier(features, HIDDEN), folder / classifier.CLASSIFIER)
    tokenizer.save(str(folder / DNABERT_S.tokenizer))
    shapes = {"esm2": asdict(esm2_shape), "dnabert_s": asdict(dnabert_s_shape)}
    about = {
        "name": "random",
        "trained": True,
        "chunk_lengths": [500],
        "provenance": "",
        "licence": "",
        "quality": None,
    }
    files = {name: folder / name for name in (*ENCODER_FILES, classifier.CLASSIFIER)}
    (folder / "pack.json").write_text(describe(about | shapes, files), encoding="utf-8")


def own_memory(process: int | str) -> int:
    """Bytes of a process that are not pages of a file; 0 when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))


def load(model: Path, encoder: str, attention: str, precision: str, device: torch.device) -> None:
    """Load one encoder, and print as JSON what it took."""
    pack = read_model_pack(model)
    torch.zeros(1, device=device)  # starts CUDA
    before, start = own_memory("self"), time.monotonic()
    held = LOADERS[encoder](pack, attention, "auto", precision, device, 4096)
    if device.type == "cuda":
        torch.cuda.synchronize()
    print(json.dumps({"seconds": time.monotonic() - start, "before": before, "kernel": held[1]}))


def measure(model: Path, device: str, *what: str) -> tuple[float, float]:
    """Seconds, and bytes of own memory at the highest, of one load in a process of its own."""
    command = [sys.executable, __file__, "--model", model, "--device", device, "--load", *what]
    highest = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            highest = max(highest, own_memory(process.pid))
            time.sleep(0.002)
        said = process.stdout.read()
    if process.returncode:
        sys.exit(process.returncode)
    outcome = json.loads(said)
    return outcome["seconds"], max(highest - outcome["before"], 0)


def report(model: Path, device: str, runs: int) -> None:
    print("\n| | file, GB | SHA-256 alone, s | load, s | own memory, GB |\n| --- | --: | --: | --: | --: |")
    half = "fp16" if device.startswith("cuda") else "fp32"
    for what in (("esm2", "flash", half), ("esm2", "standard", "fp32"), ("dnabert_s", "flash", half)):
        path = model / ENCODERS[what[0]].weights
        file_sha256(path)  # so that it is in the page cache
        start = time.monotonic()
        file_sha256(path)
        hashing = time.monotonic() - start
        loads = [measure(model, device, *what) for _ in range(runs)]
        seconds = sorted(time for time, _ in loads)[runs // 2]
        memory = max(memory for _, memory in loads)
        figures = f"{path.stat().st_size / 1e9:.2f} | {hashing:.2f} | {seconds:.2f} | {memory / 1e9:.2f}"
        print(f"| {' '.join(what)} | {figures} |", flush=True)


def main() -> None:
    arguments = parse_arguments()
    if arguments.load:
        load(arguments.model, *arguments.load, torch.device(arguments.device))
        return
    print(torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "CPU", torch.__version__)
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or Path(folder) / "pack"
        if not arguments.model:
            build(model, arguments)
        report(model, arguments.device, arguments.runs)


if __name__ == "__main__":
    main()
