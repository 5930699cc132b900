"""Byte-pair encoding from the command line: `python -m nnhelpers.bpe --help`."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from ..files import write_bytes
from .formats import BUILT_IN
from .splitting import GPT2_PATTERN, GPT4_PATTERN
from .tokenizer import BPETokenizer


def _train(options: argparse.Namespace) -> None:
    pattern = {"gpt2": GPT2_PATTERN, "gpt4": GPT4_PATTERN, "none": None}.get(options.pattern, options.pattern)
    settings = (options.vocab_size, pattern, options.special, options.processes)
    BPETokenizer.train(Path(options.file), *settings, progress=True).save(options.out)


def _encode(options: argparse.Namespace) -> None:
    source = BPETokenizer.from_tiktoken if options.tokenizer in BUILT_IN else BPETokenizer.load
    tokenizer = source(options.tokenizer)
    ids = tokenizer.encode_file(options.file, options.special, progress=True)
    if options.out and options.out.endswith(".npy"):
        import numpy as np

        buffer = io.BytesIO()
        np.save(buffer, np.asarray(ids, dtype=np.min_scalar_type(tokenizer.vocab_size - 1)))
        write_bytes(options.out, buffer.getvalue())
    elif options.out:
        write_bytes(options.out, (" ".join(map(str, ids)) + "\n").encode())
    else:
        print(*ids)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m nnhelpers.bpe", description="byte-pair encoding of files")
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train", help="learn a vocabulary from a text file")
    train.add_argument("file")
    train.add_argument("--vocab-size", type=int, required=True, help="bytes, merges and special tokens")
    train.add_argument("--out", required=True, help="where the tokenizer goes, as JSON")
    train.add_argument("--pattern", default="gpt4", help="gpt4, gpt2, none or a regular expression")
    train.add_argument("--special", action="append", default=[], metavar="TOKEN", help="once for each token")
    train.add_argument("--processes", type=int, default=1)
    train.set_defaults(run=_train)
    encode = commands.add_parser("encode", help="turn a text file into ids")
    encode.add_argument("tokenizer", help="a file that train made, gpt2 or cl100k_base")
    encode.add_argument("file")
    encode.add_argument("--out", help="an .npy or a text file; without it the ids are printed")
    encode.add_argument("--special", default="none_raise", choices=["none_raise", "none", "all"])
    encode.set_defaults(run=_encode)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all went well; otherwise a sentence on standard error and 1, or 2 from argparse."""
    options = _options(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        try:
            options.run(options)
        except (OSError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
