"""Lecture 8: byte-level byte-pair encoding, the tokenizer of GPT-2 and GPT-4. It needs no torch.

A pattern cuts the text into chunks. In the UTF-8 bytes of each, the two neighbours whose pair was merged first in
training are merged first again (Gage 1994; Sennrich et al. 2016; on bytes: Radford et al. 2019, GPT-2).

    python -m nnhelpers.bpe train FILE --vocab-size 4096 --out tok.json
    python -m nnhelpers.bpe encode tok.json FILE --out ids.npy
"""

from __future__ import annotations

import codecs
import json
import os
import warnings
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, count
from operator import index
from pathlib import Path

from ..contracts import Special, StrPath
from ..files import write_bytes
from .formats import BUILT_IN, END, load_ranks, write_ranks
from .learning import count_chunks, learn_merges, read_texts
from .merging import BYTES, Cache, merge
from .splitting import GPT4_PATTERN, Splitter, check_text

FORMAT = "nnhelpers.bpe 1"  # the number changes with the layout of the file
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


class BPETokenizer:
    """Text to ids and back; made by `train`, `load` or `from_tiktoken`.

    `ranks` holds each token's bytes and id: the 256 bytes in any order, then the tokens in the order of training.
    `pattern` cuts a text into chunks; with None it stays whole. Special tokens have ids above all others;
    `vocab_size` is the largest id plus one. Bad arguments raise `ValueError`.
    """

    def __init__(
        self, ranks: Mapping[bytes, int], pattern: str | None, special_tokens: Mapping[str, int] | None = None
    ):
        self.pattern = pattern
        self.special_tokens = dict(special_tokens or {})
        self._ranks = dict(sorted(ranks.items(), key=lambda item: item[1]))
        self._check_ids()
        self._splitter = Splitter(pattern, self.special_tokens)
        self._cache = Cache(self._ranks)
        self.vocab = {i: token for token, i in self._ranks.items()}
        self.vocab |= {i: token.encode() for token, i in self.special_tokens.items()}
        self.vocab_size = max(self.vocab) + 1

    def _check_ids(self) -> None:
        size, special_ids = len(self._ranks), self.special_tokens.values()
        if list(self._ranks.values()) != list(range(size)):
            raise ValueError("the ids of the tokens are not 0, 1, 2, … without gaps")
        if set(list(self._ranks)[:256]) != set(BYTES):
            raise ValueError("the first 256 tokens are not the 256 bytes")
        distinct = {i for i in special_ids if type(i) is int and i >= size}
        if len(distinct) < len(special_ids):
            raise ValueError(f"special tokens need ids of their own from {size} on: {self.special_tokens}")

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

        `vocab_size` counts the 256 bytes, the merges and the special tokens, whose ids come after the merges. Each
        merge takes the most frequent pair, of equally frequent ones the smaller. No token spans two texts or two
        chunks, and none holds a part of a special token. `processes` share the counting; the merges stay the same.
        (New processes read a script anew: it then needs `if __name__ == "__main__":`.)

        A text with too few pairs ends the training early, with a warning; a pattern that leaves out part of the
        text and a size below 256 plus the special tokens raise `ValueError`.
        """
        if isinstance(special_tokens, str):
            special_tokens = [special_tokens]
        special_tokens = list(dict.fromkeys(special_tokens))
        n_merges = index(vocab_size) - 256 - len(special_tokens)
        if n_merges < 0 or processes < 1:
            raise ValueError(
                f"vocab_size must be at least 256 for the bytes plus {len(special_tokens)} for the special tokens, "
                f"and processes at least 1; got {vocab_size} and {processes}"
            )
        splitter = Splitter(pattern, special_tokens)
        texts = read_texts(source, splitter, progress)
        counts = count_chunks(texts, splitter, processes)
        merges = learn_merges(counts, n_merges, progress)
        if len(merges) < n_merges:
            warnings.warn(
                f"the text allowed {len(merges):,} of {n_merges:,} merges; the vocabulary has "
                f"{256 + len(merges) + len(special_tokens):,} tokens, not {vocab_size:,}",
                stacklevel=2,
            )
        special_ids = dict(zip(special_tokens, count(256 + len(merges)), strict=False))
        return cls._from_merges(merges, range(256), pattern, special_ids)

    @classmethod
    def _from_merges(cls, merges, byte_order, pattern, special_tokens) -> BPETokenizer:
        tokens = [BYTES[i] for i in byte_order]
        for a, b in merges:
            tokens.append(tokens[a] + tokens[b])
        if len(set(tokens)) < len(tokens):
            raise ValueError("two ids stand for the same bytes")
        return cls({token: i for i, token in enumerate(tokens)}, pattern, special_tokens)

    @cached_property
    def merges(self) -> dict[tuple[int, int], int]:
        """Each merged pair and the id it became, in the order of training; found from the tokens alone."""
        merges = {}
        for token, i in self._ranks.items():
            if i >= 256:
                pair = tuple(merge(token, self._ranks, below=i))
                if len(pair) != 2:
                    raise ValueError(f"the token {token!r} with id {i} is not made of two earlier tokens")
                merges[pair] = i
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
        ids = []
        for i, part in enumerate(self._splitter.parts(text)):
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
        names = {"all": self.special_tokens, "none": None, "none_raise": ()}
        if isinstance(allowed_special, str):
            if allowed_special in names:
                return names[allowed_special]
        elif set(allowed_special) <= self.special_tokens.keys():
            return allowed_special
        raise ValueError(
            f'allowed_special is "all", "none", "none_raise" or a set of {list(self.special_tokens)}, '
            f"got {allowed_special!r}"
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        return list(chain.from_iterable(map(self._cache.__getitem__, self._splitter.chunks(text))))

    def encode_batch(self, texts: Iterable[str], allowed_special: Special = "none_raise") -> list[list[int]]:
        """The ids of each text, as `encode` gives them."""
        return [self.encode(text, allowed_special) for text in texts]

    def encode_file(self, path: StrPath, allowed_special: Special = "none_raise", progress=False) -> array:
        """The ids of a UTF-8 file of any size, four bytes each."""
        ids = array("I")
        for piece in read_texts(Path(path), self._splitter, progress):
            ids.extend(self.encode(piece, allowed_special))
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids, a list or a 1-D array; an id that is not in the vocabulary raises `ValueError`."""
        try:
            return b"".join([self.vocab[i] for i in map(index, ids)])
        except KeyError as error:
            raise ValueError(f"id {error} is not in the vocabulary of {self.vocab_size:,} ids") from None

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
        """The blocks of one long text, cut anew: the ids of the pieces, end to end, are those of the text."""
        return self._splitter.pieces(blocks)

    def save(self, path: StrPath) -> None:
        """Write all of the tokenizer to a JSON file; its merges are written as [left id, right id, new id]."""
        content = {
            "format": FORMAT,
            "pattern": self.pattern,
            "special_tokens": self.special_tokens,
            "bytes": [token[0] for token in list(self._ranks)[:256]],
            "merges": [[a, b, new] for (a, b), new in self.merges.items()],
        }
        write_bytes(path, json.dumps(content, ensure_ascii=False).encode())

    @classmethod
    def load(cls, path: StrPath) -> BPETokenizer:
        """Read a file that `save` wrote; one that is damaged or of another kind raises `ValueError`."""
        try:
            content = json.loads(Path(path).read_bytes().decode())
            if content["format"] != FORMAT:
                raise ValueError(f"its format is {content['format']!r}, not {FORMAT!r}")
            for i, (a, b, new) in enumerate(content["merges"], start=256):
                if new != i or not (0 <= a < i and 0 <= b < i):
                    raise ValueError(f"{[a, b, new]} stands where two earlier ids should make {i}")
            pairs = [(a, b) for a, b, _ in content["merges"]]
            made = cls._from_merges(pairs, content["bytes"], content["pattern"], content["special_tokens"])
            if list(made.merges) != pairs:
                raise ValueError("its merges stand in an order that no training makes")
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"{path} is no tokenizer that `save` wrote, or is damaged: {error}") from None
        return made

    @classmethod
    def from_tiktoken(
        cls,
        path_or_name: StrPath,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
    ) -> BPETokenizer:
        """ "gpt2" or "cl100k_base" with its pattern and special tokens, or a vocabulary file in tiktoken's format.

        A file holds neither of the two: pass those that it was made with, or its texts are not cut at all.
        """
        defaults = BUILT_IN.get(path_or_name, (None, None))
        pattern = defaults[0] if pattern is None else pattern
        special_tokens = defaults[1] if special_tokens is None else special_tokens
        return cls(load_ranks(path_or_name), pattern, special_tokens)

    def to_tiktoken(self, path: StrPath) -> None:
        """Write the tokens in tiktoken's format, which holds neither the pattern nor the special tokens."""
        write_ranks(path, self._ranks)

    def to_huggingface(self, folder: StrPath) -> None:
        """Write tokenizer.json and tokenizer_config.json, which `tokenizers` and `transformers` read.

        They read the pattern with another engine (Oniguruma), which takes the two patterns of this module alike. A
        special token that is spelled like an ordinary one raises `ValueError`: there it could not be told apart.
        """
        letters = _byte_letters()
        spelled = ["".join(letters[byte] for byte in token) for token in self._ranks]
        vocab = {token: i for i, token in enumerate(spelled)} | self.special_tokens
        if len(vocab) < len(spelled) + len(self.special_tokens):
            raise ValueError(f"one of {list(self.special_tokens)} is spelled like an ordinary token")
        split = {"type": "Split", "pattern": {"Regex": self.pattern}, "behavior": "Isolated", "invert": False}
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
        steps = [BYTE_LEVEL] if self.pattern is None else [split, BYTE_LEVEL]
        merges = [[spelled[a], spelled[b]] for a, b in self.merges]
        content = {
            "version": "1.0",
            "added_tokens": [{"id": i, "content": text, **flags} for text, i in self.special_tokens.items()],
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
            "decoder": BYTE_LEVEL,
            "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        }
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        if END in self.special_tokens:
            config |= {"bos_token": END, "eos_token": END}
        os.makedirs(folder, exist_ok=True)
        for name, part in (("tokenizer.json", content), ("tokenizer_config.json", config)):
            write_bytes(Path(folder) / name, json.dumps(part, ensure_ascii=False).encode())


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: its Latin-1 character where that is printed, else one from U+0100 on."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = count(256)
    return [chr(i if i in printed else next(spare)) for i in range(256)]
