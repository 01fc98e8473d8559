"""The body of the two embed programs: one row of an embedding for each row of a frames table."""

import argparse
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import torch

from virnucflow import __version__
from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.devices.gpu_lease import lease_gpu
from virnucflow.devices.precision import PRECISIONS, Liberties, allow, choose_precision
from virnucflow.encoders.attention_kernels import KERNELS
from virnucflow.encoders.load import Embed
from virnucflow.files.tables import FRAMES, digest, read_parquet
from virnucflow.files.tensors import save_rows
from virnucflow.packs.encoders import TOKEN_BUDGET, Encoder
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.packs.reference import check_encoder

CPU_TOKEN_BUDGET = 1024  # of flash: what stays in a processor's caches
LEAST_TOKEN_BUDGET = 256  # out of memory below this is given up
MMAP_THRESHOLD, TRIM_THRESHOLD = (-3, 1 << 25), (-1, (1 << 31) - 1)  # of glibc's mallopt, and their largest values

# (pack, attention, kernel, precision, device, token budget) -> (N sequences -> (N, width) float32 on the CPU), kernel
Load = Callable[[ModelPack, str, str, str, torch.device, int], tuple[Embed, str]]


def embed_program(description: str, encoder: Encoder, load: Load) -> None:
    """Run a program that embeds one column of a frames table with one encoder of a model pack."""
    run(lambda: embed(parse_arguments(description), encoder, load))


def parse_arguments(description: str) -> argparse.Namespace:
    parser = argument_parser(description)
    parser.add_argument("--frames", type=Path, required=True, help="parquet table of translate_frames.py")
    parser.add_argument("--model", type=Path, required=True, help="directory of a model pack")
    parser.add_argument("--chunk-length", type=int, help="bases a chunk; a pack for another length is refused")
    parser.add_argument("--attention", choices=list(PRECISIONS), required=True, help="fast path, or v1's computation")
    parser.add_argument("--attention-kernel", choices=KERNELS, default="auto", help="of flash; auto: the fastest here")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS["flash"],
        required=True,
        help="of weights and arithmetic; auto is fp16 on a GPU and fp32 on the CPU; standard knows fp32 and fp16",
    )
    parser.add_argument(
        "--allow",
        nargs="*",
        choices=Liberties._fields,
        default=[],
        help="of standard: what PyTorch may do to matrix products on a GPU; by default nothing",
    )
    parser.add_argument("--embeddings", type=Path, required=True, help="safetensors file, to be written")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:N")
    parser.add_argument(
        "--token-budget",
        type=int,
        help=f"tokens a batch; default {TOKEN_BUDGET}; flash on a CPU: at most {CPU_TOKEN_BUDGET}",
    )
    parser.add_argument("--threads", type=int, help="CPU threads; default all cores")
    parser.add_argument(
        "--check-model", type=int, choices=(0, 1), default=0, help="1: first compare with the pack's reference values"
    )
    return parser.parse_args()


def embed(arguments: argparse.Namespace, encoder: Encoder, load: Load) -> None:
    attention = arguments.attention
    if arguments.allow and attention != "standard":
        raise InputError(f"--allow {' '.join(arguments.allow)}: is for --attention standard; leave it out")
    token_budget = TOKEN_BUDGET[attention] if arguments.token_budget is None else arguments.token_budget
    if token_budget < 1:
        raise InputError(f"--token-budget {token_budget}: give a positive number")
    device = choose_device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    liberties = Liberties(**dict.fromkeys(arguments.allow, True))
    allow(liberties)
    if device.type == "cpu":
        keep_freed_memory()
        if attention == "flash":
            token_budget = min(token_budget, CPU_TOKEN_BUDGET)
    precision = choose_precision(arguments.precision, attention, device)
    pack = read_model_pack(arguments.model, arguments.chunk_length)
    frames = read_parquet(arguments.frames, FRAMES)
    names = frames["name"].to_pylist()
    log.info("%d frames, %s, attention %s, %s on %s", len(names), encoder.name, attention, precision, device)
    sequences = frames[encoder.column].to_pylist()
    while True:
        try:
            run_encoder, kernel = load(pack, attention, arguments.attention_kernel, precision, device, token_budget)
            if arguments.check_model:
                check_encoder(pack, encoder.name, run_encoder, precision)
            embedding = embed_once(run_encoder, sequences) if attention == "flash" else run_encoder(sequences)
            break
        except torch.OutOfMemoryError:  # packed batches have halved themselves already, and gone on where they were
            if token_budget < 2 * LEAST_TOKEN_BUDGET:
                raise Failure(
                    f"{arguments.frames}: out of GPU memory even with --token-budget {token_budget}; give a GPU with "
                    "more memory"
                ) from None
        run_encoder, token_budget = None, token_budget // 2
        torch.cuda.empty_cache()
        log.warning("out of GPU memory: beginning again with --token-budget %d", token_budget)
    if not (finite := embedding.isfinite().all(1)).all():
        frame = names[int(finite.int().argmin())]
        raise Failure(f"{arguments.frames}: the embedding of frame {frame!r} is not finite; try --precision fp32")
    metadata = {
        "encoder": encoder.name,
        "model": pack.name,
        "trained": str(pack.trained).lower(),
        **{name: pack.sha256[file] for name, file in encoder.files.items()},
        "attention": attention,
        "kernel": kernel,
        "precision": precision,
        "allowed": str(liberties),
        "names_sha256": digest(names),
        "virnucflow": __version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
    with staged(arguments.embeddings) as (partial,):
        save_rows(embedding.numpy(), "embedding", partial, metadata)


def embed_once(run_encoder: Embed, sequences: list[str]) -> torch.Tensor:
    """Embed each distinct sequence once; equal frames have equal rows."""
    number = {sequence: row for row, sequence in enumerate(dict.fromkeys(sequences))}
    distinct = run_encoder(list(number))
    if len(number) == len(sequences):
        return distinct
    return distinct[[number[sequence] for sequence in sequences]]


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: to give it back and ask for it anew took a quarter of ESM-2's time on a CPU."""
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(*MMAP_THRESHOLD)
        mallopt(*TRIM_THRESHOLD)


def choose_device(name: str) -> torch.device:
    """The device to compute on, a GPU leased from the other jobs of this machine; to be called before CUDA is touched.

    `auto` never goes to the CPU on a machine that was given a GPU which does not work; `cuda:N` takes no lease.
    """
    if name in ("auto", "cuda"):
        lease_gpu()
    if name != "auto":
        try:
            device = torch.device(name)
        except RuntimeError:
            raise InputError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N") from None
        if device.type not in ("cpu", "cuda"):
            raise InputError(f"--device {name}: unknown; give auto, cpu, cuda or cuda:N")
        if device.type == "cuda" and not torch.cuda.is_available():
            raise Failure(f"--device {name}: this PyTorch ({torch.__version__}) sees no GPU here; choose cpu or auto")
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES", "")) not in ("", "-1", "NoDevFiles"):  # ways to say: none
        raise Failure(
            f"--device auto: this job was given GPU {given} (CUDA_VISIBLE_DEVICES), but PyTorch {torch.__version__} "
            "cannot use it; repair driver or installation, or choose --device cpu"
        )
    return torch.device("cpu")
