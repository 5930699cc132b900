"""Drawing from a language model: the same draws for the same seed, with one thread or many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .data import CharTokenizer


def sample_index(probs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw an index from probabilities (..., V) by inverse CDF; returns int64 of shape (...).

    The rows need not sum to one, but must be finite, not negative, and not all zero. `torch.multinomial` gives
    other draws in other torch versions for the same seed; `torch.rand`, which this uses, has not changed so far. An
    index of probability 0 is never drawn.
    """
    probs = torch.as_tensor(probs, dtype=torch.float64)
    total = probs.sum(-1, keepdim=True)
    if not (bool((probs >= 0).all()) and bool((total > 0).all()) and bool(torch.isfinite(total).all())):
        raise ValueError(
            "probabilities must be finite, not negative and not all zero; check the logits for NaN"
        )
    cdf = probs.cumsum(-1)
    u = torch.rand((*probs.shape[:-1], 1), generator=generator, dtype=torch.float64)
    index = torch.searchsorted(cdf, u * cdf[..., -1:], right=True)
    # rounding may bring u to the very end of the sum, where the last pieces can be empty
    last = (probs > 0).long().cumsum(-1).argmax(-1, keepdim=True)
    return torch.minimum(index, last).squeeze(-1)


@contextmanager
def evaluating(model: Callable) -> Iterator[None]:
    """Inside the block no gradients are kept and `model` is in eval mode; afterwards all is as before.

    Modes are those of an `nn.Module` and of each module in it, or of any object with `training`, `eval()` and
    `train()`. A function that calls a module hides it: pass the module itself.
    """
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


def generate(
    model: Callable[[Tensor], Tensor],
    prompt: Tensor,
    max_new_tokens: int,
    *,
    block_size: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    stop_id: int | None = None,
) -> list[list[int]]:
    """Continue each row of `prompt` (B, T) by up to `max_new_tokens`; returns the new ids, without the stop.

    The model sees the last `block_size` tokens and returns logits (B, V) or, for every position, (B, t, V).
    Temperatures below 1 sharpen the distribution, 0 takes the most likely token, above 1 flatten it. A row ends at
    `stop_id`; the draws of the other rows do not depend on it.
    """
    if not (temperature >= 0.0 and math.isfinite(temperature)):
        raise ValueError(f"the temperature must be 0 or more and finite, got {temperature}")
    if prompt.ndim != 2 or not prompt.shape[1]:
        raise ValueError(f"the prompt has shape (B, T) with T at least 1, got {tuple(prompt.shape)}")
    if block_size < 1:
        raise ValueError(
            f"block_size is the number of tokens a model sees; it must be at least 1, not {block_size}"
        )
    ids, running = prompt, torch.ones(len(prompt), dtype=torch.bool)
    with evaluating(model):
        for _ in range(max_new_tokens):
            logits = model(ids[:, -block_size:])
            logits = logits[:, -1] if logits.ndim == 3 else logits  # (B, V)
            ids = torch.cat([ids, _draw(logits, temperature, generator)[:, None]], dim=1)
            running &= ids[:, -1] != stop_id if stop_id is not None else True
            if not running.any():
                break
    new = ids[:, prompt.shape[1] :].tolist()
    return [row[: row.index(stop_id)] if stop_id in row else row for row in new]


def _draw(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    logits = logits.double()
    top = logits.max(dim=-1, keepdim=True).values
    if not bool(torch.isfinite(top).all()):
        raise ValueError(
            "the model's logits are NaN or infinite, so there is nothing to draw; check its training loss"
        )
    if temperature == 0.0:
        return logits.argmax(-1)
    return sample_index(torch.softmax((logits - top) / temperature, dim=-1), generator)


def generate_words(
    model: Callable[[Tensor], Tensor],
    tokenizer: CharTokenizer,
    n_words: int,
    *,
    block_size: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    max_length: int = 30,
) -> list[str]:
    """Words from a window model: start from boundaries alone, stop at the next one or at `max_length`."""
    if tokenizer.boundary is None:
        raise ValueError('words need a boundary: build the tokenizer with CharTokenizer(words, boundary=".")')
    if n_words < 1:
        return []
    start = torch.zeros((n_words, block_size), dtype=torch.int64)
    options = {"generator": generator, "temperature": temperature, "stop_id": 0}
    rows = generate(model, start, max_length, block_size=block_size, **options)
    return [tokenizer.decode(row) for row in rows]
