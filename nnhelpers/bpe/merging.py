"""From the bytes of a chunk to ids: the pair of neighbours that was merged first in training is merged first again."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

BYTES = [bytes([i]) for i in range(256)]
NO_RANK = 2**62  # the rank of a pair that is no token
CACHE_SIZE = 2**17  # chunks whose ids are remembered
HEAP_FROM_BYTES = 50  # bytes: about here a heap becomes faster than a scan


def merge(chunk: bytes, ranks: Mapping[bytes, int], below: int = NO_RANK) -> list[int]:
    """The ids of a chunk: neighbours that together have the lowest rank are joined, the leftmost first, to the end.

    `below` leaves out the ranks from there on.
    """
    return (_merge_short if len(chunk) < HEAP_FROM_BYTES else _merge_long)(chunk, ranks, below)


def _merge_short(chunk: bytes, ranks: Mapping[bytes, int], below: int) -> list[int]:
    parts, get = [BYTES[i] for i in chunk], ranks.get
    joined = [get(a + b, NO_RANK) for a, b in pairwise(parts)]
    while joined and (lowest := min(joined)) < below:
        i = joined.index(lowest)
        parts[i] += parts.pop(i + 1)
        del joined[i]
        if i < len(joined):
            joined[i] = get(parts[i] + parts[i + 1], NO_RANK)
        if i:
            joined[i - 1] = get(parts[i - 1] + parts[i], NO_RANK)
    return [ranks[part] for part in parts]


def _merge_long(chunk: bytes, ranks: Mapping[bytes, int], below: int) -> list[int]:
    """The same in time n log n: a linked list of starts, and a heap of the candidates rank * n + start."""
    n = len(chunk)
    # the starts of each token's neighbours; the last entry belongs to start -1, which is before the chunk
    before, after = list(range(-1, n)), [*range(1, n + 1), n]
    joined = [ranks.get(chunk[i : i + 2], NO_RANK) for i in range(n - 1)] + [NO_RANK] * 2
    heap = [rank * n + i for i, rank in enumerate(joined) if rank < below]
    heapify(heap)
    while heap:
        rank, i = divmod(heappop(heap), n)
        if joined[i] != rank:  # one of the two was joined with its other neighbour
            continue
        joined[after[i]] = NO_RANK
        after[i] = after[after[i]]
        before[after[i]] = i
        for k in (before[i], i):
            joined[k] = ranks.get(chunk[k : after[after[k]]], NO_RANK) if after[k] < n else NO_RANK
            if joined[k] < below:
                heappush(heap, joined[k] * n + k)
    starts = [0]
    while starts[-1] < n:
        starts.append(after[starts[-1]])
    return [ranks[chunk[i:j]] for i, j in pairwise(starts)]


class Cache(dict):
    """The ids of each chunk met so far, found when they are first asked for."""

    def __init__(self, ranks: Mapping[bytes, int]):
        self.ranks = ranks

    def __missing__(self, chunk: str) -> list[int]:
        raw = chunk.encode()
        ids = merge(raw, self.ranks) if (whole := self.ranks.get(raw)) is None else [whole]
        if len(raw) < HEAP_FROM_BYTES:
            if len(self) >= CACHE_SIZE:
                self.clear()
            self[chunk] = ids
        return ids
