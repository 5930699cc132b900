"""Lecture 8: byte-level byte-pair encoding, the tokenizer of GPT-2 and GPT-4. It needs no torch.

A pattern cuts the text into chunks. In the UTF-8 bytes of each, the two neighbours whose pair was merged first in
training are merged first again (Gage 1994; Sennrich et al. 2016; on bytes: Radford et al. 2019, GPT-2).
"""

from __future__ import annotations

import codecs
import json
import warnings
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, count, islice
from operator import index
from typing import Any

from ..contracts import Special, StrPath
from ..files import check_destination, read_json, write_bytes
from .formats import (
    BUILT_IN,
    load_ranks,
    write_huggingface,
    write_ranks,
    write_vocabulary,
)
from .learning import Pair, count_chunks, file_blocks, learn_merges, read_texts
from .merging import BYTES, ChunkCache, merge
from .splitting import GPT4_PATTERN, PATTERNS, Splitter, check_text

# the number changes with the layout of the file: the second also lists the gaps between the ids
FORMAT, FORMAT_WITH_GAPS = "nnhelpers.bpe 1", "nnhelpers.bpe 2"
# ids have four bytes, here as in tiktoken, where the largest number means "no token"
ID_LIMIT = 2**32 - 1


class BPETokenizer:
    """Text to ids and back; made by `train`, `load` or `from_tiktoken`.

    `ranks` holds each token's bytes and id: the 256 bytes in any order, then the tokens in the order of training.
    `pattern` cuts a text into chunks: a regular expression, "gpt2", "gpt4" or "o200k" for theirs, or None, which
    leaves a text whole. `special_tokens` holds their ids, which may lie anywhere: before the others, between or after
    them. Ids may have gaps, numbers that stand for no token. `vocab_size` is the largest id plus one, gaps included, as
    tiktoken's `n_vocab`: so many rows an embedding needs. Tokenizers with the same tokens, pattern and special tokens
    are equal. Bad arguments raise `ValueError`.

    >>> tokenizer = BPETokenizer.train("aaabdaaabac", 259)
    >>> tokenizer.encode("aaab!"), tokenizer.decode([258, 33])
    ([258, 33], 'aaab!')
    """

    def __init__(
        self, ranks: Mapping[bytes, int], pattern: str | None, special_tokens: Mapping[str, int] | None = None
    ):
        if special_tokens is not None and not isinstance(special_tokens, Mapping):
            raise ValueError(
                f'special_tokens is a mapping to ids, such as {{"<|endoftext|>": 50256}}, got {special_tokens!r}'
            )
        self.special_tokens = dict(special_tokens or {})
        self._ranks = dict(sorted(ranks.items(), key=lambda item: item[1]))
        self._check_ids()
        self._splitter = Splitter(pattern, self.special_tokens)
        self.pattern = self._splitter.pattern
        self._cache = ChunkCache(self._ranks)
        self.vocab = {i: token for token, i in self._ranks.items()}
        self.vocab |= {i: token.encode() for token, i in self.special_tokens.items()}
        self.vocab_size = max(self.vocab) + 1

    @property
    def ids(self) -> Collection[int]:
        """All ids that stand for a token; the numbers between them are gaps."""
        return self.vocab.keys()

    def __repr__(self) -> str:
        names = {pattern: name for name, pattern in PATTERNS.items() if pattern is not None}
        pattern = self.pattern if self.pattern is None else names.get(self.pattern, self.pattern)
        return (
            f"BPETokenizer(vocab_size={self.vocab_size}, pattern={pattern!r}, "
            f"special_tokens={self.special_tokens!r})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BPETokenizer):
            return NotImplemented
        mine = (self._ranks, self.pattern, self.special_tokens)
        return mine == (other._ranks, other.pattern, other.special_tokens)

    def __hash__(self) -> int:
        return hash((self.vocab_size, self.pattern, frozenset(self.special_tokens.items())))

    def _check_ids(self) -> None:
        special_ids = self.special_tokens.values()
        ids = [*self._ranks.values(), *special_ids]
        for i in ids:
            if type(i) is not int or not 0 <= i < ID_LIMIT:
                raise ValueError(f"ids are whole numbers from 0 to {ID_LIMIT - 1:,}, got {i!r}")
        if set(islice(self._ranks, 256)) != set(BYTES):
            raise ValueError("the first 256 tokens are not the 256 bytes")
        if len(set(self._ranks.values())) < len(self._ranks):
            raise ValueError("two tokens have the same id")
        if len(set(ids)) < len(ids):
            raise ValueError(
                f"special tokens need ids of their own, which no other token has: {self.special_tokens}"
            )

    @classmethod
    def train(
        cls,
        source: StrPath | Iterable[str],
        vocab_size: int,
        pattern: str | None = GPT4_PATTERN,
        special_tokens: Collection[str] = (),
        processes: int = 1,
        progress: bool = False,
    ) -> BPETokenizer:
        """Learn a vocabulary from one text, from many, or from the file that a `Path` names.

        `vocab_size` counts the 256 bytes, the merges and the special tokens, whose ids come after the merges, in their
        order; those of a set are sorted. Each merge takes the most frequent pair, of equally frequent ones the
        smaller. No token spans two texts or two chunks, and none holds a part of a special token. `pattern` is as in
        the constructor. A file is read as by `data.read_blocks`: UTF-8, every line end a newline, no byte-order mark.
        `processes` share the counting; the merges stay the same. (New processes read a script anew: it then needs
        `if __name__ == "__main__":`.)

        A text with too few pairs ends the training early, with a warning. `ValueError` is raised for a str that is the
        path of an existing file, special tokens with ids, a pattern that leaves out part of the text, and a size below
        256 plus the special tokens.
        """
        names = _names_in_order(special_tokens)
        n_merges = index(vocab_size) - 256 - len(names)
        if n_merges < 0 or processes < 1:
            raise ValueError(
                f"vocab_size must be at least 256 for the bytes plus {len(names)} for the special tokens, "
                f"and processes at least 1; got {vocab_size} and {processes}"
            )
        splitter = Splitter(pattern, names)
        texts = read_texts(source, splitter, progress)
        counts = count_chunks(texts, splitter, processes)
        merges = learn_merges(counts, n_merges, progress)
        n_tokens = 256 + len(merges)
        if len(merges) < n_merges:
            warnings.warn(
                f"the text allowed {len(merges):,} of {n_merges:,} merges; the vocabulary has "
                f"{n_tokens + len(names):,} tokens, not {vocab_size:,}",
                stacklevel=2,
            )
        special_ids = {name: i for i, name in enumerate(names, start=n_tokens)}
        triples = [(a, b, new) for new, (a, b) in enumerate(merges, start=256)]
        return cls._from_merges(triples, dict(enumerate(BYTES)), pattern, special_ids)

    @classmethod
    def _from_merges(
        cls,
        merges: Iterable[tuple[int, int, int]],
        byte_tokens: Mapping[int, bytes],
        pattern: str | None,
        special_tokens: Mapping[str, int],
    ) -> BPETokenizer:
        """The tokenizer of these merges (left id, right id, new id), which begin with the single bytes."""
        tokens = dict(byte_tokens)
        for a, b, new in merges:
            tokens[new] = tokens[a] + tokens[b]
        ranks = {token: i for i, token in tokens.items()}
        if len(ranks) < len(tokens):
            raise ValueError("two ids stand for the same bytes")
        return cls(ranks, pattern, special_tokens)

    @cached_property
    def merges(self) -> dict[Pair, int]:
        """Each merged pair and the id it became, in the order of training; found from the tokens alone."""
        merges: dict[Pair, int] = {}
        for token, i in islice(self._ranks.items(), 256, None):
            parts = merge(token, self._ranks, below=i)
            if len(parts) != 2:
                raise ValueError(f"the token {token!r} with id {i} is not made of two earlier tokens")
            merges[parts[0], parts[1]] = i
        return merges

    def encode(self, text: str, allowed_special: Special = "none_raise") -> list[int]:
        """The ids of a text; `ValueError` for a lone surrogate.

        A special token in the text becomes its id if `allowed_special` is "all" or a set that holds it, and is
        ordinary text with "none". Otherwise, and for all with "none_raise", it raises `ValueError`: a stranger's
        text must not be able to make one. Where special tokens overlap, the longest counts.
        """
        check_text(text)
        allowed = self._allowed(allowed_special)
        if allowed is None or not any(token in text for token in self.special_tokens):
            return self._encode_ordinary(text)
        ids: list[int] = []
        for i, part in enumerate(self._splitter.parts(text)):
            # special tokens are at the odd places
            if i % 2 == 0:
                ids += self._encode_ordinary(part)
            elif part in allowed:
                ids.append(self.special_tokens[part])
            else:
                raise ValueError(
                    f"the text contains the special token {part!r}; allow it with allowed_special={{{part!r}}}, or "
                    'take it for ordinary text with allowed_special="none"'
                )
        return ids

    def _allowed(self, allowed_special: Special) -> Collection[str] | None:
        """The special tokens that may be made; None if they are ordinary text."""
        if allowed_special == "all":
            return self.special_tokens
        if allowed_special == "none":
            return None
        if allowed_special == "none_raise":
            return ()
        if not isinstance(allowed_special, str) and set(allowed_special) <= self.special_tokens.keys():
            return allowed_special
        raise ValueError(
            f'allowed_special is "all", "none", "none_raise" or a set of {list(self.special_tokens)}, '
            f"got {allowed_special!r}"
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        return list(chain.from_iterable(map(self._cache.__getitem__, self._splitter.chunks(text))))

    def encode_batch(self, texts: Iterable[str], allowed_special: Special = "none_raise") -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        if isinstance(texts, str):
            raise TypeError("encode_batch takes many texts, got one str; use encode, or [text]")
        return [self.encode(text, allowed_special) for text in texts]

    def encode_file(
        self, path: StrPath, allowed_special: Special = "none_raise", progress: bool = False
    ) -> array[int]:
        """The ids of a file of any size, four bytes each: those of `encode(data.read_text(path))`.

        The file is UTF-8; every line end in it becomes a newline, and a byte-order mark is dropped.
        """
        ids = array("I")
        for piece in self.pieces(file_blocks(path, progress)):
            ids.extend(self.encode(piece, allowed_special))
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids, a list or a 1-D array; an id that is not in the vocabulary raises `ValueError`."""
        try:
            return b"".join([self.vocab[i] for i in map(index, ids)])
        except KeyError as error:
            raise ValueError(self._why_not(error.args[0])) from None

    def _why_not(self, i: int) -> str:
        """Why the id `i` stands for no token."""
        if 0 <= i < self.vocab_size:
            last = self.vocab_size - 1
            return f"id {i} stands for no token: it lies in a gap of the vocabulary, whose ids go to {last}"
        return f"id {i} is not in the vocabulary of {self.vocab_size:,} ids"

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """The text of the ids. Bytes that are not UTF-8 become U+FFFD, or raise `ValueError` with errors="strict"."""
        return self.decode_bytes(ids).decode("utf-8", errors)

    def stream(self, ids: Iterable[int], errors: str = "replace") -> Iterator[str]:
        """The text that `decode` gives, in pieces, each as soon as its code points are complete."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors)
        for i in ids:
            if piece := decoder.decode(self.decode_bytes([i])):
                yield piece
        if piece := decoder.decode(b"", final=True):
            yield piece

    def pieces(self, blocks: Iterable[str]) -> Iterator[str]:
        """The blocks of one long text, cut anew: the ids of the pieces, end to end, are those of the text.

        With another pattern than GPT-2's or GPT-4's no place is known where a text can be cut: it stays in one piece.
        """
        return self._splitter.pieces(blocks)

    def save(self, path: StrPath) -> None:
        """Write all of the tokenizer to a JSON file; its merges are written as [left id, right id, new id].

        Where the ids of ordinary tokens have gaps, the file lists the first and the last number of each.
        """
        check_destination(path)
        gaps = _gaps(self._ranks.values())
        content = {
            "format": FORMAT_WITH_GAPS if gaps else FORMAT,
            "pattern": self.pattern,
            "special_tokens": self.special_tokens,
            "bytes": [token[0] for token in islice(self._ranks, 256)],
            "merges": [[a, b, new] for (a, b), new in self.merges.items()],
        }
        if gaps:
            content["gaps"] = gaps
        write_bytes(path, json.dumps(content, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: StrPath) -> BPETokenizer:
        """Read a file that `save` wrote; one that is damaged or of another kind raises `ValueError`."""
        try:
            content = read_json(path)
            if not _is_huggingface(content):
                return cls._from_content(content)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"{path} is no tokenizer that `save` wrote, or is damaged: {error}") from None
        raise ValueError(
            f"{path}: this is Hugging Face's format; read it with nnhelpers.huggingface.load_tokenizer"
        )

    @classmethod
    def _from_content(cls, content: Any) -> BPETokenizer:
        """The tokenizer that the JSON of `save` describes."""
        for key in ("format", "pattern", "special_tokens", "bytes", "merges"):
            if key not in content:
                raise ValueError(f"it has no {key!r}")
        if content["format"] not in (FORMAT, FORMAT_WITH_GAPS):
            raise ValueError(f"its format is {content['format']!r}, not {FORMAT!r} or {FORMAT_WITH_GAPS!r}")
        gaps = content["gaps"] if content["format"] == FORMAT_WITH_GAPS else []
        _check_gaps(gaps)
        ids = _ids_around(gaps)
        if len(content["bytes"]) != 256:
            raise ValueError(f"it has {len(content['bytes'])} bytes, not 256")
        byte_tokens = {i: BYTES[byte] for i, byte in zip(islice(ids, 256), content["bytes"], strict=True)}
        known = set(byte_tokens)
        for (a, b, new), i in zip(content["merges"], ids, strict=False):
            if new != i or a not in known or b not in known:
                raise ValueError(f"{[a, b, new]} stands where two earlier ids should make {i}")
            known.add(i)
        tokenizer = cls._from_merges(
            content["merges"], byte_tokens, content["pattern"], content["special_tokens"]
        )
        if list(tokenizer.merges) != [(a, b) for a, b, _ in content["merges"]]:
            raise ValueError("its merges stand in an order that no training makes")
        if _gaps(tokenizer._ranks.values()) != gaps:
            raise ValueError(f"its gaps are not those between its ids: {gaps}")
        return tokenizer

    @classmethod
    def from_tiktoken(
        cls,
        path_or_name: StrPath,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
    ) -> BPETokenizer:
        """The vocabulary "gpt2", "cl100k_base" or "o200k_base", or one from a file in tiktoken's format.

        The first three come with their pattern and special tokens. A file holds neither: pass those that it was made
        with, or its texts are not cut at all. A special token may have any id that the file leaves free.
        """
        if path_or_name in BUILT_IN:
            default_pattern, default_tokens = BUILT_IN[str(path_or_name)]
            pattern = default_pattern if pattern is None else pattern
            special_tokens = default_tokens if special_tokens is None else special_tokens
        return cls(load_ranks(path_or_name), pattern, special_tokens)

    def to_tiktoken(self, path: StrPath) -> None:
        """Write the tokens in tiktoken's format, which holds neither the pattern nor the special tokens."""
        write_ranks(path, self._ranks)

    def to_huggingface(self, folder: StrPath) -> None:
        """Write the tokenizer for `tokenizers` and `transformers`; see `formats.write_huggingface`."""
        write_huggingface(self, folder)

    def write_vocabulary(self, path: StrPath) -> None:
        """Write a list of all tokens for people to read, one a line; see `formats.write_vocabulary`."""
        write_vocabulary(self, path)


def _names_in_order(special_tokens: Collection[str]) -> Sequence[str]:
    """The special tokens to train with, each once; a set, which has no order, is sorted."""
    if isinstance(special_tokens, str):
        return [special_tokens]
    if isinstance(special_tokens, Mapping):
        raise ValueError(
            f"training gives special tokens the ids after the merges; pass {list(special_tokens)}, "
            f"without ids, got {special_tokens!r}"
        )
    if isinstance(special_tokens, set | frozenset):
        return sorted(special_tokens)
    return list(dict.fromkeys(special_tokens))


def _gaps(ids: Iterable[int]) -> list[list[int]]:
    """The first and the last number of each gap in ids that ascend from 0.

    >>> _gaps([0, 1, 4, 5, 7])
    [[2, 3], [6, 6]]
    """
    gaps = []
    expected = 0
    for i in ids:
        if i > expected:
            gaps.append([expected, i - 1])
        expected = i + 1
    return gaps


def _check_gaps(gaps: Sequence[Sequence[int]]) -> None:
    start = 0
    for first, last in gaps:
        if not start <= first <= last:
            raise ValueError(f"its gaps are not in ascending order: {gaps}")
        start = last + 1


def _ids_around(gaps: Sequence[Sequence[int]]) -> Iterator[int]:
    """0, 1, 2, … without end, but for the numbers in the gaps."""
    start = 0
    for first, last in gaps:
        yield from range(start, first)
        start = last + 1
    yield from count(start)


def _is_huggingface(content: Any) -> bool:
    """Whether this is the content of a tokenizer.json of the library `tokenizers`."""
    return isinstance(content, dict) and "format" not in content and "model" in content
