"""Printing, progress bars, Ctrl-C, and the mode of a model: what long work asks of its surroundings."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tqdm import tqdm
from tqdm.auto import tqdm as notebook_tqdm


def printable(text: str, stream: Any) -> str:
    r"""The text, with an escape such as \u2713 for each character that the stream's encoding cannot hold."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: str, end: str = "\n", stream: Any = None) -> bool:
    """Print the text on standard output, or on another stream; never fatal for what is printed or for who reads it.

    What the stream's encoding cannot hold is escaped. A reader that has left (`... | head`) is not written to any more:
    then, once, the answer is False.
    """
    stream = sys.stdout if stream is None else stream
    try:
        print(printable(text, stream), end=end, file=stream, flush=True)
        return True
    except BrokenPipeError:
        # what is still in the buffer, and all that follows, goes nowhere
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return False


def bars_are_off() -> bool:
    """Whether TQDM_DISABLE is set. tqdm's own reading of the variable does not reach its notebook bars."""
    return os.environ.get("TQDM_DISABLE", "0") not in ("", "0")


def progress_bar(total: int, name: str | None = None, *, shown: bool = True, unit: str = "it") -> tqdm:
    """A progress bar, in a notebook or on a terminal; hidden unless `shown`, and where TQDM_DISABLE is set."""
    hidden = not shown or bars_are_off()
    return notebook_tqdm(total=total, desc=name, unit=unit, unit_scale=unit != "it", disable=hidden)


@contextmanager
def signals_noted(numbers: Sequence[int] = (signal.SIGINT,)) -> Iterator[list[int]]:
    """Inside the block these signals are noted in the list, so that no step is left half done.

    A second Ctrl-C raises `KeyboardInterrupt` as usual. Outside of the main thread, which alone hears signals, nothing
    is noted.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if number == signal.SIGINT and number in noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            # None: the handler was not made in Python, and cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def eval_mode(model: Any) -> Iterator[None]:
    """Inside the block no gradients are kept and `model` is in eval mode; afterwards all is as before.

    Modes are those of an `nn.Module` and of each module in it, or of any object with `training`, `eval()` and
    `train()`. Pass the module itself: a function that calls it hides its mode.
    """
    import torch

    parts = list(model.modules()) if hasattr(model, "modules") else []
    modes = [part.training for part in parts]
    was_training = getattr(model, "training", False)
    if was_training or any(modes):
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if was_training:
            model.train()
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
