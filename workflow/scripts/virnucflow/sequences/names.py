"""Which names come more than once among very many, in 16 bytes of memory a name."""

from collections.abc import Iterable

import numpy as np
import xxhash

HASH, COUNT = 12, 4  # bytes of a slot: so much of the name's hash, and a counter that is 0 at first
SLOT = f"S{HASH + COUNT}"
NEW = bytes(COUNT)
BLOCK = 1 << 20  # slots that are compared at a time


class Names:
    """Names, first added one by one and then, after `sort`, looked up.

    Each has a slot in one sorted array. Of the slots of a name that comes more than once, the last one counts how far
    `unique` has numbered it; the order stays what it was, because the counter is the end of a slot. Two names with
    one hash would be taken for the same; of 100 million names, two have one with a probability of 6e-14.
    """

    def __init__(self) -> None:
        self._memory = bytearray()
        self._slots = np.empty(0, dtype=SLOT)

    def add(self, names: Iterable[str]) -> None:
        """Add names, such as are there already too; not after `sort`."""
        self._memory += b"".join([_hash(name) + NEW for name in names])

    def sort(self) -> None:
        """Must come after the last `add` and before anything else."""
        self._slots = np.frombuffer(self._memory, dtype=SLOT)
        self._slots.sort()

    def repeated(self) -> tuple[int, int]:
        """How many names come more than once, and how many times these come in all."""
        names = times = 0
        before = False  # whether the slot before a block's first is the same as the one before itself
        for start in range(0, len(self._slots) - 1, BLOCK):
            block = self._slots[start : start + BLOCK + 1]
            same = block[1:] == block[:-1]  # as the slot before
            first = same & ~np.concatenate([[before], same[:-1]])
            names += int(first.sum())
            times += int(same.sum() + first.sum())
            before = bool(same[-1])
        return names, times

    def times(self, name: str) -> int:
        """How many times a name comes."""
        first, end = self._places(name)
        return end - first

    def unique(self, name: str) -> str:
        """The name when it is asked for the first time; then with _2, _3, ... appended, but never another's name."""
        first, end = self._places(name)
        if end - first < 2:
            return name
        counter = slice((end - 1) * (HASH + COUNT) + HASH, end * (HASH + COUNT))
        number, new = int.from_bytes(self._memory[counter], "big") + 1, name
        if number > 1:
            while self.times(new := f"{name}_{number}"):
                number += 1
        self._memory[counter] = number.to_bytes(COUNT, "big")
        return new

    def _places(self, name: str) -> tuple[int, int]:
        """The first slot of a name, and the one after its last."""
        least = np.array(_hash(name) + bytes(COUNT), dtype=SLOT)
        most = np.array(_hash(name) + b"\xff" * COUNT, dtype=SLOT)
        return int(np.searchsorted(self._slots, least)), int(np.searchsorted(self._slots, most, side="right"))


def _hash(name: str) -> bytes:
    return xxhash.xxh3_128_digest(name.encode())[:HASH]
