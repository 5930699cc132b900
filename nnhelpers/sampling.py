"""Drawing from a language model: the same draws for the same seed, with one thread or many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
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
    block_size: int | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_id: int | None = None,
    cache: bool = False,
) -> list[list[int]]:
    """Continue each row of `prompt` (B, T) by up to `max_new_tokens`; returns the new ids, without the stop.

    The model sees the last `block_size` tokens (its own block_size if None) and returns logits (B, V) or, for every
    position, (B, t, V). Temperatures below 1 sharpen the distribution, 0 takes the most likely token, above 1 flatten
    it. Then only the `top_k` most likely tokens are kept, and of those the fewest whose probabilities reach `top_p`
    of the sum (Holtzman et al. 2019). A row ends at `stop_id`; the draws of the other rows do not depend on it.

    With `cache` each token is read once, by `model(new_ids, model.start_cache(B))`: the same tokens, faster. A model
    whose positions shift when the window slides (a GPT past its block_size) reads each full window anew.
    """
    block_size = getattr(model, "block_size", None) if block_size is None else block_size
    _check_generate(prompt, block_size, temperature, top_k, top_p)
    ids, running = prompt, torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
    read = _CachedReader(model, block_size) if cache else lambda ids: model(ids[:, -block_size:])
    with evaluating(model):
        for _ in range(max_new_tokens):
            logits = read(ids)
            logits = logits[:, -1] if logits.ndim == 3 else logits  # (B, V)
            probs = next_probs(logits.cpu(), temperature, top_k, top_p)
            drawn = sample_index(probs, generator).to(ids.device)
            ids = torch.cat([ids, drawn[:, None]], dim=1)
            running &= drawn != stop_id if stop_id is not None else True
            if not running.any():
                break
    new = ids[:, prompt.shape[1] :].tolist()
    return [row[: row.index(stop_id)] if stop_id in row else row for row in new]


def _check_generate(prompt, block_size, temperature, top_k, top_p) -> None:
    if not (temperature >= 0.0 and math.isfinite(temperature)):
        raise ValueError(f"the temperature must be 0 or more and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is how many tokens are kept, at least 1, got {top_k}; None keeps all")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_p is the share of the probability to keep, above 0 and up to 1, got {top_p}")
    if prompt.ndim != 2 or not prompt.shape[1]:
        raise ValueError(f"the prompt has shape (B, T) with T at least 1, got {tuple(prompt.shape)}")
    if block_size is None:
        raise ValueError("this model does not say how many tokens it sees; give block_size")
    if block_size < 1:
        raise ValueError(f"block_size, how many tokens a model sees, is at least 1, not {block_size}")


class _CachedReader:
    """ids (B, T) -> logits for the last of them, reading only what a cache does not hold yet."""

    def __init__(self, model: Any, block_size: int):
        if not hasattr(model, "start_cache"):
            raise ValueError(f"{type(model).__name__} has no start_cache(): generate with cache=False")
        self._model, self._block_size, self._cache = model, block_size, None

    def __call__(self, ids: Tensor) -> Tensor:
        cache = self._cache
        slides = cache is not None and cache.slides and self._block_size >= self._model.block_size
        if cache is None or (not slides and cache.n_tokens + 1 > self._block_size):
            self._cache = self._model.start_cache(len(ids))
            return self._model(ids[:, -self._block_size :], self._cache)
        return self._model(ids[:, -1:], cache)


def next_probs(
    logits: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """The distribution (..., V), float64, that `generate` draws from: it sums to one, and what is cut off is 0."""
    logits = logits.double()
    top = logits.max(dim=-1, keepdim=True).values
    if not bool(torch.isfinite(top).all()):
        raise ValueError(
            "the model's logits are NaN or infinite, so there is nothing to draw; check its training loss"
        )
    if temperature == 0.0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).double()
    probs = torch.softmax((logits - top) / temperature, dim=-1)
    if top_k is None and top_p is None:
        return probs
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    if top_k is not None:
        ordered[..., top_k:] = 0.0
    if top_p is not None:
        before = ordered.cumsum(dim=-1) - ordered  # how much the more likely ones hold
        ordered[before >= top_p * ordered.sum(dim=-1, keepdim=True)] = 0.0
    kept = torch.zeros_like(probs).scatter(-1, order, ordered)
    return kept / kept.sum(dim=-1, keepdim=True)


def generate_words(
    model: Callable[[Tensor], Tensor],
    tokenizer: CharTokenizer,
    n_words: int,
    *,
    block_size: int,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    max_length: int = 30,
    whole: bool = False,
) -> list[str]:
    """Words from a window model: start from boundaries alone, stop at the next one or at `max_length`.

    A model that was trained on `whole` words (`data.whole_words`) starts from one boundary instead of `block_size`.
    """
    if tokenizer.boundary is None:
        raise ValueError('words need a boundary: build the tokenizer with CharTokenizer(words, boundary=".")')
    if n_words < 1:
        return []
    start = torch.zeros((n_words, 1 if whole else block_size), dtype=torch.int64)
    options = {"generator": generator, "temperature": temperature, "stop_id": 0}
    rows = generate(model, start, max_length, block_size=block_size, **options)
    return [tokenizer.decode(row) for row in rows]
