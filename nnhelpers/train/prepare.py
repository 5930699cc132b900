"""A text of any size as a file of token ids, read through a memory map: the text is never in memory as a whole.

Beside `name.bin`, the bare ids (uint16 or uint32), stands `name.json`: their type and number, the vocabulary's size
and what they were made from. It is taken away first and written last, so ids without it were not finished.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .batches import text_windows
from .data import CharTokenizer
from .evaluation import NO_TARGET, token_nll
from .files import BLOCK, StrPath, read_json, text_pieces, write_json

FORMAT = "nnhelpers.tokens 1"
CHARACTERS = "nnhelpers.characters 1"


def read_blocks(path: StrPath, size: int = BLOCK) -> Iterator[str]:
    """A UTF-8 file as `data.read_text` gives it (newlines alone, no byte-order mark), `size` characters at a time.

    Raises `FileNotFoundError`, or `ValueError` if it is not UTF-8.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; give the path of a text file")
    with open(path, encoding="utf-8-sig") as file:
        try:
            while block := file.read(size):
                yield block
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{Path(path).name} is not UTF-8 text: {error.reason}; save it as UTF-8 and try again"
            ) from None


def survey(blocks: Iterable[str]) -> tuple[str, str]:
    """The SHA-256 of a text (in UTF-8) and its distinct characters, sorted."""
    digest, characters = hashlib.sha256(), set()
    for block in blocks:
        digest.update(block.encode())
        characters.update(block)
    return digest.hexdigest(), "".join(sorted(characters))


def write_tokens(
    path: StrPath,
    blocks: Iterable[str],
    encode: Callable[[str], Sequence[int]],
    vocab_size: int,
    source: Mapping[str, Any],
) -> None:
    """Encode a text piece by piece into the file `path` (a .bin) and its header; a stop half-way leaves no header.

    `source` says what the ids are made from, as JSON; `open_tokens` asks for the same. Ids outside
    0..vocab_size-1 raise `ValueError`.
    """
    path, n_tokens = Path(path), 0
    dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
    for stale in (path.with_suffix(".json"), path):
        stale.unlink(missing_ok=True)
    with open(path, "xb") as file:
        for piece in tqdm(text_pieces(blocks), "encoding", unit=" pieces", leave=False, delay=2):
            ids = np.asarray(encode(piece), dtype=np.int64)
            if len(ids) and not 0 <= ids.min() <= ids.max() < vocab_size:
                raise ValueError(f"the ids {ids.min()}..{ids.max()} do not fit a vocabulary of {vocab_size}")
            ids.astype(dtype).tofile(file)
            n_tokens += len(ids)
        file.flush()
        os.fsync(file.fileno())
    header = {"format": FORMAT, "dtype": dtype.name, "n_tokens": n_tokens, "vocab_size": vocab_size}
    write_json(path.with_suffix(".json"), {**header, "source": dict(source)})


def open_tokens(path: StrPath, source: Mapping[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
    """The ids (n,) of a file that `write_tokens` finished, memory-mapped, not to be written to; and its header.

    Raises `FileNotFoundError` without the two files, and `ValueError` if they do not belong together, the ids are cut
    short, or they were made from another `source`.
    """
    path = Path(path)
    header = read_json(path.with_suffix(".json"))
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path.with_suffix('.json').name} is not the header of a token file ({FORMAT})")
    if header.get("dtype") not in ("uint16", "uint32") or not isinstance(header.get("n_tokens"), int):
        raise ValueError(f"the header of {path.name} is damaged: {header}")
    if source is not None and header.get("source") != dict(source):
        raise ValueError(f"{path.name} was made from another text or with another tokenizer; make it again")
    expected = header["n_tokens"] * np.dtype(header["dtype"]).itemsize
    if not path.is_file() or path.stat().st_size != expected:
        found = f"{path.stat().st_size:,} bytes" if path.is_file() else "no such file"
        raise ValueError(f"{path.name} should hold {expected:,} bytes, found {found}; make it again")
    if not expected:
        raise ValueError(f"{path.name} holds no tokens; the text was empty")
    return np.memmap(path, dtype=header["dtype"], mode="r"), header


def text_nll(
    model: Callable[[Tensor], Tensor],
    ids: np.ndarray,
    block_size: int,
    batch_size: int = 8192,
    part: tuple[int, int] = (0, 1),
    device: torch.device | str = "cpu",
) -> float:
    """The sum of -ln p over all tokens of a text (n,) but its first, each once; nats.

    The text is read in pieces of about `batch_size` tokens. With `part` = (i, n) only every n-th of them counts, from
    number i on: the sums of all parts are that of the text. All parts run the model equally often, as FSDP needs.
    """
    span, n_targets = max(1, batch_size // block_size) * block_size, len(ids) - 1
    n_rounds, total = math.ceil(n_targets / span / part[1]), 0.0
    for i in range(n_rounds):
        begin = (i * part[1] + part[0]) * span
        counts = begin < n_targets
        begin = begin if counts else 0
        x, y = text_windows(np.array(ids[begin : begin + span + 1], dtype=np.int64), block_size)
        losses = token_nll(model, x.to(device), y.to(device), span).cpu()
        total += losses[y != NO_TARGET].sum().item() if counts else 0.0
    return total


def save_tokenizer(tokenizer: Any, path: StrPath) -> None:
    """Write a `data.CharTokenizer`, or a tokenizer with a `save` of its own, to a JSON file."""
    if isinstance(tokenizer, CharTokenizer):
        write_json(path, {"format": CHARACTERS, "characters": tokenizer.characters})
    else:
        tokenizer.save(path)


def load_tokenizer(path: StrPath, other: Callable[[StrPath], Any]) -> Any:
    """Read what `save_tokenizer` wrote, by `other` if it is no `CharTokenizer`; `ValueError` if it is damaged."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != CHARACTERS:
        return other(path)
    characters = content.get("characters")
    if not isinstance(characters, str) or CharTokenizer(characters).characters != characters:
        raise ValueError(f"the characters in {path} are not sorted and distinct; the file is damaged")
    return CharTokenizer(characters)
