"""Sampling from a language model: the same draws for the same seed, with one thread or many."""

from __future__ import annotations

import codecs
import inspect
import math
from collections.abc import Callable, Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .characters import CharTokenizer
from .contracts import Cache, LanguageModel, Tokenizer
from .evaluation import device_of
from .terminal import eval_mode


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


def complete(
    model: LanguageModel,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    on_text: Callable[[str], object] | None = None,
) -> str:
    """Text in, text out: the prompt and up to `max_new_tokens` tokens more, the same for the same seed.

        print(complete(model, tokenizer, "ROMEO:", 200, temperature=0.8, seed=0))

    `on_text` is called with each piece of the text as soon as its characters are whole, the prompt first: a token may
    be a part of a character. The pieces, end to end, are the text that is returned.

    Special tokens in the prompt are taken as such. Of the model's ids only those of a token are drawn: a model may have
    more (a vocabulary with gaps, a size rounded up). A prompt that is empty, or that holds a character which is not in
    the vocabulary, raises `ValueError`.
    """
    ids = tokenizer.encode(prompt, allowed_special="all")
    if not ids:
        raise ValueError("the prompt is empty; give at least one character to go on from, such as a newline")
    # a byte that belongs to no character becomes U+FFFD, as in the tokenizers' decode
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pieces = []

    def add(new_ids: list[int], is_last: bool = False) -> None:
        piece = decoder.decode(tokenizer.decode_bytes(new_ids), is_last)
        pieces.append(piece)
        if piece and on_text is not None:
            on_text(piece)

    add(ids)
    generate(
        model,
        torch.tensor([ids], device=device_of(model)),
        max_new_tokens,
        generator=torch.Generator().manual_seed(seed),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        allowed_ids=tokenizer.ids,
        cache=hasattr(model, "start_cache"),
        after_token=lambda drawn: add(drawn.tolist()),
    )
    add([], is_last=True)
    return "".join(pieces)


def generate(
    model: LanguageModel,
    prompt: Tensor,
    max_new_tokens: int,
    *,
    block_size: int | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_id: int | None = None,
    allowed_ids: Collection[int] | None = None,
    cache: bool = False,
    after_token: Callable[[Tensor], object] | None = None,
) -> list[list[int]]:
    """Continue each row of `prompt` (B, T) int64 by up to `max_new_tokens`; returns the new ids, without the stop.

        generator = torch.Generator().manual_seed(0)
        (new,) = generate(model, torch.tensor([tokenizer.encode("ROMEO:")]), 200, generator=generator)

    The model sees the last `block_size` tokens (its own block_size if None) and returns logits (B, V) or, for every
    position, (B, t, V). Of the V ids only `allowed_ids` are drawn, or any if it is None. Temperatures below 1 sharpen
    the distribution, 0 takes the most likely token, above 1 flatten it. Then only the `top_k` most likely tokens are
    kept, then the smallest set of tokens whose probability reaches `top_p` (nucleus sampling, Holtzman et al. 2019). A
    row ends at `stop_id`; the draws of the other rows do not depend on it. `after_token` is called with the ids (B,) of
    each step as they are drawn.

    With `cache` each token is read once, by `model(new_ids, model.start_cache(B))`: the same tokens, faster. A model
    whose positions shift when the window slides (a GPT past its block_size) reads each full window anew.
    """
    block_size = getattr(model, "block_size", None) if block_size is None else block_size
    _check_prompt(prompt)
    _check_generate(block_size, temperature, top_k, top_p)
    assert block_size is not None
    read = _CachedReader(model, block_size) if cache else _WindowReader(model, block_size)
    allowed = None if allowed_ids is None else torch.tensor(sorted(set(allowed_ids)))
    ids = prompt
    running = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)  # (B,)
    with eval_mode(model):
        for _ in range(max_new_tokens):
            logits = read(ids).cpu()  # (B, V)
            if allowed is not None:
                logits = _only(allowed, logits)
            probs = next_probs(logits, temperature, top_k, top_p)  # (B, V)
            drawn = sample_index(probs, generator).to(ids.device)  # (B,)
            ids = torch.cat([ids, drawn[:, None]], dim=1)  # (B, T + 1)
            if after_token is not None:
                after_token(drawn)
            if stop_id is not None:
                running &= drawn != stop_id
                if not running.any():
                    break
    new = ids[:, prompt.shape[1] :].tolist()
    return [row[: row.index(stop_id)] if stop_id in row else row for row in new]


def _check_prompt(prompt: Tensor) -> None:
    if not isinstance(prompt, Tensor):
        raise ValueError(
            f"the prompt is a tensor of ids (B, T), got {type(prompt).__name__}; for a text use complete(), for a list "
            "of ids torch.tensor([ids])"
        )
    if prompt.ndim != 2 or not prompt.shape[1]:
        raise ValueError(f"the prompt has shape (B, T) with T at least 1, got {tuple(prompt.shape)}")


def _check_generate(
    block_size: int | None, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    if not (temperature >= 0.0 and math.isfinite(temperature)):
        raise ValueError(f"the temperature must be 0 or more and finite, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is how many tokens are kept, at least 1, got {top_k}; None keeps all")
    if top_p is not None and not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_p is the share of the probability to keep, above 0 and up to 1, got {top_p}")
    if block_size is None:
        raise ValueError("this model does not say how many tokens it sees; give block_size")
    if block_size < 1:
        raise ValueError(f"block_size, how many tokens a model sees, is at least 1, not {block_size}")


class _WindowReader:
    """ids (B, T) -> logits (B, V) for the token after them, reading the last `block_size` anew each time."""

    def __init__(self, model: LanguageModel, block_size: int):
        self._last_logits = _last_logits_of(model)
        self._block_size = block_size

    def __call__(self, ids: Tensor) -> Tensor:
        return self._last_logits(ids[:, -self._block_size :])


class _CachedReader:
    """The same, reading only what the model's cache does not hold yet."""

    def __init__(self, model: Any, block_size: int):
        if not hasattr(model, "start_cache"):
            raise ValueError(f"{type(model).__name__} has no start_cache(): generate with cache=False")
        self._last_logits = _last_logits_of(model)
        self._model, self._block_size = model, block_size
        self._cache: Cache | None = None

    def __call__(self, ids: Tensor) -> Tensor:
        if self._cache is None or self._window_moves(self._cache):
            self._cache = self._model.start_cache(len(ids))
            return self._last_logits(ids[:, -self._block_size :], self._cache)
        return self._last_logits(ids[:, -1:], self._cache)

    def _window_moves(self, cache: Cache) -> bool:
        """Whether one more token would push the first one out of the window, for a model that notices."""
        if cache.sliding_window and self._block_size >= self._model.block_size:
            return False
        return cache.n_tokens + 1 > self._block_size


def _only(allowed: Tensor, logits: Tensor) -> Tensor:
    """The logits (B, V) of the ids in `allowed` (n,); those of all others are minus infinity."""
    allowed = allowed[allowed < logits.shape[-1]]
    if len(allowed) == logits.shape[-1]:
        return logits
    return torch.full_like(logits, -torch.inf).index_copy(-1, allowed, logits.index_select(-1, allowed))


def _last_logits_of(model: Any) -> Callable[..., Tensor]:
    """A function from what `model` reads to its logits (B, V) after the last token.

    A model whose `forward` has a parameter `last_only`, such as a GPT, computes no others.
    """
    forward = getattr(model, "forward", None)
    options: dict[str, bool] = {}
    if callable(forward) and "last_only" in inspect.signature(forward).parameters:
        options["last_only"] = True

    def last_logits(*arguments: Any) -> Tensor:
        logits = model(*arguments, **options)
        # a window model gives (B, V), a sequence model (B, T, V)
        return logits[:, -1] if logits.ndim == 3 else logits

    return last_logits


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
    model: LanguageModel,
    tokenizer: CharTokenizer,
    n_words: int,
    *,
    block_size: int | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 1.0,
    max_length: int = 30,
    sequence_model: bool = False,
) -> list[str]:
    """Words from a model of words: start from boundaries alone, stop at the next one or at `max_length`.

        generate_words(model, tokenizer, 10, generator=torch.Generator().manual_seed(0))

    A window model starts from `block_size` boundaries (its own block_size if None), a `sequence_model`, trained on
    `batches.whole_words`, from one.
    """
    if tokenizer.boundary is None:
        raise ValueError('words need a boundary: build the tokenizer with CharTokenizer(words, boundary=".")')
    if n_words < 1:
        return []
    block_size = getattr(model, "block_size", None) if block_size is None else block_size
    if block_size is None:
        raise ValueError("this model does not say how many tokens it sees; give block_size")
    start = torch.zeros((n_words, 1 if sequence_model else block_size), dtype=torch.int64)
    rows = generate(
        model,
        start,
        max_length,
        block_size=block_size,
        generator=generator,
        temperature=temperature,
        stop_id=0,
    )
    return [tokenizer.decode(row) for row in rows]
