"""Where and in which numbers a run computes: the device, the type of the forward pass, the scale for float16.

float16 holds nothing below 6e-8 and nothing above 65,504. So the loss is multiplied by a scale before the backward
pass and the gradient divided by it before the update; a scale that was too large shows as a gradient that is not
finite, and that update is left out (Micikevicius et al. 2018). bfloat16 has the range of float32 and needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def choose_device(
    name: str, *, has_cuda: bool, has_mps: bool, world_size: int = 1, local_rank: int = 0
) -> torch.device:
    """The device of a process for "auto", "cpu", "cuda" or "mps" (Apple's GPU); `ValueError` if it is not there.

    "auto" takes a CUDA GPU, else Apple's, else the CPU. Apple's serves a single process; of several, each takes the
    CPU.
    """
    if name == "cuda" and not has_cuda:
        raise ValueError("there is no GPU that torch can use; use --device cpu")
    if name == "mps" and not has_mps:
        raise ValueError("there is no Apple GPU (mps) that torch can use; use --device cpu")
    if name == "mps" and world_size > 1:
        raise ValueError("an Apple GPU (mps) serves one process: start without torchrun, or use --device cpu")
    if name in ("auto", "cuda") and has_cuda:
        return torch.device("cuda", local_rank)
    if name in ("auto", "mps") and has_mps and world_size == 1:
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(
    name: str, device: torch.device, *, has_bfloat16: bool = True, fsdp: bool = False
) -> torch.dtype:
    """The type of the forward pass for "auto", "float32", "bfloat16" or "float16"; `ValueError` if it cannot be had.

    "auto" takes bfloat16 on a CUDA GPU that has it (`has_bfloat16`), float16 on one that has not, float32 elsewhere. A
    gradient scale for parameters that are spread over processes (fsdp) is not supported: there float32 is taken.
    """
    if name == "float16" and device.type != "cuda":
        raise ValueError(f"float16 is for a CUDA GPU, and this run is on {device.type}; use --dtype float32")
    if name == "float16" and fsdp:
        raise ValueError("float16 cannot be used with fsdp; use --dtype bfloat16 or float32")
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type != "cuda":
        return torch.float32
    if has_bfloat16:
        return torch.bfloat16
    return torch.float32 if fsdp else torch.float16


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether a CUDA GPU computes in bfloat16 itself (from Ampere on); a slow emulation does not count."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Inside the block the forward pass computes in `dtype` where that is safe; float32 changes nothing."""
    if dtype == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def make_scaler(device: torch.device, dtype: torch.dtype) -> torch.amp.GradScaler:
    """The scale of the loss in float16; with other types it passes everything through unchanged."""
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)


def update(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    scaler: torch.amp.GradScaler,
    grad_clip: float,
) -> bool:
    """Divide the gradient by the scale, clip it (0: not at all) and take a step; False if it was left out.

    It is left out for all optimizers together, where the scaler alone would leave it out for each on its own: one of
    them would otherwise take a step along a gradient that clipping by an infinite norm had made zero.
    """
    for optimizer in optimizers:
        scaler.unscale_(optimizer)
    is_taken = not scaler.is_enabled() or _is_finite(model)
    if is_taken:
        if grad_clip:
            nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        for optimizer in optimizers:
            scaler.step(optimizer)
    scaler.update()
    return is_taken


def _is_finite(model: nn.Module) -> bool:
    """Whether all gradients are numbers."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return bool(torch.isfinite(nn.utils.get_total_norm(gradients)))
