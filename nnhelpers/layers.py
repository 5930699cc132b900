"""Lectures 3 and 4: the layers of a multilayer perceptron, written by hand.

Names, shapes and conventions are those of `torch.nn`, so that each layer can be compared with torch's own: a linear
weight is (out_features, in_features), batch normalisation divides by the biased variance and stores the unbiased one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

GAINS = {"linear": 1.0, "relu": math.sqrt(2.0), "tanh": 5 / 3}


class Layer:
    """What all layers share: parameters, a training and an eval mode, parts, and forward hooks."""

    parameter_names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.training = True
        self.layers: list[Any] = []  # the parts of this layer, in order
        self._hooks: list[Callable] = []

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        out = self.forward(x)
        for hook in self._hooks:
            hook(self, (x,), out)
        return out

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """This layer and all its parts, each with its path: "", "0", "1", "1.0", ..."""
        yield prefix, self
        for i, layer in enumerate(self.layers):
            yield from layer.named_modules(prefix=f"{prefix}.{i}" if prefix else str(i))

    def modules(self) -> list[Any]:
        return [module for _, module in self.named_modules()]

    def named_parameters(self, recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """The tensors that training changes, in a fixed order, each with its path: "0.weight", ..."""
        for name in self.parameter_names:
            if getattr(self, name) is not None:
                yield name, getattr(self, name)
        for i, layer in enumerate(self.layers if recurse else []):
            yield from ((f"{i}.{name}", p) for name, p in layer.named_parameters())

    def parameters(self) -> list[Tensor]:
        return [p for _, p in self.named_parameters()]

    def train(self, mode: bool = True) -> Layer:
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Layer:
        return self.train(False)

    def register_forward_hook(self, hook: Callable[[Layer, tuple, Tensor], None]) -> _Handle:
        """Call `hook(layer, (x,), out)` after every forward pass, until `.remove()` of what is returned."""
        self._hooks.append(hook)
        return _Handle(self._hooks, hook)


class _Handle:
    def __init__(self, hooks: list[Callable], hook: Callable):
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


class Embedding(Layer):
    """A table (num_embeddings, embedding_dim), normal(0, 1): ids (...) int64 -> their rows (..., embedding_dim)."""

    parameter_names = ("weight",)

    def __init__(self, num_embeddings: int, embedding_dim: int, generator: torch.Generator | None = None):
        super().__init__()
        self.weight = torch.randn(num_embeddings, embedding_dim, generator=generator).requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.weight)
        if x.numel() and not (0 <= int(x.min()) and int(x.max()) < n):
            raise ValueError(
                f"ids must lie in 0..{n - 1}, one for each row of the table; got {x.min()}..{x.max()}"
            )
        # not weight[x]: the gradient of index_select adds up repeated rows several times faster
        return self.weight.index_select(0, x.flatten()).view(*x.shape, self.weight.shape[1])


class Flatten(Layer):
    """(N, a, b, ...) -> (N, a * b * ...)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Linear(Layer):
    """x (..., in_features) -> x @ weight.T + bias (..., out_features).

    The weight starts as normal with standard deviation gain / sqrt(in_features), where the gain belongs to the
    `nonlinearity` that follows: 1 for "linear", sqrt 2 for "relu", 5/3 for "tanh" (`kaiming_normal_` of torch; He et
    al. 2015). The bias starts at 0.
    """

    parameter_names = ("weight", "bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        nonlinearity: str = "linear",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        std = _gain(nonlinearity) / math.sqrt(in_features)
        self.weight = (torch.randn(out_features, in_features, generator=generator) * std).requires_grad_()
        self.bias = torch.zeros(out_features, requires_grad=True) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"this layer reads {self.weight.shape[1]} features, but the last dimension of {tuple(x.shape)} has "
                f"{x.shape[-1]}; is the block size the one that it was built for?"
            )
        return torch.nn.functional.linear(x, self.weight, self.bias)


def _gain(nonlinearity: str) -> float:
    if nonlinearity not in GAINS:
        raise ValueError(f"a nonlinearity is one of {', '.join(GAINS)}, got {nonlinearity!r}")
    return GAINS[nonlinearity]


class ReLU(Layer):
    """max(x, 0), with slope 0 at 0; NaN stays NaN."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)


class Tanh(Layer):
    """tanh(x), between -1 and 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


class BatchNorm1d(Layer):
    """Batch normalisation (Ioffe and Szegedy 2015) of x (N, C), or (N, C, L) over N and L together.

    In training mode each channel is normalised by the batch's own mean and biased variance, and the running mean and
    unbiased variance move by the share `momentum` towards them (None: they are the average over all batches so far). In
    eval mode the running statistics are used and stay; before any training they are 0 and 1, so x passes unchanged
    but for eps. Training on one value a channel raises `ValueError`: its variance is not defined.
    """

    parameter_names = ("weight", "bias")

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = torch.ones(num_features, requires_grad=True)
        self.bias = torch.zeros(num_features, requires_grad=True)
        self.running_mean, self.running_var = torch.zeros(num_features), torch.ones(num_features)
        self.num_batches_tracked = 0

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim not in (2, 3) or x.shape[1] != len(self.weight):
            raise ValueError(
                f"batch normalisation of {len(self.weight)} channels takes (N, {len(self.weight)}) or "
                f"(N, {len(self.weight)}, L), got {tuple(x.shape)}"
            )
        channel = (1, -1) + (1,) * (x.ndim - 2)  # the shape in which one number a channel is broadcast
        if self.training:
            dims = (0, 2)[: x.ndim - 1]
            var, mean = torch.var_mean(x, dims, correction=0)  # (C,), (C,)
            self._track(mean.detach(), var.detach(), x.numel() // max(x.shape[1], 1))
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(var + self.eps)  # (C,)
        return torch.addcmul((self.bias - mean * scale).view(channel), x, scale.view(channel))

    def _track(self, mean: Tensor, var: Tensor, n: int) -> None:
        if n < 2:
            raise ValueError(
                "batch normalisation in training mode needs more than one value per channel, and this batch has "
                f"{n}; call eval() to use the running statistics, or take a larger batch"
            )
        self.num_batches_tracked += 1
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked
        self.running_mean = (1 - share) * self.running_mean + share * mean
        self.running_var = (1 - share) * self.running_var + share * var * (n / (n - 1))


class LayerNorm(Layer):
    """Layer normalisation (Ba, Kiros and Hinton 2016): each row of x (..., C) by its own mean and biased variance."""

    parameter_names = ("weight", "bias")

    def __init__(self, normalized_shape: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = torch.ones(normalized_shape, requires_grad=True)
        self.bias = torch.zeros(normalized_shape, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != len(self.weight):
            raise ValueError(f"layer normalisation of {len(self.weight)} features got {tuple(x.shape)}")
        var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)  # (..., 1)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias


class Sequential(Layer):
    """Layers one after the other. Modules of `torch.nn` may stand among them."""

    def __init__(self, *layers: Any):
        super().__init__()
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x
