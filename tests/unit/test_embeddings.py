"""Files of embeddings: readable by the library, and the same content gives the same bytes."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from virnucflow.cli import InputError
from virnucflow.embeddings import load_tensor, save_tensors

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
    save_tensors({"other": np.ones(2, np.float32)}, tmp_path / "y", {})
    with pytest.raises(InputError, match="no tensor 'embedding'"):
        load_tensor(tmp_path / "y", "embedding")
