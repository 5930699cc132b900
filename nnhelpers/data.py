"""The corpora: loading them, splitting them, and turning text into the integers that a model reads.

Files are looked for in the folder named by `NNHELPERS_DATA`, else in the one that came with the package.
Each loader also takes an explicit path. Nothing is ever downloaded.
"""

from __future__ import annotations

import base64
import json
import os
import random
import warnings
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item", bound=Hashable)


def data_folder() -> Path:
    """The folder with the corpora: `NNHELPERS_DATA` if set, else the installed one, else the checkout's data/."""
    if named := os.environ.get("NNHELPERS_DATA"):
        folder = Path(named)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"NNHELPERS_DATA names the folder {named!r}, which does not exist; create it or unset NNHELPERS_DATA"
            )
        return folder
    here = Path(__file__).resolve().parent
    for folder in (here / "corpora", here.parent / "data"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"no corpora beside {here}; set NNHELPERS_DATA to a folder with names.txt")


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a UTF-8 file, with any line ends turned into newlines and a byte-order mark dropped.

    Raises `FileNotFoundError` or `ValueError` with what to do about it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {str(path)!r}; give the path of a text file, or set NNHELPERS_DATA"
        )
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path.name} is not UTF-8 text: byte {raw[error.start]:#04x} at position {error.start}; "
            "save it as UTF-8 and try again"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def load_names(path: str | os.PathLike[str] | None = None) -> list[str]:
    """The names, one a line in the file, each once, in the order of the file (here: most frequent first).

    A file with duplicates, such as the classic makemore names.txt, is accepted: a warning says how many
    lines were dropped, because a name that stood in train and dev at once would flatter every model.
    """
    path = data_folder() / "names.txt" if path is None else Path(path)
    words = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not words:
        raise ValueError(f"{path.name} holds no names; it should hold one name a line")
    unique = list(dict.fromkeys(words))
    if dropped := len(words) - len(unique):
        warnings.warn(f"{path.name}: dropped {dropped:,} duplicates of {len(words):,} lines", stacklevel=2)
    return unique


def load_shakespeare(path: str | os.PathLike[str] | None = None) -> str:
    """The plays as one string. A folder may hold tinyshakespeare instead, under its usual name input.txt."""
    if path is None:
        folder = data_folder()
        found = (folder / name for name in ("shakespeare.txt", "input.txt"))
        path = next((p for p in found if p.is_file()), folder / "shakespeare.txt")
    text = read_text(path)
    if not text:
        raise ValueError(f"{Path(path).name} is empty; it should hold plain text")
    return text


def load_udhr(path: str | os.PathLike[str] | None = None) -> dict[str, dict]:
    """The Universal Declaration of Human Rights by language code: name, script, direction and its 30 articles."""
    path = data_folder() / "udhr.json" if path is None else Path(path)
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is not JSON: {error}; make it again with data/build.py") from None


def load_ranks(name: str | os.PathLike[str]) -> dict[bytes, int]:
    """A byte-pair vocabulary in tiktoken's format: "gpt2", "cl100k_base" or a path; token bytes to rank."""
    path = data_folder() / f"{name}.tiktoken" if name in ("gpt2", "cl100k_base") else Path(name)
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError:
            raise ValueError(
                f"{path.name}, line {number}: expected a token in base64, a space and its rank, got {line[:40]!r}"
            ) from None
    if sorted(ranks.values()) != list(range(len(ranks))) or not ranks:
        raise ValueError(
            f"{path.name}: the ranks are not 0, 1, 2, … without gaps; the file is cut short or damaged"
        )
    return ranks


class CharTokenizer:
    """Characters to integers and back. `CharTokenizer(names, boundary=".")` gives '.' the id 0.

    `texts` is one string or many; their distinct characters, sorted, are the vocabulary. The boundary, if one
    is given, marks the start and end of a word and must not occur in the texts.
    """

    def __init__(self, texts: str | Iterable[str], boundary: str | None = None):
        characters = sorted(set("".join(texts)))
        if not characters:
            raise ValueError("a vocabulary needs at least one character, but the texts are empty")
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

    def encode(self, text: str) -> list[int]:
        """The id of each character; an unknown character raises `ValueError`."""
        try:
            return [self._ids[character] for character in text]
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]!r} in {text[:40]!r} is not in the vocabulary {self.characters!r}; "
                "remove it from the text or build the tokenizer from texts that contain it"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids (a list or a 1-D tensor); an id outside the vocabulary raises `ValueError`."""
        ids = [int(i) for i in ids]
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"id {i} is outside the vocabulary of {self.vocab_size} characters")
        return "".join(self.characters[i] for i in ids)


class Split(NamedTuple):
    """What a model learns from, what its settings are chosen on, and what is looked at once at the end."""

    train: list
    dev: list
    test: list


def split(items: Sequence[Item], seed: int = 42, fractions: tuple[float, float] = (0.8, 0.1)) -> Split:
    """Divide items at random into train, dev and test; `fractions` are the shares of the first two.

    The permutation depends on the seed and the number of items alone, and `items` stays as it was. An item that
    occurs twice raises `ValueError`, because it could land on both sides.
    """
    if len(fractions) != 2:
        raise ValueError(
            f"fractions are two, the shares of train and dev, and the rest is test; got {fractions}"
        )
    if len(set(items)) < len(items):
        raise ValueError(
            f"{len(items) - len(set(items)):,} of {len(items):,} items are duplicates and could land in train and "
            "test at once; drop them first with list(dict.fromkeys(items))"
        )
    first, second = fractions
    if not (first > 0 and second >= 0 and first + second <= 1):
        raise ValueError(f"fractions are the shares of train and dev, such as (0.8, 0.1); got {fractions}")
    rng = random.Random(seed)
    keys = [rng.random() for _ in items]  # only random() itself promises the same numbers in every Python
    order = sorted(range(len(items)), key=keys.__getitem__)
    i, j = round(first * len(items)), round((first + second) * len(items))
    return Split(*([items[k] for k in part] for part in (order[:i], order[i:j], order[j:])))


def context_windows(words: Sequence[str], tokenizer: CharTokenizer, block_size: int) -> tuple[Tensor, Tensor]:
    """Every character of every word, and its end, with the `block_size` characters before it.

    Returns inputs (N, block_size) and targets (N,), int64, with N the number of characters plus one end a word.
    Left of a word's start stands the boundary, so a window never sees another word.
    """
    import torch

    if block_size < 1:
        raise ValueError(
            f"block_size is the number of characters a model sees; it must be at least 1, not {block_size}"
        )
    _check_words(words, tokenizer)
    stream, is_target = [], []
    for word in words:
        ids = tokenizer.encode(word)
        stream += [0] * block_size + ids + [0]
        is_target += [False] * block_size + [True] * (len(ids) + 1)
    windows = torch.tensor(stream).unfold(0, block_size + 1, 1)  # (len(stream) - block_size, block_size + 1)
    windows = windows[torch.tensor(is_target)[block_size:]]  # (N, block_size + 1)
    return windows[:, :-1].contiguous(), windows[:, -1].contiguous()


def whole_words(words: Sequence[str], tokenizer: CharTokenizer) -> tuple[Tensor, Tensor]:
    """Every word once, for a model that predicts at all positions: inputs and targets (W, T), int64.

    T is the length of the longest word and one more. A row of inputs begins with the boundary, a row of targets ends
    with it; behind a shorter word the inputs are 0 and the targets -1, no target. In the order of `context_windows`,
    whose targets are `targets[targets >= 0]`.
    """
    import torch

    _check_words(words, tokenizer)
    rows = [torch.tensor([0, *tokenizer.encode(word), 0]) for word in words]
    inputs = torch.nn.utils.rnn.pad_sequence([row[:-1] for row in rows], batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence([row[1:] for row in rows], batch_first=True, padding_value=-1)
    return inputs, targets


def _check_words(words: Sequence[str], tokenizer: CharTokenizer) -> None:
    if isinstance(words, str) or not len(words):
        raise ValueError(f"words are a list of at least one word, got {words!r}")
    if tokenizer.boundary is None:
        raise ValueError('words need a boundary: build the tokenizer with CharTokenizer(words, boundary=".")')
    if marked := [word for word in words if tokenizer.boundary in word]:
        raise ValueError(
            f"{marked[0]!r} holds the boundary {tokenizer.boundary!r}, which marks where a word ends"
        )
