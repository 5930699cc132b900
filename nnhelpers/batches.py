"""From words and texts to what a model learns from: all examples of a split, and batches without end.

The functions that make batches check their arguments at the call; the generator that each returns has a name of its
own, because the body of a generator runs only when the first batch is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .characters import CharTokenizer
from .contracts import NO_TARGET

Batch = tuple[Tensor, Tensor]  # inputs and targets
Batches = Iterable[Batch]


# All examples of some words, or of a text


def context_windows(words: Sequence[str], tokenizer: CharTokenizer, block_size: int) -> Batch:
    """Every character of every word, and its end, with the `block_size` characters before it.

    Returns inputs (N, block_size) and targets (N,), int64, with N the number of characters plus one end a word.
    Positions before the start of a word hold the boundary; no window contains two words.
    """
    if block_size < 1:
        raise ValueError(
            f"block_size is the number of characters a model sees; it must be at least 1, not {block_size}"
        )
    _check_words(words, tokenizer)
    stream, is_target = [], []
    for word in words:
        ids = tokenizer.encode(word)
        stream += [0] * block_size + ids + [0]
        is_target += [False] * block_size + [True] * (len(ids) + 1)
    windows = torch.tensor(stream).unfold(0, block_size + 1, 1)  # (len(stream) - block_size, block_size + 1)
    windows = windows[torch.tensor(is_target)[block_size:]]  # (N, block_size + 1)
    return windows[:, :-1].contiguous(), windows[:, -1].contiguous()


def whole_words(words: Sequence[str], tokenizer: CharTokenizer) -> Batch:
    """Every word once, for a model that predicts at all positions: inputs and targets (W, T), int64.

    T is the length of the longest word and one more. A row of inputs begins with the boundary, a row of targets ends
    with it. Shorter words are padded at the end: inputs with 0, targets with -1, which every loss leaves out. In the
    order of `context_windows`, whose targets are `targets[targets >= 0]`.
    """
    _check_words(words, tokenizer)
    rows = [torch.tensor([0, *tokenizer.encode(word), 0]) for word in words]
    inputs = torch.nn.utils.rnn.pad_sequence([row[:-1] for row in rows], batch_first=True)
    targets = torch.nn.utils.rnn.pad_sequence(
        [row[1:] for row in rows], batch_first=True, padding_value=NO_TARGET
    )
    return inputs, targets


def text_windows(ids: Tensor | np.ndarray, block_size: int) -> Batch:
    """A text (n,) cut into blocks, one after the other: inputs and targets (ceil((n - 1) / block_size), block_size).

    Every token but the first is a target once, which makes a full pass over a split. The last row is padded at the
    end: inputs with 0, targets with -1, which every loss leaves out.
    """
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if ids.ndim != 1 or len(ids) < 2 or block_size < 1:
        raise ValueError(
            f"a text of at least two ids (n,) and a block of at least one are needed, got shape {tuple(ids.shape)} "
            f"and block_size={block_size}"
        )
    missing = -(len(ids) - 1) % block_size
    inputs = F.pad(ids[:-1], (0, missing)).view(-1, block_size)  # (n_rows, block_size)
    targets = F.pad(ids[1:], (0, missing), value=NO_TARGET).view(-1, block_size)
    return inputs, targets


def _check_words(words: Sequence[str], tokenizer: CharTokenizer) -> None:
    if isinstance(words, str) or not len(words):
        raise ValueError(f"words are a list of at least one word, got {words!r}")
    if tokenizer.boundary is None:
        raise ValueError('words need a boundary: build the tokenizer with CharTokenizer(words, boundary=".")')
    if marked := [word for word in words if tokenizer.boundary in word]:
        raise ValueError(
            f"{marked[0]!r} holds the boundary {tokenizer.boundary!r}, which marks where a word ends"
        )


# Batches without end


def minibatches(inputs: Tensor, targets: Tensor, batch_size: int, seed: int = 0) -> Iterator[Batch]:
    """Batches without end: (inputs (batch_size, ...), targets (batch_size, ...)).

        batches = minibatches(x_train, y_train, batch_size=256, seed=0)
        x, y = next(batches)

    Each pass deals the examples out in a new order, which depends on the seed and their number alone; the few at
    its end that do not fill a batch are left out of it. A `batch_size` above their number takes all.
    """
    n = len(inputs)
    if n != len(targets) or not n:
        raise ValueError(f"inputs and targets must be equally many and not empty: {n} and {len(targets)}")
    if batch_size < 1:
        raise ValueError(f"a batch holds at least one example, got batch_size={batch_size}")
    return _minibatches(inputs, targets, min(batch_size, n), torch.Generator().manual_seed(seed))


def _minibatches(
    inputs: Tensor, targets: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Batch]:
    while True:
        order = _shuffled(len(inputs), generator)
        order = order[: len(order) // batch_size * batch_size]
        for rows in order.split(batch_size):
            yield inputs[rows], targets[rows]


def _shuffled(n: int, generator: torch.Generator) -> Tensor:
    """The numbers 0..n-1 in random order."""
    # torch.rand draws the same numbers in every version of torch; torch.randperm does not promise it
    return torch.rand(n, generator=generator, dtype=torch.float64).argsort(stable=True)


def word_batches(inputs: Tensor, targets: Tensor, n_tokens: int, seed: int = 0) -> Iterator[Batch]:
    """Batches without end of whole words (`whole_words`), each of words of one length: nothing is padded.

    A batch (B, T) holds about `n_tokens` targets, B T of them. Each pass deals the words of each length out anew
    and takes the batches in a new order, which depend on the seed and the words' lengths alone.
    """
    _check_whole_words(inputs, targets, n_tokens)
    return _word_batches(inputs, targets, n_tokens, torch.Generator().manual_seed(seed))


def _check_whole_words(inputs: Tensor, targets: Tensor, n_tokens: int) -> None:
    if inputs.shape != targets.shape or inputs.ndim != 2 or not inputs.numel():
        raise ValueError(
            "inputs and targets are those of whole_words, (W, T) both; got shapes "
            f"{tuple(inputs.shape)} and {tuple(targets.shape)}"
        )
    if n_tokens < 1:
        raise ValueError(f"a batch holds at least one token, got n_tokens={n_tokens}")
    there = targets != NO_TARGET
    if not (there[:, 0].all() and (there[:, :-1] >= there[:, 1:]).all()):
        raise ValueError(
            "the targets of a word stand at the start of its row, at least one, and -1 only after them"
        )


def _word_batches(
    inputs: Tensor, targets: Tensor, n_tokens: int, generator: torch.Generator
) -> Iterator[Batch]:
    lengths = (targets != NO_TARGET).sum(dim=1)
    alike = [(int(length), (lengths == length).nonzero().flatten()) for length in lengths.unique()]
    while True:
        batches = []
        for length, words in alike:
            dealt = words[_shuffled(len(words), generator)]
            batches += [(length, rows) for rows in dealt.split(max(1, n_tokens // length))]
        for i in _shuffled(len(batches), generator).tolist():
            length, rows = batches[i]
            yield inputs[rows, :length], targets[rows, :length]


def packed_words(
    inputs: Tensor, targets: Tensor, n_tokens: int, seed: int = 0, row_length: int | None = None
) -> Iterator[Batch]:
    """Batches without end of whole words (`whole_words`) end to end: inputs and targets (1, n).

    Words of all lengths stand together and nothing is padded. Use a model that cannot look beyond the start of a word
    (`bos_id=0` of `wavenet.WaveNet` and `gpt.GPTConfig`). A batch ends with the first word that brings it to
    `n_tokens`; each pass takes the words in a new order, and leaves out the last batch if it is not full.

    A model that reads a limited length gets rows of `row_length` tokens instead, (B, row_length), each of as many
    whole words as fit, padded at the end: inputs with 0, targets with -1.
    """
    _check_whole_words(inputs, targets, n_tokens)
    if row_length is not None and row_length < inputs.shape[1]:
        raise ValueError(
            f"a row of {row_length} tokens does not hold the longest word, of {inputs.shape[1]} with its end"
        )
    return _packed_words(inputs, targets, n_tokens, row_length, torch.Generator().manual_seed(seed))


def _packed_words(
    inputs: Tensor, targets: Tensor, n_tokens: int, row_length: int | None, generator: torch.Generator
) -> Iterator[Batch]:
    there = targets != NO_TARGET  # (W, T)
    lengths = there.sum(dim=1)  # (W,)
    while True:
        order = _shuffled(len(inputs), generator)
        before = lengths[order].cumsum(dim=0) - lengths[order]  # tokens that stand before each word
        batch = before // n_tokens  # the batch of each word; a long word may leave the next one empty
        batch = batch[batch < max(1, int(lengths.sum()) // n_tokens)]  # of the full ones
        n_words = [n for n in torch.bincount(batch).tolist() if n]
        for words in order[: len(batch)].split(n_words):
            x, y = inputs[words][there[words]], targets[words][there[words]]  # (n,), (n,)
            if row_length is None:
                yield x[None], y[None]
            else:
                yield _in_rows(x, y, lengths[words].tolist(), row_length)


def _in_rows(x: Tensor, y: Tensor, lengths: list[int], row_length: int) -> Batch:
    """Words of these lengths, end to end in x and y (n,), dealt out to rows (B, row_length)."""
    row_sizes = [0]  # how many tokens of each row are taken
    for length in lengths:
        if row_sizes[-1] + length > row_length:  # does not fit any more: begin a row
            row_sizes.append(0)
        row_sizes[-1] += length
    inputs = x.new_zeros(len(row_sizes), row_length)
    targets = y.new_full((len(row_sizes), row_length), NO_TARGET)
    start = 0
    for row, size in enumerate(row_sizes):
        inputs[row, :size] = x[start : start + size]
        targets[row, :size] = y[start : start + size]
        start += size
    return inputs, targets


def text_batches(
    ids: Tensor | np.ndarray, block_size: int, batch_size: int, seed: int = 0, start: int = 0
) -> Iterator[Batch]:
    """Batches without end of windows at random places of a text (n,): inputs and targets (batch_size, block_size).

        ids = torch.tensor(tokenizer.encode(text))
        fit(model, text_batches(ids, block_size=64, batch_size=32), n_steps=500, lr=0.003)

    Batch number i depends on `seed` and i alone, so a training that is resumed at batch `start` goes on as if it had
    never stopped. `ids` may be a numpy array, memory-mapped, too.
    """
    if len(ids) <= block_size or block_size < 1 or batch_size < 1:
        raise ValueError(
            f"windows of block_size={block_size} and the token after them do not fit a text of {len(ids)} tokens, "
            f"or batch_size={batch_size} is below 1; use a longer text or a shorter block"
        )
    return _text_batches(ids, block_size, batch_size, seed, start)


def _text_batches(
    ids: Tensor | np.ndarray, block_size: int, batch_size: int, seed: int, start: int
) -> Iterator[Batch]:
    generator = torch.Generator()
    offsets = torch.arange(block_size + 1)
    for i in count(start):
        generator.manual_seed(step_seed(seed, i))
        begins = torch.rand(batch_size, generator=generator, dtype=torch.float64) * (len(ids) - block_size)
        places = begins.long()[:, None] + offsets  # (batch_size, block_size + 1)
        windows = ids[places] if isinstance(ids, Tensor) else torch.from_numpy(ids[places.numpy()])
        # copies: what is written into the one must not appear in the other
        inputs = windows[:, :-1].to(torch.int64, copy=True)
        targets = windows[:, 1:].to(torch.int64, copy=True)
        yield inputs, targets


def step_seed(seed: int, step: int) -> int:
    """A seed for one step of a run, so that what is random in it depends on the run's seed and the step alone."""
    return seed * 1_000_003 + step
