"""Byte-pair encoding from the command line: `python -m nnhelpers.bpe --help`."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..data import read_text
from ..files import check_destination, write_bytes
from ..terminal import say
from .formats import BUILT_IN
from .tokenizer import BPETokenizer

READING = (
    "A text file is read as UTF-8; every line end in it becomes a newline, and a byte-order mark is dropped."
)


def _train(options: argparse.Namespace) -> None:
    _check_out(options)
    tokenizer = BPETokenizer.train(
        Path(options.file),
        options.vocab_size,
        options.pattern,
        options.special,
        options.processes,
        progress=True,
    )
    tokenizer.save(options.out)


def _encode(options: argparse.Namespace) -> None:
    _check_out(options)
    tokenizer = _load(options.tokenizer)
    ids = tokenizer.encode_file(options.file, options.allowed_special, progress=True)
    if options.out is None:
        say(" ".join(map(str, ids)))
    elif options.out.endswith(".npy"):
        write_bytes(options.out, _npy(ids, tokenizer.vocab_size))
    else:
        write_bytes(options.out, (" ".join(map(str, ids)) + "\n").encode())


def _decode(options: argparse.Namespace) -> None:
    _check_out(options)
    tokenizer = _load(options.tokenizer)
    ids = _read_ids(options.file)
    if options.out is None:
        say(tokenizer.decode(ids), end="")
    else:
        write_bytes(options.out, tokenizer.decode_bytes(ids))


def _check_out(options: argparse.Namespace) -> None:
    """Before any work: can the result be written, and would it overwrite what it is made from?"""
    if options.out is None:
        return
    check_destination(options.out)
    out = Path(options.out)
    for path in (options.file, getattr(options, "tokenizer", options.file)):
        if out.exists() and Path(path).exists() and out.samefile(path):
            raise ValueError(f"--out {options.out} is a file that is read; give another path")


def _load(name: str) -> BPETokenizer:
    return BPETokenizer.from_tiktoken(name) if name in BUILT_IN else BPETokenizer.load(name)


def _npy(ids: Sequence[int], vocab_size: int) -> bytes:
    """The ids as an .npy file, in the smallest type that holds the vocabulary."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.asarray(ids, dtype=np.min_scalar_type(vocab_size - 1)))
    return buffer.getvalue()


def _read_ids(path: str) -> Iterable[int]:
    """The ids in a file that `encode` wrote."""
    if not path.endswith(".npy"):
        try:
            return [int(word) for word in read_text(path).split()]
        except ValueError as error:
            raise ValueError(f"{path} should hold ids, whole numbers between spaces: {error}") from None
    import numpy as np

    try:
        ids = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not an .npy file of ids, or is damaged: {error}") from None
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise ValueError(
            f"{path} should hold ids, one row of whole numbers, got {ids.dtype} of shape {ids.shape}"
        )
    return ids


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m nnhelpers.bpe", description=f"Byte-pair encoding of files. {READING}"
    )
    commands = parser.add_subparsers(required=True, metavar="train | encode | decode")

    train = commands.add_parser(
        "train",
        help="learn a vocabulary from a text file",
        description=f"Learn a vocabulary from a text file. {READING}",
    )
    train.add_argument("file", help="the text file to learn from")
    train.add_argument(
        "--vocab-size", type=int, required=True, help="number of tokens: 256 bytes, merges and special tokens"
    )
    train.add_argument("--out", required=True, help="the JSON file to write the tokenizer to")
    train.add_argument(
        "--pattern",
        default="gpt4",
        help="how the text is cut into chunks: gpt4, gpt2, o200k, none or a regular expression (default: gpt4)",
    )
    train.add_argument(
        "--special",
        action="append",
        default=[],
        metavar="TOKEN",
        help="a special token, such as '<|endoftext|>'; give the flag once for each",
    )
    train.add_argument(
        "--processes", type=int, default=1, help="number of processes that count the chunks (default: 1)"
    )
    train.set_defaults(run=_train)

    tokenizer_help = "a file that train wrote, or gpt2, cl100k_base or o200k_base"
    encode = commands.add_parser(
        "encode", help="turn a text file into ids", description=f"Turn a text file into ids. {READING}"
    )
    encode.add_argument("tokenizer", help=tokenizer_help)
    encode.add_argument("file", help="the text file to encode")
    encode.add_argument(
        "--out", help="the file to write the ids to, as NumPy's .npy or else as text (default: print them)"
    )
    encode.add_argument(
        "--allowed-special",
        default="none_raise",
        choices=["none_raise", "none", "all"],
        help="what a special token in the text is: an error (none_raise, the default), ordinary text (none), "
        "or its id (all)",
    )
    encode.set_defaults(run=_encode)

    decode = commands.add_parser(
        "decode",
        help="turn ids into text",
        description="Turn the ids in a file into text. In printed text, bytes that are not UTF-8 are shown as U+FFFD, "
        "and characters that the terminal's encoding cannot hold as escapes.",
    )
    decode.add_argument("tokenizer", help=tokenizer_help)
    decode.add_argument("file", help="a file that encode wrote: an .npy file, or ids between spaces")
    decode.add_argument("--out", help="the file to write the text to, byte for byte (default: print it)")
    decode.set_defaults(run=_decode)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all went well; otherwise a sentence on standard error and 1, or 2 from argparse."""
    options = _options(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = _show_warning
        try:
            options.run(options)
        except (OSError, ValueError) as error:
            say(f"error: {error}", stream=sys.stderr)
            return 1
    return 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"warning: {message}", stream=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
