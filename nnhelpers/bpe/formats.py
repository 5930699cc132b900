"""Vocabularies in other forms: tiktoken's files, the three of the course, Hugging Face's, a readable list."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from ..contracts import StrPath
from ..data import data_folder, read_text
from ..files import check_destination, check_folder, write_bytes
from .splitting import GPT2_PATTERN, GPT4_PATTERN, O200K_PATTERN

END = "<|endoftext|>"
FILL_IN = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
# the vocabularies that come with the course: the pattern and the special tokens of each
BUILT_IN: dict[str, tuple[str, dict[str, int]]] = {
    "gpt2": (GPT2_PATTERN, {END: 50256}),
    "cl100k_base": (GPT4_PATTERN, {END: 100257, **FILL_IN, "<|endofprompt|>": 100276}),
    "o200k_base": (O200K_PATTERN, {END: 199999, "<|endofprompt|>": 200018}),
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


class Vocabulary(Protocol):
    """What is written of a `BPETokenizer`, which stands above this module."""

    pattern: str | None
    special_tokens: dict[str, int]
    vocab: dict[int, bytes]

    @property
    def merges(self) -> dict[tuple[int, int], int]: ...


# ---- tiktoken


def load_ranks(name: StrPath) -> dict[bytes, int]:
    """A byte-pair vocabulary in tiktoken's format: "gpt2", "cl100k_base", "o200k_base" or a path; bytes to rank.

    Ranks may have gaps, which a vocabulary leaves for its special tokens. `ValueError` for a file that is damaged.
    """
    path = data_folder() / f"{name}.tiktoken" if name in BUILT_IN else Path(name)
    ranks: dict[bytes, int] = {}
    lines = read_text(path).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError:
            raise ValueError(
                f"{path.name}, line {number}: expected a token in base64, a space and its rank, got {line[:40]!r}"
            ) from None
    if len(set(ranks.values())) < len(lines):
        raise ValueError(f"{path.name}: a token or a rank stands there twice; the file is damaged")
    if not ranks:
        raise ValueError(f"{path.name} holds no tokens; the file is cut short or damaged")
    return ranks


def write_ranks(path: StrPath, ranks: Mapping[bytes, int]) -> None:
    """Write token bytes and ranks in tiktoken's format, which `load_ranks` reads."""
    check_destination(path)
    lines = [f"{base64.b64encode(token).decode()} {i}\n" for token, i in ranks.items()]
    write_bytes(path, "".join(lines).encode())


# ---- for people


def write_vocabulary(tokenizer: Vocabulary, path: StrPath) -> None:
    r"""Write a list of all tokens that is made for reading, one token a line, its three parts between tabs.

    A line holds the id, the text between quotation marks, and where the token comes from: a byte, two earlier tokens,
    or "special token". What cannot be printed is escaped: \n, \r, \t, \\, and any other byte as \x and two digits.

        97      "a"     byte
        257     "th"    116 "t" + 104 "h"
        1023    "<|endoftext|>" special token
    """
    check_destination(path)
    shown = {i: f'"{readable(token)}"' for i, token in sorted(tokenizer.vocab.items())}
    made_from = {i: f"{a} {shown[a]} + {b} {shown[b]}" for (a, b), i in tokenizer.merges.items()}
    made_from |= dict.fromkeys(tokenizer.special_tokens.values(), "special token")
    lines = [f"{i}\t{text}\t{made_from.get(i, 'byte')}\n" for i, text in shown.items()]
    write_bytes(path, "".join(lines).encode())


def readable(token: bytes) -> str:
    """The token as text on one line; a backslash, and what is not printable or not UTF-8, is escaped."""
    escapes = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\"}
    shown = []
    for character in token.decode("utf-8", "surrogateescape"):
        if character in escapes:
            shown.append(escapes[character])
        elif character.isprintable():
            shown.append(character)
        else:
            shown += [f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape")]
    return "".join(shown)


# ---- Hugging Face


def write_huggingface(tokenizer: Vocabulary, folder: StrPath) -> None:
    """Write tokenizer.json and tokenizer_config.json, which `tokenizers` and `transformers` read, into `folder`.

    They read the pattern with another engine (Oniguruma), which takes GPT-2's and GPT-4's alike. Two kinds of special
    tokens raise `ValueError`, because there they would become other ids or other text: one that is spelled like an
    ordinary token, and one whose characters are all letters of GPT-2's byte alphabet, but not all ASCII.
    """
    folder = Path(folder)
    check_folder(folder)
    special_tokens = tokenizer.special_tokens
    letters = byte_letters()
    ordinary = tokenizer.vocab.keys() - set(special_tokens.values())
    spelled = {i: "".join([letters[byte] for byte in tokenizer.vocab[i]]) for i in sorted(ordinary)}
    _check_special_tokens(special_tokens, set(spelled.values()), set(letters))

    split = {
        "type": "Split",
        "pattern": {"Regex": tokenizer.pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    content = {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": text, **flags} for text, i in special_tokens.items()],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [BYTE_LEVEL] if tokenizer.pattern is None else [split, BYTE_LEVEL],
        },
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in spelled.items()} | special_tokens,
            "merges": [[spelled[a], spelled[b]] for a, b in tokenizer.merges],
        },
    }
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    if END in special_tokens:
        config["bos_token"] = END
        config["eos_token"] = END
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "tokenizer.json", json.dumps(content, ensure_ascii=False).encode())
    write_bytes(folder / "tokenizer_config.json", json.dumps(config, ensure_ascii=False).encode())


def _check_special_tokens(special_tokens: Mapping[str, int], spelled: set[str], letters: set[str]) -> None:
    """Raises `ValueError` for a special token that Hugging Face's libraries would take for another, or misspell."""
    for token in special_tokens:
        if token in spelled:
            raise ValueError(
                f"the special token {token!r} is spelled like an ordinary token, from which Hugging Face's tokenizers "
                "could not tell it; train with another special token"
            )
        # their decoder reads a token letter by letter as bytes if it can, and only otherwise as text
        if letters.issuperset(token) and not token.isascii():
            raise ValueError(
                f"all characters of the special token {token!r} are letters of GPT-2's byte alphabet, so Hugging "
                "Face's tokenizers would decode it to other bytes; train with a special token in ASCII, or with a space"
            )


def byte_letters() -> list[str]:
    """GPT-2's letter for each byte: its Latin-1 character where that is printed, else one from U+0100 on."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = count(256)
    return [chr(i if i in printed else next(spare)) for i in range(256)]
