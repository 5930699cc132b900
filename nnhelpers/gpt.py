"""Lecture 7: a decoder-only transformer, in GPT-2's form or the modern one, with a key-value cache.

Vaswani et al. 2017 (attention), Radford et al. 2019 (GPT-2: LayerNorm first, GELU, learned positions); Su et al. 2021
(rotary positions), Zhang and Sennrich 2019 (RMSNorm), Shazeer 2020 (SwiGLU), Henry et al. 2020 (query-key norm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Position = Literal["learned", "rotary"]
Norm = Literal["layer", "rms"]
FeedForwardForm = Literal["gelu", "swiglu"]
CHOICES = {"position": get_args(Position), "norm": get_args(Norm), "mlp": get_args(FeedForwardForm)}
Rope = tuple[Tensor, Tensor]  # cosines and sines (T, head_size)
EPS = 1e-5


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. The defaults are GPT-2's smallest; `GPTConfig.modern` gives the form of today's models."""

    vocab_size: int
    block_size: int
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True
    position: Position = "learned"
    norm: Norm = "layer"
    mlp: FeedForwardForm = "gelu"
    qk_norm: bool = False  # RMSNorm on queries and keys
    tie_weights: bool = True  # the head's matrix is the token embedding
    bos_id: int | None = None  # a token before which nothing is seen: words or documents may share a row

    @classmethod
    def modern(cls, vocab_size: int, block_size: int, **settings: Any) -> GPTConfig:
        """Rotary positions, RMSNorm, SwiGLU, no biases: Llama's form (Touvron et al. 2023)."""
        form: dict[str, Any] = {"position": "rotary", "norm": "rms", "mlp": "swiglu", "bias": False}
        return cls(vocab_size, block_size, **{**form, **settings})

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.n_embd % self.n_head:
            raise ValueError(
                f"each head takes an equal part of n_embd, but {self.n_embd} cannot be divided by "
                f"n_head={self.n_head}; {self.n_head * math.ceil(self.n_embd / self.n_head)} can"
            )
        if self.bos_id is not None and not 0 <= self.bos_id < self.vocab_size:
            raise ValueError(f"bos_id is None or an id in 0..{self.vocab_size - 1}, got {self.bos_id}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is a share from 0 up to but not including 1, got {self.dropout}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.position == "rotary" and self.head_size % 2:
            raise ValueError(
                f"rotary positions turn pairs, but a head of {self.head_size} numbers has an odd one"
            )

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head

    @property
    def n_hidden(self) -> int:
        """The inner width of the feed-forward layer: 4 n_embd, or 8/3 n_embd (up to a multiple of 32) for SwiGLU."""
        return 4 * self.n_embd if self.mlp == "gelu" else 32 * math.ceil(8 * self.n_embd / 3 / 32)

    def n_matmul_parameters(self) -> int:
        """The weights that a token is multiplied by: all matrices but the look-up tables, the head included."""
        n_matrices = 2 if self.mlp == "gelu" else 3
        attention = 4 * self.n_embd**2  # queries, keys, values, projection
        feed_forward = n_matrices * self.n_embd * self.n_hidden
        head = self.n_embd * self.vocab_size
        return self.n_layer * (attention + feed_forward) + head

    def n_parameters(self) -> int:
        """How many numbers training may change, by the formulas of the layers."""
        norm = self.n_embd  # gamma
        if self.norm == "layer" and self.bias:
            norm += self.n_embd  # beta
        block = 2 * norm
        if self.bias:
            n_wide = 1 if self.mlp == "gelu" else 2
            block += 3 * self.n_embd + self.n_embd  # queries, keys and values; projection
            block += n_wide * self.n_hidden + self.n_embd  # up (and gate); down
        if self.qk_norm:
            block += 2 * self.head_size
        tables = 0
        if self.position == "learned":
            tables += self.block_size * self.n_embd
        if not self.tie_weights:
            tables += self.vocab_size * self.n_embd  # otherwise the head's matrix is the token embedding
        return self.n_matmul_parameters() + self.n_layer * block + norm + tables

    def flops_per_token(self, n_tokens: int | None = None, training: bool = True) -> int:
        """Floating-point operations for one token of a sequence of `n_tokens` (block_size if None).

        A multiply-add counts as two; attention counts the whole (T, T) square, as kernels without a mask compute it;
        the backward pass counts twice the forward one (Kaplan et al. 2020). Norms and activations are left out.
        """
        attention = 4 * self.n_layer * self.n_embd * (n_tokens or self.block_size)
        forward = 2 * self.n_matmul_parameters() + attention
        return 3 * forward if training else forward


def position_in_document(ids: Tensor, bos_id: int, before: Tensor | None = None) -> Tensor:
    """How many steps ago the last `bos_id` stood, (B, T); the beginning of a row counts as one.

    `before` (B,): the result for the last id of the previous piece, when a row is read in pieces.
    """
    steps = torch.arange(ids.shape[1], device=ids.device)
    last = torch.where(ids == bos_id, steps, -1).cummax(dim=1).values  # -1: not in these ids
    earlier = 0 if before is None else 1 + before[:, None]
    return torch.where(last < 0, steps + earlier, steps - last)


def _check_vocabulary(ids: Tensor, vocab_size: int) -> None:
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        got = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"ids are a tensor of whole numbers, int64, got {got}")
    # to look at the numbers on a GPU would make the CPU wait for it
    on_cpu = ids.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_cpu and ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < vocab_size):
        raise ValueError(f"ids must lie in 0..{vocab_size - 1}, got {ids.min()}..{ids.max()}")


class KVCache:
    """The keys and values of the tokens read so far: for each layer two tensors (B, n_head, block_size, head_size)."""

    sliding_window = False  # when it is full, the window has to be read anew: every position changes

    def __init__(self, config: GPTConfig, batch_size: int, like: Tensor):
        shape = (config.n_layer, 2, batch_size, config.n_head, config.block_size, config.head_size)
        self.n_tokens = 0
        # (B,) of the last token read: how many steps ago its document began
        self.positions = torch.full((batch_size,), -1, device=like.device)
        self._store = torch.zeros(shape, dtype=like.dtype, device=like.device)

    @torch.no_grad()
    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k and v (B, n_head, T, head_size) of new tokens; returns those of all tokens up to the last of them."""
        end = self.n_tokens + k.shape[2]
        keys, values = self._store[layer, 0], self._store[layer, 1]
        keys[:, :, self.n_tokens : end] = k
        values[:, :, self.n_tokens : end] = v
        return keys[:, :, :end], values[:, :, :end]


def make_norm(config: GPTConfig) -> nn.Module:
    """(..., n_embd) -> (..., n_embd), by the last dimension."""
    if config.norm == "rms":
        return nn.RMSNorm(config.n_embd, eps=EPS)
    return nn.LayerNorm(config.n_embd, eps=EPS, bias=config.bias)


def rope_table(n_positions: int, head_size: int, base: float = 10_000.0) -> Rope:
    """Cosines and sines (n_positions, head_size): pair i turns by base^(-2i / head_size) at each step."""
    speeds = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)  # (head_size / 2,)
    angles = torch.outer(
        torch.arange(n_positions, dtype=torch.float64), speeds
    )  # (n_positions, head_size / 2)
    angles = angles.repeat(1, 2)  # (n_positions, head_size)
    return angles.cos().float(), angles.sin().float()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of numbers in x (..., T, head_size) by the angle of its position (Su et al. 2021).

    Number i is paired with number i + head_size / 2, as in transformers' Llama. Other code pairs neighbours
    (2i, 2i + 1): their weights do not fit each other.
    """
    first, second = x.chunk(2, dim=-1)  # (..., T, head_size / 2) each
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class CausalSelfAttention(nn.Module):
    """(B, T, n_embd) -> (B, T, n_embd): each position gathers from itself and those before it, in n_head ways."""

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.config, self.layer = config, layer
        self.qkv = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)
        if config.qk_norm:
            self.q_norm = nn.RMSNorm(config.head_size, eps=EPS)
            self.k_norm = nn.RMSNorm(config.head_size, eps=EPS)

    def forward(
        self,
        x: Tensor,
        rope: Rope | None = None,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.heads(x, rope)  # (B, n_head, T, head_size) each
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)  # (B, n_head, S, head_size): all S tokens so far
        dropout = self.config.dropout if self.training else 0.0
        is_causal = mask is None and T > 1
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)  # (B, n_head, T, head_size)
        y = y.transpose(1, 2).reshape(B, T, C)  # the heads side by side
        return self.dropout(self.proj(y))  # (B, T, C)

    def heads(self, x: Tensor, rope: Rope | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (B, T, C), each (B, n_head, T, head_size)."""
        B, T, C = x.shape
        n_head, head_size = self.config.n_head, self.config.head_size
        q, k, v = self.qkv(x).split(C, dim=2)  # (B, T, C) each
        q = q.view(B, T, n_head, head_size).transpose(1, 2)  # (B, n_head, T, head_size)
        k = k.view(B, T, n_head, head_size).transpose(1, 2)
        v = v.view(B, T, n_head, head_size).transpose(1, 2)
        if self.config.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if rope is not None:
            q, k = apply_rope(q, *rope), apply_rope(k, *rope)
        return q, k, v


class FeedForward(nn.Module):
    """(..., n_embd) -> (..., n_embd), each position on its own: up, GELU (its tanh form, as GPT-2) or SwiGLU, down."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.gated = config.mlp == "swiglu"
        self.up = nn.Linear(config.n_embd, config.n_hidden, bias=config.bias)
        if self.gated:
            self.gate = nn.Linear(config.n_embd, config.n_hidden, bias=config.bias)
        self.down = nn.Linear(config.n_hidden, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.gated:
            h = F.silu(self.gate(x)) * self.up(x)  # (..., n_hidden)
        else:
            h = F.gelu(self.up(x), approximate="tanh")  # (..., n_hidden)
        return self.dropout(self.down(h))


class Block(nn.Module):
    """(B, T, n_embd) -> (B, T, n_embd): attention, then feed-forward, each added to the residual stream."""

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.norm_1 = make_norm(config)
        self.attention = CausalSelfAttention(config, layer)
        self.norm_2 = make_norm(config)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rope: Rope | None = None,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        x = x + self.attention(self.norm_1(x), rope, cache, mask)
        return x + self.feed_forward(self.norm_2(x))


class GPT(nn.Module):
    """ids (B, T) int64 -> logits (B, T, vocab_size) of the token after each position, T up to block_size.

    Matrices and tables start as normal with standard deviation 0.02, those that write to the residual stream with
    0.02 / sqrt(2 n_layer), so that 2 n_layer additions leave its size; biases at 0, gammas at 1 (Radford et al. 2019).
    """

    cos: Tensor  # (block_size, head_size), with rotary positions
    sin: Tensor

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        else:
            cos, sin = rope_table(config.block_size, config.head_size)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_weights:
            self.head.weight = self.token_embedding.weight
        self.reset_parameters(generator)

    @property
    def block_size(self) -> int:
        return self.config.block_size

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw all parameters anew, in the order of their names' appearance."""
        for name, p in self.named_parameters():
            if p.ndim >= 2:
                writes_to_residual = name.endswith(("proj.weight", "down.weight"))
                std = 0.02 / math.sqrt(2 * self.config.n_layer) if writes_to_residual else 0.02
                p.normal_(0.0, std, generator=generator)
            else:
                p.fill_(0.0 if name.endswith("bias") else 1.0)

    def forward(self, ids: Tensor, cache: KVCache | None = None, last_only: bool = False) -> Tensor:
        """With a `cache` the ids follow the tokens in it, and are added to it.

        With `last_only` the logits (B, 1, vocab_size) of the last position alone: the head, by far the largest matrix
        of a small model, is then applied once a row instead of T times.
        """
        _check_vocabulary(ids, self.config.vocab_size)
        start = 0 if cache is None else cache.n_tokens
        end = start + ids.shape[-1]
        if ids.ndim != 2 or not ids.shape[1] or end > self.config.block_size:
            raise ValueError(
                f"a GPT of block_size {self.config.block_size} reads ids (B, T) with T from 1 up to that; got shape "
                f"{tuple(ids.shape)}" + (f" after {start} cached tokens" if start else "") + "; cut the text"
            )
        if cache is not None and len(cache.positions) != len(ids):
            raise ValueError(
                f"the cache holds {len(cache.positions)} sequences, but ids have {len(ids)} rows"
            )
        x = self.token_embedding(ids)  # (B, T, C)
        rope = None
        if self.config.position == "learned":
            x = x + self.position_embedding.weight[start:end]  # (B, T, C) + (T, C)
        else:
            rope = (self.cos[start:end].to(x.dtype), self.sin[start:end].to(x.dtype))  # (T, head_size) each
        x = self.dropout(x)
        mask = self._mask(ids, cache)
        for block in self.blocks:
            x = block(x, rope, cache, mask)  # (B, T, C)
        if cache is not None:
            cache.n_tokens = end
        if last_only:
            x = x[:, -1:]  # (B, 1, C)
        return self.head(self.norm(x))  # (B, T, vocab_size)

    def _mask(self, ids: Tensor, cache: KVCache | None) -> Tensor | None:
        """Which of the S tokens so far each of the T new ones sees, (B or 1, 1, T, S); None: itself and all before."""
        bos_id = self.config.bos_id
        n_before = 0 if cache is None else cache.n_tokens
        n_new = ids.shape[1]
        if bos_id is None and (n_before == 0 or n_new == 1):
            return None
        queries = torch.arange(n_before, n_before + n_new, device=ids.device)  # (T,) places of the new tokens
        keys = torch.arange(n_before + n_new, device=ids.device)  # (S,)
        mask = (keys <= queries[:, None])[None]  # (1, T, S)
        if bos_id is not None:
            positions = position_in_document(
                ids, bos_id, None if cache is None else cache.positions
            )  # (B, T)
            document_starts = queries - positions  # (B, T)
            mask = mask & (keys >= document_starts[:, :, None])  # (B, T, S)
            if cache is not None:
                cache.positions = positions[:, -1]
        return mask[:, None]  # the same for every head

    def start_cache(self, batch_size: int) -> KVCache:
        """An empty cache for `batch_size` sequences: `model(ids, cache)` then reads on where the last call ended."""
        return KVCache(self.config, batch_size, self.token_embedding.weight)

    def hidden_matrices(self) -> list[Tensor]:
        """The matrices inside the blocks: those that Muon updates (tables, head and vectors take AdamW)."""
        return [p for p in self.blocks.parameters() if p.ndim == 2]
