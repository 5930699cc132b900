"""Optimizers (AdamW, SGD, Muon) with weight decay where it belongs, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

OptimizerName = Literal["adamw", "sgd", "muon"]
Schedule = Literal["constant", "cosine", "one_cycle"]
# times Muon's learning rate: tables, heads and biases want smaller steps than the matrices inside
ADAMW_BESIDE_MUON = 0.4
# The coefficients of x, x^3 and x^5 in an odd polynomial. Jordan et al. chose them to be as steep as possible at 0
# while five applications still bring every singular value from 0 to 1 near 1: small ones then grow fastest.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, n_iterations: int = 5) -> Tensor:
    """The matrices (..., m, n) with singular values near 1 (0.7 to 1.2) and the same singular vectors.

    Newton-Schulz iteration: an odd polynomial in X acts on the singular values alone (Jordan et al. 2024).
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # no singular value above 1
    for _ in range(n_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalised: every direction of a matrix moves by the same amount (Jordan 2024).

    For parameters (out, in, ...) of two dimensions and more; all but the first count as one. A step has the size
    that AdamW's usually has (0.2 sqrt(max(out, in)) times the orthogonal matrix, Liu et al. 2025), so rates and weight
    decay are AdamW's. Equal to `torch.optim.Muon` but for float32 instead of bfloat16; equal shapes go in one batch.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        n_iterations: int = 5,
    ):
        parameters = list(parameters)
        if thin := [tuple(p.shape) for p in parameters if p.ndim < 2]:
            raise ValueError(f"Muon updates matrices, not a parameter of shape {thin[0]}; give it to AdamW")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "n_iterations": n_iterations,
        }
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[tuple, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault(tuple(p.shape), []).append(p)
            for parameters in by_shape.values():
                self._step_alike(parameters, group)
        return loss

    def _step_alike(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """One step of parameters that share a shape."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        # Nesterov's look ahead
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        steps = orthogonalise(torch.stack(ahead).flatten(2), group["n_iterations"])
        # an orthogonal (m, n) has entries of root mean square 1 / sqrt(max(m, n));
        # those of an AdamW step have about 0.2
        size = 0.2 * math.sqrt(max(steps.shape[1:]))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        updates = [step.view_as(p) for step, p in zip(steps, parameters, strict=True)]
        torch._foreach_add_(parameters, updates, alpha=-group["lr"] * size)


def make_optimizer(
    parameters: Iterable[Tensor],
    name: OptimizerName,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
) -> torch.optim.Optimizer:
    """ "adamw" or "sgd"; weight decay applies to matrices (two dimensions and more) only."""
    parameters = list(parameters)
    if not parameters:
        raise ValueError("the model has no parameters to train")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=True)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr)
    raise ValueError(f'an optimizer is "adamw", "sgd" or "muon", got {name!r}')


def make_optimizers(
    model: Any,
    name: OptimizerName,
    lr: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
) -> list[torch.optim.Optimizer]:
    """ "adamw" or "sgd" for all of the model, or "muon" for `model.hidden_matrices()` and AdamW for the rest.

    AdamW, where it is used for the rest, runs at 0.4 times Muon's learning rate: tables, heads and biases want smaller
    steps than the matrices inside.
    """
    if name != "muon":
        return [make_optimizer(model.parameters(), name, lr, weight_decay, betas)]
    if not hasattr(model, "hidden_matrices"):
        raise ValueError(
            f"Muon has to know which matrices lie inside: give {type(model).__name__} a method hidden_matrices() "
            'that lists them (no table, no head), or use "adamw"'
        )
    hidden = list(model.hidden_matrices())
    inside = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in inside]
    others = make_optimizer(rest, "adamw", ADAMW_BESIDE_MUON * lr, weight_decay, betas)
    for group in others.param_groups:
        group["lr_ratio"] = ADAMW_BESIDE_MUON
    return [Muon(hidden, lr, weight_decay=weight_decay), others]


def set_lr(optimizers: Iterable[torch.optim.Optimizer], lr: float) -> None:
    """Use the learning rate `lr` from the next step on, times the `lr_ratio` of a group that has one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr * group.get("lr_ratio", 1.0)


def lr_factor(
    step: int,
    n_steps: int,
    schedule: Schedule = "one_cycle",
    warmup_steps: int = 0,
    min_lr_ratio: float = 0.0,
) -> float:
    """What the highest learning rate is multiplied by at step `step` (from 0) of `n_steps`.

    "constant": 1. "cosine": from 1 down to `min_lr_ratio` along half a cosine (Loshchilov and Hutter 2016). Both first
    rise in a straight line for `warmup_steps` steps. "one_cycle": in 30% of the steps from 1/25 up to 1, then down to
    4e-6, each along half a cosine (Smith and Topin 2017; as torch's OneCycleLR).
    """
    if warmup_steps and schedule == "one_cycle":
        raise ValueError('one_cycle has a rise of its own: leave out warmup_steps, or take "cosine"')
    if schedule not in get_args(Schedule):
        raise ValueError(f"a schedule is one of {', '.join(get_args(Schedule))}, got {schedule!r}")
    if n_steps == 1:
        return 1.0  # a single step has no time for a rise or a fall
    if schedule == "one_cycle":
        # the "- 1" in `top` is OneCycleLR's: its highest rate falls one step before 30%
        top, last = 0.3 * n_steps - 1, n_steps - 1
        if step < top:
            return _half_cosine(1 / 25, 1.0, step / top)
        return _half_cosine(1.0, 4e-6, (step - top) / (last - top))
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if schedule == "constant":
        return 1.0
    return _half_cosine(1.0, min_lr_ratio, (step - warmup_steps) / max(n_steps - 1 - warmup_steps, 1))


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
