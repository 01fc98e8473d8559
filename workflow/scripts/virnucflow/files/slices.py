"""Slices of arrays, and texts as Arrow has them, without an object of Python for each."""

import numpy as np
import pyarrow as pa

INLINE = 12  # bytes; a view of no more has them in itself (Arrow columnar format, variable-size binary view layout)
PREFIX = 4  # of its bytes that a view of more has beside their place


def gathered(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slices of an array of uint8 one after another, and where in that each begins and the last ends: (slices + 1).

    Arrow copies a slice at a time, which is tens of times as fast as to take values by an array of indices.
    """
    views = np.zeros((len(starts), 4), dtype=np.int32)
    views[:, 0], views[:, 3] = lengths, starts
    letters = views.view(np.uint8)[:, 4:]
    short, long = np.flatnonzero(lengths <= INLINE), np.flatnonzero(lengths > INLINE)
    letters[long, :PREFIX] = values[starts[long, None] + np.arange(PREFIX)]
    letters[short] = 0
    which, place = np.nonzero(np.arange(INLINE) < lengths[short, None])
    letters[short[which], place] = values[starts[short[which]] + place]
    buffers = [None, pa.py_buffer(views), pa.py_buffer(np.ascontiguousarray(values))]
    slices = pa.Array.from_buffers(pa.binary_view(), len(starts), buffers).cast(pa.binary())
    _, offsets, copied = slices.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[: len(starts) + 1]
    return np.frombuffer(copied or b"", dtype=np.uint8)[: ends[-1]], ends  # Arrow's buffer may have more


def texts(letters: bytes | np.ndarray, offsets: np.ndarray) -> pa.StringArray:
    """Texts of UTF-8 letters that lie one after another; `offsets` (texts + 1): where each begins and the last ends."""
    return pa.StringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(np.frombuffer(letters, dtype=np.uint8))
    )
