"""Batches without end, for every kind of model: examples, whole words, and windows of a text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

from .evaluation import NO_TARGET

Batches = Iterable[tuple[Tensor, Tensor]]


def minibatches(
    inputs: Tensor, targets: Tensor, batch_size: int, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end: (inputs (batch_size, ...), targets (batch_size, ...)).

    Each pass deals the examples out in a new order, which depends on the seed and their number alone; the few at
    its end that do not fill a batch are left out of it. A `batch_size` above their number takes all.
    """
    n = len(inputs)
    if n != len(targets) or not n:
        raise ValueError(f"inputs and targets must be equally many and not empty: {n} and {len(targets)}")
    if batch_size < 1:
        raise ValueError(f"a batch holds at least one example, got batch_size={batch_size}")
    return _minibatches(inputs, targets, min(batch_size, n), torch.Generator().manual_seed(seed))


def _minibatches(inputs, targets, batch_size, generator) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        order = _shuffled(len(inputs), generator)
        order = order[: len(order) // batch_size * batch_size]
        for rows in order.split(batch_size):
            yield inputs[rows], targets[rows]


def _shuffled(n: int, generator: torch.Generator) -> Tensor:
    """The numbers 0..n-1 in random order."""
    # torch.rand draws the same numbers in every version of torch; torch.randperm does not promise it
    return torch.rand(n, generator=generator, dtype=torch.float64).argsort(stable=True)


def word_batches(
    inputs: Tensor, targets: Tensor, n_positions: int, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end of whole words (`data.whole_words`), each of words of one length: nothing is padded.

    A batch (B, T) holds about `n_positions` targets, B T of them. Each pass deals the words of each length out anew
    and takes the batches in a new order, which depend on the seed and the words' lengths alone.
    """
    _check_whole_words(inputs, targets, n_positions)
    return _word_batches(inputs, targets, n_positions, torch.Generator().manual_seed(seed))


def _check_whole_words(inputs: Tensor, targets: Tensor, n_positions: int) -> None:
    if inputs.shape != targets.shape or inputs.ndim != 2 or not inputs.numel():
        raise ValueError(
            "inputs and targets are those of data.whole_words, (W, T) both; got shapes "
            f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        )
    if n_positions < 1:
        raise ValueError(f"a batch holds at least one position, got n_positions={n_positions}")
    there = targets != NO_TARGET
    if not (there[:, 0].all() and (there[:, :-1] >= there[:, 1:]).all()):
        raise ValueError(
            "the targets of a word stand at the start of its row, at least one, and -1 only behind them"
        )


def _word_batches(inputs, targets, n_positions, generator) -> Iterator[tuple[Tensor, Tensor]]:
    lengths = (targets != NO_TARGET).sum(dim=1)
    alike = [(int(length), (lengths == length).nonzero().flatten()) for length in lengths.unique()]
    while True:
        batches = []
        for length, words in alike:
            dealt = words[_shuffled(len(words), generator)]
            batches += [(length, rows) for rows in dealt.split(max(1, n_positions // length))]
        for i in _shuffled(len(batches), generator).tolist():
            length, rows = batches[i]
            yield inputs[rows, :length], targets[rows, :length]


def packed_words(
    inputs: Tensor, targets: Tensor, n_positions: int, seed: int = 0, row: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end of whole words (`data.whole_words`) end to end: inputs and targets (1, n).

    Words of all lengths stand together and nothing is padded; the model has to look no further back than the
    boundary at which a word begins (`start_id=0` of `wavenet.WaveNet` and `gpt.GPTConfig`). A batch ends with the first
    word that brings it to `n_positions`; each pass takes the words in a new order, and leaves out the last batch if it
    is not full. A model that reads a limited length gets rows of `row` positions instead, (B, row), each of as many
    whole words as fit; behind them inputs are 0 and targets -1.
    """
    _check_whole_words(inputs, targets, n_positions)
    if row is not None and row < inputs.shape[1]:
        raise ValueError(f"a row of {row} positions does not hold the longest word, of {inputs.shape[1]}")
    return _packed_words(inputs, targets, n_positions, row, torch.Generator().manual_seed(seed))


def _packed_words(inputs, targets, n_positions, row, generator) -> Iterator[tuple[Tensor, Tensor]]:
    there = targets != NO_TARGET
    lengths = there.sum(dim=1)
    while True:
        order = _shuffled(len(inputs), generator)
        before = lengths[order].cumsum(dim=0) - lengths[order]  # positions that stand before each word
        batch = before // n_positions  # the batch of each word; a long word may leave the next one empty
        batch = batch[batch < max(1, int(lengths.sum()) // n_positions)]  # of the full ones
        n_words = [n for n in torch.bincount(batch).tolist() if n]
        for words in order[: len(batch)].split(n_words):
            x, y = inputs[words][there[words]][None], targets[words][there[words]][None]
            yield (x, y) if row is None else _in_rows(x[0], y[0], lengths[words].tolist(), row)


def _in_rows(x: Tensor, y: Tensor, lengths: list[int], row: int) -> tuple[Tensor, Tensor]:
    """Words of these lengths, end to end in x and y (n,), dealt out to rows of `row` positions."""
    places, place = [], 0
    for length in lengths:
        if place % row + length > row:  # does not fit any more: the next row
            place += row - place % row
        places.append(torch.arange(place, place + length))
        place += length
    n_rows, places = -(-place // row), torch.cat(places)
    inputs, targets = x.new_zeros(n_rows * row), y.new_full((n_rows * row,), NO_TARGET)
    inputs[places], targets[places] = x, y
    return inputs.view(n_rows, row), targets.view(n_rows, row)


def steps_since(ids: Tensor, start_id: int, before: Tensor | None = None) -> Tensor:
    """How many steps ago the last `start_id` stood, (B, T); the beginning of a row counts as one.

    `before` (B,) is the answer for the ids just before these, where they go on a row.
    """
    steps = torch.arange(ids.shape[1], device=ids.device)
    last = torch.where(ids == start_id, steps, -1).cummax(dim=1).values  # -1: not in these ids
    earlier = 0 if before is None else 1 + before[:, None]
    return torch.where(last < 0, steps + earlier, steps - last)


def text_windows(ids: Tensor, block_size: int) -> tuple[Tensor, Tensor]:
    """A text (n,) cut into blocks, one after the other: inputs and targets (ceil((n - 1) / block_size), block_size).

    Every token but the first is a target once, which makes a full pass over a split; behind the end the inputs are
    0 and the targets -1, no target.
    """
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if ids.ndim != 1 or len(ids) < 2 or block_size < 1:
        raise ValueError(
            f"a text of at least two ids (n,) and a block of at least one are needed, got shape {tuple(ids.shape)} "
            f"and block_size={block_size}"
        )
    missing = -(len(ids) - 1) % block_size
    inputs = F.pad(ids[:-1], (0, missing)).view(-1, block_size)
    return inputs, F.pad(ids[1:], (0, missing), value=NO_TARGET).view(-1, block_size)


def text_batches(
    ids: Tensor, block_size: int, batch_size: int, seed: int = 0, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches without end of windows at random places of a text (n,): inputs and targets (batch_size, block_size).

    Batch number i depends on `seed` and i alone, so a training that is taken up again at batch `start` goes on as if it
    had never stopped. `ids` may be a numpy array, memory-mapped, too.
    """
    if len(ids) <= block_size or block_size < 1 or batch_size < 1:
        raise ValueError(
            f"windows of block_size={block_size} and the token behind them do not fit a text of {len(ids)} tokens, "
            f"or batch_size={batch_size} is below 1; use a longer text or a shorter block"
        )
    return _text_batches(ids, block_size, batch_size, seed, start)


def _text_batches(ids, block_size, batch_size, seed, start) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator()
    offsets = torch.arange(block_size + 1)
    for i in count(start):
        generator.manual_seed(seed * 1_000_003 + i)
        begins = torch.rand(batch_size, generator=generator, dtype=torch.float64) * (len(ids) - block_size)
        places = begins.long()[:, None] + offsets  # (batch_size, block_size + 1)
        windows = ids[places] if isinstance(ids, Tensor) else torch.from_numpy(ids[places.numpy()])
        # copies: what is written into the one must not appear in the other
        yield tuple(part.to(torch.int64, copy=True) for part in (windows[:, :-1], windows[:, 1:]))
