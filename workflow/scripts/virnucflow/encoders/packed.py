"""Packed batches on a GPU: sequences one behind the other, as many as fit into a fixed number of rows.

Every batch has the same number of rows, whatever is in it, so every matrix product is the same kernel and a sequence's
embedding does not depend on what shares its batch.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from virnucflow.cli import log
from virnucflow.encoders.parts import Progress

ROW_MULTIPLE = 128  # the number of rows is a multiple of this, for the kernels' sake
SLICE = 2048  # sequences that are tokenized at a time

# Some sequences to all their tokens, one behind the other, and the number of tokens of each.
Tokenize = Callable[[list[str]], tuple[np.ndarray, np.ndarray]]
Item = TypeVar("Item")


class Batch(NamedTuple):
    """Tokens and positions of each row, which begin at 0 with each sequence; behind the last sequence unused rows."""

    tokens: torch.Tensor
    positions: torch.Tensor
    cu_seqlens: torch.Tensor
    lengths: np.ndarray  # of the sequences, on the CPU

    @property
    def max_length(self) -> int:
        """The length of the longest sequence."""
        return int(self.lengths.max())

    def runs(self) -> Iterator[tuple[slice, int]]:
        """The rows of each run of sequences of one length, and that length. Sequences in order of length make few."""
        edges = np.flatnonzero(np.diff(self.lengths)) + 1
        start = 0
        for run in np.split(self.lengths, edges):
            yield slice(start, start + int(run.sum())), int(run[0])
            start += int(run.sum())


Forward = Callable[[Batch], torch.Tensor]  # to the (sequences, width) float32 embeddings


def embed_packed(
    sequences: list[str],
    tokenize: Tokenize,
    make_forward: Callable[[int], Forward],
    width: int,
    token_budget: int,
    device: torch.device,
    progress: Progress,
    by_length: bool = False,
) -> torch.Tensor:
    """(N, width) float32 on the CPU. A sequence has at most two tokens more than letters.

    `make_forward` gives the function for batches of a number of rows; with `by_length` shorter sequences come first.
    Out of memory halves that number, and goes on with the sequences that have no embedding yet.
    """
    result = torch.empty(len(sequences), width)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    order = np.argsort(lengths, kind="stable") if by_length else np.arange(len(sequences))
    longest = int(lengths.max(initial=0)) + 2
    rows = -(-max(token_budget, longest) // ROW_MULTIPLE) * ROW_MULTIPLE
    done = progress.begin(result, order)
    while done < len(sequences):
        try:
            left = [sequences[row] for row in order[done:]]
            for embeddings in _embeddings(left, tokenize, make_forward(rows), rows, device):
                result[order[done : done + len(embeddings)]] = embeddings
                done += len(embeddings)
                progress.reached(done)
        except torch.OutOfMemoryError:
            half = rows // 2 // ROW_MULTIPLE * ROW_MULTIPLE
            if half < max(longest, ROW_MULTIPLE):
                raise
            log.warning("out of GPU memory with %d tokens per batch: going on with %d", rows, half)
            rows = half
        torch.cuda.empty_cache()
    return result


@torch.inference_mode()
def _embeddings(
    sequences: list[str], tokenize: Tokenize, forward: Forward, rows: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """Yield the embeddings of each batch, in order, while the GPU computes the next one."""
    slices = (tokenize(sequences[first : first + SLICE]) for first in range(0, len(sequences), SLICE))
    waiting: tuple[torch.Tensor, torch.cuda.Event] | None = None
    for tokens, lengths in ahead(fill_batches(slices, rows)):
        embeddings = forward(pack(tokens, lengths, rows, device))
        arriving = torch.empty(embeddings.shape, pin_memory=True).copy_(embeddings, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        if waiting:
            yield _arrived(*waiting)
        waiting = arriving, done
    if waiting:
        yield _arrived(*waiting)


def _arrived(arriving: torch.Tensor, done: torch.cuda.Event) -> torch.Tensor:
    done.synchronize()
    return arriving


def fill_batches(slices: Iterator[tuple[np.ndarray, np.ndarray]], rows: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rearrange tokenized slices into batches of as many whole sequences, in order, as fit into `rows`."""
    tokens, lengths = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    for more_tokens, more_lengths in slices:
        tokens, lengths = np.concatenate([tokens, more_tokens]), np.concatenate([lengths, more_lengths])
        ends = np.cumsum(lengths)
        first = start = 0
        while len(ends) and ends[-1] - start > rows:
            last = int(np.searchsorted(ends, start + rows, side="right"))
            yield tokens[start : ends[last - 1]], lengths[first:last]
            first, start = last, int(ends[last - 1])
        tokens, lengths = tokens[start:], lengths[first:]
    if len(lengths):
        yield tokens, lengths


def ahead(items: Iterator[Item], number: int = 2) -> Iterator[Item]:
    """Yield the same items; a thread makes the next ones meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, items, None) for _ in range(number))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, items, None))
            yield item


def pack(tokens: np.ndarray, lengths: np.ndarray, rows: int, device: torch.device) -> Batch:
    """Move a batch to the GPU."""
    ends = np.cumsum(lengths)
    padded, positions = np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int32)
    padded[: len(tokens)] = tokens
    positions[: len(tokens)] = np.arange(len(tokens)) - np.repeat(ends - lengths, lengths)
    cu_seqlens = np.concatenate([[0], ends]).astype(np.int32)
    arrays = [torch.from_numpy(array).pin_memory() for array in (padded, positions, cu_seqlens)]
    on_gpu = [array.to(device, non_blocking=True) for array in arrays]
    return Batch(on_gpu[0], on_gpu[1], on_gpu[2], lengths)
