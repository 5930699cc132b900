"""The command line of training: `python -m nnhelpers.train --help`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..sampling import complete
from ..terminal import say
from .loading import load_run
from .processes import SharedError
from .run import train
from .settings import Settings, read_flags

# a line between two samples
BETWEEN_SAMPLES = "-" * 15


def main(arguments: Sequence[str] | None = None) -> int:
    """0; 130 or 143 after Ctrl-C or SIGTERM; 2 for bad input, 1 if the training failed."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments[:1] == ["sample"]:
            return _sample(arguments[1:])
        return _train(read_flags(arguments))
    except SharedError as error:
        _complain(f"error: {error}")
        return 2
    except (ValueError, OSError) as error:
        _complain_of_mine(error)
        return 2
    except (FloatingPointError, torch.OutOfMemoryError) as error:
        _complain_of_mine(error)
        return 1


def _train(settings: Settings) -> int:
    command = f"python -m nnhelpers.train --resume --out {shlex.quote(settings.out)}"
    try:
        log = train(settings)
    except KeyboardInterrupt:
        saved = (Path(settings.out) / "last.safetensors").is_file()
        advice = (
            f"{command} goes on from the last checkpoint" if saved else "nothing was saved yet: start again"
        )
        _complain(f"stopped at once; {advice}")
        return 130
    if log.signal:
        _say(f"stopped after step {len(log.losses):,}; {command} goes on")
        return 128 + log.signal
    _say(f"{log.sample}\n")
    _say(f"best: {log.best_loss:.4f} nats a token, at step {log.best_step:,}; {log.seconds:.1f} seconds")
    return 0


def _sample(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m nnhelpers.train sample", description="Print what a trained model writes."
    )
    parser.add_argument("folder", help="folder of a run")
    parser.add_argument("--number", type=int, default=1, help="number of samples (1)")
    parser.add_argument("--prompt", default="\n", help="text that the sample goes on from (a newline)")
    parser.add_argument("--tokens", type=int, default=300, help="number of tokens to add (300)")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder (1.0)")
    parser.add_argument("--top-k", type=int, help="draw from the so many most likely tokens only")
    parser.add_argument(
        "--top-p", type=float, help="draw from the most likely tokens that reach this probability"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first sample; the next has the next one (0)"
    )
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    options = parser.parse_args(arguments)
    if options.number < 1 or options.tokens < 0:
        raise ValueError(
            f"number must be at least 1 and tokens at least 0, got {options.number} and {options.tokens}"
        )
    try:
        _print_samples(options)
    except KeyboardInterrupt:
        _say("")
        return 130
    except BrokenPipeError:
        # whoever reads, such as head, has seen enough
        return 0
    return 0


def _print_samples(options: argparse.Namespace) -> None:
    """The samples one after another, each piece of their text as it comes."""
    model, tokenizer = load_run(options.folder, options.checkpoint)
    for i in range(options.number):
        if i > 0:
            _say(BETWEEN_SAMPLES)
        complete(
            model,
            tokenizer,
            options.prompt,
            options.tokens,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            seed=options.seed + i,
            on_text=_say_piece,
        )
        _say("")


def _say_piece(text: str) -> None:
    """Print a piece of a text at once, without a new line after it; `BrokenPipeError` if nobody reads any more."""
    if not _print(text, sys.stdout, end=""):
        raise BrokenPipeError


def _say(text: str) -> None:
    """Print on standard output, once for all processes."""
    _print(text, sys.stdout)


def _complain(text: str) -> None:
    _print(text, sys.stderr)


def _complain_of_mine(error: Exception) -> None:
    """Every process says what went wrong in it; which one it is, where there are several."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    where = f" (process {os.environ.get('RANK', '0')})" if several else ""
    say(f"error{where}: {error}", stream=sys.stderr)


def _print(text: str, stream: Any, end: str = "\n") -> bool:
    """Print in the first process; False if its reader has left."""
    if os.environ.get("RANK", "0") == "0":
        return say(text, end, stream)
    return True


if __name__ == "__main__":
    sys.exit(main())
