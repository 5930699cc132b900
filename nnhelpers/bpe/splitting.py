"""Where a text is cut before byte pairs are merged: at special tokens, and between them by a pattern.

Everything that depends on the places of these cuts stands here, so a long text that is read in blocks can be cut in
one way only (`Splitter.pieces`).
"""

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
# that of GPT-4o and later models: words with their marks, cut where small letters are followed by capitals
_CAPITALS, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE, _AFTER = r"[^\r\n\p{L}\p{N}]?", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K_PATTERN = (
    rf"{_BEFORE}{_CAPITALS}*{_SMALL}+{_AFTER}|{_BEFORE}{_CAPITALS}+{_SMALL}*{_AFTER}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# the names that stand for a pattern wherever one is asked for
PATTERNS = {"gpt2": GPT2_PATTERN, "gpt4": GPT4_PATTERN, "o200k": O200K_PATTERN, "none": None}

# Unicode's classes, and the ASCII characters of each
ASCII_CLASSES = {r"\p{L}": "A-Za-z", r"\p{N}": "0-9", r"\s": r" \t\n\r\f\v", r"\S": r"^ \t\n\r\f\v"}
ASCII_CLASSES |= {
    r"\p{Lu}": "A-Z",
    r"\p{Ll}": "a-z",
    r"\p{Lt}": "",
    r"\p{Lm}": "",
    r"\p{Lo}": "",
    r"\p{M}": "",
}

# No chunk of these three patterns holds a letter or a digit with white space right after it, and none of the patterns
# looks back: between the two a text can always be cut. (?r) searches from the end, so the last border comes first.
BORDER = regex.compile(r"(?r)(?<=[\p{L}\p{N}])(?=\s)")


def ascii_pattern(pattern: str) -> re.Pattern[str]:
    """One of these three patterns for ASCII text: the same chunks by Python's own `re`, in half the time."""
    # what stands in brackets is at the odd places
    parts = re.split(r"(\[.*?\])", pattern)
    for i, part in enumerate(parts):
        for name, characters in ASCII_CLASSES.items():
            part = part.replace(name, characters if i % 2 else f"[{characters}]")
        parts[i] = part
    return re.compile("".join(parts))


class Splitter:
    """Cuts a text at special tokens, and between them into the matches of a pattern; loses no character.

    `pattern` is a regular expression, one of the names in `PATTERNS`, or None: then nothing is cut between special
    tokens. Where special tokens overlap, the one that begins first counts, and of those the longest.
    """

    def __init__(self, pattern: str | None, special_tokens: Iterable[str]):
        self.pattern = PATTERNS.get(pattern, pattern) if isinstance(pattern, str) else pattern
        self._regex = _compiled(self.pattern)
        has_safe_borders = self.pattern in (GPT2_PATTERN, GPT4_PATTERN, O200K_PATTERN)
        self._ascii = ascii_pattern(self.pattern) if self.pattern and has_safe_borders else self._regex

        longest_first = sorted(special_tokens, key=len, reverse=True)
        for token in longest_first:
            check_text(token)
        if "" in longest_first:
            raise ValueError("a special token needs at least one character")
        alternatives = "|".join(map(regex.escape, longest_first))
        self._special = regex.compile(f"({alternatives})") if alternatives else None

        self._has_safe_borders = has_safe_borders
        # the special tokens that hold a border, each with the border's place in it: they must not be cut there
        self._bordered = [
            (token, border.start()) for token in longest_first for border in BORDER.finditer(token)
        ]
        # so many characters after a border have to be known: white space, or the rest of such a token
        self._reach = max([1, *(len(token) - place for token, place in self._bordered)])

    def parts(self, text: str) -> list[str]:
        """Ordinary text at the even places, special tokens at the odd ones."""
        return self._special.split(text) if self._special else [text]

    def chunks(self, text: str) -> list[str]:
        """The matches of the pattern; `ValueError` if they do not make up the text."""
        pattern = self._ascii if text.isascii() else self._regex
        if pattern is None:
            return [text]
        if pattern.groups:
            chunks = [match.group() for match in pattern.finditer(text)]
        else:
            chunks = pattern.findall(text)
        joined = "".join(chunks)
        if joined != text:
            place = _first_difference(joined, text)
            raise ValueError(
                f"the pattern {self.pattern!r} leaves out {text[place : place + 10]!r} at position {place}; "
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
        """The blocks of one text, cut anew so that the pieces have the special tokens and the chunks of the text.

        The three named patterns allow a cut between a letter or digit and white space, unless a special token
        reaches across. Of any other pattern no such place is known, so the text stays in one piece.
        """
        if not self._has_safe_borders:
            blocks = ["".join(blocks)]
        rest = ""
        for block in blocks:
            # the borders before this place were looked at when the last block came
            seen = max(len(rest) - self._reach, 0)
            rest += block
            if border := self._last_border(rest, seen):
                yield rest[:border]
                rest = rest[border:]
        if rest:
            yield rest

    def _last_border(self, text: str, start: int) -> int:
        """The last place after `start` where `text`, the beginning of a longer one, may be cut; 0 if there is none."""
        if not self._has_safe_borders:
            return 0
        end = max(len(text) - self._reach + 1, 0)
        for match in BORDER.finditer(text, start, end):
            if not self._is_inside_special(text, match.start()):
                return match.start()
        return 0

    def _is_inside_special(self, text: str, border: int) -> bool:
        """Whether a special token stands in the text across this border."""
        return any(
            text.startswith(token, border - place) for token, place in self._bordered if place <= border
        )


def _compiled(pattern: str | None) -> regex.Pattern[str] | None:
    try:
        return None if pattern is None else regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from None


def _first_difference(a: str, b: str) -> int:
    """The first place at which two texts differ; the length of `a` if `b` begins with it."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return len(a)


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
