"""Checkpoints and the log of steps: what a run that was stopped goes on from.

A checkpoint is one file in the safetensors format, replaced in one step: the parameters, the optimizers' state and all
else that the run goes on from belong to one step of it. Reading a checkpoint runs nothing that stands in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from ..contracts import StrPath
from ..files import digest, read_tensors, write_tensors

FORMAT = "nnhelpers.checkpoint 2"  # the number changes with the file's layout and names
FIRST_FORMAT = "nnhelpers.checkpoint 1"  # of version 0.1: the same layout, some other names
FORMER_NAMES = {
    "": {"place": "hardware"},
    "settings": {
        "form": "architecture",
        "accumulate": "gradient_accumulation_steps",
        "rate": "learning_rate",
        "final_rate": "min_lr_ratio",
        "warmup": "warmup_steps",
        "clip": "grad_clip",
    },
    "model": {"tied": "tie_weights", "start_id": "bos_id"},
}
# what the last checkpoint of a run says of it
REQUIRED_INFO = (
    "settings",
    "model",
    "source",
    "hardware",
    "step",
    "log_bytes",
    "best_loss",
    "best_step",
    "seconds",
)
# what each optimizer of this package keeps for a parameter
STATE = {"AdamW": ("step", "exp_avg", "exp_avg_sq"), "Muon": ("momentum",), "SGD": ()}
Optimizers = Sequence[torch.optim.Optimizer]


def write_checkpoint(path: StrPath, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Replace the file in one step. `info` is JSON."""
    text = json.dumps(info, ensure_ascii=False)
    write_tensors(path, tensors, {"format": FORMAT, "info": text, "sha256": digest(tensors, text)})


def read_checkpoint(path: StrPath, *needs: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the info of a file that `write_checkpoint` wrote; the info has what it `needs`.

    Raises `FileNotFoundError`, and `ValueError` for a file that is cut short, changed, pickled or of another version.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") not in (FORMAT, FIRST_FORMAT):
        raise ValueError(
            f"{Path(path).name} is not a checkpoint of this version: it should say {FORMAT!r}, and says "
            f"{metadata.get('format')!r}"
        )
    text = metadata.get("info", "")
    if metadata.get("sha256") != digest(tensors, text):
        raise ValueError(f"{Path(path).name} is damaged: what it holds is not what was written")
    info = json.loads(text)
    if metadata["format"] == FIRST_FORMAT:
        info = _with_names_of_today(info)
    if missing := [name for name in needs if name not in info]:
        raise ValueError(
            f"{Path(path).name} is a checkpoint of another kind: it does not tell its {missing[0]}"
        )
    return tensors, info


def _with_names_of_today(info: dict[str, Any]) -> dict[str, Any]:
    info = _renamed(info, FORMER_NAMES[""])
    for part in ("settings", "model"):
        if isinstance(info.get(part), dict):
            info[part] = _renamed(info[part], FORMER_NAMES[part])
    return info


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}


def gather(model: nn.Module, optimizers: Optimizers = (), keep: bool = True) -> dict[str, Tensor]:
    """Every parameter, and the optimizers' state for each, by name; on the CPU, whole.

    With parameters that are spread over processes (FSDP) every process has to call it; where `keep` is False the
    result is empty.
    """
    found = {}
    for name, tensor in _named(model, optimizers):
        whole: Any = tensor.detach()
        if hasattr(whole, "full_tensor"):  # a DTensor: join the parts that lie in the processes
            whole = whole.full_tensor()
        if keep:
            found[name] = whole.cpu()
    return found


def _named(model: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of all that a checkpoint holds, in an order that all processes share."""
    for name, parameter in model.named_parameters():
        yield f"model.{name}", parameter
    for prefix, p, optimizer in _places(model, optimizers):
        if p in optimizer.state:
            for key, value in optimizer.state[p].items():
                yield f"{prefix}.{key}", value


def _places(model: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, Tensor, torch.optim.Optimizer]]:
    """Every parameter of every optimizer, with the beginning of the names of its state."""
    names = {id(p): name for name, p in model.named_parameters()}
    for number, optimizer in enumerate(optimizers):
        for group in optimizer.param_groups:
            for p in group["params"]:
                yield f"optimizer.{number}.{names[id(p)]}", p, optimizer


def _state_keys(optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    name = type(optimizer).__name__
    if name not in STATE:
        raise ValueError(f"a checkpoint holds the state of {', '.join(STATE)}, not of {name}")
    return STATE[name]


@torch.no_grad()
def restore(model: nn.Module, tensors: Mapping[str, Tensor], optimizers: Optimizers = ()) -> None:
    """Put what `gather` found back in place: the parameters, and the state of the `optimizers` given.

    Names and shapes have to be exactly those of the model and the optimizers; otherwise `ValueError`, and nothing is
    changed. Parameters in half precision, as `save_half` writes them, are widened; a run goes on from float32 alone.
    """
    # not optimizer.load_state_dict: it goes by numbers instead of names, casts, and knows nothing of shards
    _check(tensors, _expected(model, optimizers), bool(optimizers))
    for name, parameter in model.named_parameters():
        parameter.copy_(_spread(tensors[f"model.{name}"], parameter))
    for prefix, p, optimizer in _places(model, optimizers):
        for key in _state_keys(optimizer):
            saved = tensors[f"{prefix}.{key}"].clone()
            if key == "step":  # a single number, which no process shares out
                optimizer.state[p][key] = saved.to(p.device)
            else:
                optimizer.state[p][key] = _spread(saved, p)


def _spread(whole: Tensor, like: Any) -> Tensor:
    """`whole` where `like` lies: on its device, or shared out over processes in the same way."""
    if hasattr(like, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
    return whole.to(like.device)


def _expected(model: nn.Module, optimizers: Optimizers) -> dict[str, tuple[int, ...]]:
    """The names and shapes that a checkpoint of these has."""
    shapes = {f"model.{name}": tuple(p.shape) for name, p in model.named_parameters()}
    for prefix, p, optimizer in _places(model, optimizers):
        for key in _state_keys(optimizer):
            shapes[f"{prefix}.{key}"] = () if key == "step" else tuple(p.shape)
    return shapes


def _check(
    tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], with_optimizers: bool
) -> None:
    found = {name for name in tensors if with_optimizers or not name.startswith("optimizer.")}
    if missing := sorted(expected.keys() - found):
        raise ValueError(f"the checkpoint lacks {_some(missing)}; it is of another model or optimizer")
    if unknown := sorted(found - expected.keys()):
        raise ValueError(
            f"the checkpoint holds {_some(unknown)}, which this model or optimizer does not have"
        )
    allowed = (torch.float32,) if with_optimizers else (torch.float32, torch.float16)
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape or tensors[name].dtype not in allowed:
            raise ValueError(
                f"{name} should be float32 of shape {shape}; in the checkpoint it is {tensors[name].dtype} of shape "
                f"{tuple(tensors[name].shape)}"
            )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_same(old: Mapping[str, Any], new: Mapping[str, Any], may_change: Collection[str] = ()) -> None:
    """Raise `ValueError` listing the values that differ from before, except those in `may_change`."""
    changed = [name for name in new if name not in may_change and new[name] != old.get(name)]
    if changed:
        what = ", ".join(f"{name} {old.get(name)!r}, not {new[name]!r}" for name in changed)
        raise ValueError(f"the run began with {what}: it can go on only with what it began with")


class StepLog:
    """A file with a line of JSON for each step. On resume, everything after the first `n_bytes` is discarded.

    Raises `ValueError` if those are not lines of JSON.
    """

    def __init__(self, path: StrPath, n_bytes: int = 0):
        kept = Path(path).read_bytes()[:n_bytes] if Path(path).is_file() else b""
        try:
            self.records = [_renamed(json.loads(line), {"rate": "lr"}) for line in kept.splitlines()]
        except (ValueError, AttributeError):
            raise ValueError(
                f"{path} was changed: its first {n_bytes:,} bytes are not lines of JSON"
            ) from None
        self._path, self.n_bytes = path, len(kept)
        self._file: BinaryIO | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line; the first one written drops what stood after the lines that were kept."""
        if self._file is None:
            self._file = open(self._path, "ab")  # noqa: SIM115
            self._file.truncate(self.n_bytes)
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()
        self.n_bytes = self._file.tell()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
