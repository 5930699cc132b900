"""What a training asks of the machine: its processes and devices, the signals it gets, a compiler.

A model is copied to every process (DDP: torch's DistributedDataParallel) or shared out over them (FSDP).
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

# dense bfloat16 operations a second: NVIDIA's data sheets (A100, H100, H200) and its Ada white paper (RTX 4090)
PEAKS = {"A100": 312e12, "H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "RTX 4090": 165.2e12}


class Processes:
    """The processes of a run, as torchrun started them: this one's rank and device, and what they do together.

    `device` is "auto", "cpu" or "cuda", which raises `ValueError` without a GPU.
    """

    def __init__(self, device: str = "auto"):
        self.world, self.rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        if device == "cuda" and not torch.cuda.is_available():
            raise ValueError("there is no GPU that torch can use; take the device cpu")
        self.device = torch.device("cpu")
        if device != "cpu" and torch.cuda.is_available():
            self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
            torch.cuda.set_device(self.device)
            torch.set_float32_matmul_precision("high")
        if self.world > 1 and not dist.is_initialized():
            backend = "gloo" if self.device.type == "cpu" else "nccl"
            # the long patience is for those who wait while the first encodes a text
            dist.init_process_group(backend, timeout=timedelta(hours=12))
            atexit.register(dist.destroy_process_group)

    def peak(self) -> float | None:
        """The dense bfloat16 operations a second of all devices, where that is known."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        return next((peak * self.world for part, peak in PEAKS.items() if part in name), None)

    def say(self, text: str) -> None:
        """Print a line above the bar, once for all processes."""
        if self.rank == 0:
            with tqdm.external_write_mode():
                print(text, flush=True)

    def bar(self, total: int, initial: int) -> tqdm:
        """A progress bar: for the first process, if it writes to a terminal and TQDM_DISABLE is not set."""
        hidden = self.rank > 0 or os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
        return tqdm(total=total, initial=initial, disable=hidden or None)

    def first(self, action: Callable[[], None]) -> None:
        """The first process acts, the others wait; its `ValueError` or `OSError` becomes a `ValueError` of all."""
        message = [None]
        if self.rank == 0:
            try:
                action()
            except (ValueError, OSError) as error:
                message = [str(error)]
        if self.world > 1:
            dist.broadcast_object_list(message)
        if message[0] is not None:
            raise ValueError(message[0])

    def sums(self, *values: float) -> list[float]:
        """Each value, added up over the processes."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.tolist()


@contextmanager
def signals_noted() -> Iterator[list[int]]:
    """Inside the block Ctrl-C and SIGTERM are noted in the list, so that no step is left half done.

    A second Ctrl-C raises `KeyboardInterrupt` as usual.
    """
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if number == signal.SIGINT and number in noted:
            raise KeyboardInterrupt
        noted.append(number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread hears signals
        yield noted
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def compiled(model: nn.Module, try_out: Callable[[Any], None]) -> Any:
    """The model compiled, if `try_out` gets through with it; else a printed sentence, and the model as it is."""
    fast = torch.compile(model)
    try:
        try_out(fast)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler fails in many ways
        print(f"torch.compile fails here ({type(error).__name__}), so the model runs without it", flush=True)
        return model
    return fast


def share_out(model: nn.Module, parts: Sequence[nn.Module], dtype: torch.dtype, device: torch.device) -> None:
    """Spread the parameters over the processes (FSDP2, Zhao et al. 2023); each of the `parts` is joined when used."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    options = {"mesh": init_device_mesh(device.type, (dist.get_world_size(),))}
    if dtype != torch.float32:
        options["mp_policy"] = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    for part in [*parts, model]:
        fully_shard(part, **options)


def reshard(model: nn.Module) -> None:
    """Share the model out again: FSDP leaves it whole after a forward pass that no backward pass follows."""
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def exchange_gradients(model: Any, now: bool) -> None:
    """Whether the next backward pass brings the gradients of the processes together, or only adds to its own."""
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model.require_backward_grad_sync = now
    elif hasattr(model, "set_requires_gradient_sync"):  # FSDP
        model.set_requires_gradient_sync(now)
