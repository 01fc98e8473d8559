"""Files of embeddings: readable by the library, and the same content gives the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from virnucflow.cli import InputError
from virnucflow.files import tensors as embeddings
from virnucflow.files.tensors import load_rows, load_tensor, save_rows, save_tensors

METADATA = {f"key {number}": "ä" * number for number in range(20)}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
@pytest.mark.parametrize("rows", [0, 1, 7])
def test_the_library_reads_what_is_written(rows: int, dtype: type, tmp_path: Path) -> None:
    tensors = {"b": np.ones((rows, 3), dtype), "a": np.arange(5, dtype=dtype), "scalar": np.array(2, dtype)}
    save_tensors(tensors, tmp_path / "x", METADATA)
    with safe_open(tmp_path / "x", framework="np") as file:
        assert file.metadata() == METADATA
        for name, tensor in tensors.items():
            assert np.array_equal(file.get_tensor(name), tensor) and file.get_tensor(name).dtype == dtype


def test_same_content_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": np.ones(2, np.float32), "a": np.ones(3, np.float32)}
    save_tensors(tensors, tmp_path / "x", METADATA)
    save_tensors(dict(reversed(tensors.items())), tmp_path / "y", dict(reversed(METADATA.items())))
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match="not a safetensors file"):
        load_tensor(tmp_path / "x", "embedding")
    save_rows(np.ones((2, 2)), "other", tmp_path / "y", {})
    with pytest.raises(InputError, match="no tensor 'embedding'"):
        load_tensor(tmp_path / "y", "embedding")
    save_tensors({"embedding": np.ones((2, 2), np.float32)}, tmp_path / "y", {})
    with pytest.raises(InputError, match="y: has no digests"):
        load_tensor(tmp_path / "y", "embedding")


@pytest.mark.parametrize("shape", [(2, 2, 1), (4,), (4, 0), ()])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_tensors_of_other_shapes_and_types_are_refused(shape: tuple, dtype: type, tmp_path: Path) -> None:
    save_tensors({"x": np.ones(shape, dtype)}, tmp_path / "x", METADATA)
    with pytest.raises(InputError, match=r"x: x is (F32|I64) \[.*\], not rows of F32"):
        load_rows(tmp_path / "x", "x", np.array([0]))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Seven rows in blocks of two."""
    monkeypatch.setattr(embeddings, "BLOCK", 2 * 3 * 4)
    return np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)


@pytest.mark.parametrize("number", [7, 6, 1, 0])
def test_rows_are_read_as_they_were_written(number: int, rows: np.ndarray, tmp_path: Path) -> None:
    save_rows(rows[:number], "x", tmp_path / "x", METADATA)
    found, metadata = load_tensor(tmp_path / "x", "x")
    assert np.array_equal(found, rows[:number]) and found.shape == (number, 3) and metadata == METADATA
    wanted = np.array([5, 0, 5, 6, 2])[: number - 2] if number == 7 else np.arange(number)
    found, metadata = load_rows(tmp_path / "x", "x", wanted)
    assert np.array_equal(found, rows[wanted]) and metadata == METADATA
    save_rows(np.asfortranarray(rows[:number]), "x", tmp_path / "y", dict(reversed(METADATA.items())))
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_a_changed_row_is_refused_by_who_reads_its_block(rows: np.ndarray, tmp_path: Path) -> None:
    save_rows(rows, "x", tmp_path / "x", METADATA)
    data = bytearray((tmp_path / "x").read_bytes())
    data[-3 * 4 * 3] ^= 1  # of row 4
    (tmp_path / "x").write_bytes(data)
    for read in (lambda: load_tensor(tmp_path / "x", "x"), lambda: load_rows(tmp_path / "x", "x", np.array([0, 5]))):
        with pytest.raises(InputError, match="x: damaged: rows 4 to 5 are not as they were written; make it again"):
            read()
    assert np.array_equal(load_rows(tmp_path / "x", "x", np.array([6, 3]))[0], rows[[6, 3]])


def test_a_changed_header_is_refused(rows: np.ndarray, tmp_path: Path) -> None:
    save_rows(rows, "x", tmp_path / "x", METADATA | {"attention": "flash"})
    data = (tmp_path / "x").read_bytes()
    for before, after in ((b'"flash"', b'"flesh"'), (b"[7,3]", b"[3,7]"), (b"key 1", b"key x")):
        (tmp_path / "x").write_bytes(data.replace(before, after, 1))
        with pytest.raises(InputError, match="x: damaged: its header is not as it was written"):
            load_rows(tmp_path / "x", "x", np.array([], dtype=int))


def test_rows_that_are_not_there_are_refused(rows: np.ndarray, tmp_path: Path) -> None:
    save_rows(rows, "x", tmp_path / "x", {})
    with pytest.raises(InputError, match="x: has 7 rows, not 8"):
        load_rows(tmp_path / "x", "x", np.array([2, 7]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, rows: np.ndarray, tmp_path: Path) -> None:
    rows[4, 1] = value
    save_rows(rows, "x", tmp_path / "x", {})
    with pytest.raises(InputError, match="x: a value of row 4 is not finite"):
        load_tensor(tmp_path / "x", "x")
