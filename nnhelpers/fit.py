"""Training: one loop for every model of the course, its log, and the learning-rate range test."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Batch, Batches
from .contracts import NO_TARGET, LanguageModel, Trainable
from .evaluation import check_logits, device_of, nll
from .optim import OptimizerName, Schedule, lr_factor, make_optimizers, set_lr
from .terminal import progress_bar, signals_noted


@dataclass
class Log:
    """What happened: the training loss (nats) and the learning rate of every step, the validation loss now and then."""

    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)  # how many steps had been taken
    val_losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    def __repr__(self) -> str:
        last = f", loss {self.losses[-1]:.4f}" if self.losses else ""
        val = f", validation loss {self.val_losses[-1]:.4f}" if self.val_losses else ""
        return f"{type(self).__name__}({len(self.losses):,} steps{last}{val}, {self.seconds:.1f} seconds)"

    def smoothed(self, width: int = 100) -> tuple[list[float], list[float]]:
        """The mean loss of each `width` steps, and the step at the middle of each: for a figure."""
        parts = [self.losses[i : i + width] for i in range(0, len(self.losses), width)]
        middles = [i * width + (len(part) - 1) / 2 for i, part in enumerate(parts)]
        return middles, [sum(part) / len(part) for part in parts]


def fit(
    model: Trainable,
    batches: Batches,
    n_steps: int,
    lr: float,
    *,
    optimizer: OptimizerName = "adamw",
    schedule: Schedule = "one_cycle",
    warmup_steps: int = 0,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
    grad_clip: float | None = None,
    val: Batch | None = None,
    eval_every: int = 500,
    after_step: Callable[[], None] | None = None,
    progress: bool = True,
) -> Log:
    """Train `model` in place for `n_steps` batches and return the log. The model is left in training mode.

        log = fit(model, minibatches(x_train, y_train, 256), n_steps=2000, lr=0.01, val=(x_dev, y_dev))

    The loss is the mean cross-entropy of the batch, in nats. `optimizer` is "adamw" (Loshchilov and Hutter 2017),
    "sgd", or "muon" for the matrices that `model.hidden_matrices()` lists and AdamW for the rest. Weight decay,
    decoupled in all, applies to matrices only, not to biases and gains. `lr` is the highest learning rate, which
    `optim.lr_factor` scales from step to step. `grad_clip` bounds the norm of the whole gradient. With `val` = (inputs,
    targets) the full validation loss is taken before the first step, every `eval_every` steps and at the end.
    `after_step` is called after each update (a `HealthMonitor`'s `step`, say).

    Ctrl-C stops after the current step: the log then says `interrupted`. Batches that end early stop the training with
    a warning. A loss that is not finite raises `FloatingPointError` with the step, the rate and the last finite loss.
    """
    _check_settings(n_steps, lr, weight_decay, grad_clip, eval_every)
    lr_factor(0, n_steps, schedule, warmup_steps)  # refuses a wrong schedule before anything is trained
    parameters = list(model.parameters())
    optimizers = make_optimizers(model, optimizer, lr, weight_decay, betas)
    log, start = Log(), perf_counter()
    model.train()
    _evaluate(log, model, val)
    with signals_noted() as ctrl_c:
        for x, y in _with_progress(batches, n_steps, log, progress):
            step = len(log.losses)
            step_lr = lr * lr_factor(step, n_steps, schedule, warmup_steps)
            set_lr(optimizers, step_lr)

            for p in parameters:
                p.grad = None
            loss = batch_loss(model, x, y)
            loss.backward()
            if grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, grad_clip)
            _check_finite(loss.item(), log, step_lr)
            for each in optimizers:
                each.step()

            log.losses.append(loss.item())
            log.lrs.append(step_lr)
            if after_step is not None:
                after_step()
            if ctrl_c:
                log.interrupted = True
                break
            if len(log.losses) % eval_every == 0:
                _evaluate(log, model, val)
    if log.val_steps and log.val_steps[-1] != len(log.losses):
        _evaluate(log, model, val)
    log.seconds = perf_counter() - start
    return log


def _with_progress(batches: Batches, n_steps: int, log: Log, progress: bool) -> Iterator[Batch]:
    """The first `n_steps` batches, under a bar that shows the loss unless TQDM_DISABLE is set."""
    with progress_bar(n_steps, shown=progress) as bar:
        for i, batch in enumerate(islice(batches, n_steps)):
            yield batch
            bar.update()
            if i % 50 == 0:
                bar.set_postfix(loss=f"{log.losses[-1]:.4f}", refresh=False)
    if len(log.losses) < n_steps and not log.interrupted:
        warnings.warn(
            f"the batches ended after {len(log.losses)} of {n_steps} steps, and the training with them; "
            "minibatches() goes on without end",
            stacklevel=3,
        )


def _check_settings(
    n_steps: int, lr: float, weight_decay: float, grad_clip: float | None, eval_every: int
) -> None:
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr must be finite and above 0, got {lr}; 0.01 is a common start for AdamW")
    if n_steps < 1 or eval_every < 1:
        raise ValueError(f"n_steps and eval_every must be at least 1, got {n_steps} and {eval_every}")
    if not (math.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"weight_decay must be finite and 0 or more, got {weight_decay}")
    if grad_clip is not None and not grad_clip > 0:
        raise ValueError(
            f"grad_clip is the largest norm of the gradient; it must be larger than 0 or None, got {grad_clip}"
        )


def n_parameters(model: Any) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters())


def batch_loss(model: LanguageModel, x: Tensor, y: Tensor) -> Tensor:
    """The mean cross-entropy of a batch: logits (..., V) of `model(x)` against targets y (...), a scalar tensor.

    The batch goes to the model's device. Targets of -1 are left out, as in `evaluation.token_nll`.
    """
    device = device_of(model)
    x, y = x.to(device), y.to(device)
    logits = model(x)
    check_logits(logits, y)
    return F.cross_entropy(logits.flatten(0, -2), y.flatten(), ignore_index=NO_TARGET)


def _check_finite(loss: float, log: Log, lr: float) -> None:
    if not math.isfinite(loss):
        last = f"the last finite loss was {log.losses[-1]:.4f}" if log.losses else "no loss was finite before"
        raise FloatingPointError(
            f"the loss is {loss} at step {len(log.losses)}, learning rate {lr:.3g}; {last}. Lower the learning rate, "
            "clip the gradient, or look at the model's initial values"
        )


def _evaluate(log: Log, model: LanguageModel, val: Batch | None) -> None:
    if val is not None:
        log.val_steps.append(len(log.losses))
        log.val_losses.append(nll(model, *val))


def range_test(
    build: Callable[[], Trainable],
    batches: Callable[[], Batches],
    lrs: Sequence[float],
    n_steps: int = 100,
    optimizer: OptimizerName = "adamw",
) -> list[float]:
    """The training loss (nats) that each learning rate leads to: the mean over the last quarter of `n_steps` steps.

    Every rate gets a fresh model from `build()` and the same batches from `batches()`, so that the losses differ by
    the rate alone. (Smith 2015 trains one model while raising the rate.) A training run that diverges has the loss
    infinity.
    """
    losses = []
    for lr in lrs:
        try:
            log = fit(
                build(), batches(), n_steps, lr, optimizer=optimizer, schedule="constant", progress=False
            )
        except FloatingPointError:
            losses.append(math.inf)
            continue
        tail = log.losses[-max(1, n_steps // 4) :]
        losses.append(sum(tail) / len(tail))
    return losses
