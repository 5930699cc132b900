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
from .evaluation import check_examples, check_logits, check_model, described, device_of, logits_within, nll
from .optim import OptimizerName, Schedule, lr_factor, make_optimizers, set_lr
from .terminal import eval_mode, progress_bar, signals_noted

# what the model returned (logits) and the targets -> their loss, one number: the mean over the targets
Loss = Callable[[Any, Tensor], Tensor]
VAL_BATCH = 8192  # targets that a validation with a loss of one's own looks at together


@dataclass
class Log:
    """What happened: the training loss (nats) and the learning rate of every step, the validation loss now and then."""

    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)  # how many steps had been taken
    val_losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    interrupted: bool = False
    kept_best: bool = False  # the model has the numbers of `best_step`, not those of the last step

    @property
    def best_step(self) -> int | None:
        """How many steps had been taken when the validation loss was lowest; None without validation."""
        return None if self._best is None else self.val_steps[self._best]

    @property
    def best_val_loss(self) -> float | None:
        """The lowest validation loss; None without validation."""
        return None if self._best is None else self.val_losses[self._best]

    @property
    def _best(self) -> int | None:
        """The place of the lowest validation loss, the first of equal ones; NaN is never the lowest."""
        numbers = [i for i, loss in enumerate(self.val_losses) if not math.isnan(loss)]
        return min(numbers, key=self.val_losses.__getitem__, default=None)

    def __repr__(self) -> str:
        last = f", loss {self.losses[-1]:.4f}" if self.losses else ""
        val = f", validation loss {self.val_losses[-1]:.4f}" if self.val_losses else ""
        if self.kept_best:
            val += f", the best {self.best_val_loss:.4f} of step {self.best_step:,} kept"
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
    keep_best: bool = False,
    loss: Loss | None = None,
    device: torch.device | str | None = None,
    after_step: Callable[[], None] | None = None,
    progress: bool = True,
) -> Log:
    """Train `model` in place for `n_steps` batches and return the log. The model is left in training mode.

        log = fit(model, minibatches(x_train, y_train, 256), n_steps=2000, lr=0.01, val=(x_dev, y_dev))

    The loss is the mean cross-entropy of the batch, in nats. `optimizer` is "adamw" (Loshchilov and Hutter 2017),
    "sgd", or "muon" for the matrices that `model.hidden_matrices()` lists and AdamW for the rest. Weight decay,
    decoupled in all, applies to matrices only, not to biases and gains. `lr` is the highest learning rate, which
    `optim.lr_factor` scales from step to step. `grad_clip` bounds the norm of the whole gradient. With `val` = (inputs,
    targets) the full validation loss is taken before the first step, every `eval_every` steps and at the end. With
    `keep_best` too the model ends, however the training ends, with the parameters and buffers that it had at the lowest
    of them, at `log.best_step`. `after_step` is called after each update (a `HealthMonitor`'s `step`, say).

    `loss` takes the place of the cross-entropy, in training and validation: a function of what the model returned,
    whatever it is, and the targets, which returns their mean loss, a scalar tensor. The model is moved to `device`,
    "cuda" say, or stays where it is (None); the batches go where the model is.

    Ctrl-C stops after the current step: the log then says `interrupted`. Batches that end early stop the training with
    a warning. A loss that is not finite raises `FloatingPointError` with the step, the rate and the last finite loss.
    """
    check_model(model)
    _check_settings(n_steps, lr, weight_decay, grad_clip, eval_every)
    _check_validation(val, keep_best)
    lr_factor(0, n_steps, schedule, warmup_steps)  # refuses a wrong schedule before anything is trained
    if device is not None:
        _move(model, device)
    parameters = list(model.parameters())
    optimizers = make_optimizers(model, optimizer, lr, weight_decay, betas)
    log, start = Log(), perf_counter()
    model.train()
    with _Validation(model, val, loss, keep_best, log) as validation, signals_noted() as ctrl_c:
        validation.take()
        for x, y in _with_progress(batches, n_steps, log, progress):
            step = len(log.losses)
            step_lr = lr * lr_factor(step, n_steps, schedule, warmup_steps)
            set_lr(optimizers, step_lr)

            for p in parameters:
                p.grad = None
            step_loss = batch_loss(model, x, y, loss)
            _backward(step_loss)
            if grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, grad_clip)
            _check_finite(step_loss.item(), log, step_lr)
            for each in optimizers:
                each.step()

            log.losses.append(step_loss.item())
            log.lrs.append(step_lr)
            if after_step is not None:
                after_step()
            if ctrl_c:
                log.interrupted = True
                break
            if len(log.losses) % eval_every == 0:
                validation.take()
        if log.val_steps and log.val_steps[-1] != len(log.losses):
            validation.take()
    log.seconds = perf_counter() - start
    return log


def _with_progress(batches: Batches, n_steps: int, log: Log, progress: bool) -> Iterator[Batch]:
    """The first `n_steps` batches, under a bar that shows the loss unless TQDM_DISABLE is set."""
    with progress_bar(n_steps, shown=progress) as bar:
        for i, batch in enumerate(islice(batches, n_steps)):
            _check_pair(batch, "a batch")
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


def _check_validation(val: Batch | None, keep_best: bool) -> None:
    if val is not None:
        _check_pair(val, "val")
    elif keep_best:
        raise ValueError("keep_best needs a validation loss to choose by: give val=(inputs, targets)")


def _check_pair(batch: Any, name: str) -> None:
    is_pair = isinstance(batch, tuple | list) and len(batch) == 2
    if not (is_pair and all(isinstance(part, Tensor) for part in batch)):
        raise ValueError(
            f"{name} is a pair of tensors (inputs, targets), got {described(batch)}; minibatches(inputs, targets, 256) "
            "makes batches of all examples"
        )


def _move(model: Any, device: torch.device | str) -> None:
    """Bring the model to the device; `ValueError` if there is no such device here, or the model cannot be moved."""
    if not hasattr(model, "to"):
        raise ValueError(
            f"{type(model).__name__} has no method to(device); move it yourself and leave device out"
        )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
        reason = str(error).split("\n")[0]
        raise ValueError(f"there is no device {str(device)!r} here: {reason}") from None
    model.to(device)


def n_parameters(model: Any) -> int:
    """How many numbers training may change."""
    return sum(p.numel() for p in model.parameters())


def batch_loss(model: LanguageModel, x: Tensor, y: Tensor, loss: Loss | None = None) -> Tensor:
    """The mean cross-entropy of a batch: logits (..., V) of `model(x)` against targets y (...), a scalar tensor.

    The batch goes to the model's device. Targets of -1 are left out, as in `evaluation.token_nll`. With `loss` it is
    `loss(model(x), y)` instead.
    """
    check_model(model)
    device = device_of(model)
    x, y = x.to(device), y.to(device)
    output = model(x)
    if loss is not None:
        return _checked_loss(loss(output, y))
    if not isinstance(output, Tensor) or not output.ndim:
        raise ValueError(_no_logits(output))
    check_logits(output, y)
    if int(y.max()) == NO_TARGET:
        raise ValueError("every target of this batch is -1, which stands for none, so that it has no loss")
    return F.cross_entropy(output.flatten(0, -2), y.flatten().long(), ignore_index=NO_TARGET)


def _no_logits(output: Any) -> str:
    """What to do with a model that does not return logits."""
    within = logits_within(output)
    example = f"F.cross_entropy(output{within}.flatten(0, -2), targets.flatten())" if within else "output"
    return (
        f"the model returned {described(output)}, but the cross-entropy needs logits (..., V): return the logits "
        f"alone, or pass loss=lambda output, targets: {example}"
    )


def _checked_loss(value: Any) -> Tensor:
    """What a loss of one's own has returned, if it is one number."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(
            f"loss(output, targets) has to return one number, a tensor of shape (), got {described(value)}; take the "
            "mean over all targets"
        )
    return value.reshape(())


def _backward(loss: Tensor) -> None:
    if not loss.requires_grad:
        raise ValueError(
            "the loss does not depend on a parameter that can be trained; is the output detached, made under "
            "torch.no_grad(), or is every parameter frozen?"
        )
    loss.backward()


def _check_finite(loss: float, log: Log, lr: float) -> None:
    if not math.isfinite(loss):
        last = f"the last finite loss was {log.losses[-1]:.4f}" if log.losses else "no loss was finite before"
        raise FloatingPointError(
            f"the loss is {loss} at step {len(log.losses)}, learning rate {lr:.3g}; {last}. Lower the learning rate, "
            "clip the gradient, or look at the model's initial values"
        )


class _Validation:
    """Takes the validation loss now and then; at the end of the block the model gets back its best numbers."""

    def __init__(
        self, model: Trainable, val: Batch | None, loss: Loss | None, keep_best: bool, log: Log
    ) -> None:
        self._model, self._val, self._loss, self._log = model, val, loss, log
        self._keep_best = keep_best
        self._best: list[Tensor] = []

    def take(self) -> None:
        if self._val is None:
            return
        log = self._log
        log.val_losses.append(validation_loss(self._model, *self._val, self._loss))
        log.val_steps.append(len(log.losses))
        if self._keep_best and log.best_step == len(log.losses):
            self._best = [tensor.detach().clone() for tensor in _numbers(self._model)]

    def __enter__(self) -> _Validation:
        return self

    @torch.no_grad()
    def __exit__(self, *exception: object) -> None:
        if self._best:
            for tensor, best in zip(_numbers(self._model), self._best, strict=True):
                tensor.copy_(best)
            self._log.kept_best = True


def _numbers(model: Any) -> list[Tensor]:
    """The parameters of a model, and its buffers if it has any."""
    buffers = model.named_buffers() if hasattr(model, "named_buffers") else ()
    return [*model.parameters(), *(buffer for _, buffer in buffers)]


def validation_loss(model: LanguageModel, inputs: Tensor, targets: Tensor, loss: Loss | None = None) -> float:
    """The mean loss of all targets, in eval mode: `evaluation.nll`, or that of a `loss` as `fit` takes it.

    The latter is the mean over pieces of the data, each weighed by how many targets it has that are not -1.
    """
    if loss is None:
        return nll(model, inputs, targets)
    check_examples(inputs, targets)
    n_rows = max(1, VAL_BATCH // max(1, targets[0].numel()))
    total, n_targets = 0.0, 0
    with eval_mode(model):
        for x, y in zip(inputs.split(n_rows), targets.split(n_rows), strict=True):
            n = y.numel() if y.is_floating_point() else int((y != NO_TARGET).sum())
            if n:
                total += n * batch_loss(model, x, y, loss).item()
                n_targets += n
    if not n_targets:
        raise ValueError("every target is -1, which stands for none, so that there is no loss")
    return total / n_targets


def range_test(
    build: Callable[[], Trainable],
    batches: Callable[[], Batches],
    lrs: Sequence[float],
    n_steps: int = 100,
    optimizer: OptimizerName = "adamw",
    *,
    weight_decay: float = 0.0,
    grad_clip: float | None = None,
    loss: Loss | None = None,
    device: torch.device | str | None = None,
) -> list[float]:
    """The training loss (nats) that each learning rate leads to: the mean over the last quarter of `n_steps` steps.

    Every rate gets a fresh model from `build()` and the same batches from `batches()`, so that the losses differ by
    the rate alone. (Smith 2015 trains one model while raising the rate.) A training run that diverges has the loss
    infinity. The other settings are those of `fit`.
    """
    losses = []
    for lr in lrs:
        try:
            log = fit(
                build(),
                batches(),
                n_steps,
                lr,
                optimizer=optimizer,
                schedule="constant",
                weight_decay=weight_decay,
                grad_clip=grad_clip,
                loss=loss,
                device=device,
                progress=False,
            )
        except FloatingPointError:
            losses.append(math.inf)
            continue
        tail = log.losses[-max(1, n_steps // 4) :]
        losses.append(sum(tail) / len(tail))
    return losses
