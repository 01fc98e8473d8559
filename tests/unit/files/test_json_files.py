"""JSON between programs: what was not written so, or is of other types, is refused in one line."""

import json
from pathlib import Path
from typing import Any, TypedDict

import pytest

from virnucflow.cli import InputError
from virnucflow.files import json_files
from virnucflow.files.json_files import parse_json, read_json, read_published_json, write_json


class Gate(TypedDict):
    decision: str
    shares: dict[str, float]


VALUE = {"shares": {"ä": 1, "b": 0.1}, "decision": "accept", "more": [None, True, {"x": -1e-300}]}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_json(VALUE, tmp_path / "x")
    assert read_json(tmp_path / "x", Gate) == VALUE
    assert list(json.loads((tmp_path / "x").read_text())) == [*VALUE, "digest"]
    (tmp_path / "x").write_text(json.dumps(json.loads((tmp_path / "x").read_text()), sort_keys=True))
    assert read_json(tmp_path / "x", Gate) == VALUE
    with pytest.raises(ValueError):
        write_json({"x": float("nan")}, tmp_path / "y")


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    write_json(VALUE, tmp_path / "x")
    data, refused = (tmp_path / "x").read_bytes(), 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "x").write_bytes(flipped)
        try:
            assert read_json(tmp_path / "x", Gate) == VALUE
        except InputError as error:
            assert str(error).startswith(f"{tmp_path / 'x'}: ")
            refused += 1
    assert refused > 0.8 * 8 * len(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe{}", "not UTF-8 text"),
        (b"[1]", "not a JSON file with keys and values"),
        (b"7", "not a JSON file with keys and values"),
        (b"{}", "its digest is not that of its content"),
        (b"[" * 100000, "not a JSON file"),
        (b'{"a":' * 100000, "not a JSON file"),
        (b'{"x": NaN}', "NaN is no number of JSON"),
        (b'{"x": 1e999}', "not a JSON file"),
        (b'{"x": ' + b"9" * 5000 + b"}", "not a JSON file"),
        (b'{"x": "\\ud800"}', "digest"),
        (b'{"digest": ["a"]}', "its digest is not that of its content"),
    ],
)
def test_other_files_are_refused(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(InputError, match=rf"x: .*{message}.*; make it again"):
        read_json(tmp_path / "x", dict[str, Any])


@pytest.mark.parametrize(
    "change", [{"decision": 3}, {"decision": None}, {"shares": []}, {"shares": {"ä": "1"}}, {"shares": {"ä": True}}]
)
def test_other_types_are_refused(change: dict, tmp_path: Path) -> None:
    write_json(VALUE | change, tmp_path / "x")
    with pytest.raises(InputError, match=rf"x: not as expected: .*{next(iter(change))}.*; make it again"):
        read_json(tmp_path / "x", Gate)
    with pytest.raises(InputError, match=r"x: not as expected: .*; restore it"):
        read_published_json(tmp_path / "x", Gate, "restore it")


def test_missing_keys_are_refused(tmp_path: Path) -> None:
    write_json({"shares": {}}, tmp_path / "x")
    with pytest.raises(InputError, match="x: not as expected: Object missing required field `decision`"):
        read_json(tmp_path / "x", Gate)
    with pytest.raises(InputError, match="y: not a JSON text"):
        parse_json("{", Path("y"), Gate)


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MOST_BYTES", 1 << 20)
    (tmp_path / "x").write_bytes(b" " * (1 << 20) + b"1")
    with pytest.raises(InputError, match="x: has more than 1048576 bytes"):
        read_json(tmp_path / "x", Gate)
