"""Where a text is cut before byte pairs are merged: at special tokens, and between them by a pattern."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

import regex

GPT2_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
GPT4_PATTERN = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}"""
    r"""| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
)
# Unicode's classes and, for ASCII text, the characters of each
CLASSES = {r"\p{L}": "A-Za-z", r"\p{N}": "0-9", r"\s": r" \t\n\r\f\v", r"\S": r"^ \t\n\r\f\v"}
# in the patterns of GPT-2 and GPT-4 no chunk holds a letter or digit and then white space; (?r): the last such place
BORDER = regex.compile(r"(?r)(?<=[\p{L}\p{N}])(?=\s)")


def ascii_pattern(pattern: str) -> re.Pattern[str]:
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
        self.ascii = ascii_pattern(pattern) if known else self.regex

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


def text_pieces(blocks: Iterable[str]) -> Iterator[str]:
    """The same text, cut only where a letter or digit stands before white space: what is encoded at a time.

    The patterns of GPT-2 and GPT-4 cut there in any case, so the ids are those of the whole text; so are a character
    tokenizer's. Byte pairs with another pattern may come out otherwise beside a cut; the text they spell is the same.
    """
    rest = ""
    for block in blocks:
        seen = max(len(rest) - 1, 0)
        rest += block
        if border := BORDER.search(rest, seen):
            yield rest[: border.start()]
            rest = rest[border.start() :]
    if rest:
        yield rest
