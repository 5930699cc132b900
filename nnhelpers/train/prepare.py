"""From a text to the folder of a run: its tokenizer, and its token ids in a file that is read through a memory map.

The ids are the bare numbers in `tokens.bin` (uint16 or uint32). Beside it `tokens.json` holds their type and number,
the vocabulary's size, and what they were made from. It is taken away first and written last, so ids without it were
not finished. The text is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from ..bpe import BUILT_IN, BPETokenizer
from ..characters import CharTokenizer
from ..contracts import StrPath, Tokenizer
from ..data import load_shakespeare, read_blocks
from ..files import read_json, write_json
from .checkpoint import REQUIRED_INFO, check_same, read_checkpoint
from .loading import load_tokenizer
from .settings import MAY_CHANGE, MAY_FALL, USUAL, Settings

FORMAT = "nnhelpers.tokens 1"


def prepare(settings: Settings, given: Tokenizer | None = None) -> None:
    """Put tokenizer.json, tokens.bin and tokens.json into the folder of a run.

    A new run gets a folder without one, and the tokenizer `given` if the run begins with a model that has one; a
    resumed run must find the text and the tokenizer that it began with. Ids that
    are lost, cut short or of another text are made again. Raises `ValueError` or `OSError` before anything is changed.
    """
    out = Path(settings.out)
    saved = read_last(settings)[1]["source"] if settings.resume else None
    if saved is None and (found := sorted(out.glob("*.safetensors"))):
        raise ValueError(f"{out} holds a run ({found[0].name}): add --resume, or take another folder")
    sha256, characters = fingerprint(corpus_blocks(settings.corpus))
    tokenizer = None
    if not saved:
        tokenizer = given or _new_tokenizer(settings.tokenizer, characters)
        _check_characters(tokenizer, characters)
    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob(".*.tmp"):  # what a killed run was writing
        stale.unlink()
    path = out / "tokenizer.json"
    if tokenizer is not None:
        tokenizer.save(path)
    tokenizer = load_tokenizer(path)
    source = {"corpus": sha256, "tokenizer": hashlib.sha256(path.read_bytes()).hexdigest()}
    check_same(saved or source, source)
    try:
        open_tokens(out / "tokens.bin", source)
    except (ValueError, OSError):  # there are none yet, or they are cut short, or of another text
        write_tokens(out / "tokens.bin", corpus_blocks(settings.corpus), tokenizer, source)


def read_last(settings: Settings) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The last checkpoint in the folder of a run, if it is of a run with these settings."""
    tensors, info = read_checkpoint(Path(settings.out) / "last.safetensors", *REQUIRED_INFO)
    fallen = [name for name in MAY_FALL if 0 < getattr(settings, name) <= info["settings"].get(name, 0)]
    check_same(USUAL | info["settings"], asdict(settings), (*MAY_CHANGE, *fallen))
    return tensors, info


def corpus_blocks(corpus: str) -> Iterator[str]:
    """The text of a corpus, block by block: "shakespeare" is the bundled one, all else the path of a file."""
    if corpus == "shakespeare":
        yield load_shakespeare()
    else:
        yield from read_blocks(corpus)


def fingerprint(blocks: Iterable[str]) -> tuple[str, str]:
    """The SHA-256 of a text (in UTF-8) and its distinct characters, sorted."""
    digest, characters = hashlib.sha256(), set[str]()
    for block in blocks:
        digest.update(block.encode())
        characters.update(block)
    return digest.hexdigest(), "".join(sorted(characters))


def _new_tokenizer(name: str, characters: str) -> Tokenizer:
    """ "char", the name of a vocabulary that came with the package, or the path of a tokenizer's file."""
    if name == "char":
        return CharTokenizer(characters)
    if name in BUILT_IN:
        return BPETokenizer.from_tiktoken(name)
    return load_tokenizer(name)


def _check_characters(tokenizer: Tokenizer, characters: str) -> None:
    """Raise `ValueError` if a text with these characters cannot be encoded."""
    known = tokenizer.characters if isinstance(tokenizer, CharTokenizer) else characters
    if unknown := sorted(set(characters) - set(known)):
        some = ", ".join(repr(each) for each in unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise ValueError(
            f"the text holds {len(unknown)} of its {len(characters)} different characters that the tokenizer does not "
            f"know ({some}): take them out of the text, or begin with another model or tokenizer"
        )


def write_tokens(
    path: StrPath, blocks: Iterable[str], tokenizer: Tokenizer, source: Mapping[str, Any]
) -> None:
    """Encode a text piece by piece into the file `path` (a .bin) and its header; a stop half-way leaves no header.

    `source` says what the ids are made from, as JSON; `open_tokens` asks for the same. The corpus is the user's own,
    so special tokens in it are meant as such.
    """
    path, n_tokens = Path(path), 0
    dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
    for stale in (path.with_suffix(".json"), path):
        stale.unlink(missing_ok=True)
    with open(path, "xb") as file:
        pieces = tokenizer.pieces(blocks)
        for piece in tqdm(pieces, "encoding", unit=" pieces", leave=False, delay=2):
            ids = np.asarray(tokenizer.encode(piece, allowed_special="all"), dtype=np.int64)
            if len(ids) and not 0 <= ids.min() <= ids.max() < tokenizer.vocab_size:
                raise ValueError(
                    f"the ids {ids.min()}..{ids.max()} do not fit a vocabulary of {tokenizer.vocab_size}"
                )
            ids.astype(dtype).tofile(file)
            n_tokens += len(ids)
        file.flush()
        os.fsync(file.fileno())
    header = {
        "format": FORMAT,
        "dtype": dtype.name,
        "n_tokens": n_tokens,
        "vocab_size": tokenizer.vocab_size,
        "source": dict(source),
    }
    write_json(path.with_suffix(".json"), header)


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
