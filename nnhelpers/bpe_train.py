"""The steps of `nnhelpers.bpe`: cutting texts into chunks, counting them, finding the merges, and merging."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from heapq import heapify, heappop, heappush
from itertools import pairwise

import regex
from tqdm.auto import tqdm

from .files import BLOCK, text_pieces

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
GPT4_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
)
# Unicode's classes and, for ASCII text, the characters of each
CLASSES = {r"\p{L}": "A-Za-z", r"\p{N}": "0-9", r"\s": r" \t\n\r\f\v", r"\S": r"^ \t\n\r\f\v"}
BYTES = [bytes([i]) for i in range(256)]
NONE = -1  # stands where there is no token
NEVER = 2**62  # the rank of a pair that is no token
CACHED = 2**17  # chunks whose ids are remembered
LONG = 50  # bytes: about here a heap becomes faster than a scan


def ascii_twin(pattern: str) -> re.Pattern[str]:
    """GPT-2's or GPT-4's pattern for ASCII text: the same chunks by Python's own `re`, in half the time."""
    parts = re.split(r"(\[.*?\])", pattern)  # what stands in brackets is at odd places
    for name, characters in CLASSES.items():
        parts = [
            part.replace(name, characters if i % 2 else f"[{characters}]") for i, part in enumerate(parts)
        ]
    return re.compile("".join(parts))


class Splitter:
    """Cuts a text at special tokens, and between them into the matches of a pattern; loses no character."""

    def __init__(self, pattern: str | None, special_tokens: Iterable[str]):
        try:
            self.regex = None if pattern is None else regex.compile(pattern)
        except regex.error as error:
            raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from None
        longest_first = sorted(special_tokens, key=len, reverse=True)
        for token in longest_first:
            check_text(token)
        if "" in longest_first:
            raise ValueError("a special token needs at least one character")
        alternatives = "|".join(map(regex.escape, longest_first))
        self.special = regex.compile(f"({alternatives})") if alternatives else None
        spaced = any(regex.search(r"\s", token) for token in longest_first)
        known = pattern in (GPT2_PATTERN, GPT4_PATTERN)
        self.has_safe_borders = known and not spaced
        self.ascii = ascii_twin(pattern) if known else self.regex

    def parts(self, text: str) -> list[str]:
        """Ordinary text at even places, special tokens at odd ones."""
        return self.special.split(text) if self.special else [text]

    def chunks(self, text: str) -> list[str]:
        """The matches of the pattern; `ValueError` if they do not make up the text."""
        if self.regex is None:
            return [text]
        cut = self.ascii if text.isascii() else self.regex
        chunks = [match.group() for match in cut.finditer(text)] if cut.groups else cut.findall(text)
        if (joined := "".join(chunks)) != text:
            letters = enumerate(zip(joined, text, strict=False))
            place = next((i for i, (a, b) in letters if a != b), len(joined))
            raise ValueError(
                f"the pattern {self.regex.pattern!r} leaves out {text[place : place + 10]!r} at position {place}; "
                r"let it match every character, for example by ending it in |[\s\S]"
            )
        return chunks

    def count(self, texts: Iterable[str]) -> Counter[str]:
        """How often each chunk occurs in the texts."""
        counts: Counter[str] = Counter()
        for text in texts:
            check_text(text)
            for part in self.parts(text)[::2]:
                counts.update(self.chunks(part))
        return counts

    def pieces(self, blocks: Iterable[str]) -> Iterator[str]:
        """The blocks of one text, cut anew so that the chunks of the pieces are those of the text.

        That is known of the two patterns above; with another one the text stays in one piece.
        """
        return text_pieces(blocks) if self.has_safe_borders else iter(["".join(blocks)])


def check_text(text: str) -> None:
    """Raises `TypeError` for anything but a str, `ValueError` for one that UTF-8 cannot hold."""
    if not isinstance(text, str):
        raise TypeError(f"a tokenizer reads str, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{text[error.start]!r} at position {error.start} is half of a surrogate pair, which UTF-8 cannot hold; "
            "remove it, or decode the source of the text with errors='replace'"
        ) from None


def read_texts(
    source: str | os.PathLike[str] | Iterable[str], splitter: Splitter, progress: bool
) -> Iterable[str]:
    """One text, many, or the file that a `Path` names, in pieces that a process can count."""
    if isinstance(source, os.PathLike):
        return splitter.pieces(_read_blocks(source, progress))
    if isinstance(source, str):
        return splitter.pieces(source[i : i + BLOCK] for i in range(0, len(source), BLOCK))
    return source


def _read_blocks(path: os.PathLike[str], progress: bool) -> Iterator[str]:
    """A UTF-8 file to the letter, line ends included, block by block, under a progress bar."""
    with (
        open(path, encoding="utf-8", newline="") as file,
        bar("bytes read", os.path.getsize(path), progress) as read,
    ):
        try:
            while block := file.read(BLOCK):
                yield block
                read.update(len(block.encode()))
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 text: {error.reason}; save it as UTF-8 and try again"
            ) from None


def bar(name: str, total: int, progress: bool) -> tqdm:
    """A progress bar, unless `TQDM_DISABLE` is set."""
    hidden = not progress or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    return tqdm(desc=name, total=total, unit="", unit_scale=True, disable=hidden)


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
    starts = {pair: places for pair, places in starts.items() if NONE not in pair}
    total = {pair: sum([weight[i] for i in places]) for pair, places in starts.items()}
    heap = [(-n, pair) for pair, n in total.items()]
    heapify(heap)
    length, merges = [1] * 256, []
    with bar("merges", n_merges, progress) as made:
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
    """The bytes of all chunks in one list, with `NONE` around each chunk, and the count of the chunk at each byte."""
    tokens, weight = [NONE], [0]
    for chunk, n in counts.items():
        raw = chunk.encode()
        tokens += raw
        tokens.append(NONE)
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
        if x != NONE:
            before[x].append(i - length[x])
        if y != NONE:
            after[y].append(i)
        tokens[j] = NONE
        tokens[i] = tokens[end - 1] = new
    return before, after


def merge(chunk: bytes, ranks: Mapping[bytes, int], below: int = NEVER) -> list[int]:
    """The ids of a chunk: neighbours that together have the lowest rank are joined, the leftmost first, to the end.

    `below` leaves out the ranks from there on.
    """
    return (_merge_short if len(chunk) < LONG else _merge_long)(chunk, ranks, below)


def _merge_short(chunk: bytes, ranks: Mapping[bytes, int], below: int) -> list[int]:
    parts, get = [BYTES[i] for i in chunk], ranks.get
    joined = [get(a + b, NEVER) for a, b in pairwise(parts)]
    while joined and (lowest := min(joined)) < below:
        i = joined.index(lowest)
        parts[i] += parts.pop(i + 1)
        del joined[i]
        if i < len(joined):
            joined[i] = get(parts[i] + parts[i + 1], NEVER)
        if i:
            joined[i - 1] = get(parts[i - 1] + parts[i], NEVER)
    return [ranks[part] for part in parts]


def _merge_long(chunk: bytes, ranks: Mapping[bytes, int], below: int) -> list[int]:
    """The same in time n log n: a linked list of starts, and a heap of the candidates rank * n + start."""
    n = len(chunk)
    # the starts of each token's neighbours; the last entry belongs to start -1, which is before the chunk
    before, after = list(range(-1, n)), [*range(1, n + 1), n]
    joined = [ranks.get(chunk[i : i + 2], NEVER) for i in range(n - 1)] + [NEVER] * 2
    heap = [rank * n + i for i, rank in enumerate(joined) if rank < below]
    heapify(heap)
    while heap:
        rank, i = divmod(heappop(heap), n)
        if joined[i] != rank:  # one of the two was joined with its other neighbour
            continue
        joined[after[i]] = NEVER
        after[i] = after[after[i]]
        before[after[i]] = i
        for k in (before[i], i):
            joined[k] = ranks.get(chunk[k : after[after[k]]], NEVER) if after[k] < n else NEVER
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
        if len(raw) < LONG:
            if len(self) >= CACHED:
                self.clear()
            self[chunk] = ids
        return ids
