"""The body of the two embed programs: one row of an embedding for each row of a frames table.

They take several tables, each with an output of its own, and load the model once, if at all: what the store has of an
earlier attempt is taken from there. Each output has the bytes that it has alone.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch

from virnucflow import __version__
from virnucflow.cli import Failure, InputError, argument_parser, log, run, staged
from virnucflow.devices.choose import prepare_device
from virnucflow.devices.precision import PRECISIONS, Liberties, choose_precision
from virnucflow.encoders import store
from virnucflow.encoders.attention_kernels import KERNELS
from virnucflow.encoders.load import LOADERS, Embed
from virnucflow.encoders.parts import keeping_parts
from virnucflow.encoders.report import Report
from virnucflow.files.device_time import read_device_time, write_device_time
from virnucflow.files.digests import digest_file
from virnucflow.files.kinds import KINDS
from virnucflow.files.shards import Files, in_step
from virnucflow.files.tables import FRAMES, digest, read_frames
from virnucflow.files.tensors import load_tensor, save_rows
from virnucflow.packs.encoders import TOKEN_BUDGET, Encoder
from virnucflow.packs.pack import ModelPack, read_model_pack
from virnucflow.packs.reference import check_encoder

CPU_TOKEN_BUDGET = 1024  # of flash: what stays in a processor's caches
LEAST_TOKEN_BUDGET = 256  # out of memory below this is given up


@dataclass(frozen=True)
class Plan:
    """What computes the embeddings, and how."""

    encoder: Encoder
    pack: ModelPack
    attention: str  # flash or standard
    kernel: str  # as asked for; what `auto` becomes is known when the encoder is loaded
    precision: str
    liberties: Liberties
    device: torch.device
    token_budget: int  # tokens in one batch
    check_model: bool  # whether the encoder must first give the pack's reference values
    key: str  # by which a run finds the embeddings
    code: str  # a digest of what this program does; empty where nobody has said


class Output(NamedTuple):
    """A file to be written, and where the store has it."""

    path: Path
    stored: Path


class Shard(NamedTuple):
    """A frames table, its embeddings, and how long a device was held for them, where that is to be written."""

    frames: Path
    embeddings: Output
    device_time: Output | None

    @property
    def outputs(self) -> list[Output]:
        """The files to be written."""
        return [output for output in (self.device_time, self.embeddings) if output]


class Frames(NamedTuple):
    """The rows of a frames table: their names, and the sequences of the kind that the encoder takes."""

    path: Path
    names: list[str]
    sequences: list[str]


def embed_program(description: str, encoder: Encoder) -> None:
    """Run a program that embeds one column of a frames table with one encoder of a model pack."""
    run(lambda: main(parse_arguments(description), encoder))


def parse_arguments(description: str) -> argparse.Namespace:
    """The command line of an embed program."""
    parser = argument_parser(description)
    parser.add_argument("--frames", nargs="+", action=Files, required=True, help="tables of translate_frames.py")
    parser.add_argument(
        "--scored-frames",
        choices=KINDS,
        help="which of them; default: those that the pack takes",
    )
    parser.add_argument("--model", type=Path, required=True, help="directory of a model pack")
    parser.add_argument("--chunk-length", type=int, help="bases in a chunk; a pack for another length is refused")
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
    parser.add_argument("--key", default="", help="name by which a run finds these embeddings; noted with them")
    parser.add_argument("--code", default="", help="digest of this program's code: parts that another kept are no use")
    parser.add_argument(
        "--embeddings",
        nargs="+",
        action=Files,
        required=True,
        help="safetensors files, to be written, one for each table",
    )
    parser.add_argument(
        "--device-time",
        nargs="+",
        action=Files,
        help="JSON files, to be written, one for each table: the seconds for which a device was held",
    )
    parser.add_argument(
        "--store",
        choices=("drop", "keep"),
        default="drop",
        help="finished files of several stay in the store until the last is finished (drop), or for good (keep)",
    )
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:N")
    parser.add_argument(
        "--token-budget",
        type=int,
        help=f"tokens per batch; default {TOKEN_BUDGET}; flash on a CPU: at most {CPU_TOKEN_BUDGET}",
    )
    parser.add_argument("--threads", type=int, help="CPU threads; default all cores")
    parser.add_argument(
        "--check-model", type=int, choices=(0, 1), default=0, help="1: first compare with the pack's reference values"
    )
    return parser.parse_args()


def main(arguments: argparse.Namespace, encoder: Encoder) -> None:
    """Embed the frames that the arguments name, and write the embeddings.

    What is wrong with a table or its embeddings keeps none of the others from being finished. Raises then what was
    raised first, bad input before the rest.
    """
    pack = read_model_pack(arguments.model, arguments.chunk_length)
    keeps = arguments.store == "keep"
    shards = find_shards(arguments, pack, encoder)
    missing = [shard for shard in shards if not take_from_store(shard)]
    if len(shards) > len(missing):
        log.info(
            "%d of %d files of embeddings are there from an earlier attempt", len(shards) - len(missing), len(shards)
        )
    errors = (
        embed_shards(choose(arguments, pack, encoder), arguments, missing, keeps or len(shards) > 1) if missing else []
    )
    if errors:
        first, *others = sorted(errors, key=lambda error: isinstance(error, Failure))
        for other in others:
            log.warning("failed as well: %s", other)
        raise first
    for output in (output for shard in shards for output in shard.outputs):
        store.drop_others(output.path, output.stored)
        if not keeps:
            store.drop(output.stored)


def take_from_store(shard: Shard) -> bool:
    """Put a shard's outputs in place where the store has all of them."""
    if (its := shard.device_time) and not store.take(its.stored, its.path, read_device_time):
        return False
    return store.take(shard.embeddings.stored, shard.embeddings.path, lambda path: load_tensor(path, "embedding"))


def find_shards(arguments: argparse.Namespace, pack: ModelPack, encoder: Encoder) -> list[Shard]:
    """The tables and outputs that the arguments name. What is stored depends on what was asked, and not on the device
    that was found: it is as good as an output that another machine has written."""
    asked = ("key", "code", "attention", "attention_kernel", "precision", "allow", "device", "token_budget")
    depends = {name: getattr(arguments, name) for name in asked}
    depends |= {"encoder": encoder.name, "frames": arguments.scored_frames or pack.frames}
    depends |= {name: pack.sha256[file] for name, file in encoder.files.items()}
    shards = []
    names = ["embeddings", "device_time"] if arguments.device_time else ["embeddings"]
    for frames, *paths in in_step(arguments, "frames", *names):
        of_table = depends | {"table": digest_file(frames)}
        outputs = [Output(path, store.place_in_store(path, of_table)) for path in paths]
        shards.append(Shard(frames, outputs[0], outputs[1] if arguments.device_time else None))
    return shards


def embed_shards(
    plan: Plan, arguments: argparse.Namespace, shards: list[Shard], stores: bool
) -> list[InputError | Failure]:
    """Embed one shard after the other, with a model that is loaded once; gives the errors of those that failed."""
    loaded, errors = LoadedEncoder(), list[InputError | Failure]()
    since = time.monotonic()  # the device is held from here on, and loading a model is for the first shard
    for shard in shards:
        try:
            frames = read_sequences(shard.frames, plan.encoder, arguments.scored_frames or plan.pack.frames)
        except InputError as error:
            errors.append(error)
            continue
        how = f"{plan.encoder.name}, attention {plan.attention}, {plan.precision} on {plan.device}"
        log.info("%d frames, %s", len(frames.names), how)
        loaded.load(plan)  # an error of the model is one of all shards
        try:
            embed(plan, frames, shard, loaded, since)
        except (InputError, Failure) as error:
            errors.append(error)
        else:
            for path, stored in shard.outputs if stores else ():
                store.put(path, stored)
        since = time.monotonic()
    return errors


class LoadedEncoder:
    """An encoder that is loaded when a plan first needs it, and anew only for another plan."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._loaded: tuple[Embed, str] | None = None

    def load(self, plan: Plan) -> tuple[Embed, str]:
        """The function that embeds by this plan, and its kernel. Raises Failure when the encoder is not the pack's."""
        if self._loaded is None or self._plan is not plan:
            self._loaded = None  # the device has no room for two
            loaded = LOADERS[plan.encoder.name](
                plan.pack, plan.attention, plan.kernel, plan.precision, plan.device, plan.token_budget
            )
            if plan.check_model:
                check_encoder(plan.pack, plan.encoder.name, loaded[0], plan.precision)
            self._plan, self._loaded = plan, loaded
        return self._loaded


def choose(arguments: argparse.Namespace, pack: ModelPack, encoder: Encoder) -> Plan:
    """The plan for what the arguments ask; this process is set for it. Raises InputError and Failure."""
    attention = arguments.attention
    if arguments.allow and attention != "standard":
        raise InputError(f"--allow {' '.join(arguments.allow)}: is for --attention standard; leave it out")
    token_budget = TOKEN_BUDGET[attention] if arguments.token_budget is None else arguments.token_budget
    if token_budget < 1:
        raise InputError(f"--token-budget {token_budget}: give a positive number")
    liberties = Liberties(**dict.fromkeys(arguments.allow, True))
    device = prepare_device(arguments.device, arguments.threads, liberties)
    if device.type == "cpu" and attention == "flash":
        token_budget = min(token_budget, CPU_TOKEN_BUDGET)
    return Plan(
        encoder=encoder,
        precision=choose_precision(arguments.precision, attention, device),
        pack=pack,
        attention=attention,
        kernel=arguments.attention_kernel,
        liberties=liberties,
        device=device,
        token_budget=token_budget,
        check_model=bool(arguments.check_model),
        key=arguments.key,
        code=arguments.code,
    )


def read_sequences(path: Path, encoder: Encoder, frames: str) -> Frames:
    """The frames of a table of translate_frames.py, WHOLE or LONGEST ones as well. Raises InputError."""
    table = read_frames(path, pa.schema([FRAMES.field("name"), FRAMES.field(encoder.column)]), frames)
    return Frames(path, table["name"].to_pylist(), table[encoder.column].to_pylist())


def embed(plan: Plan, frames: Frames, shard: Shard, loaded: LoadedEncoder, since: float) -> None:
    """Embed the frames, going on from what an earlier attempt has kept, and write the shard's outputs.

    The device is held for them since this reading of time.monotonic(). Out of memory begins again with half the tokens
    in a batch. Packed batches have then halved themselves already, and gone on where they were. Raises Failure when
    memory is not enough for any batch.
    """
    while True:
        try:
            return _embed(plan, frames, shard, loaded, since)
        except torch.OutOfMemoryError:
            if plan.token_budget < 2 * LEAST_TOKEN_BUDGET:
                raise Failure(
                    f"{frames.path}: out of GPU memory even with --token-budget {plan.token_budget}; give a GPU with "
                    "more memory"
                ) from None
        plan = replace(plan, token_budget=plan.token_budget // 2)
        torch.cuda.empty_cache()
        log.warning("out of GPU memory: beginning again with --token-budget %d", plan.token_budget)


def _embed(plan: Plan, frames: Frames, shard: Shard, loaded: LoadedEncoder, since: float) -> None:
    run_encoder, kernel = loaded.load(plan)
    metadata = describe(plan, kernel, frames.names)
    batches = {"sequences_sha256": digest(frames.sequences), "token_budget": str(plan.token_budget), "code": plan.code}
    with keeping_parts(shard.embeddings.path, metadata | batches, since) as parts:
        sequences, once = frames.sequences, plan.attention == "flash"
        keeping = partial(run_encoder, progress=Report(parts, plan.encoder, sequences, distinct=once))
        embedding = embed_once(keeping, sequences) if once else keeping(sequences)
        write(embedding, metadata, frames, shard.embeddings.path)
        if shard.device_time:
            with staged(shard.device_time.path) as (partial_path,):
                write_device_time(parts.seconds, plan.encoder.name, partial_path)


def embed_once(run_encoder: Callable[[list[str]], torch.Tensor], sequences: list[str]) -> torch.Tensor:
    """(sequences, width): each distinct sequence is embedded once, and equal sequences have equal rows."""
    number = {sequence: row for row, sequence in enumerate(dict.fromkeys(sequences))}
    distinct = run_encoder(list(number))
    if len(number) == len(sequences):
        return distinct
    return distinct[[number[sequence] for sequence in sequences]]


def describe(plan: Plan, kernel: str, names: list[str]) -> dict[str, str]:
    """What the embeddings of the frames with these names depend on, and the key by which a run finds them."""
    return {
        "encoder": plan.encoder.name,
        "key": plan.key,
        **{name: plan.pack.sha256[file] for name, file in plan.encoder.files.items()},
        "attention": plan.attention,
        "kernel": kernel,
        "precision": plan.precision,
        "allowed": str(plan.liberties),
        "names_sha256": digest(names),
        "virnucflow": __version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(plan.device) if plan.device.type == "cuda" else "cpu",
    }


def write(embedding: torch.Tensor, metadata: dict[str, str], frames: Frames, path: Path) -> None:
    """Write (frames, width) embeddings with what made them. Raises Failure when a value is not finite."""
    if not (finite := embedding.isfinite().all(1)).all():
        frame = frames.names[int(finite.int().argmin())]
        raise Failure(f"{frames.path}: the embedding of frame {frame!r} is not finite; try --precision fp32")
    with staged(path) as (partial_path,):
        save_rows(embedding.numpy(), "embedding", partial_path, metadata)
