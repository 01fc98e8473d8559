"""Any file in a checkpoint's place ends, in a process with little time and memory, in an answer or in one line."""

import argparse
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from helpers import REPOSITORY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limits import limited
from published import DNABERT_S_SHAPE, ESM2_SHAPE, FEATURES, RECIPE, Published

from virnucflow.cli import InputError
from virnucflow.published import convert as readers

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))  # of each test
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
CASES = sorted((REPOSITORY / "tests" / "data" / "checkpoints").iterdir())


class Folder:
    """The published files, small, and a place for one that is not so."""

    def __init__(self, folder: Path) -> None:
        self.files = Published(folder)
        self.config = self.files.path(RECIPE.dnabert_s_config)
        run = RECIPE.v1.runs[0]
        names = [RECIPE.esm2_weights, RECIPE.dnabert_s_weights, RECIPE.classifier, run.embeddings]
        self.whole = [self.files.path(name).read_bytes() for name in names] + [case.read_bytes() for case in CASES]
        self.path = folder / "x.pt"

    def ends(self, content: bytes) -> None:
        """Whatever reads a checkpoint takes this content or refuses it in one line."""
        self.path.write_bytes(content)
        limited(self.read_all)

    def read_all(self) -> str:
        reads: list[Callable[[], object]] = [
            lambda: readers.esm2_tensors(self.path, ESM2_SHAPE),
            lambda: readers.dnabert_s_tensors(self.path, self.config, DNABERT_S_SHAPE),
            lambda: readers.classifier_tensors(self.path, FEATURES),
            lambda: readers._embeddings(self.path, FEATURES),
        ]
        for read in reads:
            try:
                read()
            except InputError as error:
                said = str(error)
                assert said.startswith(f"{self.path}: ") and said.isprintable() and len(said) < 3000, said
        return ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    torch.set_num_threads(1)  # threads do not survive a fork
    return Folder(tmp_path_factory.mktemp("published"))


# Bytes changed.

NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1]
PIECES = st.one_of(
    st.binary(max_size=8),
    st.builds(struct.pack, st.just("<Q"), st.sampled_from(NUMBERS)),
    st.builds(lambda number: struct.pack("<Q", number)[:4], st.sampled_from(NUMBERS)),
    st.sampled_from([b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"os\nsystem\n"]),
)
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.sampled_from(["over", "into", "out", "again"]), PIECES), min_size=1
)


def change(content: bytes, changes: list) -> bytes:
    for where, at_the_end, how, piece in changes:
        # The zip's table of contents is at the end, the pickle at the beginning; between them are tensors.
        span = min(len(content), 2000)
        at = len(content) - span + int(where * span) if at_the_end else int(where * span)
        if how == "over":
            content = content[:at] + piece + content[at + len(piece) :]
        elif how == "into":
            content = content[:at] + piece + content[at:]
        elif how == "out":
            content = content[:at] + content[at + len(piece) :]
        else:
            content = content[:at] + content[at : at + 30 * len(piece)] * 2 + content[at:]
    return content


@fuzz
@given(data=st.data())
def test_changed_bytes(folder: Folder, data: st.DataObject) -> None:
    folder.ends(change(data.draw(st.sampled_from(folder.whole)), data.draw(CHANGES)))


# Instructions.


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    encoded = pickle.encode_long(value)
    return b"\x8a" + bytes([len(encoded)]) + encoded


NAMES = [
    "torch._utils\n_rebuild_tensor_v2", "torch._utils\n_rebuild_parameter", "collections\nOrderedDict",
    "__builtin__\nset", "argparse\nNamespace", "__main__\nMLPClassifier", "torch.nn.modules.linear\nLinear",
    "torch\nFloatStorage", "torch\nLongStorage", "os\nsystem",
]  # fmt: skip
STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\4tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\0K\4\x85K\1\x85\x89}tR"
KEYS = ["cfg", "model", "ids", "data", "_modules", "_parameters", "_buffers", "bn1", "eps", "hidden_layer", "bias", "x"]
INSTRUCTIONS = st.one_of(
    st.sampled_from([bytes([code]) for code in b"(.012NSVIFLJMKUTBCXcoiRb}]){laesudtQPqrhjgpG"]),
    st.integers(0x80, 0x97).map(lambda code: bytes([code])),
    st.sampled_from([b"N", b"}", b"]", b")", b"(", b"t", b"s", b"u", b"a", b"e", b"R", b"b", b"\x81", b"Q"]),
    st.sampled_from([b"\x85", b"\x86", b"\x87", b"q\0", b"q\1", b"h\0", b"h\1", b"h\0h\0\x86q\0", b"h\0h\0"]),
    st.sampled_from([STORAGE, TENSOR]),
    st.sampled_from(NAMES).map(lambda name: f"c{name}\n".encode()),
    st.sampled_from(KEYS).map(text),
    st.sampled_from([*NUMBERS, -1, 1 << 2000]).map(integer),
    st.floats().map(lambda number: b"G" + struct.pack(">d", number)),
    st.binary(max_size=5),
)  # fmt: skip
PROGRAMS = st.lists(st.tuples(INSTRUCTIONS, st.sampled_from([1, 1, 1, 1, 2, 60, 5000])), max_size=60)


@fuzz
@given(program=PROGRAMS)
def test_instructions(folder: Folder, program: list) -> None:
    folder.ends(archive(b"".join(piece * times for piece, times in program)))


def archive(instructions: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        pickled = b"\x80\x02" + instructions + b"."
        for name, entry in {"data.pkl": pickled, "byteorder": b"little", "data/0": bytes(16)}.items():
            file.writestr(f"a/{name}", entry)
    return content.getvalue()


# Instructions that leave one value, whatever it is; memo 0 is a tuple of itself twice, 60 times over.

DOUBLED = b")q\0" + b"h\0h\0\x86q\0" * 60
ATOMS = st.one_of(
    st.sampled_from([b"N", b"\x88", b")", b"h\0", b"K\0", b"K\4", STORAGE, TENSOR, *map(text, KEYS)]),
    st.sampled_from([*NUMBERS, -1, 1 << 2000]).map(integer),
    st.sampled_from(NAMES).map(lambda name: f"c{name}\n".encode()),
)


def of(before: bytes, after: bytes, *parts: st.SearchStrategy) -> st.SearchStrategy:
    return st.tuples(*parts).map(lambda found: before + b"".join(found) + after)


def composites(inner: st.SearchStrategy) -> st.SearchStrategy:
    many = st.lists(inner, max_size=5).map(b"".join)
    pairs = st.lists(st.tuples(st.one_of(st.sampled_from(KEYS).map(text), inner), inner).map(b"".join), max_size=4)
    name = st.sampled_from(NAMES).map(lambda name: f"c{name}\n".encode())
    return st.one_of(
        of(b"(", b"t", many),
        of(b"](", b"e", many),
        of(b"}(", b"u", pairs.map(b"".join)),
        of(b"", b"tR", name.map(lambda name: name + b"("), many),
        of(b"", b"b", name.map(lambda name: name + b")\x81}("), pairs.map(lambda found: b"".join(found) + b"u")),
        of(b"(" + text("storage"), text("cpu") + b"K\4tQ", inner, inner),
        of(b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE, b"tR", inner, inner, inner),
        of(b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\0(", b"K\1\x85tR", many.map(lambda m: m + b"t")),
    )


@fuzz
@given(value=st.recursive(ATOMS, composites, max_leaves=30))
def test_programs(folder: Folder, value: bytes) -> None:
    folder.ends(archive(DOUBLED + value))


# Other values than a model has, where it has some.

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(KEYS),
    st.builds(torch.zeros, st.lists(st.integers(0, 3), max_size=3)),
    st.sampled_from([torch.zeros(24), torch.full((2,), torch.nan), torch.zeros(2, dtype=torch.int64)]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.integers()), inner, max_size=3),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(OrderedDict),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(lambda state: argparse.Namespace(**state)),
    ),
    max_leaves=6,
)


def places(content: object) -> list[tuple[object, object]]:
    """All tables in an object, each with one of its keys."""
    table = content if isinstance(content, dict | list) else getattr(content, "__dict__", {})
    keys = range(len(table)) if isinstance(table, list) else table
    found = [(table, key) for key in keys]
    inner = [table[key] for key in keys if not isinstance(table[key], torch.Tensor)]
    return found + [place for value in inner for place in places(value)]


@fuzz
@given(data=st.data())
def test_other_values(folder: Folder, data: st.DataObject) -> None:
    sys.modules["__main__"].MLPClassifier = type(folder.files.classifier)
    try:
        content = torch.load(io.BytesIO(data.draw(st.sampled_from(folder.whole[:4]))), weights_only=False)
        table, key = data.draw(st.sampled_from(places(content)))
        if data.draw(st.booleans()):
            table[key] = data.draw(VALUES)
        elif isinstance(table, list):
            table.append(data.draw(VALUES))
        else:
            table[data.draw(st.one_of(st.sampled_from(KEYS), st.integers()))] = data.draw(VALUES)
        saved = io.BytesIO()
        torch.save(content, saved)
    finally:
        del sys.modules["__main__"].MLPClassifier
    folder.ends(saved.getvalue())


# The settings beside a checkpoint.

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.sampled_from([*asdict(DNABERT_S_SHAPE), "x"]), inner)),
)


@fuzz
@given(content=st.one_of(st.binary(), JSON.map(lambda value: json.dumps(value).encode())))
def test_settings(folder: Folder, content: bytes) -> None:
    config = folder.path.with_suffix(".json")
    config.write_bytes(content)

    def read() -> str:
        try:
            readers.dnabert_s_tensors(folder.files.path(RECIPE.dnabert_s_weights), config, DNABERT_S_SHAPE)
        except InputError as error:
            said = str(error)
            assert said.startswith(f"{config}: ") and said.isprintable() and len(said) < 3000, said
        return ""

    limited(read)
