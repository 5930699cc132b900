"""Training: one loop for every model of the course, its log, and the learning-rate range test.

A model is anything with `parameters()`, `train()` and `eval()` that maps a batch of inputs to logits: the layers of
`nnhelpers.mlp` and every `nn.Module`.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from .batches import Batches
from .batches import minibatches as minibatches  # `training.minibatches`, for the lectures
from .evaluation import NO_TARGET, check_logits, nll
from .optim import make_optimizer as make_optimizer
from .optim import make_optimizers, set_rate

SCHEDULES = ("constant", "cosine", "one_cycle")


def rate_share(
    step: int, n_steps: int, schedule: str = "one_cycle", warmup: int = 0, final: float = 0.0
) -> float:
    """The share of the full rate that step `step` (from 0) of `n_steps` uses.

    "constant": 1. "cosine": from 1 down to `final` along half a cosine (Loshchilov and Hutter 2016). Both first rise
    in a straight line for `warmup` steps. "one_cycle": in 30% of the steps from 1/25 up to 1, then down to 4e-6, each
    along half a cosine (Smith and Topin 2017; as torch's OneCycleLR).
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"a schedule is one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if schedule == "one_cycle":
        top, last = 0.3 * n_steps - 1, n_steps - 1
        if step < top:
            return _half_cosine(1 / 25, 1.0, step / top)
        return _half_cosine(1.0, 4e-6, (step - top) / (last - top))
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    return _half_cosine(1.0, final, (step - warmup) / max(n_steps - 1 - warmup, 1))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass
class Log:
    """What happened: the training loss (nats) and the rate of every step, and the dev loss now and then."""

    losses: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    dev_steps: list[int] = field(default_factory=list)  # how many steps had been taken
    dev_losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def smoothed(self, width: int = 100) -> tuple[list[float], list[float]]:
        """The mean loss of each `width` steps, and the step at the middle of each: for a figure."""
        parts = [self.losses[i : i + width] for i in range(0, len(self.losses), width)]
        middles = [i * width + (len(part) - 1) / 2 for i, part in enumerate(parts)]
        return middles, [sum(part) / len(part) for part in parts]


def fit(
    model: Any,
    batches: Batches,
    n_steps: int,
    rate: float,
    *,
    optimizer: str = "adamw",
    schedule: str = "one_cycle",
    warmup: int = 0,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
    clip: float | None = None,
    dev: tuple[Tensor, Tensor] | None = None,
    eval_every: int = 500,
    after_step: Callable[[], None] | None = None,
    progress: bool = True,
) -> Log:
    """Train `model` in place for `n_steps` batches and return the log. The model is left in training mode.

    The loss is the mean cross-entropy of the batch, in nats. `optimizer` is "adamw" (Loshchilov and Hutter 2017),
    "sgd", or "muon" for the matrices that `model.hidden_matrices()` lists and AdamW for the rest; weight decay,
    decoupled in all, pulls at matrices only, not at biases and gains. `rate` is the full rate, which `rate_share`
    scales from step to step. `clip` bounds the norm of the whole gradient. With `dev` = (inputs, targets) the full dev
    loss is taken before the first step, every `eval_every` steps and at the end. `after_step` is called after each
    update (a `HealthMonitor`'s `step`, say).

    Ctrl-C ends the training after the step that it falls in: the log then says `interrupted`. A loss that is not
    finite raises `FloatingPointError` with the step, the rate and the last finite loss.
    """
    _check_settings(n_steps, rate, weight_decay, clip, eval_every)
    rate_share(0, n_steps, schedule)
    parameters = list(model.parameters())
    optimizers = make_optimizers(model, optimizer, rate, weight_decay, betas)
    log, start = Log(), perf_counter()
    model.train()
    _evaluate(log, model, dev)
    with _ctrl_c_noted() as pressed:
        for x, y in _with_progress(batches, n_steps, log, progress):
            now = rate * rate_share(len(log.losses), n_steps, schedule, warmup)
            set_rate(optimizers, now)
            loss = _backward(model, x, y, parameters, clip)
            _check_finite(loss, log, now)
            for each in optimizers:
                each.step()
            log.losses.append(loss)
            log.rates.append(now)
            if after_step is not None:
                after_step()
            if pressed:
                log.interrupted = True
                break
            if len(log.losses) % eval_every == 0:
                _evaluate(log, model, dev)
    if log.dev_steps and log.dev_steps[-1] != len(log.losses):
        _evaluate(log, model, dev)
    log.seconds = perf_counter() - start
    return log


def _with_progress(
    batches: Batches, n_steps: int, log: Log, progress: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """The first `n_steps` batches, under a bar that shows the loss unless TQDM_DISABLE is set."""
    # tqdm's own reading of the variable does not reach its notebook bars
    hidden = not progress or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    with tqdm(total=n_steps, disable=hidden) as bar:
        for i, batch in enumerate(islice(batches, n_steps)):
            yield batch
            bar.update()
            if i % 50 == 0:
                bar.set_postfix(loss=f"{log.losses[-1]:.4f}", refresh=False)
    if len(log.losses) < n_steps and not log.interrupted:
        raise ValueError(f"the batches ended after {len(log.losses)} of {n_steps} steps")


@contextmanager
def _ctrl_c_noted() -> Iterator[list[int]]:
    """Inside the block a first Ctrl-C is noted in the list, so that no step is left half done; a second one raises."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield pressed
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


def _check_settings(n_steps, rate, weight_decay, clip, eval_every) -> None:
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"the rate must be finite and above 0, got {rate}; 0.01 is a common start for AdamW")
    if n_steps < 1 or eval_every < 1:
        raise ValueError(f"n_steps and eval_every must be at least 1, got {n_steps} and {eval_every}")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay must be finite and 0 or more, got {weight_decay}")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip is the largest norm of the gradient; it must be larger than 0, got {clip}")


def n_parameters(model: Any) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters())


def batch_loss(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The mean cross-entropy of a batch: logits (..., V) of `model(x)` against targets y (...), a scalar tensor.

    Targets of -1 are left out, as in `evaluation.token_nll`.
    """
    logits = model(x)
    check_logits(logits, y)
    return F.cross_entropy(logits.flatten(0, -2), y.flatten(), ignore_index=NO_TARGET)


def _backward(model, x, y, parameters, clip) -> float:
    """The loss of one batch; afterwards the parameters hold its gradient, clipped."""
    for p in parameters:
        p.grad = None
    loss = batch_loss(model, x, y)
    loss.backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(parameters, clip)
    return loss.item()


def _check_finite(loss: float, log: Log, rate: float) -> None:
    if not math.isfinite(loss):
        last = f"the last finite loss was {log.losses[-1]:.4f}" if log.losses else "no loss was finite before"
        raise FloatingPointError(
            f"the loss is {loss} at step {len(log.losses)}, rate {rate:.3g}; {last}. Lower the rate, clip the "
            "gradient, or look at the model's initial values"
        )


def _evaluate(log: Log, model: Any, dev: tuple[Tensor, Tensor] | None) -> None:
    if dev is not None:
        log.dev_steps.append(len(log.losses))
        log.dev_losses.append(nll(model, *dev))


def range_test(
    build: Callable[[], Any],
    batches: Callable[[], Batches],
    rates: Sequence[float],
    n_steps: int = 100,
    optimizer: str = "adamw",
) -> list[float]:
    """The training loss (nats) that each rate leads to: the mean over the last quarter of `n_steps` steps.

    Every rate gets a fresh model from `build()` and the same batches from `batches()`, so that the losses differ by
    the rate alone (after Smith 2015, whose single model drifts while its rate rises). Diverged: infinity.
    """
    losses = []
    for rate in rates:
        try:
            options = {"optimizer": optimizer, "schedule": "constant", "progress": False}
            log = fit(build(), batches(), n_steps, rate, **options)
        except FloatingPointError:
            losses.append(math.inf)
            continue
        tail = log.losses[-max(1, n_steps // 4) :]
        losses.append(sum(tail) / len(tail))
    return losses
