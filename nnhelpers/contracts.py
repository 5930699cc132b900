"""What the parts of the package ask of each other: the one contract of all models, and that of both tokenizers.

Nothing has to inherit from these classes: whatever has their methods fits them (PEP 544).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

StrPath = str | PathLike[str]
NO_TARGET = -1  # stands where a padded row has no next token: such places are left out of every loss
Special = str | Collection[str]  # "all", "none", "none_raise", or the special tokens that may be made
Loaded = TypeVar("Loaded")


class LanguageModel(Protocol):
    """A callable from token ids to logits, the unnormalised log-probabilities of the next token.

    A window model maps windows (N, block) int64 to logits (N, V), one next token for each window. A sequence model
    maps rows (B, T) int64 to logits (B, T, V), the next token after each position.
    """

    def __call__(self, ids: Tensor, /) -> Tensor: ...


class Trainable(Protocol):
    """A `LanguageModel` whose parameters `fit` may change: every `nn.Module`, and the layers of `nnhelpers.layers`."""

    def __call__(self, ids: Tensor, /) -> Tensor: ...

    def parameters(self) -> Iterable[Tensor]: ...

    def train(self) -> Any: ...

    def eval(self) -> Any: ...


class Cache(Protocol):
    """What a model has kept of the tokens that it has read, so that it reads each of them once."""

    n_tokens: int
    sliding_window: bool  # whether reading may go on without end; otherwise the window has to be read anew


class Tokenizer(Protocol):
    """Text to ids and back: `CharTokenizer` and `BPETokenizer`."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def ids(self) -> Collection[int]:
        """All ids that stand for a token: below `vocab_size`, perhaps with gaps between them."""
        ...

    def encode(self, text: str, allowed_special: Special = "none_raise") -> list[int]:
        """The ids of a text; `ValueError` for what cannot be encoded."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids; `ValueError` for an id that is not in the vocabulary."""
        ...

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of the ids in UTF-8; a single token may be part of a character."""
        ...

    def pieces(self, blocks: Iterable[str]) -> Iterator[str]:
        """The blocks of one long text, cut anew: the ids of the pieces, end to end, are those of the text."""
        ...

    def save(self, path: StrPath) -> None:
        """Write the whole tokenizer to a JSON file."""
        ...

    @classmethod
    def load(cls: type[Loaded], path: StrPath) -> Loaded:
        """Read a file that `save` wrote; `ValueError` for any other."""
        ...
