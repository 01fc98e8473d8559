"""Ways to damage a file, for hypothesis: bytes turned, cut, put in, moved, and values of JSON of other kinds."""

import json
from typing import Any

from hypothesis import strategies as st

# What is no number, no name, no end: put in the place of something that is.
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, float("nan"), float("inf"), "", "x", "0",
    "\x1b]0;x\x07", "\u2028", "x" * 5000, [], [[]], {}, {"": {}}, [1, "a"],
]  # fmt: skip
ODD_TEXT = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b">", b">\n", b";", b"*", b"U" * 40,
    b"LOCUS       ", b"//\n", b"ORIGIN\n", b"@x\nACGT\n+\nIIII\n", b"\x1b]0;x\x07", b"nan", b"-1", b"1e999", b"{",
    b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd", b"PAR1", b"PK\3\4", b"[" * 3000, b"9" * 5000,
    "\u00e4\u2028".encode(), b"A" * 70000,
]  # fmt: skip


@st.composite
def damaged_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The content after one to three faults."""
    for _ in range(draw(st.integers(1, 3))):
        content = _fault(draw, content)
    return content


def _fault(draw: st.DrawFn, content: bytes) -> bytes:
    kind = draw(st.sampled_from(["bit", "byte", "cut", "drop", "insert", "repeat", "swap", "zeros", "any"]))
    if kind == "any":
        return draw(st.one_of(st.binary(max_size=200), st.sampled_from(ODD_TEXT)))
    # Headers and footers are where formats are decided: half of the faults lie there.
    ends = min(400, len(content))
    near = st.one_of(st.integers(0, ends), st.integers(len(content) - ends, len(content)))
    at = draw(st.one_of(near, st.integers(0, len(content))))
    length = draw(st.sampled_from([1, 2, 4, 8, 64, 1000]))
    part, rest = content[at : at + length], content[at + length :]
    if kind == "bit":
        return content[:at] + bytes(byte ^ (1 << draw(st.integers(0, 7))) for byte in part[:1]) + content[at + 1 :]
    if kind == "byte":
        return content[:at] + draw(st.binary(min_size=1, max_size=8)) + rest
    if kind == "cut":
        return content[:at]
    if kind == "drop":
        return content[:at] + rest
    if kind == "insert":
        return content[:at] + draw(st.sampled_from(ODD_TEXT)) + content[at:]
    if kind == "repeat":
        return content[: at + length] + part * draw(st.integers(1, 50)) + rest
    if kind == "swap":
        return content[:at] + rest[:length] + part + rest[length:]
    return content[:at] + bytes(len(part)) + rest


@st.composite
def damaged_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON text with one to three of its values replaced, its keys renamed or left out."""
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        value = _replaced(draw, value, draw(st.integers(0, 6)))
    return json.dumps(value).encode()


def _replaced(draw: st.DrawFn, value: Any, depth: int) -> Any:
    if depth == 0 or not isinstance(value, dict | list) or not value:
        return draw(st.sampled_from(ODD_VALUES))
    if isinstance(value, list):
        chosen = draw(st.integers(0, len(value) - 1))
        return [_replaced(draw, one, depth - 1) if i == chosen else one for i, one in enumerate(value)]
    key = draw(st.sampled_from(sorted(value)))
    how = draw(st.sampled_from(["replace", "replace", "rename", "leave out", "add"]))
    if how == "leave out":
        return {name: one for name, one in value.items() if name != key}
    if how == "rename":
        return {f"{name}x" if name == key else name: one for name, one in value.items()}
    if how == "add":
        return value | {"surprise": draw(st.sampled_from(ODD_VALUES))}
    return value | {key: _replaced(draw, value[key], depth - 1)}
