"""Training a tokenizer: counting chunks, and learning the merges from their counts."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from heapq import heapify, heappop, heappush
from itertools import pairwise

from ..contracts import StrPath
from ..data import BLOCK, read_blocks
from ..terminal import progress_bar
from .splitting import Splitter

BOUNDARY = -1  # stands between two chunks, where there is no token


def read_texts(source: StrPath | Iterable[str], splitter: Splitter, progress: bool) -> Iterable[str]:
    """One text, many, or the file that a `Path` names, in pieces that a process can count."""
    if isinstance(source, os.PathLike):
        return splitter.pieces(_blocks_with_bar(source, progress))
    if isinstance(source, str):
        return splitter.pieces(source[i : i + BLOCK] for i in range(0, len(source), BLOCK))
    return source


def _blocks_with_bar(path: os.PathLike[str], progress: bool) -> Iterator[str]:
    """The blocks of a file, as `data.read_blocks` gives them, under a progress bar."""
    blocks = read_blocks(path)
    with progress_bar(os.path.getsize(path), "bytes read", shown=progress, unit="B") as bar:
        for block in blocks:
            yield block
            bar.update(len(block.encode()))


def count_chunks(texts: Iterable[str], splitter: Splitter, processes: int) -> Counter[str]:
    """How often each chunk occurs in the texts; several processes take a few million characters each at a time."""
    if processes == 1:
        return splitter.count(texts)
    counts: Counter[str] = Counter()
    waiting: deque = deque()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for batch in _batches(texts):
            waiting.append(pool.submit(splitter.count, batch))
            if len(waiting) > 2 * processes:  # so that only a share of the text is in memory
                counts.update(waiting.popleft().result())
        for task in waiting:
            counts.update(task.result())
    return counts


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= BLOCK:
            yield batch
            batch, size = [], 0
    yield batch


def learn_merges(counts: Mapping[str, int], n_merges: int, progress: bool = False) -> list[tuple[int, int]]:
    """Up to `n_merges` merges from chunks and how often each occurs; merge k makes token 256 + k.

    Each takes the most frequent pair of neighbours, of equally frequent ones the smaller; 'aaa' counts as two pairs.
    A merge visits only the places of its pair. The total of a pair in the heap can only fall, so it is compared
    when the pair comes up.
    """
    tokens, weight = _lay_out(counts)
    starts: dict[tuple[int, int], list[int]] = defaultdict(list)  # where a pair begins, or once began
    for i, pair in enumerate(pairwise(tokens)):
        starts[pair].append(i)
    starts = {pair: places for pair, places in starts.items() if BOUNDARY not in pair}
    total = {pair: sum([weight[i] for i in places]) for pair, places in starts.items()}
    heap = [(-n, pair) for pair, n in total.items()]
    heapify(heap)
    length, merges = [1] * 256, []
    with progress_bar(n_merges, "merges", shown=progress) as made:
        while heap and len(merges) < n_merges:
            n, pair = heappop(heap)
            if total[pair] < -n:
                if total[pair]:
                    heappush(heap, (-total[pair], pair))
                continue
            (a, b), new = pair, 256 + len(merges)
            merges.append(pair)
            length.append(length[a] + length[b])
            before, after = _replace(a, b, new, starts.pop(pair), tokens, length)
            for y, places in after.items():  # a b y becomes new y
                starts[new, y] = places
                total[new, y] = n = sum([weight[i] for i in places])
                total[b, y] -= n
            for x, places in before.items():  # x a b becomes x new
                starts[x, new] = places
                total[x, new] = n = sum([weight[i] for i in places])
                total[x, a] -= n
            del total[pair]
            for pair in (*((new, y) for y in after), *((x, new) for x in before)):
                if total[pair]:  # in 'aaaa' the pair (new, a) is gone as soon as it is made
                    heappush(heap, (-total[pair], pair))
            made.update()
    return merges


def _lay_out(counts: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """The bytes of all chunks in one list, with `BOUNDARY` around each, and at each byte the chunk's count."""
    tokens, weight = [BOUNDARY], [0]
    for chunk, n in counts.items():
        raw = chunk.encode()
        tokens += raw
        tokens.append(BOUNDARY)
        weight += [n] * (len(raw) + 1)
    return tokens, weight


def _replace(
    a: int, b: int, new: int, starts: list[int], tokens: list[int], length: list[int]
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Writes `new` over a, b at each of the starts where they still stand, from left to right.

    A token is written at its first and its last byte, so that the neighbours on either side find it. Returns the
    left neighbours with the places where they start, and the right ones with the places where `new` starts.
    """
    before: dict[int, list[int]] = defaultdict(list)
    after: dict[int, list[int]] = defaultdict(list)
    for i in starts:
        j = i + length[a]
        if tokens[i] != a or tokens[j] != b:  # swallowed by another merge, or the second pair in 'aaa'
            continue
        end = j + length[b]
        x, y = tokens[i - 1], tokens[end]
        if x != BOUNDARY:
            before[x].append(i - length[x])
        if y != BOUNDARY:
            after[y].append(i)
        tokens[j] = BOUNDARY
        tokens[i] = tokens[end - 1] = new
    return before, after
