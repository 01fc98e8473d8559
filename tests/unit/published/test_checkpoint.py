"""What torch.save wrote is read as plain data; whatever else a pickle can do ends in one line and does nothing."""

import argparse
import io
import json
import os
import pickle
import pickletools
import struct
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY
from limits import limited
from torch import nn

from virnucflow.cli import InputError
from virnucflow.packs.pack import DnabertSShape, Esm2Shape
from virnucflow.published import checkpoint as restricted_pickle
from virnucflow.published.checkpoint import LARGEST_PICKLE, Record, read_checkpoint
from virnucflow.published.convert import classifier_tensors, dnabert_s_tensors, esm2_tensors


def write_archive(path: Path, pickled: bytes, data: dict[str, bytes] | None = None, **options: object) -> Path:
    """A file in the format of torch.save with any pickle in it."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", "version": b"3\n", **(data or {})}.items():
            archive.writestr(f"archive/{name}", content)
    return path


def answer(read: Callable[[Path], object], path: Path) -> str:
    """What reading a file ends in, within limits: the name of a type, or one line."""

    def work() -> str:
        try:
            return type(read(path)).__name__
        except InputError as error:
            return str(error)

    return limited(work)


def complaint(path: Path) -> str:
    """The one line in which reading a file ends."""
    message = answer(read_checkpoint, path)
    assert message.startswith(f"{path}: ") and message.endswith("; give the published file, unchanged")
    assert message.isprintable() and len(message) < len(str(path)) + 300
    return message


def test_tensors_containers_and_scalars(tmp_path: Path) -> None:
    shared = torch.arange(12, dtype=torch.float32)
    content = {
        "half": torch.randn(3, 4).half(),
        "transposed": torch.randn(3, 4).t(),
        "views": [shared[2:5], shared.view(3, 4)[1:, 2:]],
        "parameter": nn.Parameter(torch.ones(2)),
        "integers": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "scalars": (None, True, False, 1, -1, 300, 70000, 1 << 40, 0.5, "ä" * 300),
        "ordered": OrderedDict(a=1, b={"c": {2, 3}}),
    }
    torch.save(content, tmp_path / "x")
    found = read_checkpoint(tmp_path / "x")
    assert list(found) == list(content)
    for name in ("half", "transposed", "parameter", "integers", "empty"):
        assert torch.equal(found[name], content[name]) and found[name].dtype == content[name].dtype
    for one, other in zip(found["views"], content["views"]):
        assert torch.equal(one, other)
    assert found["scalars"] == content["scalars"] and found["ordered"] == {"a": 1, "b": {"c": {2, 3}}}


def test_state_dict_of_a_module(tmp_path: Path) -> None:
    state = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).state_dict()
    torch.save(state, tmp_path / "x")
    found = read_checkpoint(tmp_path / "x")
    assert list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)


def test_namespace_is_its_state(tmp_path: Path) -> None:
    torch.save({"cfg": {"model": argparse.Namespace(layers=3, names=["a"])}}, tmp_path / "x")
    assert read_checkpoint(tmp_path / "x") == {
        "cfg": {"model": Record("argparse.Namespace", {"layers": 3, "names": ["a"]})}
    }


def test_whole_module_is_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class MLPClassifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output_layer = nn.Linear(3, 2)

    MLPClassifier.__module__, MLPClassifier.__qualname__ = "__main__", "MLPClassifier"
    monkeypatch.setattr(sys.modules["__main__"], "MLPClassifier", MLPClassifier, raising=False)
    module = MLPClassifier()
    torch.save(module, tmp_path / "x")
    monkeypatch.delattr(sys.modules["__main__"], "MLPClassifier")
    found = read_checkpoint(tmp_path / "x")
    layer = found.state["_modules"]["output_layer"]
    assert (found.name, layer.name) == ("__main__.MLPClassifier", "torch.nn.modules.linear.Linear")
    assert torch.equal(layer.state["_parameters"]["weight"], module.output_layer.weight)


def own_memory() -> int:
    """Kilobytes of this process that are not pages of a file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def test_large_file_is_mapped_and_not_read(tmp_path: Path) -> None:
    elements = 1 << 29
    with torch.serialization.skip_data():  # a hole in the file
        torch.save({"x": torch.empty(elements)}, tmp_path / "x")
    before = own_memory()
    assert read_checkpoint(tmp_path / "x")["x"].shape == (elements,)
    assert own_memory() - before < 100_000


# The instructions of hostile pickles, protocol 2.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    encoded = pickle.encode_long(value)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def name(path: str) -> bytes:
    return b"c" + "\n".join(path.rsplit(".", 1)).encode() + b"\n"


def items(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def call(path: str, *arguments: bytes) -> bytes:
    return name(path) + items(*arguments) + b"R"


def storage(kind: str = "FloatStorage", key: str = "0", number: int = 4) -> bytes:
    return items(text("storage"), name(f"torch.{kind}"), text(key), text("cpu"), integer(number)) + b"Q"


def integers(*values: int) -> bytes:
    return items(*map(integer, values))


def tensor(content: bytes, offset: int = 0, size: tuple = (4,), stride: tuple = (1,)) -> bytes:
    return call(
        "torch._utils._rebuild_tensor_v2", content, integer(offset), integers(*size), integers(*stride), b"\x89}"
    )


def number2(value: int) -> bytes:
    return b"M" + struct.pack("<H", value)


VICTIM = text("touch victim")
NESTED = b")" + b"\x85" * 1_000_000  # a tuple in a tuple in a tuple ...
DOUBLED = b")" + b"q\x07h\x07\x86" * 60  # a tuple of itself twice, 60 times: 2**60 items for whoever looks at all
HOSTILE = {
    # Calls.
    "os.system": (call("os.system", VICTIM), "a call of os.system, which no model needs: it was not made"),
    "posix.system": (call("posix.system", VICTIM), "a call of posix.system"),
    "builtins.eval": (call("builtins.eval", text("open('victim', 'w')")), "a call of builtins.eval"),
    "builtins.exec in python 2's name": (call("__builtin__.exec", text("open('victim', 'w')")), "__builtin__.exec"),
    "builtins.open": (call("io.open", text("victim"), text("w")), "a call of io.open"),
    "subprocess.Popen": (call("subprocess.Popen", text("touch victim")), "a call of subprocess.Popen"),
    "nested reduce": (
        call("collections.OrderedDict", call("builtins.getattr", name("os.system"), text("__call__"))),
        "a call of builtins.getattr",
    ),
    "a result is called": (call("collections.OrderedDict") + items(VICTIM) + b"R", "a dict in the place of a Name"),
    "an allowed function called through apply": (
        call("functools.reduce", name("torch._utils._rebuild_parameter"), items()),
        "a call of functools.reduce",
    ),
    "torch.load": (call("torch.load", text("victim")), "a call of torch.load"),
    "torch.hub": (call("torch.hub.load", text("owner/repository"), text("model")), "a call of torch.hub.load"),
    # Objects.
    "newobj": (name("subprocess.Popen") + items(VICTIM) + b"\x81", "an object of subprocess.Popen"),
    "newobj, arguments": (name("argparse.Namespace") + items(VICTIM) + b"\x81", "an object of argparse.Namespace"),
    "inst": (b"(" + VICTIM + b"ios\nsystem\n", "a pickle with the instruction INST"),
    "obj": (b"(" + name("os.system") + VICTIM + b"o", "a pickle with the instruction OBJ"),
    "stack_global": (text("os") + text("system") + b"\x93" + items(VICTIM) + b"R", "the instruction STACK_GLOBAL"),
    "extension registry": (b"\x82\x01" + items(VICTIM) + b"R", "the instruction EXT1"),
    "build of a tensor": (tensor(storage()) + b"}" + text("grad_fn") + VICTIM + b"sb", "in the place of a Record"),
    "build with slots": (
        name("argparse.Namespace") + b")\x81" + items(b"N", b"}" + text("__class__") + name("os.system") + b"s") + b"b",
        "a tuple in the place of a dict",
    ),
    # PyTorch's own functions, misused.
    "rebuild from type": (call("torch._tensor._rebuild_from_type_v2", name("os.system"), VICTIM), "a call of torch._t"),
    "rebuild wrapper": (call("torch._utils._rebuild_wrapper_subclass", name("os.system")), "a call of torch._utils"),
    "tensor larger than its data": (tensor(storage(), size=(5,)), "a tensor that reaches beyond its data"),
    "stride beyond the data": (tensor(storage(), size=(2, 2), stride=(1 << 40, 1)), "reaches beyond its data"),
    "offset beyond the data": (tensor(storage(), offset=4, size=(1,)), "reaches beyond its data"),
    "offset of an empty tensor": (tensor(storage(), offset=1 << 62, size=(1, 1), stride=(0, 0)), "beyond its data"),
    "negative offset": (tensor(storage(), offset=-1, size=(1,)), "a tensor of an impossible shape"),
    "negative stride": (tensor(storage(), offset=3, size=(4,), stride=(-1,)), "a tensor of an impossible shape"),
    "shape and strides differ": (tensor(storage(), size=(1, 1)), "a tensor of an impossible shape"),
    "a shape of text": (
        call("torch._utils._rebuild_tensor_v2", storage(), integer(0), items(text("4")), integers(1)),
        "a tensor of an impossible shape",
    ),
    "data that is not a storage": (tensor(items(integer(1))), "a tuple in the place of a Storage"),
    "data of another size": (tensor(storage(number=5)), "data/0 has 16 bytes, not 5 numbers of 4"),
    "data outside of the archive": (tensor(storage(key="../../../etc/passwd")), "it lacks archive/data/../../../etc"),
    "data that is not there": (tensor(storage(key="1")), "it lacks archive/data/1"),
    "a storage of objects": (tensor(storage("ObjectStorage")), "numbers of the type torch.ObjectStorage"),
    "a storage's type that is no name": (
        items(text("storage"), text("FloatStorage"), text("0"), text("cpu"), integer(4)) + b"Q",
        "a str in the place of a Name",
    ),
    "a reference to a module": (items(text("module"), name("os.system"), VICTIM) + b"Q", "a reference to"),
    # Huge allocations, and whatever exhausts the machine.
    "huge tensor": (tensor(storage(), size=(1 << 50,)), "a tensor that reaches beyond its data"),
    "huge expanded tensor": (tensor(storage(), size=(1 << 40, 1 << 40), stride=(0, 0)), "reaches beyond its data"),
    "huge numbers": (tensor(storage(), size=(1 << 2000,) * 8, stride=(1 << 2000,) * 8), "reaches beyond its data"),
    "many dimensions": (tensor(storage(), size=(1,) * 100_000, stride=(1,) * 100_000), "reaches beyond its data"),
    "huge storage": (tensor(storage(number=1 << 50)), "data/0 has 16 bytes"),
    "huge bytearray": (call("builtins.bytearray", integer(1 << 50)), "a call of builtins.bytearray"),
    "huge text": (b"X\xff\xff\xff\xff", "a damaged pickle"),
    "huge memo": (b"Nr\xff\xff\xff\x7f0", "the instruction POP"),
    "huge frame": (b"\x95" + b"\xff" * 8, "the instruction FRAME"),
    "huge integer": (b"\x8b\xff\xff\xff\x7f", "a damaged pickle"),
    "a number that is a tuple of itself, doubled": (
        items(text("storage"), name("torch.FloatStorage"), text("0"), text("cpu"), DOUBLED) + b"Q",
        "a tuple in the place of a int",
    ),
    "a length that is such a tuple": (
        call("torch._utils._rebuild_tensor_v2", storage(), integer(0), items(DOUBLED), integers(1)),
        "a tensor of an impossible shape",
    ),
    "an offset that is such a tuple": (
        call("torch._utils._rebuild_tensor_v2", storage(), DOUBLED, integers(1), integers(1)),
        "a tensor of an impossible shape",
    ),
    "a key that is such a tuple": (b"}" + DOUBLED + b"Ns", "a tuple as a key"),
    "a member of a set that is such a tuple": (call("__builtin__.set", b"](" + DOUBLED + b"e"), "a tuple as a key"),
    "a function that is such a tuple": (DOUBLED + b")R", "a tuple in the place of a Name"),
    "a class that is such a tuple": (DOUBLED + b")\x81", "a tuple in the place of a Name"),
    "arguments that are such a tuple": (name("argparse.Namespace") + DOUBLED + b"\x81", "an object of argparse.Name"),
    "a state that is such a tuple": (name("argparse.Namespace") + b")\x81" + DOUBLED + b"b", "a tuple in the place of"),
    "a reference that is such a tuple": (DOUBLED + b"Q", "a reference to something that is not"),
    "an empty tensor of huge lengths": (
        tensor(storage(), size=(0, 1 << 62, 1 << 62), stride=(0, 0, 0)),
        "reaches beyond its data",
    ),
    "a huge stride of one": (tensor(storage(), size=(1,), stride=(1 << 2000,)), "reaches beyond its data"),
    "a long shape, many times": (
        b"(" + b"N" * 100_000 + b"tq\x00" + (call("torch._utils._rebuild_tensor_v2", storage(), b"K\0h\0h\0")) * 2,
        "reaches beyond its data",
    ),
    "a list made a set, many times": (
        b"](" + b"".join(map(number2, range(60_000))) + b"eq\x00" + name("__builtin__.set") + b"q\x01"
        + b"h\x01h\x00\x85R" * 120_000,
        None,
    ),
    "a state given, many times": (
        b"}(" + b"".join(number2(n) + b"N" for n in range(60_000)) + b"uq\x00"
        + name("argparse.Namespace") + b"q\x01" + b"h\x01)\x81h\x00b" * 110_000,
        None,
    ),
    "long arguments, many times": (
        b"(" + b"N" * 500_000 + b"tq\x00ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00R" * 100_000,
        "a damaged pickle (TypeError",
    ),
    "a class with a long name, many times": (
        name("torch.nn.modules." + "x" * 500_000) + b"q\x00" + b"h\x00)\x81" * 100_000,
        None,
    ),
    "tensors without end": (
        storage() + b"q\x00" + items(b"h\0", integer(0), integers(4), integers(1)) + b"q\x01"
        + name("torch._utils._rebuild_tensor_v2") + b"q\x02" + b"h\x02h\x01R" * 200_000,
        None,
    ),
    "lists without end": (b"]" * (LARGEST_PICKLE - 3), None),
    "dictionaries in one another": (b"}K\0" * 200_000 + b"N" + b"s" * 200_000, None),
    "lists in one another": (b"]" * 500_000 + b"a" * 499_999, None),
    "tuples in one another": (NESTED, None),
    "memory for a memo": (b"N" + b"r\xff\xff\xff\x0f", None),
    "nested key": (b"}" + NESTED + b"Ns", "a tuple as a key"),
    "nested member of a set": (call("__builtin__.set", b"](" + NESTED + b"e"), "a tuple as a key"),
    "dictionary of unhashable keys": (b"}]Ns", "a list as a key"),
    # Not a pickle.
    "nothing on the stack": (b"", "a damaged pickle"),
    "stack underflow": (b"R", "a damaged pickle"),
    "marks that are not there": (b"t", "a damaged pickle"),
    "memo that is not there": (b"h\x05", "a damaged pickle"),
    "append to a dictionary": (b"}Na", "a list"),
    "not UTF-8": (b"X\x02\x00\x00\x00\xff\xff", "a damaged pickle"),
    "a name with line ends and colours": (call("o\rs.\x1b[31msystem", VICTIM), "a call of o?s.?[31msystem"),
    "a long name": (call("os." + "x" * 1_000_000, VICTIM), "a call of os.xxxx"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_run_nothing(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    instructions, expected = HOSTILE[case]
    pickled = b"\x80\x02" + instructions + b"."
    path = write_archive(tmp_path / "x.pt", pickled, {"data/0": bytes(16)})
    if expected is None:
        assert answer(read_checkpoint, path).isidentifier(), "not read"
    else:
        assert any(part in complaint(path) for part in expected.split("|"))
    assert os.listdir(tmp_path) == ["x.pt"]  # noqa: PTH208 - names alone


def test_the_hostile_pickles_are_hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own unpickler would do what the first of them say."""
    monkeypatch.chdir(tmp_path)
    for case in ("os.system", "builtins.eval", "stack_global", "inst"):
        pickled = b"\x80\x02" + HOSTILE[case][0] + b"."
        pickletools.dis(pickled, io.StringIO())
        pickle.loads(pickled)
        assert (tmp_path / "victim").exists(), case
        (tmp_path / "victim").unlink()


def test_pickle_without_an_end(tmp_path: Path) -> None:
    assert "a damaged pickle" in complaint(write_archive(tmp_path / "x", b"\x80\x02N"))


def test_other_formats_are_refused(tmp_path: Path) -> None:
    state = {"x": torch.zeros(3)}
    torch.save(state, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    assert "not in the zip format of torch.save" in complaint(tmp_path / "legacy")
    (tmp_path / "text").write_bytes(b"<html>not found</html>")
    (tmp_path / "empty").touch()
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a/file", "content")
    for file in ("text", "empty", "zip"):
        assert "not in the zip format of torch.save" in complaint(tmp_path / file)


def test_bombs_and_cut_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = write_archive(tmp_path / "bomb", bytes(1 << 24), compression=zipfile.ZIP_DEFLATED)
    assert "is compressed, encrypted or cut" in complaint(bomb)
    torch.save({"x": torch.zeros(1000)}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-100])
    assert "not in the zip format of torch.save" in complaint(tmp_path / "cut")
    (tmp_path / "gap").write_bytes(whole[:500] + whole[2500:])
    complaint(tmp_path / "gap")
    big = write_archive(tmp_path / "big", b"\x80\x02N.", {"byteorder": b"big"})
    assert "not little-endian" in complaint(big)
    monkeypatch.setattr(restricted_pickle, "LARGEST_PICKLE", 3)
    assert "data.pkl has 4 bytes, more than any model's" in complaint(write_archive(tmp_path / "large", b"\x80\x02N."))


def test_damage_anywhere_ends_in_one_line(tmp_path: Path) -> None:
    """Every byte of a small file changed in turn: it is read, or refused in one line."""
    torch.save({"x": torch.zeros(2), "y": [argparse.Namespace(a=1), {2}]}, tmp_path / "x")
    whole = (tmp_path / "x").read_bytes()
    refused = 0
    for position in range(0, len(whole), 3):
        (tmp_path / "y").write_bytes(whole[:position] + bytes([whole[position] ^ 0x41]) + whole[position + 1 :])
        try:
            read_checkpoint(tmp_path / "y")
        except InputError as error:
            refused += 1
            assert str(error).isprintable()
    assert refused > 50


# The cases that were found, and everything that reads a checkpoint.

CHECKPOINTS = REPOSITORY / "tests" / "data" / "checkpoints"
SHAPE = DnabertSShape(128, 2, 24, 2, 96, 1e-12)


def read_dnabert_s(path: Path) -> object:
    config = path.with_suffix(".json")
    config.write_text(json.dumps(asdict(SHAPE)))
    return dnabert_s_tensors(path, config, SHAPE)


READERS = {
    "esm2": lambda path: esm2_tensors(path, Esm2Shape(2, 32, 4)),
    "dnabert_s": read_dnabert_s,
    "classifier": lambda path: classifier_tensors(path, 4),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", sorted(path.name for path in CHECKPOINTS.iterdir()))
def test_hostile_checkpoints_end_in_one_line(case: str, reader: str, tmp_path: Path) -> None:
    path = tmp_path / case
    path.write_bytes((CHECKPOINTS / case).read_bytes())
    said = answer(READERS[reader], path)
    assert said.startswith(f"{path}: ") and "; give the published file" in said
    assert said.isprintable() and len(said) < len(str(path)) + 500


# The archive.


def zip_of(path: Path, entries: list[tuple[str, bytes]]) -> bytes:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name_, content in entries:
            archive.writestr(name_, content)
    return path.read_bytes()


EMPTY = b"\x80\x02}."
END = struct.Struct("<4s4H2LH")  # the end of a zip's table of contents: ..., entries, bytes, where it begins, comment


def with_end(whole: bytes, **changes: int) -> bytes:
    signature, disk, first, here, entries, length, offset, comment = END.unpack(whole[-END.size :])
    found = {"entries": entries, "length": length, "offset": offset, "comment": comment} | changes
    return whole[: -END.size] + END.pack(signature, disk, first, here, *found.values())


def with_zip64(whole: bytes, length: int, offset: int) -> bytes:
    """A ZIP64 record that says of the table of contents what it likes."""
    body, at = whole[: -END.size], len(whole) - END.size
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, length, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    return body + record + locator + whole[-END.size :]


ARCHIVES = {
    "one entry": (lambda path: zip_of(path, [("a/data.pkl", EMPTY)]), "dict"),
    "many entries": (
        lambda path: zip_of(path, [("a/data.pkl", EMPTY), *((f"a/{n}", b"") for n in range(30_000))]),
        "the zip's table of contents has more than 1048576 bytes",
    ),
    "two entries of one name": (
        lambda path: zip_of(path, [("a/data.pkl", EMPTY), ("a/data.pkl", EMPTY)]),
        "the zip has several entries of one name",
    ),
    "two pickles": (
        lambda path: zip_of(path, [("a/data.pkl", EMPTY), ("b/data.pkl", EMPTY)]),
        "no data.pkl, or several",
    ),
    "a name with escapes": (
        lambda path: zip_of(path, [("\x1b[31m\n/data.pkl", tensor(storage()) + b".")]),
        "it lacks ?[31m?/data/0",
    ),
    "encrypted": (
        lambda path: zip_of(path, [("a/data.pkl", EMPTY)]).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
        "is compressed, encrypted or cut",
    ),
    "a table of contents of 4 GB": (
        lambda path: with_end(zip_of(path, [("a/data.pkl", EMPTY)]), length=(1 << 32) - 2),
        "not in the zip format of torch.save",
    ),
    "a table of contents elsewhere": (
        lambda path: with_end(zip_of(path, [("a/data.pkl", EMPTY)]), offset=(1 << 32) - 2),
        "not in the zip format of torch.save|is cut",
    ),
    "a comment that is not there": (
        lambda path: with_end(zip_of(path, [("a/data.pkl", EMPTY)]), comment=9),
        "dict",
    ),
    "ZIP64, beyond all numbers": (
        lambda path: with_zip64(zip_of(path, [("a/data.pkl", EMPTY)]), (1 << 64) - 1, (1 << 64) - 1),
        "not in the zip format of torch.save",
    ),
    "ZIP64, far behind the end": (
        lambda path: with_zip64(zip_of(path, [("a/data.pkl", EMPTY)]), 1 << 40, 1 << 62),
        "not in the zip format of torch.save",
    ),
    "ZIP64, nothing": (
        lambda path: with_zip64(zip_of(path, [("a/data.pkl", EMPTY)]), 0, 0),
        "not in the zip format of torch.save",
    ),
    "entries in one another": (
        lambda path: zip_of(path, [("a/data.pkl", EMPTY), ("a/x", zip_of(path.with_name("y"), [("a/b", EMPTY)]))]),
        "dict",
    ),
    "a table of contents alone": (
        lambda path: with_end(b"PK\5\6" + bytes(18), entries=65_535, length=0),
        "no data.pkl, or several",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_hostile_archives_end_in_one_line(case: str, tmp_path: Path) -> None:
    make, expected = ARCHIVES[case]
    (tmp_path / "x").write_bytes(make(tmp_path / "x"))
    said = answer(read_checkpoint, tmp_path / "x") if expected == "dict" else complaint(tmp_path / "x")
    assert any(part in said for part in expected.split("|")), said
