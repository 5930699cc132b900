"""The processes of a run and their devices: copies of a model (DDP), shards of one (FSDP), a compiler.

DDP is torch's DistributedDataParallel: every process holds the whole model. FSDP is its fully sharded sibling: every
process holds a part of each matrix.
"""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from ..terminal import bars_are_off, say
from .precision import choose_device

# dense bfloat16 operations a second: NVIDIA's data sheets (A100, H100, H200) and its Ada white paper (RTX 4090)
PEAK_FLOPS = {"A100": 312e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "RTX 4090": 165.2e12}


class SharedError(ValueError):
    """What went wrong in the first process, raised in all of them: said once."""


class Processes:
    """The processes of a run, as torchrun started them: this one's rank and device, and what they do together.

    `device` is as for `precision.choose_device`, which raises `ValueError` for a GPU that is not there.
    """

    def __init__(self, device: str = "auto"):
        self.world_size = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        if not 0 <= self.rank < self.world_size:
            raise ValueError(
                f"RANK is {self.rank}, but WORLD_SIZE is {self.world_size}: start several processes with torchrun, or "
                "unset both"
            )
        self.device = choose_device(
            device,
            has_cuda=torch.cuda.is_available(),
            has_mps=torch.backends.mps.is_available(),
            world_size=self.world_size,
            local_rank=int(os.environ.get("LOCAL_RANK", 0)),
        )
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
            torch.set_float32_matmul_precision("high")
        if self.world_size > 1 and not dist.is_initialized():
            backend = "gloo" if self.device.type == "cpu" else "nccl"
            # the long patience is for those who wait while the first encodes a text
            dist.init_process_group(backend, timeout=timedelta(hours=12))
            atexit.register(_leave_group)

    def peak_flops(self) -> float | None:
        """The dense bfloat16 operations a second of all devices together, where that is known."""
        if self.device.type != "cuda":
            return None
        name = torch.cuda.get_device_name(self.device)
        for part, flops in PEAK_FLOPS.items():
            if part in name:
                return flops * self.world_size
        return None

    def print_rank_zero(self, text: str) -> None:
        """Print a line above the bar, once for all processes. No failure to print ends a run."""
        if self.rank == 0:
            with tqdm.external_write_mode():
                say(text)

    def progress_bar(self, total: int, initial: int) -> tqdm:
        """A progress bar: for the first process, if it writes to a terminal and TQDM_DISABLE is not set."""
        hidden = self.rank > 0 or bars_are_off()
        # None: tqdm itself hides the bar where there is no terminal
        return tqdm(total=total, initial=initial, disable=True if hidden else None)

    def rank_zero_first(self, action: Callable[[], None]) -> None:
        """The first process acts, the others wait; its `ValueError` or `OSError` becomes a `SharedError`."""
        message: list[str | None] = [None]
        if self.rank == 0:
            try:
                action()
            except (ValueError, OSError) as error:
                message = [str(error)]
        if self.world_size > 1:
            dist.broadcast_object_list(message)
        if message[0] is not None:
            raise SharedError(message[0])

    def all_reduce_sum(self, *values: float) -> list[float]:
        """Each value, added up over the processes."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()


def _leave_group() -> None:
    if dist.is_initialized():
        # models that still hold on to the group must go first: torch may abort a process that frees them after it
        gc.collect()
        dist.destroy_process_group()


def compiled(model: nn.Module, try_out: Callable[[Any], None]) -> Any:
    """The model compiled, if `try_out` gets through with it; else a printed sentence, and the model as it is."""
    fast = torch.compile(model)
    try:
        try_out(fast)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler fails in many ways
        say(f"torch.compile fails here ({type(error).__name__}), so the model runs without it")
        return model
    return fast


def shard(model: nn.Module, parts: Sequence[nn.Module], dtype: torch.dtype, device: torch.device) -> None:
    """Spread the parameters over the processes (FSDP2, Zhao et al. 2023); each of the `parts` is joined when used."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    policy = MixedPrecisionPolicy()
    if dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for part in [*parts, model]:
        fully_shard(part, mesh=mesh, mp_policy=policy)


def reshard(model: nn.Module) -> None:
    """Shard the model again: FSDP leaves it whole after a forward pass that no backward pass follows.

    Every process has to have run the model equally often. One more forward pass in one of them is a deadlock.
    """
    for module in model.modules():
        if callable(again := getattr(module, "reshard", None)):
            again()


def sync_gradients(model: Any, now: bool) -> None:
    """Whether the next backward pass averages the gradients over the processes, or only adds to this one's."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model.require_backward_grad_sync = now
    elif hasattr(model, "set_requires_gradient_sync"):  # FSDP
        model.set_requires_gradient_sync(now)
