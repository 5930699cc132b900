"""Optimizers: AdamW and SGD with weight decay where it belongs, and Muon for the matrices inside a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

REST = 0.4  # of the rate goes to what Muon does not update
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # steep at 0: small singular values reach about 1 in five steps


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
        gradients = [p.grad for p in parameters]
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])  # Nesterov's look ahead
        steps = orthogonalise(torch.stack(ahead).flatten(2), group["n_iterations"])
        size = 0.2 * math.sqrt(max(steps.shape[1:]))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        steps = [step.view_as(p) for step, p in zip(steps, parameters, strict=True)]
        torch._foreach_add_(parameters, steps, alpha=-group["lr"] * size)


def make_optimizer(
    parameters: Iterable[Tensor],
    name: str,
    rate: float,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
) -> torch.optim.Optimizer:
    """ "adamw" or "sgd" with weight decay on the matrices (two dimensions and more) alone."""
    parameters = list(parameters)
    if not parameters:
        raise ValueError("the model has no parameters to train")
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate)
    raise ValueError(f'an optimizer is "adamw", "sgd" or "muon", got {name!r}')


def make_optimizers(
    model: Any, name: str, rate: float, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.99)
) -> list[torch.optim.Optimizer]:
    """ "adamw" or "sgd" for all of the model, or "muon" for `model.hidden_matrices()` and AdamW for the rest.

    Beside Muon, AdamW takes `REST` of the rate: tables, heads and biases want smaller steps than Muon's matrices.
    """
    if name != "muon":
        return [make_optimizer(model.parameters(), name, rate, weight_decay, betas)]
    if not hasattr(model, "hidden_matrices"):
        raise ValueError(
            f"Muon has to know which matrices lie inside: give {type(model).__name__} a method hidden_matrices() "
            'that lists them (no table, no head), or use "adamw"'
        )
    hidden = list(model.hidden_matrices())
    inside = {id(p) for p in hidden}
    rest = [p for p in model.parameters() if id(p) not in inside]
    others = make_optimizer(rest, "adamw", REST * rate, weight_decay, betas)
    for group in others.param_groups:
        group["share"] = REST
    return [Muon(hidden, rate, weight_decay=weight_decay), others]


def set_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Use `rate` from the next step on, or its share where a group has one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
