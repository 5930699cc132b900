"""Vocabularies of other programs: tiktoken's files, and the two that come with the course."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from ..contracts import StrPath
from ..data import data_folder, read_text
from ..files import write_bytes
from .splitting import GPT2_PATTERN, GPT4_PATTERN

END = "<|endoftext|>"
FILL_IN = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
BUILT_IN = {
    "gpt2": (GPT2_PATTERN, {END: 50256}),
    "cl100k_base": (GPT4_PATTERN, {END: 100257, **FILL_IN, "<|endofprompt|>": 100276}),
}


def load_ranks(name: StrPath) -> dict[bytes, int]:
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


def write_ranks(path: StrPath, ranks: Mapping[bytes, int]) -> None:
    """Write token bytes and ranks in tiktoken's format, which `load_ranks` reads."""
    lines = (f"{base64.b64encode(token).decode()} {i}\n" for token, i in ranks.items())
    write_bytes(path, "".join(lines).encode())
