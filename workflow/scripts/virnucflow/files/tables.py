"""The tables that programs hand to one another: columns, types, and how they are read and written.

A parquet file holds digests of its columns and of its provenance, which every reader checks: no row of a damaged file
is taken for what was computed. They are of names, types and values, however these are laid out in the file.
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from virnucflow.cli import InputError, reading
from virnucflow.files.digests import Hasher, digest_bytes, digest_json
from virnucflow.files.json_files import parse_json
from virnucflow.files.kinds import LONGEST, WHOLE

# What a frame, a chunk or a sequence can be, in the order of the classifier's two outputs.
LABELS = ("others", "virus")
VIRUS = LABELS.index("virus")

# Tab-separated text without quoting: no name holds a tab or a line end.
TSV = {"delimiter": "\t", "lineterminator": "\n", "quoting": csv.QUOTE_NONE, "quotechar": None}

# One row per input record, in input order. `uracils` are letters U or u; `digest` is of the name and letters as given.
SEQUENCES = pa.schema(
    [
        ("sequence_id", pa.string()),
        ("length", pa.int64()),
        ("chunks", pa.int32()),
        ("uracils", pa.int64()),
        ("digest", pa.string()),
        ("mate", pa.int8()),  # 1 or 2 for a read of a pair, else 0
    ]
)

IDENTITY = [
    ("name", pa.string()),
    ("sequence_id", pa.string()),
    ("chunk", pa.int32()),
    ("frame", pa.string()),
    ("kind", pa.string()),
]
FRAMES = pa.schema([*IDENTITY, ("nucleotide", pa.string()), ("protein", pa.string()), ("residues", pa.int32())])
# Those of a frame's columns that are not its letters, which are nearly all of a table's bytes.
FRAMES_WITHOUT_LETTERS = pa.schema([*IDENTITY, FRAMES.field("residues")])
SCORES = pa.schema(
    [
        *IDENTITY,
        ("residues", pa.int32()),
        ("score_others", pa.float32()),
        ("score_virus", pa.float32()),
        ("prediction", pa.string()),
    ]
)

# One row per sampled frame: its stratum, and how many frames of the run it stands for.
SAMPLE = pa.schema(
    [
        ("name", pa.string()),
        ("residues", pa.int32()),
        ("stratum", pa.string()),
        ("weight", pa.float64()),
    ]
)

# One row per record of a GenBank file: the proteins that it is annotated with.
PROTEINS = pa.schema([("sequence_id", pa.string()), ("proteins", pa.list_(pa.string()))])

# One row per labelled sequence: the path of its table of labels, its name, and its cluster.
CLUSTERS = pa.schema([("labels", pa.string()), ("sequence_id", pa.string()), ("cluster", pa.string())])

# Keys in a parquet file's metadata: the JSON that says what made the rows, and the JSON with the digests.
PROVENANCE, DIGESTS = b"virnucflow", b"virnucflow.digests"

# What the provenance of a table of sequences has, and nothing else, where the input was refused: what is wrong with it.
REFUSED = "refused"


class ShardMade(TypedDict):
    """What the provenance of a shard's frames and of its scores says: how many chunks it was made of."""

    chunks: int


class ShardScored(ShardMade):
    """What the provenance of a shard's scores says besides: which frames have them, WHOLE or LONGEST ones too."""

    frames: str


class Digests(TypedDict):
    """What a parquet file has under DIGESTS: a digest of the text under PROVENANCE, and one of each column."""

    provenance: str
    columns: dict[str, str]


class TableWriter:
    """Writes a table in parts; the same parts and provenance give the same bytes.

    `provenance` is to be set before the block ends. What is missing or not finite is a ValueError.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.provenance: dict[str, Any] = {}
        self._digest = _TableDigest(schema)
        self._schema = schema.remove_metadata()
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def write(self, table: pa.Table) -> None:
        """Append rows, which are a row group of the file."""
        table = table.replace_schema_metadata(None)
        for batch in table.to_batches():
            self._digest.update(batch)
        self._writer.write_table(table)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._writer:
            if error is None:
                text = json.dumps(self.provenance, sort_keys=True, allow_nan=False)
                digests = {"provenance": digest_bytes(text.encode()), "columns": self._digest.of_columns()}
                metadata = {PROVENANCE: text, DIGESTS: json.dumps(digests, sort_keys=True)}
                self._writer.add_key_value_metadata(metadata)


def write_parquet(table: pa.Table, path: Path, provenance: dict[str, Any] | None = None) -> None:
    """Write a table; the same rows and provenance give the same bytes."""
    with TableWriter(path, table.schema) as writer:
        writer.write(table)
        writer.provenance = provenance or {}


def read_parquet(path: Path, schema: pa.Schema) -> pa.Table:
    """Read the columns of `schema`; others are left out.

    Raises InputError when one is missing, has another type, lacks a finite value, or is not what was written.
    """
    with _open(path, schema) as (file, digests):
        with reading(path, "a parquet file that can be read"):
            table = file.read(schema.names)
        with reading(path, "a table of this workflow"):
            digest_ = _TableDigest(schema)
            for batch in table.to_batches():
                digest_.update(batch)
        for column, computed in digest_.of_columns().items():
            if digests["columns"].get(column) != computed:
                raise InputError(f"{path}: damaged: column {column} is not as it was written; make it again")
        return table


def read_frames(path: Path, schema: pa.Schema, frames: str) -> pa.Table:
    """Read the rows of a table of translate_frames.py that are scored by a pack whose `frames` are WHOLE or LONGEST.

    The columns are those of `schema`. Raises InputError as read_parquet does.
    """
    if frames == LONGEST:
        return read_parquet(path, schema)
    kind = [] if "kind" in schema.names else [FRAMES.field("kind")]
    table = read_parquet(path, pa.schema([*schema, *kind]))
    return table.filter(pc.equal(table["kind"], WHOLE)).select(schema.names)


def read_provenance(path: Path, kind: type = dict[str, Any]) -> Any:  # noqa: ANN401
    """What is known about the rows of a table, with the keys and types of `kind`; empty when the file does not say."""
    with _open(path, pa.schema([])) as (file, digests):
        text = file.metadata.metadata.get(PROVENANCE, b"")
    if digest_bytes(text) != digests["provenance"]:
        raise InputError(f"{path}: damaged: what made it is not as it was written; make it again")
    return parse_json(text, path, kind)


def check_accepted(path: Path) -> None:
    """Raise InputError with what is wrong with a sample's input, where its `sequences.parquet` has that for rows."""
    if reason := read_provenance(path).get(REFUSED):
        raise InputError(reason)


def read_sequences(path: Path) -> pd.DataFrame:
    """Read a `sequences.parquet` of split_fasta: the columns of SEQUENCES, one row per record, in input order.

    Raises InputError as read_parquet does, and with what is wrong with the sample's input where that was refused.
    """
    check_accepted(path)
    table = read_parquet(path, SEQUENCES).to_pandas()
    # Without a row, pandas fails to join names that it holds as an Arrow array, which then has no chunk.
    return table if len(table) else table.astype({"sequence_id": object})


def write_tsv(table: pd.DataFrame, path: Path, append: bool = False) -> None:
    """Write a table as text, or append its rows to one.

    A number has the fewest digits that read back as the same, in every version of pandas.
    """
    numbers = {column: map(str, table[column].to_numpy()) for column in table.select_dtypes("floating")}
    table = table.assign(
        **{column: ["" if text == "nan" else text for text in texts] for column, texts in numbers.items()}
    )
    form = {"sep": TSV["delimiter"], "lineterminator": TSV["lineterminator"], "quoting": csv.QUOTE_NONE}
    table.to_csv(path, index=False, mode="a" if append else "w", header=not append, **form)


def digest(names: Iterable[str]) -> str:
    """SHA-256 over a `name` column, in order: tables and embeddings of the same frames have the same digest."""
    sha256 = hashlib.sha256()
    for name in names:
        sha256.update(name.encode())
        sha256.update(b"\n")
    return sha256.hexdigest()


class _TableDigest:
    """The digest of each column of a table that comes in parts; of its name, type and values alone.

    Of values it is that of their bytes, and where they have lengths (texts, lists) of these by themselves.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._hashers: dict[str, defaultdict[str, Hasher]] = {name: defaultdict(Hasher) for name in schema.names}

    def update(self, batch: pa.RecordBatch) -> None:
        """Go on with the next rows. ValueError when a value is missing or not finite."""
        for name, hashers in self._hashers.items():
            for kind, values in _plain_arrays(batch.column(name)):
                hashers[kind].update(values.data)

    def of_columns(self) -> dict[str, str]:
        return {
            field.name: digest_json(
                [field.name, str(field.type), {k: h.hexdigest() for k, h in self._hashers[field.name].items()}]
            )
            for field in self._schema
        }


def _plain_arrays(array: pa.Array, kind: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The lengths and the bytes of an array's values as arrays without gaps, each with what it is."""
    if array.null_count:
        raise ValueError("a missing value")
    if not len(array):
        return
    buffers, start, end = array.buffers(), array.offset, array.offset + len(array)
    if pa.types.is_string(array.type) or pa.types.is_list(array.type):
        offsets = np.frombuffer(buffers[1], dtype=np.int32)[start : end + 1]
        yield f"{kind}lengths", np.diff(offsets)
        if pa.types.is_list(array.type):
            yield from _plain_arrays(array.flatten(), f"{kind}values ")
        elif offsets[0] < offsets[-1]:
            yield f"{kind}bytes", np.frombuffer(buffers[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    else:
        width = array.type.byte_width
        if pa.types.is_floating(array.type) and not np.isfinite(array.to_numpy(zero_copy_only=False)).all():
            raise ValueError("a value that is not finite")
        yield f"{kind}bytes", np.frombuffer(buffers[1], dtype=np.uint8)[start * width : end * width]


@contextmanager
def _open(path: Path, schema: pa.Schema) -> Iterator[tuple[pq.ParquetFile, Digests]]:
    """A parquet file that has the columns of `schema`, and its digests."""
    with reading(path, "a parquet file"):
        file = pq.ParquetFile(path)
    with file:
        with reading(path, "a parquet file"):
            columns, metadata = file.schema_arrow, file.metadata.metadata or {}
        if missing := [name for name in schema.names if name not in columns.names]:
            raise InputError(f"{path}: no column {', '.join(missing)}; give a table that this workflow wrote")
        for field in schema:
            if (type_ := columns.field(columns.names.index(field.name)).type) != field.type:
                raise InputError(f"{path}: column {field.name} is {type_}, not {field.type}; make it again")
        if DIGESTS not in metadata:
            raise InputError(f"{path}: has no digests, as tables of this workflow have; make it again")
        yield file, parse_json(metadata[DIGESTS], path, Digests)
