"""Lecture 7: a decoder-only transformer, in GPT-2's form or the modern one, with a key-value cache.

Vaswani et al. 2017 (attention), Radford et al. 2019 (GPT-2: LayerNorm first, GELU, learned positions); Su et al. 2021
(rotary positions), Zhang and Sennrich 2019 (RMSNorm), Shazeer 2020 (SwiGLU), Henry et al. 2020 (query-key norm).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .batches import steps_since

FORMS = {"position": ("learned", "rotary"), "norm": ("layer", "rms"), "mlp": ("gelu", "swiglu")}
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
    position: str = "learned"  # or "rotary"
    norm: str = "layer"  # or "rms"
    mlp: str = "gelu"  # or "swiglu"
    qk_norm: bool = False  # RMSNorm on queries and keys
    tied: bool = True  # the head's matrix is the token embedding
    start_id: int | None = None  # a token before which nothing is seen: words or documents may share a row

    @classmethod
    def modern(cls, vocab_size: int, block_size: int, **settings) -> GPTConfig:
        """Rotary positions, RMSNorm, SwiGLU, no biases: Llama's form (Touvron et al. 2023)."""
        form = {"position": "rotary", "norm": "rms", "mlp": "swiglu", "bias": False}
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
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is a share from 0 up to but not including 1, got {self.dropout}")
        for name, forms in FORMS.items():
            if getattr(self, name) not in forms:
                raise ValueError(f"{name} is one of {', '.join(forms)}, got {getattr(self, name)!r}")
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
        feed_forward = (2 if self.mlp == "gelu" else 3) * self.n_embd * self.n_hidden
        return self.n_layer * (4 * self.n_embd**2 + feed_forward) + self.n_embd * self.vocab_size

    def n_parameters(self) -> int:
        """How many numbers training may change, by the formulas of the layers."""
        norm = self.n_embd * (2 if self.norm == "layer" and self.bias else 1)
        biases = 5 * self.n_embd + self.n_hidden * (1 if self.mlp == "gelu" else 2) if self.bias else 0
        in_blocks = self.n_layer * (2 * norm + biases + (2 * self.head_size if self.qk_norm else 0))
        tables = self.block_size * self.n_embd if self.position == "learned" else 0
        tables += 0 if self.tied else self.vocab_size * self.n_embd
        return self.n_matmul_parameters() + in_blocks + tables + norm

    def flops_per_token(self, n_tokens: int | None = None, training: bool = True) -> int:
        """Floating-point operations for one token of a sequence of `n_tokens` (block_size if None).

        A multiply-add counts as two; attention counts the whole (T, T) square, as kernels without a mask compute it;
        the backward pass counts twice the forward one (Kaplan et al. 2020). Norms and activations are left out.
        """
        attention = 4 * self.n_layer * self.n_embd * (n_tokens or self.block_size)
        forward = 2 * self.n_matmul_parameters() + attention
        return 3 * forward if training else forward


class KVCache:
    """The keys and values of the tokens read so far: for each layer two tensors (B, n_head, block_size, head_size)."""

    slides = False  # when it is full, the window has to be read anew: every position changes

    def __init__(self, config: GPTConfig, batch_size: int, like: Tensor):
        shape = (config.n_layer, 2, batch_size, config.n_head, config.block_size, config.head_size)
        self.n_tokens = 0
        self.ages = torch.full(
            (batch_size,), -1, device=like.device
        )  # of the last token, since the last start_id
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


def rotation(n_positions: int, head_size: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Cosines and sines (n_positions, head_size): pair i turns by base^(-2i / head_size) a step."""
    speeds = base ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)  # (head_size / 2,)
    angles = torch.outer(torch.arange(n_positions, dtype=torch.float64), speeds).repeat(1, 2)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x_i, x_(i + half)) of x (..., T, head_size) by its position's angle."""
    first, second = x.chunk(2, dim=-1)
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
        turn: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        q, k, v = self.heads(x, turn)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
        drop = self.config.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, mask, drop, is_causal=mask is None and q.shape[2] > 1)
        return self.dropout(self.proj(y.transpose(1, 2).flatten(2)))  # (B, T, n_embd)

    def heads(self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x, each (B, n_head, T, head_size)."""
        shape = (*x.shape[:2], 3, self.config.n_head, self.config.head_size)
        q, k, v = self.qkv(x).view(shape).permute(2, 0, 3, 1, 4)
        if self.config.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None:
            q, k = rotate(q, *turn), rotate(k, *turn)
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
        h = F.silu(self.gate(x)) * self.up(x) if self.gated else F.gelu(self.up(x), approximate="tanh")
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
        turn: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        x = x + self.attention(self.norm_1(x), turn, cache, mask)
        return x + self.feed_forward(self.norm_2(x))


class GPT(nn.Module):
    """ids (B, T) int64 -> logits (B, T, vocab_size) of the token after each position, T up to block_size.

    Matrices and tables start as normal with standard deviation 0.02, those that write to the residual stream with
    0.02 / sqrt(2 n_layer), so that 2 n_layer additions leave its size; biases at 0, gains at 1 (Radford et al. 2019).
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.block_size, config.n_embd)
        else:
            for name, table in zip(
                ("cos", "sin"), rotation(config.block_size, config.head_size), strict=True
            ):
                self.register_buffer(name, table, persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = make_norm(config)
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tied:
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
                writes = name.endswith(("proj.weight", "down.weight"))
                p.normal_(
                    0.0, 0.02 / math.sqrt(2 * self.config.n_layer) if writes else 0.02, generator=generator
                )
            else:
                p.fill_(0.0 if name.endswith("bias") else 1.0)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """With a `cache` the ids follow the tokens in it, and are added to it."""
        start = 0 if cache is None else cache.n_tokens
        end = start + ids.shape[-1]
        if ids.ndim != 2 or not ids.shape[1] or end > self.config.block_size:
            raise ValueError(
                f"a GPT of block_size {self.config.block_size} reads ids (B, T) with T from 1 up to that; got shape "
                f"{tuple(ids.shape)}" + (f" after {start} cached tokens" if start else "") + "; cut the text"
            )
        x, turn = self.token_embedding(ids), None  # (B, T, n_embd)
        if self.config.position == "learned":
            x = x + self.position_embedding.weight[start:end]
        else:
            turn = (self.cos[start:end].to(x.dtype), self.sin[start:end].to(x.dtype))
        x, mask = self.dropout(x), self._mask(ids, cache)
        for block in self.blocks:
            x = block(x, turn, cache, mask)
        if cache is not None:
            cache.n_tokens = end
        return self.head(self.norm(x))  # (B, T, vocab_size)

    def _mask(self, ids: Tensor, cache: KVCache | None) -> Tensor | None:
        """Which of the S tokens so far each of the T new ones sees, (B or 1, 1, T, S); None: itself and all before."""
        start_id, before = self.config.start_id, 0 if cache is None else cache.n_tokens
        if start_id is None and (not before or ids.shape[1] == 1):
            return None
        places = torch.arange(before, before + ids.shape[1], device=ids.device)  # of the new tokens
        keys = torch.arange(before + ids.shape[1], device=ids.device)
        mask = (keys <= places[:, None])[None]  # (1, T, S)
        if start_id is not None:
            ages = steps_since(ids, start_id, cache and cache.ages)  # (B, T)
            mask = mask & (keys >= (places - ages)[:, :, None])
            if cache is not None:
                cache.ages = ages[:, -1]
        return mask[:, None]

    def start_cache(self, batch_size: int) -> KVCache:
        """An empty cache for `batch_size` sequences: `model(ids, cache)` then reads on where the last call ended."""
        return KVCache(self.config, batch_size, self.token_embedding.weight)

    def hidden_matrices(self) -> list[Tensor]:
        """The matrices inside the blocks: those that Muon updates (tables, head and vectors take AdamW)."""
        return [p for p in self.blocks.parameters() if p.ndim == 2]
