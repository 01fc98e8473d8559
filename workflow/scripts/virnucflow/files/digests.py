"""Digests of what one program hands to another: they find damage and mixed-up files, not forgery.

XXH3 with 128 bits reads 30 GB/s of a processor's core, BLAKE3 7, CRC-32 6.5 and SHA-256 1.9. What comes from outside,
or goes there, has its SHA-256.
"""

import json
from pathlib import Path
from typing import Any

import xxhash

PART = 1 << 20  # bytes of a file at a time
Hasher = xxhash.xxh3_128  # has update(buffer) and hexdigest()


def digest_bytes(data: bytes | memoryview) -> str:
    """The digest of some bytes: 32 hexadecimal digits."""
    return xxhash.xxh3_128_hexdigest(data)


def digest_file(path: Path) -> str:
    """The digest of a file's bytes."""
    hasher = Hasher()
    with path.open("rb") as file:
        while part := file.read(PART):
            hasher.update(part)
    return hasher.hexdigest()


def digest_json(value: Any) -> str:  # noqa: ANN401
    """The digest of a value that JSON can hold, however its text is laid out and its keys are ordered."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return digest_bytes(text.encode())
