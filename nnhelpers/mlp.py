"""Lectures 3 and 4: the multilayer perceptron, made of the layers in `nnhelpers.layers`."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from .layers import BatchNorm1d, Embedding, Flatten, Layer, LayerNorm, Linear, ReLU, Sequential, Tanh


class MLP(Sequential):
    """The network of lectures 3 and 4 (after Bengio et al. 2003): windows (N, block_size) -> logits (N, vocab_size).

    Each token's embedding, side by side, then `n_layer` hidden layers of `n_hidden` units and a linear layer whose
    weights start at a tenth of the usual size, so that all tokens are about equally likely at first. `norm` is None,
    "batch" or "layer"; with it the hidden linear layers have no bias, because the norm has one.
    """

    def __init__(
        self,
        vocab_size: int,
        block_size: int,
        n_embd: int = 10,
        n_hidden: int = 200,
        n_layer: int = 1,
        *,
        activation: Literal["relu", "tanh"] = "relu",
        norm: Literal["batch", "layer"] | None = None,
        generator: torch.Generator | None = None,
    ):
        sizes = (vocab_size, block_size, n_embd, n_hidden, n_layer)
        if not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise ValueError(
                "vocab_size, block_size, n_embd, n_hidden and n_layer are whole numbers of at least 1, got "
                f"{', '.join(map(repr, sizes))}"
            )
        if activation not in ("relu", "tanh") or norm not in (None, "batch", "layer"):
            raise ValueError(
                'activation is "relu" or "tanh" and norm is None, "batch" or "layer"; '
                f"got {activation!r} and {norm!r}"
            )
        self.block_size = block_size
        layers: list[Layer] = [Embedding(vocab_size, n_embd, generator), Flatten()]
        widths = [block_size * n_embd, *[n_hidden] * n_layer]
        for a, b in pairwise(widths):
            layers.append(Linear(a, b, bias=norm is None, nonlinearity=activation, generator=generator))
            if norm == "batch":
                layers.append(BatchNorm1d(b))
            elif norm == "layer":
                layers.append(LayerNorm(b))
            layers.append(ReLU() if activation == "relu" else Tanh())
        head = Linear(n_hidden, vocab_size, generator=generator)
        with torch.no_grad():
            head.weight *= 0.1
        super().__init__(*layers, head)

    def forward(self, x: Tensor) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != self.block_size:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"this model reads windows (N, {self.block_size}), got {got}; make them with "
                f"context_windows(words, tokenizer, block_size={self.block_size})"
            )
        return super().forward(x)
