"""How good a language model is, and how sure one can be of it. Losses are in nats per token.

A loss is a full pass over a split, never a random minibatch, and stands beside its standard error. A difference
smaller than that is not a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .sampling import evaluating

NO_TARGET = -1  # stands where a padded sequence has no next token: left out of every loss


def token_nll(
    model: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor, batch_size: int = 8192
) -> Tensor:
    """-ln p of every target, in nats, float64, in the shape of `targets`: (N,) or (B, T); NaN where there is none (-1).

    `model` maps inputs (N, block) to logits (N, V), or (B, T) to (B, T, V). It runs in eval mode and without
    gradients, on about `batch_size` targets at a time; its mode is restored.
    """
    inputs, targets = torch.as_tensor(inputs), torch.as_tensor(targets)
    if len(inputs) != len(targets) or not targets.numel():
        raise ValueError(
            f"inputs and targets must be equally many and not empty: {len(inputs)} and {len(targets)}"
        )
    n_rows = max(1, batch_size // targets[0].numel())
    losses = []
    with evaluating(model):
        for x, y in zip(inputs.split(n_rows), targets.split(n_rows), strict=True):
            losses.append(_cross_entropies(model(x), y))
    return torch.cat(losses)


def check_logits(logits: Tensor, targets: Tensor) -> None:
    """Raise `ValueError` unless logits (..., V) and targets (...) fit; targets lie in 0..V-1, or are -1: none."""
    if not isinstance(logits, Tensor) or logits.shape[:-1] != targets.shape:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"logits of shape {shape} do not fit targets of shape {tuple(targets.shape)}: "
            "a model returns a tensor with one row of logits for each target"
        )
    if not (int(targets.min()) >= NO_TARGET and int(targets.max()) < logits.shape[-1]):
        raise ValueError(
            f"targets must lie in 0..{logits.shape[-1] - 1}, one for each logit; got {targets.min()}..{targets.max()}"
        )


def _cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    check_logits(logits, targets)
    logits, flat = logits.double().flatten(0, -2), targets.flatten().long()
    losses = F.cross_entropy(logits, flat, reduction="none", ignore_index=NO_TARGET)
    return losses.masked_fill(flat == NO_TARGET, math.nan).view_as(targets)


def nll(model: Callable[[Tensor], Tensor], inputs: Tensor, targets: Tensor, batch_size: int = 8192) -> float:
    """The mean of `token_nll`: nats per token over all targets given."""
    return token_nll(model, inputs, targets, batch_size).nanmean().item()


def word_ids(targets: Tensor, stop_id: int = 0) -> Tensor:
    """Which word each target (N,) belongs to, counted from 0, when every word ends in `stop_id`."""
    if targets.ndim != 1:
        raise ValueError(f"word_ids takes targets (N,), one after the other, got {tuple(targets.shape)}")
    ends = (targets == stop_id).long()
    return ends.cumsum(0) - ends


def bootstrap_se(
    losses: Tensor, groups: Tensor | None = None, n_resamples: int = 1000, seed: int = 0
) -> float:
    """The standard error of the mean of `losses` (N,), by resampling (Efron 1979).

    The tokens of one word are not independent, so whole words are drawn: `groups` (N,) says which word each
    token belongs to (`word_ids`). Without groups each token is drawn on its own, or each row of losses (B, T).
    """
    if groups is None:
        groups = torch.arange(len(losses)).view(-1, *[1] * (losses.ndim - 1)).expand(losses.shape)
    if groups.shape != losses.shape:
        raise ValueError(
            f"losses and groups have one shape, got {tuple(losses.shape)} and {tuple(groups.shape)}"
        )
    if n_resamples < 2 or len(groups.unique()) < 2:
        raise ValueError("a standard error needs at least 2 resamples and at least 2 words")
    losses, groups = losses.double().flatten(), groups.flatten()
    _, groups = groups.unique(return_inverse=True)
    counts = torch.bincount(groups).double()  # (G,)
    sums = torch.zeros_like(counts).index_add_(0, groups, losses)  # (G,)
    generator = torch.Generator().manual_seed(seed)
    means = []
    for _ in range(n_resamples):
        drawn = (torch.rand(len(sums), generator=generator, dtype=torch.float64) * len(sums)).long()
        means.append(sums[drawn].sum() / counts[drawn].sum())
    return torch.stack(means).std().item()


def bits_per_byte(nats_per_token: float, n_tokens: int, n_bytes: int) -> float:
    """The loss as bits for each byte of the text: comparable between models with different tokenizers."""
    if n_tokens < 1 or n_bytes < 1:
        raise ValueError(f"a text has at least one token and one byte, got {n_tokens} and {n_bytes}")
    return nats_per_token * n_tokens / n_bytes / math.log(2)


@dataclass(frozen=True)
class Score:
    """One row of the scoreboard: nats per token with its standard error, and what the model costs."""

    model: str
    nats: float
    standard_error: float
    n_parameters: int
    seconds: float
    how: str = ""  # it was obtained: "counted", "AdamW, 2,500 steps of 512 windows"

    @classmethod
    def of(
        cls, name: str, model: Callable, x: Tensor, y: Tensor, seconds: float, n_parameters: int, how=""
    ) -> Score:
        """Evaluate a model of words, each ended by token 0: on windows x (N, block) and targets y (N,), or on whole
        words (W, T), as `data.context_windows` and `data.whole_words` make them."""
        there = torch.as_tensor(y) != NO_TARGET
        losses = token_nll(model, x, y)[there]
        error = bootstrap_se(losses, word_ids(y[there]))
        return cls(name, losses.mean().item(), error, n_parameters, seconds, how)


def scoreboard(rows: Sequence[Score], decimals: int = 4, bound: int = 60) -> str:
    """The rows as a text table; seconds as an upper bound, `bound` or ten times that or ..., which machines share.

    A trained network's third decimal depends on the processor's rounding: give such a table two `decimals`.
    """
    width = max([len("model"), *(len(row.model) for row in rows)])
    lines = [f"{'model':<{width}}  nats/char  ± s.e.  bits/char  parameters  seconds"]
    for row in rows:
        below = bound
        while below <= row.seconds:
            below *= 10
        nats, error, bits = (
            f"{number:{width_}.{decimals}f}"
            for number, width_ in ((row.nats, 9), (row.standard_error, 6), (row.nats / math.log(2), 9))
        )
        lines.append(
            f"{row.model:<{width}}  {nats}  {error}  {bits}  {row.n_parameters:10,}  {f'< {below}':>7}"
        )
    return "\n".join(lines)
