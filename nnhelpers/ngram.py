"""Lecture 2: language models that count. They need numpy alone.

Both models are window models: trained by `fit(inputs, targets)` on `data.context_windows`, then called with
windows `(N, block)` of token ids they return logits `(N, V)`, here log-probabilities. An n-gram of order n reads
the last n - 1 tokens of each window.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

LARGEST_TABLE = 2**28  # numbers in one order's table: 2 GiB


class _NGram:
    """What the counting models share: n-grams as integers in base V, and tables of rows looked up by context."""

    def __init__(self, order: int, vocab_size: int):
        # as Python's own integers: numpy's would overflow in the test below
        order, vocab_size = operator.index(order), operator.index(vocab_size)
        if order < 1:
            raise ValueError(f"the order of an n-gram model is at least 1, got {order}")
        if vocab_size < 1 or vocab_size**order >= 2**63:
            raise ValueError(
                f"an n-gram of order {order} over {vocab_size} tokens does not fit a 64-bit integer; lower the order"
            )
        self.order, self.vocab_size = order, vocab_size
        self.n_parameters = 0
        # for each context length: the contexts seen, sorted, and a row of V log-probabilities for each
        self._tables: list[tuple[int, tuple[np.ndarray, np.ndarray]]] = []

    def _ngrams(self, inputs: Any, targets: Any) -> np.ndarray:
        """Each window's last order-1 tokens and its target as one integer, (N,) int64."""
        inputs, targets = self._windows(inputs), np.asarray(targets)
        if targets.shape != inputs.shape[:1] or not len(targets):
            raise ValueError(
                f"fit takes inputs (N, block) and targets (N,) with N at least 1, got {inputs.shape}, {targets.shape}"
            )
        self._check_ids(targets)
        return self._codes(inputs, self.order - 1) * self.vocab_size + targets

    def _windows(self, inputs: Any) -> np.ndarray:
        inputs = np.asarray(inputs)
        if inputs.ndim != 2 or inputs.shape[1] < self.order - 1:
            raise ValueError(
                f"a model of order {self.order} reads windows (N, block) with block at least {self.order - 1}, "
                f"got shape {inputs.shape}"
            )
        self._check_ids(inputs)
        return inputs

    def _check_ids(self, ids: np.ndarray) -> None:
        if not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(
                f"token ids are integers, got {ids.dtype}; encode the text with a tokenizer first"
            )
        if ids.size and not (0 <= ids.min() and ids.max() < self.vocab_size):
            raise ValueError(f"token ids must lie in 0..{self.vocab_size - 1}, got {ids.min()}..{ids.max()}")

    def _codes(self, windows: np.ndarray, length: int) -> np.ndarray:
        """The last `length` tokens of each window as one number in base V."""
        codes = np.zeros(len(windows), dtype=np.int64)
        for column in range(windows.shape[1] - length, windows.shape[1]):
            codes = codes * self.vocab_size + windows[:, column]
        return codes

    def __call__(self, inputs: Any) -> Any:
        """Logits (N, V) of the token after each window (N, block): a tensor for a tensor, else a numpy array."""
        if not self._tables:
            raise ValueError("this model has counted nothing yet; call fit(inputs, targets) first")
        windows = self._windows(inputs)
        logits = np.full((len(windows), self.vocab_size), -np.log(self.vocab_size))
        for length, (contexts, rows) in self._tables:
            row, seen = _find(contexts, self._codes(windows, length))
            logits[seen] = rows[row[seen]]
        if not hasattr(inputs, "numpy"):  # as a tensor has
            return logits
        import torch

        return torch.from_numpy(logits)


def _find(sorted_codes: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each code stands among the sorted ones, and whether it stands there at all."""
    position = np.searchsorted(sorted_codes, codes).clip(max=len(sorted_codes) - 1)
    return position, sorted_codes[position] == codes


def _rows(ngrams: np.ndarray, counts: np.ndarray, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted distinct n-grams and their counts as contexts (C,) and a table of counts (C, V)."""
    contexts, row = np.unique(ngrams // vocab_size, return_inverse=True)
    if len(contexts) * vocab_size > LARGEST_TABLE:
        raise ValueError(
            f"{len(contexts):,} contexts times {vocab_size:,} tokens is more than {LARGEST_TABLE:,} numbers; "
            "lower the order or the vocabulary"
        )
    table = np.zeros((len(contexts), vocab_size))
    table[row, ngrams % vocab_size] = counts
    return contexts, table


class AdditiveNGram(_NGram):
    """Counts plus `alpha` for every possible next token (Laplace: alpha = 1), divided by their sum.

    After a context never seen in training every token is equally likely. With alpha = 0 an n-gram never seen has
    probability 0 and logit -inf.
    """

    def __init__(self, order: int, vocab_size: int, alpha: float = 1.0):
        super().__init__(order, vocab_size)
        if not 0.0 <= alpha < np.inf:
            raise ValueError(f"alpha is a count added to every token; it must be 0 or more, got {alpha}")
        self.alpha = alpha

    def fit(self, inputs: Any, targets: Any) -> AdditiveNGram:
        """Count inputs (N, block) and targets (N,); returns the model itself."""
        ngrams, counts = np.unique(self._ngrams(inputs, targets), return_counts=True)
        contexts, table = _rows(ngrams, counts, self.vocab_size)
        table += self.alpha
        with np.errstate(divide="ignore"):
            logits = np.log(table) - np.log(table.sum(axis=1, keepdims=True))
        self._tables = [(self.order - 1, (contexts, logits))]
        self.n_parameters = len(ngrams)
        return self


class KneserNey(_NGram):
    """Interpolated Kneser-Ney smoothing (Kneser and Ney 1995; Chen and Goodman 1999).

    Every n-gram's count gives up a discount D; what is saved goes to the next shorter context, where a token
    counts by how many different tokens it was seen after, not by how often. Below the shortest stands 1/V. A
    `discount` of None takes n1 / (n1 + 2 n2) for each order, with n1 and n2 the n-grams that occur once and twice.
    """

    def __init__(self, order: int, vocab_size: int, discount: float | None = None):
        super().__init__(order, vocab_size)
        if discount is not None and not 0.0 < discount < 1.0:
            raise ValueError(f"the discount lies between 0 and 1, got {discount}")
        self.discount = discount

    def fit(self, inputs: Any, targets: Any) -> KneserNey:
        """Count inputs (N, block) and targets (N,); returns the model itself."""
        ngrams, counts = np.unique(self._ngrams(inputs, targets), return_counts=True)
        levels = [(ngrams, counts)]  # from the longest n-grams down to single tokens
        for length in range(self.order - 1, 0, -1):
            # without its first token, each distinct n-gram is one more left neighbour of a shorter one
            levels.append(np.unique(levels[-1][0] % self.vocab_size**length, return_counts=True))
        self.n_parameters = sum(len(ngrams) for ngrams, _ in levels)
        shorter = (np.zeros(1, dtype=np.int64), np.full((1, self.vocab_size), 1.0 / self.vocab_size))
        probabilities = []
        for length, (ngrams, counts) in enumerate(reversed(levels)):
            shorter = self._interpolate(ngrams, counts, shorter, length)
            probabilities.append(shorter)
        self._tables = [(k, (contexts, np.log(rows))) for k, (contexts, rows) in enumerate(probabilities)]
        return self

    def _interpolate(self, ngrams, counts, shorter, length) -> tuple[np.ndarray, np.ndarray]:
        """One order's contexts (C,) and probabilities (C, V), mixed with those of the next shorter contexts."""
        contexts, table = _rows(ngrams, counts, self.vocab_size)
        discount = self.discount if self.discount is not None else _estimate_discount(counts)
        total = table.sum(axis=1, keepdims=True)
        saved = discount * (table > 0).sum(axis=1, keepdims=True)
        row, _ = _find(shorter[0], contexts % self.vocab_size ** max(length - 1, 0))
        return contexts, (np.maximum(table - discount, 0.0) + saved * shorter[1][row]) / total


def _estimate_discount(counts: np.ndarray) -> float:
    """n1 / (n1 + 2 n2) (Ney, Essen and Kneser 1994), kept off 0 and 1 where a tiny corpus would reach them."""
    n1, n2 = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
    return float(np.clip(n1 / max(n1 + 2 * n2, 1), 0.05, 0.95))
