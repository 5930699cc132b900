"""A tokenizer of characters, for the models of lectures 2 to 7. It needs no torch."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from pathlib import Path

from .contracts import Special, StrPath
from .files import read_json, write_json

FORMAT = "nnhelpers.characters 1"  # the number changes with the layout of the file


class CharTokenizer:
    """Characters to integers and back. `CharTokenizer(names, boundary=".")` gives '.' the id 0.

    `texts` is one string or many; their distinct characters, sorted, are the vocabulary. The boundary, if one
    is given, marks the start and end of a word and must not occur in the texts.
    """

    def __init__(self, texts: str | Iterable[str], boundary: str | None = None):
        try:
            characters = sorted(set("".join(texts)))
        except TypeError:
            raise TypeError(
                f"a vocabulary is made of one string or many, got {type(texts).__name__}"
            ) from None
        if not characters:
            raise ValueError("a vocabulary needs at least one character, but the texts are empty")
        if boundary is not None and not isinstance(boundary, str):
            raise TypeError(f'the boundary is a character such as ".", or None, got {boundary!r}')
        if boundary is not None and (len(boundary) != 1 or boundary in characters):
            raise ValueError(
                f"the boundary {boundary!r} must be one character that does not occur in the texts"
            )
        self.boundary = boundary
        self.characters = "".join([boundary or "", *characters])
        self._ids = {character: i for i, character in enumerate(self.characters)}

    @property
    def vocab_size(self) -> int:
        return len(self.characters)

    @property
    def ids(self) -> range:
        """All ids, without gaps."""
        return range(self.vocab_size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CharTokenizer):
            return NotImplemented
        return (self.characters, self.boundary) == (other.characters, other.boundary)

    def __hash__(self) -> int:
        return hash((self.characters, self.boundary))

    def __repr__(self) -> str:
        return f"CharTokenizer({self.characters!r}, boundary={self.boundary!r})"

    def encode(self, text: str, allowed_special: Special = "none_raise") -> list[int]:
        """The id of each character; an unknown character raises `ValueError`.

        There are no special tokens, so `allowed_special`, which all tokenizers take, changes nothing.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"encode takes one text, a string, got {type(text).__name__}; for several texts call it for each"
            )
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} in {text[:40]!r} is not in the vocabulary {self.characters!r}; "
                "remove it from the text or build the tokenizer from texts that contain it"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids (a list or a 1-D tensor); an id outside the vocabulary raises `ValueError`."""
        try:
            ids = [operator.index(i) for i in ids]
        except TypeError:
            raise TypeError(
                f"ids are whole numbers, in a list or a 1-D tensor, got {type(ids).__name__}"
            ) from None
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"id {i} is outside the vocabulary of {self.vocab_size} characters")
        return "".join(self.characters[i] for i in ids)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The text of the ids in UTF-8."""
        return self.decode(ids).encode()

    def pieces(self, blocks: Iterable[str]) -> Iterator[str]:
        """The blocks as they are: a character is the same wherever a text is cut."""
        return iter(blocks)

    def save(self, path: StrPath) -> None:
        """Write the vocabulary to a JSON file."""
        write_json(path, {"format": FORMAT, "characters": self.characters, "boundary": self.boundary})

    @classmethod
    def load(cls, path: StrPath) -> CharTokenizer:
        """Read a file that `save` wrote; one that is damaged or of another kind raises `ValueError`."""
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{Path(path).name} does not hold a CharTokenizer ({FORMAT})")
        characters, boundary = content.get("characters"), content.get("boundary")
        if not isinstance(characters, str) or not (boundary is None or isinstance(boundary, str)):
            raise ValueError(f"{Path(path).name} is damaged: its characters are {characters!r}")
        try:
            tokenizer = cls(characters.removeprefix(boundary or ""), boundary)
        except ValueError as error:
            raise ValueError(f"{Path(path).name} is damaged: {error}") from None
        if tokenizer.characters != characters:
            raise ValueError(f"{Path(path).name} is damaged: its characters are not sorted and distinct")
        return tokenizer
