"""Files of torch.save, read as plain data: tensors, containers, scalars, and nothing else.

A pickle is a program that may import and call whatever it names. Here the few instructions that torch.save writes for
weights are carried out on a stack of plain values (pickletools takes them apart), and no name is ever looked up: the
functions that a file may ask for are those of BUILDERS, and an object of one of a few classes becomes a `Record` of its
state. Tensors are views of the file, mapped into memory, and lie within it.

Time and memory are bounded by the lengths of the pickle and of the zip's table of contents: no instruction does more
than was written down for it, none copies what another has made, nothing nested is hashed, compared or formatted.

Why not `pickle.Unpickler` with `find_class` and `persistent_load` overridden: these decide what a name stands for, not
what is done with it. Nine bytes (LONG_BINPUT with a large number) make it clear 4 GB for its memo; a deeply nested key
of a dictionary, which it hashes, overflows the machine's stack and kills the process; BUILD sets attributes, also of
tensors and of the classes and functions that `find_class` gave; REDUCE copies a list as often as a file asks for it. So
the same instructions would be left out and the same ones written anew, as methods of the standard library's private
Python unpickler; and that is a quarter of this module, whose larger part is about tensors and the zip.
"""

import io
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
from virnucflow.files.foreign import shown

LARGEST_PICKLE = 1 << 20  # bytes; that of a checkpoint with 3 billion parameters has a tenth
LARGEST_DIRECTORY = 1 << 20  # bytes of the zip's table of contents; that of such a checkpoint has a twentieth
MOST_DIMENSIONS = 8
MOST_NUMBERS = 1 << 40  # of a tensor
LONGEST_COMPLAINT = 200
BEYOND = "a tensor that reaches beyond its data"
LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip archive's entry: signature, length of the name, length of the extra
ENCRYPTED = 1  # of an entry's flags

DTYPES = {
    "torch.HalfStorage": torch.float16,
    "torch.FloatStorage": torch.float32,
    "torch.LongStorage": torch.int64,
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
RECORDS = ("argparse.Namespace", "__main__.MLPClassifier")
RECORD_MODULES = "torch.nn.modules."


class Refused(Exception):
    """What a file holds that this reader does not build."""


class Name(str):
    """What a pickle calls by name, as `module.name`: never imported."""

    __slots__ = ()


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
        with _Bounded(io.FileIO(path)) as file:
            # A private mapping: nothing writes to it, but PyTorch asks for memory that it could write to.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            entries = _table_of_contents(file)
            root = _root(entries)
            byteorder = f"{root}/byteorder"
            if byteorder in entries and bytes(_entry(entries, byteorder, mapped)[:7]) != b"little":
                raise Refused("its numbers are not little-endian")
            pickled = _entry(entries, f"{root}/data.pkl", mapped)
            if len(pickled) > LARGEST_PICKLE:
                raise Refused(f"data.pkl has {len(pickled)} bytes, more than any model's")
            return unpickle(
                bytes(pickled), partial(_storage, lambda key: _entry(entries, f"{root}/data/{key}", mapped))
            )
    except ValueError as error:  # of mmap
        problem = f"not in the zip format of torch.save ({error})"
    except Refused as error:
        problem = str(error)
    raise InputError(f"{path}: {shown(problem, LONGEST_COMPLAINT)}; give the published file, unchanged")


def unpickle(pickled: bytes, storage: Callable[[Any], Storage]) -> Any:  # noqa: ANN401
    """Carry out a pickle; `storage` gives what its persistent ids stand for. Raises Refused."""
    try:
        return _carry_out(pickled, storage)
    except Refused:
        raise
    except (ValueError, IndexError, KeyError, TypeError) as error:  # a stack or a memo that is not so
        raise Refused(f"a damaged pickle ({type(error).__name__}: {shown(error.args[0])})") from None


def _carry_out(pickled: bytes, storage: Callable[[Any], Storage]) -> Any:  # noqa: ANN401
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any  # of the type that its instruction has

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
                stack.append(Name(argument.replace(" ", ".", 1)))
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
    """A key of a dictionary. Anything nested could exhaust the machine's stack when hashed."""
    if type(value) not in (str, int):
        raise Refused(f"a damaged pickle (a {type(value).__name__} as a key)")
    return value


def _record(name: Any, arguments: Any) -> Record:  # noqa: ANN401
    known = _of_type(name, Name).startswith(RECORD_MODULES) or name in RECORDS
    if not known or _of_type(arguments, tuple):
        raise Refused(f"an object of {shown(name)}, which no model needs")
    return Record(name)


def _build(value: Any, state: Any) -> None:  # noqa: ANN401
    """Give a record its state. A dictionary's own attributes, like the versions in a state_dict, are left out."""
    if type(value) is not dict:
        _of_type(value, Record).state = _of_type(state, dict)


def _reduce(function: Any, arguments: Any) -> Any:  # noqa: ANN401
    build = BUILDERS.get(_of_type(function, Name))
    if build is None:
        raise Refused(f"a call of {shown(function)}, which no model needs: it was not made")
    return build(*_of_type(arguments, tuple))


def _rebuild_tensor(
    storage: Any,  # noqa: ANN401
    offset: Any,  # noqa: ANN401
    size: Any,  # noqa: ANN401
    stride: Any,  # noqa: ANN401
    requires_grad: Any = False,  # noqa: ANN401
    hooks: Any = None,  # noqa: ANN401
    metadata: Any = None,  # noqa: ANN401
) -> torch.Tensor:
    """A view of the storage. What is only for training, the last three, is left out."""
    elements = _of_type(storage, Storage).elements
    dimensions = len(_of_type(size, tuple))
    if max(dimensions, len(_of_type(stride, tuple))) > MOST_DIMENSIONS:
        raise Refused(BEYOND)
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or number < 0 for number in numbers) or dimensions != len(stride):
        raise Refused("a tensor of an impossible shape")
    number = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride)) if number else 0
    # PyTorch multiplies the lengths of an empty tensor too, and takes no larger number.
    largest = max(*numbers, math.prod(length or 1 for length in size))
    if number > len(elements) or last >= max(len(elements), 1) or largest > MOST_NUMBERS:
        raise Refused(BEYOND)
    return elements.as_strided(size, stride, offset) if number else elements.new_empty(size)


def _rebuild_parameter(tensor: Any, requires_grad: Any = False, hooks: Any = None) -> torch.Tensor:  # noqa: ANN401
    return _of_type(tensor, torch.Tensor)


def _ordered_dict() -> dict[str | int, Any]:
    return {}


def _set(members: Any) -> set[str | int]:  # noqa: ANN401
    """The list is used up, so that a file cannot have it copied again and again."""
    keys = set(map(_key, _of_type(members, list)))
    members.clear()
    return keys


# What torch.save writes for tensors, parameters, dictionaries in order and sets, by protocol 2's names.
BUILDERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "collections.OrderedDict": _ordered_dict,
    "__builtin__.set": _set,
}


class _Bounded(io.BufferedReader):
    """A file of which zipfile, which reads a table of contents at once, reads no more than a model's can have."""

    def read(self, size: int | None = -1) -> bytes:
        """Raises Refused when more than a model's table of contents is asked for and there."""
        most = LARGEST_DIRECTORY + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        if len(content) == most:
            raise Refused(f"the zip's table of contents has more than {LARGEST_DIRECTORY} bytes, more than any model's")
        return content


def _table_of_contents(file: _Bounded) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            number = len(archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, OSError) as error:
        raise Refused(f"not in the zip format of torch.save ({error})") from None
    if len(entries) < number:
        raise Refused("the zip has several entries of one name")
    return entries


def _root(entries: dict[str, zipfile.ZipInfo]) -> str:
    """The folder in the archive that holds everything."""
    roots = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise Refused("not in the zip format of torch.save (no data.pkl, or several)")
    return roots[0]


def _entry(entries: dict[str, zipfile.ZipInfo], name: str, mapped: mmap.mmap) -> memoryview:
    """The bytes of an entry, where they lie in the mapped file: torch.save compresses nothing."""
    if name not in entries:
        raise Refused(f"it lacks {name}")
    entry = entries[name]
    header = mapped[entry.header_offset : entry.header_offset + LOCAL_HEADER.size]
    if entry.header_offset < 0 or len(header) < LOCAL_HEADER.size:
        raise Refused(f"{name} is cut")
    signature, name_length, extra_length = LOCAL_HEADER.unpack(header)
    start = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length
    plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & ENCRYPTED and signature == b"PK\3\4"
    if not plain or start + entry.file_size > len(mapped):
        raise Refused(f"{name} is compressed, encrypted or cut")
    return memoryview(mapped)[start : start + entry.file_size]


def _storage(entry: Callable[[str], memoryview], pid: Any) -> Storage:  # noqa: ANN401
    """What a persistent id stands for: ('storage', type, key, device, number of elements)."""
    if type(pid) is not tuple or len(pid) != 5 or type(pid[0]) is not str or pid[0] != "storage":
        raise Refused("a reference to something that is not a tensor's data")
    _, kind, key, _, number = pid
    if _of_type(kind, Name) not in DTYPES:
        raise Refused(f"numbers of the type {shown(kind)}; a model has {', '.join(DTYPES)}")
    dtype, content = DTYPES[kind], entry(_of_type(key, str))
    if _of_type(number, int) * dtype.itemsize != len(content):
        raise Refused(f"data/{shown(key)} has {len(content)} bytes, not {shown(number)} numbers of {dtype.itemsize}")
    return Storage(torch.frombuffer(content, dtype=dtype) if number else torch.empty(0, dtype=dtype))
