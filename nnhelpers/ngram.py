"""Lecture 2: language models that count. They need numpy alone.

All are window models: trained by `fit(inputs, targets)` on windows of token ids (N, block) and the token after each,
(N,), then called with windows they return logits (N, V), here log-probabilities. `context_windows` cuts words into
windows, `sliding_windows` a running text. An n-gram model of order n reads the last n - 1 tokens of each window.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from torch import Tensor

# numbers in the table of one order: 2 GiB
LARGEST_TABLE = 2**28


def sliding_windows(ids: ArrayLike | Tensor, block_size: int) -> tuple[Any, Any]:
    """Every token of a running text (n,) that has `block_size` tokens before it, with these tokens.

    Returns inputs (n - block_size, block_size) and targets (n - block_size,): tensors for a tensor, else numpy arrays.
    """
    text: Any = ids if _is_tensor(ids) else np.asarray(ids)
    block_size = operator.index(block_size)
    if text.ndim != 1 or not 0 <= block_size < len(text):
        raise ValueError(
            f"a window of block_size={block_size} and the token after it do not fit ids of shape {tuple(text.shape)}; "
            "give the text as one row of ids (n,), longer than the block"
        )
    starts = np.arange(len(text) - block_size)
    places = starts[:, None] + np.arange(block_size)
    return text[places], text[block_size:]


class Table(NamedTuple):
    """What a model knows about the next token after every context of one length."""

    # tokens in a context
    length: int
    # (C,) int64: the contexts seen in training, each as one number in base V, sorted
    contexts: np.ndarray
    # (C, V) float64: the probability of each next token
    probs: np.ndarray


class _NGram:
    """What the counting models share: n-grams as numbers in base V, and tables looked up by context."""

    def __init__(self, order: int, vocab_size: int):
        # Python's own integers: numpy's would overflow in the test below
        order, vocab_size = operator.index(order), operator.index(vocab_size)
        if order < 1:
            raise ValueError(f"the order of an n-gram model is at least 1, got {order}")
        if vocab_size < 1:
            raise ValueError(f"a vocabulary holds at least one token, got vocab_size={vocab_size}")
        if vocab_size**order >= 2**63:
            raise ValueError(
                f"an n-gram of order {order} over {vocab_size} tokens does not fit a 64-bit integer; lower the order"
            )
        self.order = order
        self.vocab_size = vocab_size
        # the distinct n-grams counted, of all orders that the model uses
        self.n_parameters = 0
        # from the shortest contexts to the longest
        self._tables: list[Table] = []

    @property
    def block_size(self) -> int:
        """How many of the last tokens the model reads: order - 1, and 1 for order 1, which looks at none of them."""
        return max(self.order - 1, 1)

    def __repr__(self) -> str:
        seen = f"{self.n_parameters:,} distinct n-grams counted" if self._tables else "nothing counted yet"
        return f"{type(self).__name__}({self._settings()}): {seen}"

    def _settings(self) -> str:
        return f"order={self.order}, vocab_size={self.vocab_size}"

    def __call__(self, inputs: Any) -> Any:
        """Log-probabilities (N, V) of the token after each window (N, block), block at least order - 1.

        A tensor for a tensor, else a numpy array; float64. They serve as logits: softmax gives the probabilities.
        """
        if not self._tables:
            raise ValueError("this model has counted nothing yet; call fit(inputs, targets) first")
        windows = self._windows(inputs)
        probs = np.full((len(windows), self.vocab_size), 1.0 / self.vocab_size)
        for table in self._tables:
            # a longer context, where it was seen, replaces the answer of the shorter ones
            row, seen = _find(table.contexts, self._codes(windows, table.length))
            probs[seen] = table.probs[row[seen]]
        with np.errstate(divide="ignore"):
            log_probs = np.log(probs)
        if not _is_tensor(inputs):
            return log_probs
        # loaded already by whoever made the tensor
        import torch

        return torch.from_numpy(log_probs).to(inputs.device)

    def state_dict(self) -> dict[str, np.ndarray]:
        """All that the model has counted, as arrays by name: "2.contexts" (C,) and "2.probs" (C, V), and so on.

        The number is how many tokens a context has. `models.save` writes them to a file.
        """
        if not self._tables:
            raise ValueError("this model has counted nothing yet; call fit(inputs, targets) first")
        state = {"n_parameters": np.array(self.n_parameters)}
        for table in self._tables:
            state[f"{table.length}.contexts"] = table.contexts
            state[f"{table.length}.probs"] = table.probs
        return state

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what `state_dict` of a model of this class and these settings gave.

        Raises `ValueError`, and changes nothing, if the arrays are those of another model.
        """
        expected = {"n_parameters"}
        for length in self._context_lengths():
            expected |= {f"{length}.contexts", f"{length}.probs"}
        if expected != state.keys():
            differ = ", ".join(sorted(expected ^ state.keys())[:3])
            raise ValueError(f"the state has other names than this {type(self).__name__}: {differ}")
        tables = [
            self._checked_table(length, state[f"{length}.contexts"], state[f"{length}.probs"])
            for length in self._context_lengths()
        ]
        self.n_parameters = int(state["n_parameters"])
        self._tables = tables

    def _context_lengths(self) -> list[int]:
        """The lengths of the contexts that the model has a table for, from the shortest on."""
        raise NotImplementedError

    def _checked_table(self, length: int, contexts: np.ndarray, probs: np.ndarray) -> Table:
        shapes_fit = contexts.ndim == 1 and len(contexts) and probs.shape == (len(contexts), self.vocab_size)
        if not shapes_fit or contexts.dtype != np.int64 or probs.dtype != np.float64:
            raise ValueError(
                f"contexts of {length} tokens are int64 (C,) and their probabilities float64 (C, {self.vocab_size}), "
                f"got {contexts.dtype} {contexts.shape} and {probs.dtype} {probs.shape}"
            )
        in_range = 0 <= contexts[0] and contexts[-1] < self.vocab_size**length
        if not in_range or (np.diff(contexts) <= 0).any():
            raise ValueError(f"contexts of {length} tokens are numbers in base {self.vocab_size}, sorted")
        return Table(length, contexts, probs)

    def _ngrams(self, inputs: ArrayLike | Tensor, targets: ArrayLike | Tensor) -> np.ndarray:
        """Each window's last order - 1 tokens and its target as one number in base V, (N,) int64."""
        windows = self._windows(inputs)
        last = _integers(targets)
        if last.shape != (len(windows),) or not len(last):
            raise ValueError(
                f"fit takes windows (N, block) and one target for each, (N,), with N at least 1, got {windows.shape} "
                f"and {last.shape}; cut words with context_windows and a running text with ngram.sliding_windows"
            )
        self._check_range(last)
        return self._codes(windows, self.order - 1) * self.vocab_size + last

    def _windows(self, inputs: ArrayLike | Tensor) -> np.ndarray:
        windows = _integers(inputs)
        if windows.ndim != 2 or windows.shape[1] < self.order - 1:
            raise ValueError(
                f"a model of order {self.order} reads windows (N, block) with block at least {self.order - 1}, "
                f"got shape {windows.shape}"
            )
        self._check_range(windows)
        return windows

    def _check_range(self, ids: np.ndarray) -> None:
        if ids.size and not (0 <= ids.min() and ids.max() < self.vocab_size):
            raise ValueError(f"token ids must lie in 0..{self.vocab_size - 1}, got {ids.min()}..{ids.max()}")

    def _codes(self, windows: np.ndarray, length: int) -> np.ndarray:
        """The last `length` tokens of each window as one number in base V, (N,) int64."""
        codes = np.zeros(len(windows), dtype=np.int64)
        for column in range(windows.shape[1] - length, windows.shape[1]):
            codes = codes * self.vocab_size + windows[:, column]
        return codes

    def _by_context(self, ngrams: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distinct n-grams (G,) as contexts (C,), sorted, and each n-gram's row among them and its last token, (G,)."""
        contexts, row = np.unique(ngrams // self.vocab_size, return_inverse=True)
        if len(contexts) * self.vocab_size > LARGEST_TABLE:
            raise ValueError(
                f"{len(contexts):,} contexts times {self.vocab_size:,} tokens is more than {LARGEST_TABLE:,} numbers; "
                "lower the order or the vocabulary"
            )
        return contexts, row, ngrams % self.vocab_size


def _is_tensor(ids: Any) -> bool:
    """Whether this is a torch tensor, found out without torch."""
    return hasattr(ids, "numpy") and hasattr(ids, "cpu")


def _integers(ids: Any) -> np.ndarray:
    """Token ids as a numpy array of int64; whatever is not made of integers raises `ValueError`."""
    try:
        array = np.asarray(ids.cpu() if _is_tensor(ids) else ids)
    except ValueError:
        raise ValueError("token ids form an array, but these rows differ in length") from None
    # an empty list has no integers to show
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"token ids are integers, got {array.dtype}; encode the text with a tokenizer first")
    return array.astype(np.int64, copy=False)


def _find(sorted_codes: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The index of each code in `sorted_codes`, and whether it occurs there."""
    index = np.searchsorted(sorted_codes, codes).clip(max=len(sorted_codes) - 1)
    return index, sorted_codes[index] == codes


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

    def _settings(self) -> str:
        return f"{super()._settings()}, alpha={self.alpha}"

    def _context_lengths(self) -> list[int]:
        return [self.order - 1]

    def fit(self, inputs: ArrayLike | Tensor, targets: ArrayLike | Tensor) -> Self:
        """Count windows (N, block) and the token after each, (N,); returns the model itself."""
        ngrams, counts = np.unique(self._ngrams(inputs, targets), return_counts=True)
        contexts, row, token = self._by_context(ngrams)
        table = np.full((len(contexts), self.vocab_size), float(self.alpha))
        table[row, token] += counts
        table /= table.sum(axis=1, keepdims=True)
        self._tables = [Table(self.order - 1, contexts, table)]
        self.n_parameters = len(ngrams)
        return self


class KneserNey(_NGram):
    """Interpolated Kneser-Ney smoothing (Kneser and Ney 1995; Chen and Goodman 1998, section 2.7).

    The count of every n-gram is lowered by a discount D, and the probability mass freed is given to the next lower
    order, where a token counts by how many different tokens it was seen after, not by how often. The lowest order
    interpolates with the uniform distribution. What pads the start of a word counts as a token like any other.

    A `discount` of None takes n1 / (n1 + 2 n2) for each order (Ney, Essen and Kneser 1994), with n1 and n2 the number
    of n-grams that have count 1 and 2 there, and keeps it within 0.05..0.95, which a tiny corpus would leave.

        inputs, targets = context_windows(words, tokenizer, block_size=5)
        model = KneserNey(order=6, vocab_size=tokenizer.vocab_size, discount=0.9).fit(inputs, targets)
        model(inputs[:1])  # the logarithm of p(next token), (1, V)
    """

    def __init__(self, order: int, vocab_size: int, discount: float | None = None):
        super().__init__(order, vocab_size)
        if discount is not None and not 0.0 < discount < 1.0:
            raise ValueError(f"the discount lies between 0 and 1, got {discount}")
        self.discount = discount
        # once fitted, for the orders 1, 2, ...: what is taken off counts of 1, of 2, and of 3 or more, (3,)
        self.discounts: list[np.ndarray] = []

    def _settings(self) -> str:
        return f"{super()._settings()}, discount={self.discount}"

    def _context_lengths(self) -> list[int]:
        return list(range(self.order))

    def state_dict(self) -> dict[str, np.ndarray]:
        """As for every counting model, and the "discounts" of the orders, (order, 3)."""
        return {**super().state_dict(), "discounts": np.stack(self.discounts)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        discounts = state.get("discounts")
        if discounts is None or discounts.shape != (self.order, 3):
            raise ValueError(f"the state of this {type(self).__name__} has discounts ({self.order}, 3)")
        super().load_state_dict({name: array for name, array in state.items() if name != "discounts"})
        self.discounts = list(discounts)

    def fit(self, inputs: ArrayLike | Tensor, targets: ArrayLike | Tensor) -> Self:
        """Count windows (N, block) and the token after each, (N,); returns the model itself."""
        levels = self._counts_of_orders(self._ngrams(inputs, targets))
        discounts = [self._discounts(counts) for _, counts in levels]
        tables: list[Table] = []
        for (ngrams, counts), taken in zip(levels, discounts, strict=True):
            shorter = tables[-1] if tables else None
            tables.append(self._interpolate(ngrams, counts, taken, shorter))
        self._tables = tables
        self.discounts = discounts
        self.n_parameters = sum(len(ngrams) for ngrams, _ in levels)
        return self

    def _counts_of_orders(self, ngrams: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """For the orders 1, 2, ...: the distinct n-grams and their counts, below the highest order continuation counts.

        The continuation count of an n-gram is the number of different tokens that it was seen after.
        """
        levels = [np.unique(ngrams, return_counts=True)]
        for order in range(self.order - 1, 0, -1):
            longer, _ = levels[-1]
            # each distinct longer n-gram, without its first token, is one more left neighbour of the rest
            levels.append(np.unique(longer % self.vocab_size**order, return_counts=True))
        return levels[::-1]

    def _discounts(self, counts: np.ndarray) -> np.ndarray:
        """What is taken off the counts 1, 2, and 3 or more of one order, (3,)."""
        discount = self.discount
        if discount is None:
            n1, n2 = _counts_of_counts(counts, 2)
            discount = min(max(n1 / max(n1 + 2 * n2, 1), 0.05), 0.95)
        return np.full(3, discount)

    def _interpolate(
        self, ngrams: np.ndarray, counts: np.ndarray, discounts: np.ndarray, shorter: Table | None
    ) -> Table:
        """The table of one order: its distinct n-grams (G,) and their counts (G,), mixed with the next shorter table.

        p(w | c) = (count(c w) - D(count(c w))) / count(c) + freed(c) / count(c) * p(w | c without its first token)
        """
        contexts, row, token = self._by_context(ngrams)
        taken = discounts[np.minimum(counts, 3) - 1]
        total = np.bincount(row, weights=counts)
        freed = np.bincount(row, weights=taken)
        if shorter is None:
            length = 0
            probs = np.full((1, self.vocab_size), 1.0 / self.vocab_size)
        else:
            length = shorter.length + 1
            # every context seen was also seen without its first token
            lower_row, _ = _find(shorter.contexts, contexts % self.vocab_size**shorter.length)
            probs = shorter.probs[lower_row]
        probs *= (freed / total)[:, None]
        probs[row, token] += (counts - taken) / total[row]
        return Table(length, contexts, probs)


class ModifiedKneserNey(KneserNey):
    """Modified Kneser-Ney smoothing: three discounts for each order, nothing to choose.

    Chen and Goodman 1998, "An empirical study of smoothing techniques for language modeling", technical report
    TR-10-98, Harvard University, section 3. As `KneserNey`, but n-grams with a count of 1, of 2, and of 3 or more have
    discounts of their own. With n1..n4 the number of n-grams that have count 1..4 at an order, Y = n1 / (n1 + 2 n2) and

        D1 = 1 - 2 Y n2 / n1        D2 = 2 - 3 Y n3 / n2        D3+ = 3 - 4 Y n4 / n3

    In a small corpus, or at a low order of any, one of n1..n4 may be 0, or D2 or D3+ may not be above 0. Such an order
    has the one discount that `KneserNey` estimates.
    """

    def __init__(self, order: int, vocab_size: int):
        super().__init__(order, vocab_size)

    def _settings(self) -> str:
        return _NGram._settings(self)

    def _discounts(self, counts: np.ndarray) -> np.ndarray:
        n1, n2, n3, n4 = _counts_of_counts(counts, 4)
        if min(n1, n2, n3, n4) == 0:
            return super()._discounts(counts)
        y = n1 / (n1 + 2 * n2)
        discounts = np.array([1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        # each is below the count that it is taken off, but it must be above 0, or unseen tokens get no probability
        if discounts.min() <= 0:
            return super()._discounts(counts)
        return discounts


def _counts_of_counts(counts: np.ndarray, highest: int) -> list[int]:
    """How many n-grams have a count of 1, 2, ..., `highest`."""
    return [int(np.count_nonzero(counts == count)) for count in range(1, highest + 1)]
