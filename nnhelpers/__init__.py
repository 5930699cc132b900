"""The models and tools of the course *Neural Networks: Playground*.

One module for what each lecture builds: `micrograd` (1), `ngram` (2), `layers` and `mlp` (3 and 4), `backprop` (5),
`wavenet` (6), `gpt` (7), `bpe` (8); and the tools that they share. Importing the package loads none of them: each is
imported when it is first used, `nnhelpers.gpt` or `from nnhelpers import gpt` (PEP 562).
"""

from __future__ import annotations

import importlib
from types import ModuleType

__version__ = "1.0.0"
__all__ = [
    "backprop",
    "batches",
    "bpe",
    "characters",
    "contracts",
    "course",
    "data",
    "diagnosis",
    "evaluation",
    "files",
    "fit",
    "gpt",
    "huggingface",
    "layers",
    "micrograd",
    "mlp",
    "models",
    "monitor",
    "ngram",
    "optim",
    "sampling",
    "terminal",
    "train",
    "wavenet",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
