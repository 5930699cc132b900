"""From the bytes of a chunk to ids: the pair of neighbours that was merged first in training is merged first again."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise

BYTES = [bytes([i]) for i in range(256)]
# the rank of a pair that is no token: above every rank
NO_RANK = 2**62
# chunks whose ids are remembered
CACHE_SIZE = 2**17
# length of a chunk, in bytes, from which on a heap is faster than a scan
HEAP_FROM_BYTES = 50


def merge(chunk: bytes, ranks: Mapping[bytes, int], below: int = NO_RANK) -> list[int]:
    """The ids of a chunk: neighbours that together have the lowest rank are joined, the leftmost first, to the end.

    `ranks` holds the bytes of each token and its id, which is also its rank. Ranks from `below` on are left out.

    >>> ranks = {b"a": 0, b"b": 1, b"c": 2, b"bc": 3, b"ab": 4, b"abc": 5}
    >>> merge(b"abcab", ranks)  # a b c a b, a bc a b, a bc ab, and abc ab, for a followed by bc spells abc
    [5, 4]
    """
    if len(chunk) < HEAP_FROM_BYTES:
        return _merge_by_scan(chunk, ranks, below)
    return _merge_by_heap(chunk, ranks, below)


def _merge_by_scan(chunk: bytes, ranks: Mapping[bytes, int], below: int) -> list[int]:
    """Looks through all pairs before each join: time n², but fast for a short chunk."""
    get = ranks.get
    parts = [BYTES[i] for i in chunk]
    # the rank of each part together with the next one
    pair_ranks = [get(a + b, NO_RANK) for a, b in pairwise(parts)]
    while pair_ranks and (lowest := min(pair_ranks)) < below:
        i = pair_ranks.index(lowest)
        parts[i] += parts.pop(i + 1)
        del pair_ranks[i]
        if i < len(pair_ranks):
            pair_ranks[i] = get(parts[i] + parts[i + 1], NO_RANK)
        if i > 0:
            pair_ranks[i - 1] = get(parts[i - 1] + parts[i], NO_RANK)
    return [ranks[part] for part in parts]


def _merge_by_heap(chunk: bytes, ranks: Mapping[bytes, int], below: int) -> list[int]:
    """The same in time n log n: a linked list of tokens, and a heap of the pairs that may be joined.

    A token is known by the place where it starts. Three lists say, for the token that starts at i, where the token
    before it starts, where the token after it starts, and the rank of the pair that it makes with the latter. The
    chunk "abcd" with the ranks {"bc": 300, "abc": 301}, before and after b and c are joined:

        start            0     1     2     3     4 = n        0     1     2     3     4
        token            a     b     c     d    (end)         a     bc    -     d    (end)
        before          -1     0     1     2     3           -1     0     1     1     3
        after            1     2     3     4     -            1     3     3     4     -
        pair_rank        -    300    -     -     -           301    -     -     -     -

    No token starts at 2 any more, and nothing points there. In `pair_rank` a dash is `NO_RANK`.
    """
    n = len(chunk)
    before = list(range(-1, n))
    after = list(range(1, n + 1))
    pair_rank = [ranks.get(chunk[i : i + 2], NO_RANK) for i in range(n)]
    # the last byte has no neighbour, but the slice above takes it for a pair
    pair_rank[n - 1] = NO_RANK

    # rank * n + start: the lowest rank comes first, and of equal ones the leftmost
    heap = [rank * n + i for i, rank in enumerate(pair_rank) if rank < below]
    heapify(heap)
    while heap:
        rank, i = divmod(heappop(heap), n)
        if pair_rank[i] != rank:
            # one of the two was joined with its other neighbour
            continue
        # take the second token of the pair out of the list
        pair_rank[after[i]] = NO_RANK
        after[i] = after[after[i]]
        before[after[i]] = i
        # the joined token makes new pairs with the token before it and with the one after it
        for k in (before[i], i):
            if k < 0:
                continue
            pair_rank[k] = ranks.get(chunk[k : after[after[k]]], NO_RANK) if after[k] < n else NO_RANK
            if pair_rank[k] < below:
                heappush(heap, pair_rank[k] * n + k)

    ids = []
    start = 0
    while start < n:
        ids.append(ranks[chunk[start : after[start]]])
        start = after[start]
    return ids


class ChunkCache(dict[str, list[int]]):
    """The ids of each chunk met so far, found when they are first asked for; long chunks are not kept.

    A full cache is emptied: the frequent chunks are soon back.
    """

    def __init__(self, ranks: Mapping[bytes, int]):
        super().__init__()
        self.ranks = ranks

    def __missing__(self, chunk: str) -> list[int]:
        raw = chunk.encode()
        whole = self.ranks.get(raw)
        ids = merge(raw, self.ranks) if whole is None else [whole]
        if len(raw) < HEAP_FROM_BYTES:
            if len(self) >= CACHE_SIZE:
                self.clear()
            self[chunk] = ids
        return ids
