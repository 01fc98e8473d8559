"""The tables that programs hand to one another: columns, types, and how they are read and written."""

import csv
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from virnucflow.cli import InputError

# Tab-separated text without quoting: no name holds a tab or a line end.
TSV = {"delimiter": "\t", "lineterminator": "\n", "quoting": csv.QUOTE_NONE, "quotechar": None}

SEQUENCE_COLUMNS = ["sequence_id", "length", "chunks", "status"]

IDENTITY = [("name", pa.string()), ("sequence_id", pa.string()), ("chunk", pa.int32()), ("frame", pa.string())]
FRAMES = pa.schema([*IDENTITY, ("nucleotide", pa.string()), ("protein", pa.string())])
SCORES = pa.schema(
    [*IDENTITY, ("score_others", pa.float32()), ("score_virus", pa.float32()), ("prediction", pa.string())]
)

# A row a sampled frame: the shard and row it comes from, and how many frames of the run it stands for.
SAMPLE = pa.schema(
    [
        ("name", pa.string()),
        ("residues", pa.int32()),
        ("stratum", pa.string()),
        ("weight", pa.float64()),
    ]
)

# A row a record of a GenBank file: the proteins that it is annotated with.
PROTEINS = pa.schema([("sequence_id", pa.string()), ("proteins", pa.list_(pa.string()))])

PROVENANCE = b"virnucflow"  # key of the JSON in a parquet file's metadata that says what made the rows


def read_sequences(path: Path) -> pd.DataFrame:
    """Read a `sequences.tsv` of split_fasta: one row an input sequence, in input order."""
    types = {"sequence_id": str, "length": int, "chunks": int, "status": str}
    try:
        table = pd.read_csv(
            path, sep="\t", dtype=types, keep_default_na=False, quoting=csv.QUOTE_NONE, encoding="utf-8"
        )
    except ValueError as error:
        raise InputError(f"{path}: not a table of sequences ({error}); make it again with split_fasta.py") from None
    _check_columns(path, list(table.columns), SEQUENCE_COLUMNS)
    return table


def read_parquet(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table of frames or scores and check that the columns of `schema` are there; others are left out."""
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not a parquet file ({error}); make it again") from None
    with file:
        _check_columns(path, file.schema_arrow.names, schema.names)
        return file.read(schema.names)


def write_parquet(table: pa.Table, path: Path, provenance: dict[str, Any] | None = None) -> None:
    """Write a table; the same rows and provenance give the same bytes."""
    metadata = {PROVENANCE: json.dumps(provenance, sort_keys=True)} if provenance else None
    pq.write_table(table.replace_schema_metadata(metadata), path, compression="zstd")


def read_provenance(path: Path) -> dict[str, Any]:
    """What is known about the rows of a table of frames or scores; empty when the file does not say."""
    metadata = pq.read_schema(path).metadata or {}
    return json.loads(metadata.get(PROVENANCE, b"{}"))


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as text; a number has the fewest digits that read back as the same, in every version of pandas."""
    numbers = {column: map(str, table[column].to_numpy()) for column in table.select_dtypes("floating")}
    table = table.assign(
        **{column: ["" if text == "nan" else text for text in texts] for column, texts in numbers.items()}
    )
    table.to_csv(path, index=False, sep=TSV["delimiter"], lineterminator=TSV["lineterminator"], quoting=csv.QUOTE_NONE)


def digest(names: Iterable[str]) -> str:
    """SHA-256 over a `name` column, in order: tables and embeddings of the same frames have the same digest."""
    sha256 = hashlib.sha256()
    for name in names:
        sha256.update(name.encode())
        sha256.update(b"\n")
    return sha256.hexdigest()


def _check_columns(path: Path, found: list[str], wanted: list[str]) -> None:
    if missing := [column for column in wanted if column not in found]:
        raise InputError(f"{path}: no column {', '.join(missing)}; give a table that this workflow wrote")
