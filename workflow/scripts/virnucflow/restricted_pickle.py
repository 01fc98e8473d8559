"""Files of torch.save, read as plain data: tensors, containers, scalars, and nothing else.

A pickle is a program that may import and call whatever it names. Here the few instructions that torch.save writes for
weights are carried out on a stack of plain values (pickletools takes them apart), and no name is ever looked up: the
functions that a file may ask for are those of BUILDERS, and an object of one of a few classes becomes a `Record` of its
state. Tensors are views of the file, mapped into memory, and lie within it.
"""

import math
import mmap
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from virnucflow.cli import InputError

LARGEST_PICKLE = 16 << 20  # bytes; that of a checkpoint with 3 billion parameters has a hundredth
MOST_DIMENSIONS = 8
LONGEST_COMPLAINT = 200
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip archive's entry: signature, length of the name, length of the extra

DTYPES = {"HalfStorage": torch.float16, "FloatStorage": torch.float32, "LongStorage": torch.int64}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
RECORDS = ("argparse.Namespace", "__main__.MLPClassifier")
RECORD_MODULES = "torch.nn.modules."


class Refused(Exception):
    """What a file holds that this reader does not build."""


class Name(NamedTuple):
    """What a pickle calls by name: never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Storage(NamedTuple):
    """The elements that tensors are views of."""

    elements: torch.Tensor


@dataclass
class Record:
    """An object's state under the name of its class."""

    name: str
    state: dict[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The content of a file of torch.save, in the zip format that it writes since PyTorch 1.6.

    Raises InputError for a file in another format, and for one with anything else in it than plain data.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            # A private mapping: nothing writes to it, but PyTorch asks for memory that it could write to.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            root = _root(archive)
            byteorder = f"{root}/byteorder"
            if byteorder in archive.namelist() and bytes(_entry(archive, byteorder, mapped)) != b"little":
                raise Refused("its numbers are not little-endian")
            pickled = bytes(_entry(archive, f"{root}/data.pkl", mapped, LARGEST_PICKLE))
            return unpickle(pickled, partial(_storage, lambda key: _entry(archive, f"{root}/data/{key}", mapped)))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        problem = f"not in the zip format of torch.save ({error})"
    except Refused as error:
        problem = str(error)
    # A file may name anything, at any length.
    problem = "".join(letter if letter.isprintable() else "?" for letter in problem[:LONGEST_COMPLAINT])
    raise InputError(f"{path}: {problem}; give the published file, unchanged")


def unpickle(pickled: bytes, storage: Callable[[Any], Storage]) -> Any:  # noqa: ANN401
    """Carry out a pickle; `storage` gives what its persistent ids stand for. Raises Refused."""
    try:
        return _carry_out(pickled, storage)
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:  # a stack or a memo that is not so
        raise Refused(f"a damaged pickle ({type(error).__name__}: {error})") from None


def _carry_out(pickled: bytes, storage: Callable[[Any], Storage]) -> Any:  # noqa: ANN401
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop(start: int) -> list[Any]:
        """The items from `start` on, counted from the end if negative, off the stack."""
        items = stack[start:]
        if len(items) < -start:
            raise IndexError("stack underflow")
        del stack[start:]
        return items

    for opcode, argument, _ in pickletools.genops(pickled):
        match opcode.name:
            case "PROTO":
                pass
            case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                stack.append(argument)
            case name if name in CONSTANTS:
                stack.append(CONSTANTS[name])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "GLOBAL":
                stack.append(Name(*argument.split(" ", 1)))
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(pop(marks.pop())))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(-int(opcode.name[-1]))))
            case "APPEND" | "APPENDS":
                items = pop(-1 if opcode.name == "APPEND" else marks.pop())
                _of_type(stack[-1], list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = pop(-2 if opcode.name == "SETITEM" else marks.pop())
                _of_type(stack[-1], dict).update(zip(map(_key, items[::2]), items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BINPERSID":
                stack.append(storage(stack.pop()))
            case "REDUCE":
                function, arguments = pop(-2)
                stack.append(_reduce(function, arguments))
            case "NEWOBJ":
                record, arguments = pop(-2)
                stack.append(_record(record, arguments))
            case "BUILD":
                (state,) = pop(-1)
                _build(stack[-1], state)
            case "STOP":
                return stack.pop()
            case other:
                raise Refused(f"a pickle with the instruction {other}, which torch.save does not write")
    raise Refused("a damaged pickle (it has no end)")


def _of_type(value: Any, kind: type) -> Any:  # noqa: ANN401
    if type(value) is not kind:
        raise Refused(f"a damaged pickle (a {type(value).__name__} in the place of a {kind.__name__})")
    return value


def _key(value: Any) -> str | int:  # noqa: ANN401
    """A key of a dictionary or a member of a set. Anything nested could exhaust the machine's stack when hashed."""
    if type(value) not in (str, int):
        raise Refused(f"a damaged pickle (a {type(value).__name__} as a key)")
    return value


def _record(name: Any, arguments: Any) -> Record:  # noqa: ANN401
    if not (str(_of_type(name, Name)) in RECORDS or name.module.startswith(RECORD_MODULES)) or arguments != ():
        raise Refused(f"an object of {name}, which no model needs")
    return Record(str(name))


def _build(value: Any, state: Any) -> None:  # noqa: ANN401
    """Give a record its state. A dictionary's own attributes, like the versions in a state_dict, are left out."""
    if type(value) is not dict:
        _of_type(value, Record).state.update(_of_type(state, dict))


def _reduce(function: Any, arguments: Any) -> Any:  # noqa: ANN401
    build = BUILDERS.get(str(_of_type(function, Name)))
    if build is None:
        raise Refused(f"a call of {function}, which no model needs: it was not made")
    return build(*_of_type(arguments, tuple))


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> torch.Tensor:  # noqa: ANN401
    elements = _of_type(storage, Storage).elements
    numbers = (offset, *_of_type(size, tuple), *_of_type(stride, tuple))
    if any(type(number) is not int or number < 0 for number in numbers) or len(size) != len(stride):
        raise Refused("a tensor of an impossible shape")
    number = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride)) if number else 0
    if len(size) > MOST_DIMENSIONS or number > len(elements) or last >= max(len(elements), 1):
        raise Refused("a tensor that reaches beyond its data")
    return elements.as_strided(size, stride, offset) if number else elements.new_empty(size)


def _rebuild_parameter(tensor: Any, *_: Any) -> torch.Tensor:  # noqa: ANN401
    return _of_type(tensor, torch.Tensor)


def _ordered_dict() -> dict[str | int, Any]:
    return {}


def _set(members: Any = ()) -> set[str | int]:  # noqa: ANN401
    return set(map(_key, members))


# What torch.save writes for tensors, parameters, dictionaries in order and sets, by protocol 2's names.
BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "collections.OrderedDict": _ordered_dict,
    "__builtin__.set": _set,
}


def _root(archive: zipfile.ZipFile) -> str:
    """The folder in the archive that holds everything."""
    roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Refused("not in the zip format of torch.save (no data.pkl, or several)")
    return roots[0]


def _entry(archive: zipfile.ZipFile, name: str, mapped: mmap.mmap, most: int | None = None) -> memoryview:
    """The bytes of an entry, where they lie in the mapped file: torch.save compresses nothing."""
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise Refused(f"it lacks {name}") from None
    header = mapped[entry.header_offset : entry.header_offset + LOCAL_HEADER.size]
    if len(header) < LOCAL_HEADER.size:
        raise Refused(f"{name} is cut")
    signature, name_length, extra_length = LOCAL_HEADER.unpack(header)
    start = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if entry.compress_type != zipfile.ZIP_STORED or signature != b"PK\3\4" or start + entry.file_size > len(mapped):
        raise Refused(f"{name} is compressed, encrypted or cut")
    if most is not None and entry.file_size > most:
        raise Refused(f"{name} has {entry.file_size} bytes, more than any model's")
    return memoryview(mapped)[start : start + entry.file_size]


def _storage(entry: Callable[[str], memoryview], pid: Any) -> Storage:  # noqa: ANN401
    """What a persistent id stands for: ('storage', type, key, device, number of elements)."""
    if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage":
        raise Refused("a reference to something that is not a tensor's data")
    _, kind, key, _, number = pid
    if _of_type(kind, Name).module != "torch" or kind.name not in DTYPES:
        raise Refused(f"numbers of the type {kind}; a model has {', '.join(DTYPES)}")
    dtype, content = DTYPES[kind.name], entry(_of_type(key, str))
    if type(number) is not int or number * dtype.itemsize != len(content):
        raise Refused(f"data/{key} has {len(content)} bytes, not {number} numbers of {dtype.itemsize}")
    return Storage(torch.frombuffer(content, dtype=dtype) if number else torch.empty(0, dtype=dtype))
