"""Lectures 3 and 4: the layers of a multilayer perceptron, written by hand.

Names, shapes and conventions are those of `torch.nn`, so that each layer can be compared with torch's own: a linear
weight is (out_features, in_features), batch normalisation divides by the biased variance and stores the unbiased one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from textwrap import indent
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

Nonlinearity = Literal["linear", "relu", "tanh"]
# what a weight's standard deviation is multiplied by, so that the signal keeps its size through the nonlinearity
GAINS = {"linear": 1.0, "relu": math.sqrt(2.0), "tanh": 5 / 3}


class Layer:
    """What all layers share, by the names of `torch.nn.Module`: parameters, buffers, modes, parts, forward hooks.

    A layer lists the attributes that are parameters and buffers (numbers that are kept but not trained) by name.
    """

    parameter_names: tuple[str, ...] = ()
    buffer_names: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.training = True
        self.layers: list[
            Any
        ] = []  # the parts of this layer, in order; modules of torch.nn may stand among them
        self._forward_hooks: OrderedDict[int, Callable] = OrderedDict()

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def __call__(self, x: Tensor) -> Tensor:
        out = self.forward(x)
        for hook in self._forward_hooks.values():
            hook(self, (x,), out)
        return out

    def children(self) -> Iterator[Any]:
        """The parts of this layer, in order."""
        yield from self.layers

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
        if recurse:
            for i, layer in enumerate(self.layers):
                for name, p in layer.named_parameters():
                    yield f"{i}.{name}", p

    def parameters(self) -> list[Tensor]:
        return [p for _, p in self.named_parameters()]

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that are kept but not trained, each with its path: "2.running_mean", ..."""
        for name in self.buffer_names:
            yield name, getattr(self, name)
        for i, layer in enumerate(self.layers):
            for name, buffer in layer.named_buffers():
                yield f"{i}.{name}", buffer

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and buffers by path, detached; `files.write_tensors` saves them."""
        return {name: tensor.detach() for name, tensor in self._named_tensors()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over the numbers of a `state_dict`, of this class or of the same layers in torch.

        Names and shapes have to be exactly those of this layer; otherwise `ValueError`, and nothing is changed.
        """
        if not isinstance(state, Mapping):
            raise ValueError(f"a state is a dictionary of tensors by name, got {_kind(state)}")
        own = dict(self._named_tensors())
        if own.keys() != state.keys():
            differ = ", ".join(sorted(own.keys() ^ state.keys())[:3])
            raise ValueError(f"the state has other names than this {type(self).__name__}: {differ}")
        for name, tensor in own.items():
            if tensor.shape != state[name].shape:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)} here, and {tuple(state[name].shape)} in the state"
                )
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def _named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()

    def to(self, target: torch.device | torch.dtype | str) -> Layer:
        """Bring all parameters and buffers to a device, or all that are not integers to a dtype; returns the layer."""
        for _, tensor in self._named_tensors():
            if not isinstance(target, torch.dtype) or tensor.is_floating_point():
                tensor.data = tensor.data.to(target)
        return self

    def zero_grad(self) -> None:
        for p in self.parameters():
            p.grad = None

    def train(self, mode: bool = True) -> Layer:
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Layer:
        return self.train(False)

    def register_forward_hook(self, hook: Callable[[Layer, tuple, Tensor], None]) -> RemovableHandle:
        """Call `hook(layer, (x,), out)` after every forward pass, until `.remove()` of what is returned."""
        handle = RemovableHandle(self._forward_hooks)
        self._forward_hooks[handle.id] = hook
        return handle

    def extra_repr(self) -> str:
        """The settings of this layer, as they stand between the brackets of its repr."""
        return ""

    def __repr__(self) -> str:
        name = type(self).__name__
        if not self.layers:
            return f"{name}({self.extra_repr()})"
        lines = [f"({i}): {layer!r}" for i, layer in enumerate(self.layers)]
        return f"{name}(\n{indent(chr(10).join(lines), '  ')}\n)"


class Embedding(Layer):
    """A table (num_embeddings, embedding_dim), normal(0, 1): ids (...) int64 -> their rows (..., embedding_dim)."""

    parameter_names = ("weight",)

    def __init__(self, num_embeddings: int, embedding_dim: int, generator: torch.Generator | None = None):
        super().__init__()
        _check_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.weight = torch.randn(num_embeddings, embedding_dim, generator=generator).requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        n = len(self.weight)
        if not isinstance(x, Tensor) or x.dtype not in (torch.int64, torch.int32):
            raise ValueError(f"ids are a tensor of whole numbers, int64 or int32, got {_kind(x)}")
        if x.numel() and not (0 <= int(x.min()) and int(x.max()) < n):
            raise ValueError(
                f"ids must lie in 0..{n - 1}, one for each row of the table; got {x.min()}..{x.max()}"
            )
        # not weight[x]: the gradient of index_select adds up repeated rows several times faster
        return self.weight.index_select(0, x.flatten()).view(*x.shape, self.weight.shape[1])

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class Flatten(Layer):
    """(N, a, b, ...) -> (N, a * b * ...)."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2:
            raise ValueError(f"Flatten keeps the examples (N, ...) apart, got {tuple(x.shape)}")
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
        nonlinearity: Nonlinearity = "linear",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        _check_sizes(in_features=in_features, out_features=out_features)
        std = _gain(nonlinearity) / math.sqrt(in_features)
        self.weight = (torch.randn(out_features, in_features, generator=generator) * std).requires_grad_()
        self.bias = torch.zeros(out_features, requires_grad=True) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        _check_decimals(x, self)
        if x.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"this layer reads {self.weight.shape[1]} features, but the last dimension of {tuple(x.shape)} has "
                f"{x.shape[-1]}; is the block size the one that it was built for?"
            )
        return torch.nn.functional.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        out_features, in_features = self.weight.shape
        return f"in_features={in_features}, out_features={out_features}, bias={self.bias is not None}"


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{name} is a whole number of at least 1, got {size!r}")


def _check_decimals(x: Any, layer: Layer) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or not x.ndim:
        raise ValueError(
            f"{type(layer).__name__} reads a tensor of decimals (..., features), got {_kind(x)}; ids go through an "
            "Embedding first"
        )


def _kind(x: Any) -> str:
    return f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__


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

    parameter_names = ("weight", "bias")  # gamma and beta
    buffer_names = ("running_mean", "running_var", "num_batches_tracked")

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1):
        super().__init__()
        _check_sizes(num_features=num_features)
        if not eps >= 0 or not (momentum is None or 0 <= momentum <= 1):
            raise ValueError(
                f"eps is 0 or more and momentum a share from 0 to 1, or None; got {eps} and {momentum}"
            )
        self.eps, self.momentum = eps, momentum
        self.weight = torch.ones(num_features, requires_grad=True)
        self.bias = torch.zeros(num_features, requires_grad=True)
        self.running_mean, self.running_var = torch.zeros(num_features), torch.ones(num_features)
        self.num_batches_tracked = torch.tensor(0)

    def forward(self, x: Tensor) -> Tensor:
        _check_decimals(x, self)
        if x.ndim not in (2, 3) or x.shape[1] != len(self.weight):
            raise ValueError(
                f"batch normalisation of {len(self.weight)} channels takes (N, {len(self.weight)}) or "
                f"(N, {len(self.weight)}, L), got {tuple(x.shape)}"
            )
        channel = (
            (1, -1) if x.ndim == 2 else (1, -1, 1)
        )  # the shape in which one number a channel is broadcast
        if self.training:
            dims = [0] if x.ndim == 2 else [0, 2]
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
        share = self.momentum if self.momentum is not None else 1 / self.num_batches_tracked.item()
        self.running_mean = (1 - share) * self.running_mean + share * mean
        self.running_var = (1 - share) * self.running_var + share * var * (n / (n - 1))

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}, momentum={self.momentum}"


class LayerNorm(Layer):
    """Layer normalisation (Ba, Kiros and Hinton 2016): each row of x (..., C) by its own mean and biased variance."""

    parameter_names = ("weight", "bias")

    def __init__(self, normalized_shape: int, eps: float = 1e-5):
        super().__init__()
        _check_sizes(normalized_shape=normalized_shape)
        self.eps = eps
        self.weight = torch.ones(normalized_shape, requires_grad=True)
        self.bias = torch.zeros(normalized_shape, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        _check_decimals(x, self)
        if x.shape[-1] != len(self.weight):
            raise ValueError(f"layer normalisation of {len(self.weight)} features got {tuple(x.shape)}")
        var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)  # (..., 1)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.weight + self.bias

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps}"


class Sequential(Layer):
    """Layers one after the other. Modules of `torch.nn` may stand among them."""

    def __init__(self, *layers: Any):
        super().__init__()
        for layer in layers:
            if not callable(layer) or isinstance(layer, type):
                raise ValueError(
                    f"a Sequential takes layers, Sequential(Linear(3, 2), Tanh()), got {layer!r} among them"
                )
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x
