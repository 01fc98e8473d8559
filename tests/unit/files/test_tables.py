"""Tables between programs: their digests are of what they say, and every reader checks them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from virnucflow.cli import InputError
from virnucflow.files.tables import (
    PROTEINS,
    SAMPLE,
    TableWriter,
    digest,
    read_parquet,
    read_provenance,
    write_parquet,
)

ROWS = 1000
PROVENANCE = {"chunks": 7, "esm2": {"precision": "fp16"}}


def sample() -> pa.Table:
    names = [f"sequence ä{number}" for number in range(ROWS)]
    columns = [names, range(ROWS), ["long/near", ""] * (ROWS // 2), [number / 7 for number in range(ROWS)]]
    return pa.table(list(map(list, columns)), schema=SAMPLE)


def proteins() -> pa.Table:
    return pa.table([["a", "b", "c", "d"], [["MK", ""], [], ["L"], ["V", "WWW", "Y"]]], schema=PROTEINS)


def digests(path: Path) -> bytes:
    return pq.read_metadata(path).metadata[b"virnucflow.digests"]


@pytest.mark.parametrize("table", [sample(), proteins(), SAMPLE.empty_table(), PROTEINS.empty_table()])
def test_what_is_written_is_read(table: pa.Table, tmp_path: Path) -> None:
    write_parquet(table, tmp_path / "x", PROVENANCE)
    write_parquet(table, tmp_path / "y", dict(reversed(PROVENANCE.items())))
    assert read_parquet(tmp_path / "x", table.schema).equals(table)
    assert read_provenance(tmp_path / "x") == PROVENANCE
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def layouts(table: pa.Table) -> Iterator[pa.Table]:
    """The same rows in other chunks, at other places of their buffers."""
    around = pa.concat_tables([table.slice(1, 2), table, table.slice(0, 1)]).combine_chunks()
    yield around.slice(2, len(table))
    yield pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1)])
    yield table.take(list(range(len(table))))


@pytest.mark.parametrize("table", [sample(), proteins()])
def test_digests_are_the_same_however_rows_are_laid_out(table: pa.Table, tmp_path: Path) -> None:
    write_parquet(table, tmp_path / "x")
    for other in layouts(table):
        write_parquet(other, tmp_path / "y")
        with TableWriter(tmp_path / "z", table.schema) as writer:
            for start in range(0, len(table), 3):
                writer.write(other.slice(start, 3))
        assert digests(tmp_path / "x") == digests(tmp_path / "y") == digests(tmp_path / "z")
        assert read_parquet(tmp_path / "z", table.schema).equals(table)


def exchanged(table: pa.Table, of: pa.Table, path: Path) -> Path:
    """A file with the rows of `table` and the metadata of `of`."""
    write_parquet(of, path, PROVENANCE)
    with pq.ParquetWriter(path.with_name("other"), table.schema) as writer:
        writer.add_key_value_metadata(
            {k: v for k, v in pq.read_metadata(path).metadata.items() if k != b"ARROW:schema"}
        )
        writer.write_table(table)
    return path.with_name("other")


def test_other_rows_are_refused(tmp_path: Path) -> None:
    table = sample()
    residues = table["residues"].to_pylist()
    others = {
        "name": table.set_column(0, "name", [[*table["name"].to_pylist()[:-1], "other"]]),
        "residues": table.set_column(1, SAMPLE.field(1), [pa.array([*residues[:-1], 7], pa.int32())]),
        "weight": table.set_column(3, "weight", [[1.0] * ROWS]),
    }
    assert read_parquet(exchanged(table, table, tmp_path / "x"), SAMPLE).equals(table)
    for column, other in others.items():
        with pytest.raises(InputError, match=rf"other: damaged: column {column} .* make it again"):
            read_parquet(exchanged(other, table, tmp_path / "x"), SAMPLE)
    for other in (
        table.take(list(reversed(range(ROWS)))),
        table.slice(1),
        pa.concat_tables([table, table.slice(0, 1)]),
    ):
        with pytest.raises(InputError, match="other: damaged: column name "):
            read_parquet(exchanged(other, table, tmp_path / "x"), SAMPLE)
    swapped = proteins().set_column(1, PROTEINS.field(1), [pa.array([["MK"], ["", "L"], [], ["V", "WWW", "Y"]])])
    with pytest.raises(InputError, match="other: damaged: column proteins "):
        read_parquet(exchanged(swapped, proteins(), tmp_path / "x"), PROTEINS)


def test_some_columns_alone_are_checked_alone(tmp_path: Path) -> None:
    table = sample()
    other = table.set_column(3, "weight", [[1.0] * ROWS])
    names = pa.schema([SAMPLE.field("name")])
    assert read_parquet(exchanged(other, table, tmp_path / "x"), names)["name"].equals(table["name"])


def test_columns_that_are_not_as_they_should_be_are_refused(tmp_path: Path) -> None:
    table = sample()
    odd = {
        "no column weight": table.drop_columns("weight"),
        "column residues is int64, not int32": table.set_column(1, "residues", [list(range(ROWS))]),
        "a missing value": table.set_column(3, "weight", [[None] * ROWS]).cast(SAMPLE),
    }
    for message, other in odd.items():
        with pytest.raises(InputError, match=message):
            read_parquet(exchanged(other, table, tmp_path / "x"), SAMPLE)
    with pytest.raises(ValueError, match="missing"):
        write_parquet(odd["a missing value"], tmp_path / "x")


def test_a_file_without_digests_or_with_another_provenance_is_refused(tmp_path: Path) -> None:
    write_parquet(sample(), tmp_path / "x", PROVENANCE)
    metadata = pq.read_metadata(tmp_path / "x").metadata
    with pq.ParquetWriter(tmp_path / "y", SAMPLE) as writer:
        writer.write_table(sample())
        writer.add_key_value_metadata({b"virnucflow": metadata[b"virnucflow"]})
    for read in (lambda path: read_parquet(path, SAMPLE), read_provenance):
        with pytest.raises(InputError, match=r"y: has no digests.* make it again"):
            read(tmp_path / "y")
    with pq.ParquetWriter(tmp_path / "y", SAMPLE) as writer:
        writer.write_table(sample())
        writer.add_key_value_metadata({**metadata, b"virnucflow": metadata[b"virnucflow"].replace(b"7", b"8")})
    with pytest.raises(InputError, match="y: damaged: what made it"):
        read_provenance(tmp_path / "y")


def test_digest_of_names_knows_where_one_ends() -> None:
    assert digest(["ab", "c"]) == hashlib.sha256(b"ab\nc\n").hexdigest() != digest(["a", "bc"])
