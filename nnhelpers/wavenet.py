"""Lecture 6: a tree of pairs, the same tree as dilated causal convolutions, and WaveNet (van den Oord et al. 2016).

Between the layers of the convolutional models the units lie along dimension 1, (B, C, T), as in `torch.nn.Conv1d`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def position_in_document(ids: Tensor, bos_id: int, before: Tensor | None = None) -> Tensor:
    """How many steps ago the last `bos_id` stood, (B, T); the beginning of a row counts as one.

    `before` (B,): the result for the last id of the previous piece, when a row is read in pieces.
    """
    steps = torch.arange(ids.shape[1], device=ids.device)
    last = torch.where(ids == bos_id, steps, -1).cummax(dim=1).values  # -1: not in these ids
    earlier = 0 if before is None else 1 + before[:, None]
    return torch.where(last < 0, steps + earlier, steps - last)


def _check_ids(ids: Tensor, vocab_size: int) -> None:
    """Ids (B, T) of tokens in the vocabulary, T at least 1."""
    is_tensor = isinstance(ids, Tensor)
    if not is_tensor or ids.ndim != 2 or not ids.shape[1] or ids.dtype not in (torch.int64, torch.int32):
        got = f"{ids.dtype} of shape {tuple(ids.shape)}" if is_tensor else type(ids).__name__
        raise ValueError(f"this model reads a tensor of ids (B, T), int64, with T at least 1, got {got}")
    # to look at the numbers on a GPU would make the CPU wait for it
    on_cpu = ids.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_cpu and ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < vocab_size):
        raise ValueError(f"ids must lie in 0..{vocab_size - 1}, got {ids.min()}..{ids.max()}")


def _check_bos_id(bos_id: int | None, vocab_size: int) -> None:
    if bos_id is not None and not 0 <= bos_id < vocab_size:
        raise ValueError(f"bos_id is None or an id in 0..{vocab_size - 1}, got {bos_id}")


class CausalConv1d(nn.Module):
    """(B, C_in, T) -> (B, C_out, T): out[t] = bias + sum over k of W[k] x[t - dilation (K-1-k)], from the past alone.

    `weight` is (C_out, C_in, K), as in `torch.nn.Conv1d`; left of the sequence stand zeros. The weights start as normal
    with standard deviation gain / sqrt(C_in K), the bias at 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 2,
        dilation: int = 1,
        bias: bool = True,
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(in_channels, out_channels, kernel_size, dilation) < 1:
            raise ValueError(
                "channels, kernel_size and dilation are at least 1, got "
                f"{in_channels}, {out_channels}, {kernel_size} and {dilation}"
            )
        self.dilation, self.kernel_size = dilation, kernel_size
        std = gain / math.sqrt(in_channels * kernel_size)
        shape = (out_channels, in_channels, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) * std)
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    @property
    def n_past(self) -> int:
        """How many steps before the present one the kernel reaches back."""
        return self.dilation * (self.kernel_size - 1)

    def forward(self, x: Tensor, past: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """`past` (B, C_in, n_past) are the inputs before x; zeros if there are none.

        With `positions` (B, T), how many steps ago the sequence of each position began, taps that would reach back
        beyond that beginning read 0, so that several sequences may stand in one row.
        """
        in_channels = self.weight.shape[1]
        if x.ndim != 3 or x.shape[1] != in_channels:
            raise ValueError(f"this convolution reads (B, {in_channels}, T), got {tuple(x.shape)}")
        if past is not None and past.shape != (len(x), in_channels, self.n_past):
            raise ValueError(
                f"the past of {tuple(x.shape)} is ({len(x)}, {in_channels}, {self.n_past}), got {tuple(past.shape)}"
            )
        n_steps = x.shape[2]
        if past is None:
            x = F.pad(x, (self.n_past, 0))  # (B, C_in, n_past + T)
        else:
            x = torch.cat([past, x], dim=2)  # (B, C_in, n_past + T)
        if positions is None:
            return F.conv1d(x, self.weight, self.bias, dilation=self.dilation)
        # the same as conv1d, but a tap that reaches back beyond the beginning of its own sequence reads 0
        taps = []
        for back in range(self.n_past, -1, -self.dilation):  # how far back each tap reaches
            begin = self.n_past - back
            tap = x[:, :, begin : begin + n_steps]  # (B, C_in, T)
            inside = (positions >= back)[:, None]  # (B, 1, T)
            taps.append(tap * inside)
        stacked = torch.cat(taps, dim=1).transpose(1, 2)  # (B, T, K C_in)
        weight = self.weight.transpose(1, 2).flatten(1)  # (C_out, K C_in)
        return F.linear(stacked, weight, self.bias).transpose(1, 2)  # (B, C_out, T)

    def extra_repr(self) -> str:
        out_channels, in_channels, kernel_size = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel_size={kernel_size}, dilation={self.dilation}"


def receptive_field(kernel_size: int, dilations: Sequence[int]) -> int:
    """How many inputs the last output of a stack of causal convolutions depends on, its own position included."""
    return 1 + (kernel_size - 1) * sum(dilations)


class FusePairs(nn.Module):
    """(N, T, C) -> (N, T / 2, 2 C): each two neighbours become one."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3 or x.shape[1] % 2:
            raise ValueError(f"pairs are taken from (N, T, C) with an even T, got {tuple(x.shape)}")
        n, t, c = x.shape
        return x.reshape(n, t // 2, 2 * c)


class PositionNorm(nn.BatchNorm1d):
    """Batch normalisation of (N, T, C) for each of C units: the mean is taken over examples and positions."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError(f"this normalisation reads (N, T, C), got {tuple(x.shape)}")
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Tree(nn.Module):
    """Windows (N, block_size) int64 -> logits (N, vocab_size), by fusing pairs until one position is left.

    Each of log2(block_size) levels is FusePairs, Linear, batch normalisation over examples and positions, tanh.
    """

    def __init__(
        self,
        vocab_size: int,
        block_size: int = 8,
        n_embd: int = 24,
        n_hidden: int = 128,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if min(vocab_size, n_embd, n_hidden) < 1:
            raise ValueError(
                f"vocab_size, n_embd and n_hidden are at least 1, got {vocab_size}, {n_embd} and {n_hidden}"
            )
        n_levels = int(block_size).bit_length() - 1
        if block_size != 2**n_levels or n_levels < 1:
            raise ValueError(
                f"a tree of pairs needs a block_size that is a power of two (2, 4, 8, …), got {block_size}"
            )
        self.block_size = block_size
        self.embedding = nn.Embedding(vocab_size, n_embd)
        widths = [n_embd] + [n_hidden] * n_levels
        self.linears = nn.ModuleList(nn.Linear(2 * a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(PositionNorm(n_hidden) for _ in range(n_levels))
        self.fuse = FusePairs()
        self.head = nn.Linear(n_hidden, vocab_size)
        _initialise(self, generator)

    def forward(self, ids: Tensor) -> Tensor:
        _check_ids(ids, self.embedding.num_embeddings)
        if ids.shape[-1] != self.block_size:
            raise ValueError(
                f"this tree reads windows of {self.block_size} ids, got shape {tuple(ids.shape)}"
            )
        x = self.embedding(ids)  # (N, block_size, n_embd)
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = torch.tanh(norm(linear(self.fuse(x))))  # half as many positions
        return self.head(x[:, 0])

    def dilated(self) -> DilatedTree:
        """The same function, with the same weights, at every position of a sequence: see `DilatedTree`."""
        return DilatedTree(self)


class DilatedTree(nn.Module):
    """A `Tree` as causal convolutions of dilation 1, 2, 4, …: ids (B, T) -> logits (B, T, vocab_size).

    In eval mode the logits at position t are those of the tree for the window that ends there. The parts are shared
    with the tree, but for the convolutions, whose weights are copies.
    """

    def __init__(self, tree: Tree):
        super().__init__()
        self.block_size = tree.block_size
        self.embedding, self.norms, self.head = tree.embedding, tree.norms, tree.head
        self.convs = nn.ModuleList()
        for level, linear in enumerate(tree.linears):
            assert isinstance(linear, nn.Linear)
            n_out, n_in = linear.weight.shape
            conv = CausalConv1d(n_in // 2, n_out, 2, dilation=2**level, bias=False)
            # columns of the linear layer: first those of the left neighbour, then those of the right one
            conv.weight.data = linear.weight.detach().view(n_out, 2, n_in // 2).transpose(1, 2).clone()
            self.convs.append(conv)
        self.train(tree.training)

    def forward(self, ids: Tensor) -> Tensor:
        _check_ids(ids, self.embedding.num_embeddings)
        x = self.embedding(ids)  # (B, T, n_embd)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.tanh(norm(conv(x.transpose(1, 2)).transpose(1, 2)))  # (B, T, n_hidden)
        return self.head(x)


def _initialise(model: nn.Module, generator: torch.Generator | None) -> None:
    """Embeddings normal(0, 1), linear layers with gain 5/3 for the tanh behind them; the head at a tenth of 1."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.startswith("embedding"):
                p.normal_(generator=generator)
            elif p.ndim >= 2:
                gain = 0.1 if name.startswith("head") else 5 / 3
                p.normal_(0.0, gain / math.sqrt(p[0].numel()), generator=generator)
            elif name.endswith("bias"):
                p.zero_()


class GatedLayer(nn.Module):
    """x (B, C, T) -> (x + R z, S z) with z = tanh(W_f * x) sigmoid(W_g * x): the residual and the skip path.

    The last layer has no use for the residual path: without `residual` x is returned as it is.
    """

    def __init__(
        self,
        n_channels: int,
        n_skip: int,
        kernel_size: int = 2,
        dilation: int = 1,
        dropout: float = 0.0,
        residual: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.conv = CausalConv1d(n_channels, 2 * n_channels, kernel_size, dilation, generator=generator)
        # modules instead of torch.tanh and torch.sigmoid, so that a HealthMonitor sees them
        self.tanh, self.sigmoid, self.dropout = nn.Tanh(), nn.Sigmoid(), nn.Dropout1d(dropout)
        n_out = n_skip + n_channels if residual else n_skip
        self.out = CausalConv1d(n_channels, n_out, 1, generator=generator)
        self.n_skip, self.residual = n_skip, residual

    def forward(
        self, x: Tensor, past: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        value, gate = self.conv(x, past, positions).chunk(2, dim=1)  # (B, C, T) each
        z = self.dropout(self.tanh(value) * self.sigmoid(gate))  # (B, C, T)
        out = self.out(z)  # (B, n_skip + C, T), or (B, n_skip, T)
        skip = out[:, : self.n_skip]  # (B, n_skip, T)
        if self.residual:
            x = x + out[:, self.n_skip :]  # (B, C, T)
        return x, skip


class WaveNetCache:
    """For each layer the last inputs that its kernel still reaches back to, (B, C, n_past); zeros before the start."""

    sliding_window = True  # the past that matters has a fixed length, so a text may grow without end

    def __init__(self, pasts: list[Tensor]):
        self.pasts = pasts
        self.n_tokens = 0
        self.positions = torch.full(
            pasts[0].shape[:1], -1, device=pasts[0].device
        )  # (B,) of the last token read

    def take(self, layer: int, x: Tensor) -> Tensor:
        """The past of x (B, C, T) in this layer; what x leaves for its own future takes its place."""
        past = self.pasts[layer]
        self.pasts[layer] = torch.cat([past, x], dim=2)[:, :, x.shape[2] :]
        return past


class WaveNet(nn.Module):
    """ids (B, T) int64 -> logits (B, T, vocab_size) of the token after each position, for any T.

    Gated causal convolutions with the given `dilations`, each with a residual and a skip path; the skips are
    added up, and two more layers (ReLU before each) turn them into logits. With a `bos_id` nothing is seen of what
    stands before the last such token: words may stand end to end in one row, as `batches.packed_words` puts them.
    """

    def __init__(
        self,
        vocab_size: int,
        n_channels: int = 64,
        dilations: Sequence[int] = (1, 2, 4, 8),
        kernel_size: int = 2,
        n_skip: int | None = None,
        dropout: float = 0.0,
        bos_id: int | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not len(dilations):
            raise ValueError("dilations are at least one number, one for each layer, got none")
        _check_bos_id(bos_id, vocab_size)
        n_skip = n_skip or n_channels
        self.embedding = nn.Embedding(vocab_size, n_channels)
        nn.init.normal_(self.embedding.weight, generator=generator)
        self.layers = nn.ModuleList(
            GatedLayer(n_channels, n_skip, kernel_size, dilation, dropout, i + 1 < len(dilations), generator)
            for i, dilation in enumerate(dilations)
        )
        self.mix = CausalConv1d(n_skip, n_skip, 1, gain=math.sqrt(2), generator=generator)
        self.head = CausalConv1d(n_skip, vocab_size, 1, gain=0.1, generator=generator)
        self.receptive_field = receptive_field(kernel_size, dilations)
        self.bos_id = bos_id

    @property
    def block_size(self) -> int:
        """How many of the last tokens the next one depends on."""
        return self.receptive_field

    def forward(self, ids: Tensor, cache: WaveNetCache | None = None) -> Tensor:
        """With a `cache` the ids follow the tokens in it, and are added to it."""
        _check_ids(ids, self.embedding.num_embeddings)
        if cache is not None and len(cache.positions) != len(ids):
            raise ValueError(
                f"the cache holds {len(cache.positions)} sequences, but ids have {len(ids)} rows"
            )
        x = self.embedding(ids).transpose(1, 2)  # (B, C, T)
        positions = None  # (B, T), how many steps ago each document began
        if self.bos_id is not None:
            positions = position_in_document(ids, self.bos_id, None if cache is None else cache.positions)
        skips = []
        for i, layer in enumerate(self.layers):
            past = None if cache is None else cache.take(i, x)
            x, skip = layer(x, past, positions)  # (B, C, T), (B, n_skip, T)
            skips.append(skip)
        if cache is not None:
            cache.n_tokens += ids.shape[1]
            if positions is not None:
                cache.positions = positions[:, -1]
        total = sum(skips[1:], start=skips[0]) / math.sqrt(len(self.layers))  # (B, n_skip, T)
        hidden = self.mix(F.relu(total))  # (B, n_skip, T)
        return self.head(F.relu(hidden)).transpose(1, 2)  # (B, T, vocab_size)

    def start_cache(self, batch_size: int) -> WaveNetCache:
        """An empty cache for `batch_size` sequences: `model(ids, cache)` then reads on where the last call ended."""
        like = self.embedding.weight
        pasts = []
        for layer in self.layers:
            assert isinstance(layer, GatedLayer)
            pasts.append(like.new_zeros(batch_size, like.shape[1], layer.conv.n_past))  # (B, C, n_past)
        return WaveNetCache(pasts)

    def hidden_matrices(self) -> list[Tensor]:
        """The kernels inside the network: those that Muon updates (table, head and biases take AdamW)."""
        return [p for module in (self.layers, self.mix) for p in module.parameters() if p.ndim >= 2]
