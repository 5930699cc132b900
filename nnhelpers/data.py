"""The corpora: reading texts, loading the corpora, and splitting them.

Files are looked for in the folder named by `NNHELPERS_DATA`, else in the one that came with the package.
Each loader also takes an explicit path. Nothing is ever downloaded.
"""

from __future__ import annotations

import codecs
import json
import os
import random
import warnings
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from .contracts import StrPath

Item = TypeVar("Item", bound=Hashable)
BLOCK = 2**22  # characters of a text that are read at a time


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


def read_blocks(path: StrPath, size: int = BLOCK) -> Iterator[str]:
    """The text of a UTF-8 file of any size, `size` characters at a time: the one reader of texts in this package.

    Every line end (\\r\\n, \\r) becomes a newline, and a byte-order mark at the start is dropped, so that a text is the
    same text whichever system it was saved on. Raises `FileNotFoundError`, or `ValueError` if it is not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {str(path)!r}; give the path of a text file, or set NNHELPERS_DATA"
        )
    with open(path, encoding="utf-8-sig") as file:
        try:
            while block := file.read(size):
                yield block
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path.name} is not UTF-8 text: {_first_bad_byte(path)}; save it as UTF-8 and try again"
            ) from error


def _first_bad_byte(path: Path) -> str:
    """Where a file that is not UTF-8 stops being it: the byte, and its place in the file."""
    decoder, start = codecs.getincrementaldecoder("utf-8")(), 0
    with open(path, "rb") as file:
        while True:
            raw = file.read(BLOCK)
            kept = decoder.getstate()[0]  # the first bytes of a character that the last block cut
            try:
                decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                bad = (kept + raw)[error.start]
                return f"byte {bad:#04x} at position {start - len(kept) + error.start}"
            start += len(raw)


def read_text(path: StrPath) -> str:
    """The whole text of a UTF-8 file, as `read_blocks` gives it."""
    return "".join(read_blocks(path))


def load_names(path: StrPath | None = None) -> list[str]:
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


def load_shakespeare(path: StrPath | None = None) -> str:
    """The plays as one string. A folder may hold tinyshakespeare instead, under its usual name input.txt."""
    if path is None:
        folder = data_folder()
        found = (folder / name for name in ("shakespeare.txt", "input.txt"))
        path = next((p for p in found if p.is_file()), folder / "shakespeare.txt")
    text = read_text(path)
    if not text:
        raise ValueError(f"{Path(path).name} is empty; it should hold plain text")
    return text


def load_udhr(path: StrPath | None = None) -> dict[str, dict[str, Any]]:
    """The Universal Declaration of Human Rights by language code: name, script, direction and its 30 articles."""
    path = data_folder() / "udhr.json" if path is None else Path(path)
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is not JSON: {error}; make it again with data/build.py") from None


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
    shuffled = [items[k] for k in order]
    return Split(shuffled[:i], shuffled[i:j], shuffled[j:])
