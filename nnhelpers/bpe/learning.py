"""Training a tokenizer: counting chunks, and learning the merges from their counts."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path

from ..contracts import StrPath
from ..data import BLOCK, read_blocks
from ..terminal import progress_bar
from .splitting import Splitter

# stands between two chunks, where there is no token
BOUNDARY = -1

Pair = tuple[int, int]
# for each token: the places where it is a neighbour of the pair that is being merged
Neighbours = dict[int, list[int]]


def read_texts(source: StrPath | Iterable[str], splitter: Splitter, progress: bool = False) -> Iterable[str]:
    """One text, many, or the file that a `Path` names, in pieces that a process can count.

    A str that is the path of an existing file raises `ValueError`: it was hardly meant as a text.
    """
    if isinstance(source, os.PathLike):
        return splitter.pieces(file_blocks(source, progress))
    if isinstance(source, str):
        if _names_a_file(source):
            raise ValueError(
                f"{source!r} is the path of a file, but a str is read as the text itself; pass Path({source!r}) for "
                f"the text in the file, or [{source!r}] for these characters"
            )
        return splitter.pieces(source[i : i + BLOCK] for i in range(0, len(source), BLOCK))
    return source


def _names_a_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        # too long for a path, or with characters that no path holds
        return False


def file_blocks(path: StrPath, progress: bool = False) -> Iterator[str]:
    """The blocks of a file, as `data.read_blocks` gives them, under a progress bar."""
    blocks = read_blocks(path, BLOCK)
    # the first block before the bar: a file that is missing or not UTF-8 raises without one
    first = next(blocks, "")
    with progress_bar(os.path.getsize(path), "bytes read", shown=progress, unit="B") as bar:
        yield first
        bar.update(len(first.encode()))
        for block in blocks:
            yield block
            bar.update(len(block.encode()))


def count_chunks(texts: Iterable[str], splitter: Splitter, processes: int) -> Counter[str]:
    """How often each chunk occurs in the texts; several processes take a few million characters each at a time."""
    if processes == 1:
        return splitter.count(texts)
    counts: Counter[str] = Counter()
    waiting: deque[Future[Counter[str]]] = deque()
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for batch in _batches(texts):
            waiting.append(pool.submit(splitter.count, batch))
            # so that only a share of the text is in memory
            if len(waiting) > 2 * processes:
                counts.update(waiting.popleft().result())
        for task in waiting:
            counts.update(task.result())
    return counts


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists of about `BLOCK` characters."""
    batch: list[str] = []
    n_characters = 0
    for text in texts:
        batch.append(text)
        n_characters += len(text)
        if n_characters >= BLOCK:
            yield batch
            batch = []
            n_characters = 0
    yield batch


def learn_merges(counts: Mapping[str, int], n_merges: int, progress: bool = False) -> list[Pair]:
    """Up to `n_merges` merges from chunks and how often each occurs; merge k makes token 256 + k.

    Each merge takes the most frequent pair of neighbouring tokens, of equally frequent ones the smaller; 'aaa' counts
    as two pairs. It visits only the places where its pair stands. In the bytes a, a, a, b and a, a, c the pair a a
    occurs three times; after it is merged, all pairs occur once, and the smallest of them is a b:

    >>> learn_merges({"aaab": 1, "aac": 1}, 2)
    [(97, 97), (97, 98)]
    """
    # All chunks in one row of tokens. weight[i] says how often the chunk at place i occurs.
    tokens, weight = _lay_out(counts)
    n_bytes = [1] * 256

    # Count every pair once, and remember where it begins.
    places = _places_of_pairs(tokens)
    total = {pair: sum([weight[i] for i in begins]) for pair, begins in places.items()}

    # The heap gives the most frequent pair, of equally frequent ones the smaller. The total of a pair can only fall
    # after its entry was made, so an entry may be too high, never too low: it is checked when it comes up.
    heap = [(-n, pair) for pair, n in total.items()]
    heapify(heap)

    merges: list[Pair] = []
    with progress_bar(n_merges, "merges", shown=progress) as bar:
        while heap and len(merges) < n_merges:
            # 1. Take the most frequent pair; put an entry that is too high back with today's total.
            negative_total, (a, b) = heappop(heap)
            if total[a, b] < -negative_total:
                if total[a, b] > 0:
                    heappush(heap, (-total[a, b], (a, b)))
                continue

            # 2. Make a new token of it.
            new = 256 + len(merges)
            merges.append((a, b))
            n_bytes.append(n_bytes[a] + n_bytes[b])

            # 3. Write the token wherever a, b stands.
            before, after = _replace(a, b, new, places.pop((a, b)), tokens, n_bytes)

            # 4. Only pairs with a neighbour changed: "a b y" became "new y", and "x a b" became "x new". The right
            #    neighbours come first: in "a b a b" the pair (new, a) is made by the first "a b", unmade by the second.
            for y, begins in after.items():
                places[new, y] = begins
                total[new, y] = n = sum([weight[i] for i in begins])
                total[b, y] -= n
            for x, begins in before.items():
                places[x, new] = begins
                total[x, new] = n = sum([weight[i] for i in begins])
                total[x, a] -= n
            del total[a, b]

            # 5. Put the new pairs on the heap, but for those that are gone again.
            for pair in [*((new, y) for y in after), *((x, new) for x in before)]:
                if total[pair] > 0:
                    heappush(heap, (-total[pair], pair))
            bar.update()
    return merges


def _lay_out(counts: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """The bytes of all chunks in one list, with `BOUNDARY` around each, and at each byte the chunk's count."""
    tokens = [BOUNDARY]
    weight = [0]
    for chunk, n in counts.items():
        raw = chunk.encode()
        tokens += raw
        tokens.append(BOUNDARY)
        weight += [n] * (len(raw) + 1)
    return tokens, weight


def _places_of_pairs(tokens: list[int]) -> dict[Pair, list[int]]:
    """For each pair of neighbouring tokens the places where it begins."""
    places: defaultdict[Pair, list[int]] = defaultdict(list)
    for i, pair in enumerate(pairwise(tokens)):
        places[pair].append(i)
    return {pair: begins for pair, begins in places.items() if BOUNDARY not in pair}


def _replace(
    a: int, b: int, new: int, begins: list[int], tokens: list[int], n_bytes: list[int]
) -> tuple[Neighbours, Neighbours]:
    """Writes `new` over a, b at each of the places `begins` where they still stand, from left to right.

    A token of several bytes is written at its first and at its last byte, so that the neighbours on either side find
    it. Returns the left neighbours x with the places where "x new" begins, and the right ones y with those of "new y".
    """
    before: Neighbours = defaultdict(list)
    after: Neighbours = defaultdict(list)
    for i in begins:
        j = i + n_bytes[a]
        if tokens[i] != a or tokens[j] != b:
            # another merge took one of the two, or this is the second pair of 'aaa'
            continue
        end = j + n_bytes[b]
        x = tokens[i - 1]
        y = tokens[end]
        if x != BOUNDARY:
            before[x].append(i - n_bytes[x])
        if y != BOUNDARY:
            after[y].append(i)
        # the first byte of b lies inside the new token, unless it is also the last
        tokens[j] = BOUNDARY
        tokens[i] = new
        tokens[end - 1] = new
    return before, after
