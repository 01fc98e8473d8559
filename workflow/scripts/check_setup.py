"""Check what can be checked before hours are spent: the model pack, disk space, and the GPU against the precision.

Called at the start of a run, before any job, by the Python that runs Snakemake, which need not have PyTorch. Each
problem is one line, and all come at once. The checksums of the pack are not computed here, because every program that
reads a file of it does so; that a file is whole is seen by its length.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from virnucflow.chunks import wrong_chunk_length
from virnucflow.cli import argument_parser, log, run
from virnucflow.gpu_lease import LEAST_CAPABILITY, visible_gpus

# What work/ takes: of an input, the chunks' FASTA and the frames' tables, and of each frame its embeddings, twice.
BYTES_PER_BASE = 2
FRAMES_PER_CHUNK = 0.6  # of bacteria; eukaryotes have fewer (config/README.md, Sizes)
BYTES_PER_FEATURE = 8


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--chunk-length", type=int, required=True, help="bases a chunk")
    parser.add_argument("--bases", type=float, required=True, help="of all input, about")
    parser.add_argument("--work", type=Path, required=True, help="directory of what lies between input and results")
    parser.add_argument("--model", type=Path, help="directory of a model pack; left out when the workflow builds it")
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), help="when the encoders run on this machine")
    parser.add_argument("--precision", nargs="*", default=[], help="that are to be used on it")
    return parser.parse_args()


def check_pack(model: Path, chunk_length: int) -> tuple[list[str], int]:
    """What is wrong with a model pack, and the values that it makes of a frame."""
    path = model / "pack.json"
    try:
        pack = json.loads(path.read_text(encoding="utf-8"))
        chunk_lengths, files = tuple(pack["chunk_lengths"]), list(pack["sha256"])
        width = pack["esm2"]["embed_dim"] + pack["dnabert_s"]["hidden_size"]
    except FileNotFoundError:
        return [f"{path}: no such file; set model to the directory of a model pack"], 0
    except (OSError, ValueError, TypeError, KeyError) as error:
        return [f"{path}: not the description of a model pack ({error!r}); restore the pack"], 0
    problems = [problem for name in files for problem in check_file(model / name)]
    problems += filter(None, [wrong_chunk_length(str(path), chunk_length, chunk_lengths)])
    return problems, width


def check_file(path: Path) -> list[str]:
    """What is wrong with a file of a pack, by its length; of safetensors its header says what that must be."""
    try:
        size = path.stat().st_size
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
                end = max(tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
                if size != (whole := file.tell() + end):
                    return [f"{path}: {size} bytes instead of {whole}; restore the pack"]
        elif path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{path}: no such file, though pack.json names it; restore the pack"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        return [f"{path}: cut or damaged ({error!r}); restore the pack"]
    return []


def work_bytes(bases: float, chunk_length: int, width: int) -> float:
    """About what work/ will take."""
    return bases * (BYTES_PER_BASE + FRAMES_PER_CHUNK / chunk_length * BYTES_PER_FEATURE * width)


def check_disk(work: Path, needed: float) -> list[str]:
    """Whether what is still to be written fits on the disk."""
    there = sum(file.stat().st_size for file in work.rglob("*") if file.is_file())
    disk = next(folder for folder in (work.absolute(), *work.absolute().parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    if needed - there <= free:
        return []
    return [
        f"{work}: about {(needed - there) / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; give another "
        "--directory, or free some; --no-hooks goes without this check"
    ]


def check_gpus(device: str, precisions: list[str]) -> list[str]:
    """Whether the GPUs of this machine can do what is asked of them."""
    gpus = [] if device == "cpu" else visible_gpus()
    if device == "cuda" and not gpus:
        return ["device: cuda: nvidia-smi finds no GPU here; repair the driver, or set device: cpu"]
    problems = []
    for precision in LEAST_CAPABILITY.keys() & set(precisions):
        least = LEAST_CAPABILITY[precision]
        needs = f"precision: {precision}: needs GPUs of compute capability {least[0]}.{least[1]} or more"
        if not gpus and precision == "fp8":
            problems.append(f"{needs}, and there is none; choose auto")
        if weak := {gpu.capability for gpu in gpus if gpu.capability < least}:
            found = ", ".join(f"{major}.{minor}" for major, minor in sorted(weak))
            problems.append(f"{needs}, and one here has {found}; choose fp16, or leave it out of CUDA_VISIBLE_DEVICES")
    return problems


def main() -> None:
    arguments = parse_arguments()
    problems, width = check_pack(arguments.model, arguments.chunk_length) if arguments.model else ([], 0)
    problems += check_disk(arguments.work, work_bytes(arguments.bases, arguments.chunk_length, width))
    if arguments.device:
        problems += check_gpus(arguments.device, arguments.precision)
    for problem in problems:
        log.error("%s", problem)
    sys.exit(2 if problems else 0)


if __name__ == "__main__":
    run(main)
