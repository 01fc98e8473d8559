"""A program that embeds many small shards: each file as it is alone, and none computed twice."""

import errno
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from helpers import REPOSITORY, error_line, run_program

from virnucflow.encoders import program as embed_program
from virnucflow.files.device_time import device_minutes, read_device_time
from virnucflow.files.tables import FRAMES, write_parquet

LITE = REPOSITORY / "resources" / "models" / "lite"
PROGRAMS = {"embed_esm2": "esm2", "embed_dnabert_s": "dnabert_s"}
SHARDS = ("a", "b", "c")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The frames of three shards, one of which is empty."""
    letters, folder, tables = random.Random(8), tmp_path_factory.mktemp("tables"), {}
    for shard, number in zip(SHARDS, (30, 0, 20), strict=True):
        lengths = [letters.choice([40, letters.randint(1, 60)]) for _ in range(number)]
        proteins = ["".join(letters.choices("ACDEFGHIKLMNPQRSTVWY", k=length)) for length in lengths]
        nucleotides = ["".join(letters.choices("ACGT", k=3 * length)) for length in lengths]
        names = [f"{shard}{i}_chunk_1F1" for i in range(number)]
        same = ([value] * number for value in (1, "F1", "whole"))
        tables[shard] = folder / f"{shard}.parquet"
        write_parquet(pa.table([names, names, *same, nucleotides, proteins, lengths], schema=FRAMES), tables[shard])
    return tables


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each model that is loaded, and each shard that a model embeds, as they come."""
    calls: list[str] = []

    def counted(load: Callable) -> Callable:
        def load_and_tell(*arguments: object) -> tuple[Callable, str]:
            calls.append("load")
            embed, kernel = load(*arguments)

            def embed_and_tell(sequences: list[str], **options: object) -> object:
                calls.append("embed")
                return embed(sequences, **options)

            return embed_and_tell, kernel

        return load_and_tell

    counting = {name: counted(load) for name, load in embed_program.LOADERS.items()}
    monkeypatch.setattr(embed_program, "LOADERS", counting)
    return calls


def outputs(folder: Path) -> list[Path]:
    return [folder / f"{shard}.safetensors" for shard in SHARDS]


def arguments(tables: dict[str, Path], folder: Path, *options: object) -> list[object]:
    words = [
        "--model",
        LITE,
        "--attention",
        "flash",
        "--precision",
        "fp32",
        "--device",
        "cpu",
        "--threads",
        1,
        *options,
    ]
    return ["--frames", *tables.values(), "--embeddings", *outputs(folder), *words]


def contents(folder: Path) -> list[bytes]:
    return [output.read_bytes() for output in outputs(folder)]


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob(".*.stored"))


def delete_outputs(folder: Path) -> None:
    """As Snakemake does when a job failed, or runs again."""
    for output in outputs(folder):
        output.unlink(missing_ok=True)


def damaged(tables: dict[str, Path], shard: str, folder: Path) -> dict[str, Path]:
    """The same tables, one of them without its end."""
    broken = folder / f"damaged_{shard}.parquet"
    broken.write_bytes(tables[shard].read_bytes()[:-20])
    return tables | {shard: broken}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("attention", ["flash", "standard"])
def test_a_batch_has_the_bytes_that_each_shard_has_alone(program, attention, tables, tmp_path, calls) -> None:
    run_program(program, *arguments(tables, tmp_path, "--attention", attention))
    assert calls == ["load", "embed", "embed", "embed"] and stored(tmp_path) == []
    together = contents(tmp_path)
    delete_outputs(tmp_path)
    for shard, output in zip(SHARDS, outputs(tmp_path), strict=True):
        alone = arguments({shard: tables[shard]}, tmp_path, "--attention", attention, "--embeddings", output)
        run_program(program, *alone)
    assert contents(tmp_path) == together


def test_a_shard_that_fails_is_named_and_the_next_attempt_embeds_it_alone(tables, tmp_path, calls) -> None:
    undisturbed = tmp_path / "undisturbed"
    run_program("embed_esm2", *arguments(tables, undisturbed))
    calls.clear()
    broken = damaged(tables, "a", tmp_path)
    said = run_program("embed_esm2", *arguments(broken, tmp_path), code=2)
    assert "damaged_a.parquet" in error_line(said) and calls == ["load", "embed", "embed"]
    delete_outputs(tmp_path)
    calls.clear()
    said = run_program("embed_esm2", *arguments(tables, tmp_path))
    assert calls == ["load", "embed"] and "2 of 3 files" in said
    assert contents(tmp_path) == contents(undisturbed) and stored(tmp_path) == []


def test_of_several_that_fail_each_is_named_and_bad_input_is_what_the_job_ends_with(
    tables, tmp_path, monkeypatch
) -> None:
    def not_finite(load: Callable) -> Callable:
        def load_wrong(*arguments: object) -> tuple[Callable, str]:
            embed, kernel = load(*arguments)
            return lambda *sequences, **options: embed(*sequences, **options) * float("nan"), kernel

        return load_wrong

    wrong = {name: not_finite(load) for name, load in embed_program.LOADERS.items()}
    monkeypatch.setattr(embed_program, "LOADERS", wrong)
    said = run_program("embed_esm2", *arguments(damaged(tables, "c", tmp_path), tmp_path), code=2)
    assert "damaged_c.parquet" in error_line(said)
    assert "failed as well" in said and "a.parquet: the embedding of frame 'a0_chunk_1F1' is not finite" in said
    assert [output.exists() for output in outputs(tmp_path)] == [False, True, False]


def test_what_is_kept_takes_no_room_and_is_taken_without_a_model_or_a_gpu(tables, tmp_path, calls, monkeypatch) -> None:
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    first = contents(tmp_path)
    assert [path.stat().st_nlink for path in stored(tmp_path)] == [2, 2, 2]
    delete_outputs(tmp_path)
    calls.clear()
    monkeypatch.setattr(embed_program, "prepare_device", lambda *_: pytest.fail("a device was taken"))
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    assert calls == [] and contents(tmp_path) == first
    assert [path.stat().st_nlink for path in stored(tmp_path)] == [2, 2, 2]


def test_a_batch_takes_what_a_smaller_one_or_one_alone_has_kept(tables, tmp_path, calls) -> None:
    few = arguments({"a": tables["a"]}, tmp_path, "--store", "keep", "--embeddings", outputs(tmp_path)[0])
    run_program("embed_esm2", *few)
    calls.clear()
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    assert calls == ["load", "embed", "embed"]


def test_one_that_is_large_leaves_nothing_behind(tables, tmp_path) -> None:
    run_program("embed_esm2", *arguments({"a": tables["a"]}, tmp_path, "--embeddings", outputs(tmp_path)[0]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


CHANGES = {
    "another code": ("--code", "1" * 8),
    "another precision": ("--precision", "bf16"),
    "another attention": ("--attention", "standard"),
    "other batches": ("--token-budget", 100),
    "another device that is asked for": ("--device", "auto"),
    "another key": ("--key", "other"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_kept_of_another_computation_is_not_taken_and_goes(
    change, tables, tmp_path, calls, monkeypatch
) -> None:
    # A GPU that a test took in this process would be kept from those of the other tests.
    monkeypatch.setattr(embed_program, "prepare_device", lambda *_: torch.device("cpu"))
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    before = stored(tmp_path)
    calls.clear()
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep", *CHANGES[change]))
    assert calls.count("embed") == 3
    assert len(stored(tmp_path)) == 3 and not set(before) & set(stored(tmp_path))


def test_what_is_kept_of_other_frames_is_not_taken(tables, tmp_path, calls) -> None:
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    calls.clear()
    run_program("embed_esm2", *arguments(tables | {"a": tables["c"]}, tmp_path, "--store", "keep"))
    assert calls == ["load", "embed"]


def test_what_is_kept_and_damaged_is_computed_anew(tables, tmp_path, calls) -> None:
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    first, path = contents(tmp_path), stored(tmp_path)[0]
    delete_outputs(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    calls.clear()
    said = run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    assert calls == ["load", "embed"] and "of no use" in said and contents(tmp_path) == first
    assert path.read_bytes() == first[0]


def test_a_disk_without_hard_links_has_copies(tables, tmp_path, calls, monkeypatch) -> None:
    def no_link(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "link", no_link)
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    first = contents(tmp_path)
    assert [path.stat().st_nlink for path in stored(tmp_path)] == [1, 1, 1]
    delete_outputs(tmp_path)
    calls.clear()
    run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    assert calls == [] and contents(tmp_path) == first


def test_what_cannot_be_kept_is_told_and_fails_nothing(tables, tmp_path, monkeypatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", no_room)
    monkeypatch.setattr(shutil, "copyfile", no_room)
    said = run_program("embed_esm2", *arguments(tables, tmp_path, "--store", "keep"))
    assert said.count("is not kept for another attempt") == 3
    assert all(output.exists() for output in outputs(tmp_path)) and stored(tmp_path) == []


def device_times(folder: Path) -> list[Path]:
    return [folder / f"{shard}.device_time.json" for shard in SHARDS]


def test_how_long_the_device_was_held_is_that_of_whoever_computed(tables, tmp_path, calls, monkeypatch) -> None:
    """Loading a model is for the first shard; what is taken from the store has the time that it took."""
    load = embed_program.LOADERS["esm2"]
    monkeypatch.setitem(embed_program.LOADERS, "esm2", lambda *given: time.sleep(1) or load(*given))
    words = arguments(tables, tmp_path, "--store", "keep", "--device-time", *device_times(tmp_path))
    run_program("embed_esm2", *words)
    first = [path.read_bytes() for path in device_times(tmp_path)]
    seconds = [read_device_time(path)["seconds"] for path in device_times(tmp_path)]
    assert seconds[0] > 1 > max(seconds[1:]) and min(seconds) >= 0
    assert device_minutes(device_times(tmp_path)) == {"esm2": round(sum(seconds) / 60, 3)}
    delete_outputs(tmp_path)
    for path in device_times(tmp_path):
        path.unlink()
    calls.clear()
    run_program("embed_esm2", *words)
    assert calls == [] and [path.read_bytes() for path in device_times(tmp_path)] == first
    stored_time = next(tmp_path.glob(".c.device_time.json.*.stored"))
    stored_time.unlink()  # then nobody knows how long that one took
    run_program("embed_esm2", *words)
    assert calls == ["load", "embed"] and device_times(tmp_path)[0].read_bytes() == first[0]
    run_program("embed_esm2", *words, "--store", "drop")
    assert stored(tmp_path) == []


def test_as_many_outputs_as_tables(tables, tmp_path) -> None:
    words = arguments(tables, tmp_path, "--embeddings", *outputs(tmp_path)[:2])
    assert "--frames (3), --embeddings (2)" in error_line(run_program("embed_esm2", *words, code=2))
