"""What several test files compare with or compute from: seeded numbers, and models whose every number matters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers, the same for the same seed; drawn in float64 whatever the dtype."""
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


@torch.no_grad()
def shaken(model: Any, dtype: torch.dtype = torch.float64) -> Any:
    """The model with all its numbers moved, so that no bias is 0 and no gamma 1; in eval mode.

    Running statistics are moved upwards, because a variance has to stay above 0.
    """
    generator = seeded(1)
    for p in model.parameters():
        p.add_(0.2 * torch.randn(p.shape, generator=generator))
    for name, buffer in model.named_buffers():
        if "running_" in name:
            buffer.add_(0.3 * torch.rand(buffer.shape, generator=generator))
    return model.to(dtype).eval()


def torchs() -> nn.Sequential:
    """A network of torch's own layers on windows of three symbols, with BatchNorm, LayerNorm and two activations."""
    torch.manual_seed(2)
    layers = [
        nn.Linear(30, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.LayerNorm(64),
        nn.GELU(),
    ]
    return nn.Sequential(nn.Embedding(27, 10), nn.Flatten(), nn.Sequential(*layers), nn.Linear(64, 27))
