"""Looking inside a network while it trains: what its layers put out, which gradients reach them, how weights move.

This module measures, and says what it could not see; `nnhelpers.diagnosis` judges.
"""

from __future__ import annotations

import math
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from . import diagnosis
from .diagnosis import Finding, Histogram, LayerStats, MatrixStats, Record

OfLayers = Literal["mean", "std", "dead_share", "saturated", "gradient_std"]
OfMatrices = Literal["gradient_ratio", "update_ratio"]

# The activations that are recognised: a module's class, and the function of the same kind (torch.tanh, F.gelu, ...).
ACTIVATIONS = {
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "ELU": "elu",
    "SELU": "selu",
    "CELU": "celu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Softplus": "softplus",
    "Hardtanh": "hardtanh",
    "Hardswish": "hardswish",
    "Hardsigmoid": "hardsigmoid",
}
# Outside of these the slope is below 6% of its largest value: 1 - 0.97² for tanh, 4 · 0.985 · 0.015 for the sigmoid.
FLAT_ENDS = {"tanh": (-0.97, 0.97), "sigmoid": (0.015, 0.985)}

_watched: weakref.WeakSet = weakref.WeakSet()


@dataclass(frozen=True)
class _Place:
    """A module of the network and where it stands."""

    path: str  # "" for the network itself, "blocks.0.up"
    module: Any
    activation: str | None
    is_measured: bool  # whether its output is: it has no parts, or parameters of its own

    @property
    def name(self) -> str:
        return f"{self.path} {type(self.module).__name__}".strip()


class HealthMonitor:
    """Watches a network train. `model` is any `nn.Module`, or made of `nnhelpers.layers`.

        with HealthMonitor(model, every=50) as monitor:
            fit(model, batches, n_steps=1000, lr=0.01, after_step=monitor.step)
        print(monitor.report())

    In a loop of your own call `monitor.step()` after each `optimizer.step()`; where `zero_grad()` stands makes no
    difference. Every `every` steps, from the first on, are measured:

    - the output of each module that has no parts or has parameters of its own (of a tuple or dictionary the first
      tensor of decimals), and of each call of an activation function (`torch.tanh(x)`, `F.gelu(x)`) inside an
      `nn.Module`; units lie along dimension `unit_dim`;
    - the gradient of the loss with respect to each of these outputs;
    - each weight matrix (parameter of two dimensions or more), its gradient, before any clipping, and its update.

    A layer has the name "path Class" ("3 Tanh"), a function "path function" ("blocks.0.feed_forward gelu"); what is
    used several times in one pass has "(1)", "(2)", ... behind it. Of several passes in one step the last counts, for
    gradients of weights their sum. Matrices that a module holds beside others have the name of the parameter behind
    it ("0 LSTM weight_hh_l0"); one that several modules share stands under the first of them.

    One measurement of a small MLP costs about as much as seven training steps. `detach()`, or the end of the block,
    removes every hook; what was measured stays. A model that is compiled or watched already raises `ValueError`.
    """

    def __init__(self, model: Any, every: int = 100, unit_dim: int = -1):
        if every < 1:
            raise ValueError(f"every is a number of steps, at least 1, got {every}")
        if model in _watched:
            raise ValueError("this model is being watched already; detach() the other monitor first")
        # how many updates had been made at each measurement; one dictionary for each measurement
        self.steps: list[int] = []
        self.layers: list[dict[str, LayerStats]] = []
        self.matrices: list[dict[str, MatrixStats]] = []

        self._model, self._every, self._unit_dim = model, every, unit_dim
        self._places = _places(model)
        _check_not_compiled(self._places)
        self._n_steps = 0
        self._changed_statistics: dict[str, int] = {}
        self._without_tensor: set[str] = set()

        # of the step that is being measured
        self._outputs: dict[tuple[str, int], LayerStats] = {}  # by name and number of the use in one pass
        self._uses: Counter[str] = Counter()
        self._weights: dict[
            str, tuple[Tensor, Tensor]
        ] = {}  # a parameter, and its copy from before the update
        self._gradient_norms: dict[str, float] = {}
        self._gradient_hooks: list[Any] = []
        self._running: list[_Place] = []  # the modules whose forward is running, the innermost last
        self._calls: _ActivationCalls | None = None

        self._hooks = [hook for place in self._places for hook in self._attach(place)]
        _watched.add(model)

    def __enter__(self) -> HealthMonitor:
        return self

    def __exit__(self, *error: object) -> None:
        self.detach()

    def detach(self) -> None:
        """Remove all hooks from the model. What was measured can still be read."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._forget_running()
        self._forget_step()
        _watched.discard(self._model)

    def step(self) -> None:
        """To be called after each update of the weights; ends the measurement if this step is one that is measured."""
        if self._is_due() and (self._outputs or self._weights):
            self.steps.append(self._n_steps)
            self.layers.append(self._named_outputs())
            self.matrices.append(self._compared_weights())
            self._forget_step()
        self._n_steps += 1

    def over_time(self, what: OfLayers | OfMatrices) -> dict[str, list[float]]:
        """For each output or weight matrix the values at `monitor.steps`.

        `what` is "mean", "std", "dead_share", "saturated" or "gradient_std" of an output, or "gradient_ratio" or
        "update_ratio" of a weight matrix, both divided by the norm of the weights.

            monitor.over_time("update_ratio")["2 Linear"]  # [0.0031, 0.0024, 0.0009]
        """
        self._check_measured()
        choices = [*get_args(OfLayers), *get_args(OfMatrices)]
        if what not in choices:
            raise ValueError(f"{what!r} is not measured; choose one of {choices}")
        source: list[Any] = self.layers if what in get_args(OfLayers) else self.matrices
        values = {name: [getattr(at[name], what) for at in source if name in at] for name in source[-1]}
        return {name: series for name, series in values.items() if None not in series}

    def findings(self) -> list[Finding]:
        """Every layer that has a problem, and which; empty for a network that is healthy as far as seen."""
        return diagnosis.findings(self._record())

    def report(self) -> str:
        """The findings in words, or that there are none; and what was seen and what was not."""
        return diagnosis.report(self._record())

    def _record(self) -> Record:
        self._check_measured()
        return Record(self.steps, self.layers, self.matrices, self._changed_statistics, self._not_seen())

    def _check_measured(self) -> None:
        if not self.steps:
            raise ValueError(
                "nothing was measured yet: train the model in training mode and not compiled, with "
                "after_step=monitor.step or a call of monitor.step() after each update"
            )

    def _not_seen(self) -> list[str]:
        """What the last measurement did not reach, in words."""
        measured = {name.partition(" (")[0] for name in self.layers[-1]}
        unseen = []
        for place in self._places:
            is_wanted = place.is_measured and (_parameters(place) or place.activation)
            if not is_wanted or place.name in measured:
                continue
            if place.name in self._without_tensor:
                unseen.append(f"the output of {place.name} (holds no tensor)")
            else:
                unseen.append(f"the output of {place.name} (not called in training mode)")
        unseen += [f"{_hidden(place)} inside {place.name}" for place in self._places if _hidden(place)]
        if any(p.ndim < 2 for place in self._places for _, p in _parameters(place)):
            unseen.append("biases and gains")
        return unseen

    # while the network runs

    def _is_due(self) -> bool:
        return bool(self._hooks) and self._n_steps % self._every == 0

    def _attach(self, place: _Place) -> list[Any]:
        """The hooks of one module. They do nothing in copies of it, which bear its hooks, and in compiled code."""

        def before(module: Any, inputs: Any) -> None:
            if module is place.module and not torch.compiler.is_compiling():
                self._enter(place)

        def after(module: Any, inputs: Any, out: Any) -> None:
            if module is place.module and not torch.compiler.is_compiling():
                self._leave(place, out)

        if isinstance(place.module, nn.Module):
            return [
                place.module.register_forward_pre_hook(before),
                # also after an error in forward, so that the list of running modules stays true
                place.module.register_forward_hook(after, always_call=True),
            ]
        # a layer of nnhelpers.layers
        return [place.module.register_forward_hook(after)]

    def _enter(self, place: _Place) -> None:
        if not self._is_due() or _in_backward() or not torch.is_grad_enabled():
            return
        if place.path == "":
            # what Ctrl-C may have left of an earlier pass
            self._forget_running()
            self._uses.clear()
        self._running.append(place)
        if self._calls is None:
            self._calls = _ActivationCalls(self._note_call)
            self._calls.__enter__()

    def _leave(self, place: _Place, out: Any) -> None:
        if self._running and self._running[-1] is place:
            self._running.pop()
            if not self._running:
                self._forget_running()
        if place.module.training and not _in_backward():
            if not torch.is_grad_enabled():
                self._note_statistics(place)
            elif self._is_due():
                self._keep_weights()
                if place.is_measured:
                    self._note_output(place.name, place.activation, out)
        if place.path == "":
            self._uses.clear()

    def _note_call(self, function: str, out: Any) -> None:
        """An activation function was called. Inside an activation module it is that module's output."""
        place = self._running[-1]
        if place.activation is None and place.module.training and torch.is_grad_enabled():
            self._note_output(f"{place.path} {function}".strip(), function, out)

    def _note_statistics(self, place: _Place) -> None:
        if getattr(place.module, "running_mean", None) is not None:
            self._changed_statistics[place.name] = self._changed_statistics.get(place.name, 0) + 1

    def _note_output(self, name: str, activation: str | None, out: Any) -> None:
        tensor = _first_tensor(out)
        if tensor is None:
            self._without_tensor.add(name)
            return
        if tensor.ndim > 1 and not -tensor.ndim <= self._unit_dim < tensor.ndim:
            raise ValueError(
                f"units cannot lie along dimension unit_dim={self._unit_dim}: the output of {name} has the shape "
                f"{tuple(tensor.shape)}; choose one that all outputs have"
            )
        stats = _layer_stats(activation, tensor.detach(), self._unit_dim)
        self._uses[name] += 1
        self._outputs[name, self._uses[name]] = stats
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: _add_gradient(stats, gradient))

    def _keep_weights(self) -> None:
        """Once in a measured step: copies of all weight matrices, and hooks for their gradients."""
        if self._weights:
            return
        for name, p in _matrices(self._places):
            self._weights[name] = (p, p.detach().clone())
            if p.requires_grad and p.is_leaf:
                hook = p.register_post_accumulate_grad_hook(self._gradient_noter(name))
                self._gradient_hooks.append(hook)

    def _gradient_noter(self, name: str) -> Callable[[Tensor], None]:
        def note(p: Tensor) -> None:
            if p.grad is not None:
                self._gradient_norms[name] = _norm(p.grad)

        return note

    # at the end of a measured step

    def _named_outputs(self) -> dict[str, LayerStats]:
        n_uses = Counter(name for name, _ in self._outputs)
        return {
            name if n_uses[name] == 1 else f"{name} ({use})": stats
            for (name, use), stats in self._outputs.items()
        }

    def _compared_weights(self) -> dict[str, MatrixStats]:
        return {
            name: _matrix_stats(p.detach(), before, self._gradient_norms.get(name, 0.0))
            for name, (p, before) in self._weights.items()
        }

    def _forget_step(self) -> None:
        for hook in self._gradient_hooks:
            hook.remove()
        self._gradient_hooks = []
        self._outputs, self._weights, self._gradient_norms = {}, {}, {}
        self._uses.clear()

    def _forget_running(self) -> None:
        self._running.clear()
        if self._calls is not None:
            self._calls.__exit__(None, None, None)
            self._calls = None


class _ActivationCalls(TorchFunctionMode):
    """While it is active, `note(name, out)` hears of each call of an activation function, torch.tanh or x.tanh()."""

    def __init__(self, note: Callable[[str, Any], None]):
        super().__init__()
        self.note = note

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        # tanh_ is tanh in place
        name = getattr(func, "__name__", "").rstrip("_")
        if name in _FUNCTIONS:
            self.note(name, out)
        return out


_FUNCTIONS = frozenset(ACTIVATIONS.values())


def _places(model: Any) -> list[_Place]:
    """All modules, each once."""
    named = list(model.named_modules())
    parents = {path.rpartition(".")[0] for path, _ in named if path}
    places: dict[int, _Place] = {}
    for path, module in named:
        has_parameters = any(True for _ in module.named_parameters(recurse=False))
        is_measured = path not in parents or has_parameters
        # the last layer of nn.MultiheadAttention is never called itself: what it gives is the attention's output
        is_measured = is_measured and type(module).__name__ != "NonDynamicallyQuantizableLinear"
        place = _Place(path, module, _activation_of(module), is_measured)
        places.setdefault(id(module), place)
    return list(places.values())


def _activation_of(module: Any) -> str | None:
    """The activation whose values a module puts out. An LSTM or GRU gives averages or parts of those of tanh."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return getattr(module, "nonlinearity", "tanh")
    kinds = [ACTIVATIONS[kind.__name__] for kind in type(module).__mro__ if kind.__name__ in ACTIVATIONS]
    return kinds[0] if kinds else None


def _hidden(place: _Place) -> str | None:
    """What happens inside a module where no hook reaches."""
    module = place.module
    if isinstance(module, (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell)):
        return "the gates"
    if isinstance(module, nn.RNN) and module.num_layers > 1:
        return "the lower layers"
    if not isinstance(module, nn.Module) and not type(module).__module__.startswith("nnhelpers."):
        return "activation functions"
    return None


def _check_not_compiled(places: list[_Place]) -> None:
    for place in places:
        module = place.module
        # torch.compile(module), and module.compile()
        is_compiled = hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None
        if is_compiled or isinstance(module, torch.jit.ScriptModule):
            raise ValueError(
                f"{place.name} is compiled, and hooks do not see into compiled code: give the monitor the model "
                "as it was before it was compiled, and train that one while it is watched"
            )


def _in_backward() -> bool:
    """Whether a backward pass is running: activation checkpointing then runs parts of the forward pass again."""
    return torch._C._current_graph_task_id() != -1


def _parameters(place: _Place) -> list[tuple[str, Tensor]]:
    """A module's own parameters; those of lazy modules once they have a shape."""
    own = place.module.named_parameters(recurse=False)
    return [(name, p) for name, p in own if not isinstance(p, nn.UninitializedParameter)]


def _matrices(places: list[_Place]) -> Iterator[tuple[str, Tensor]]:
    """The weight matrices, parameters of two dimensions and more, of all modules, each once."""
    seen: set[int] = set()
    for place in places:
        own = [(part, p) for part, p in _parameters(place) if p.ndim >= 2]
        for part, p in own:
            if id(p) not in seen:
                seen.add(id(p))
                yield place.name if len(own) == 1 else f"{place.name} {part}", p


def _first_tensor(out: Any) -> Tensor | None:
    """The first tensor of decimals in a module's output; numbers without a dimension, a loss, are passed over."""
    if isinstance(out, Tensor):
        return out if out.is_floating_point() and out.ndim > 0 and out.numel() > 0 else None
    parts: list[Any] = []
    if isinstance(out, Mapping):
        parts = list(out.values())
    elif isinstance(out, (tuple, list)):
        parts = list(out)
    tensors = (_first_tensor(part) for part in parts)
    return next((tensor for tensor in tensors if tensor is not None), None)


def _norm(values: Tensor) -> float:
    """The root of the sum of all squares, without overflow in half precision."""
    if values.is_sparse:
        values = values.coalesce().values()
    return torch.linalg.vector_norm(_precise(values)).item()


def _precise(values: Tensor) -> Tensor:
    """At least in float32."""
    return values if values.dtype == torch.float64 else values.float()


def _matrix_stats(after: Tensor, before: Tensor, gradient_norm: float) -> MatrixStats:
    """`after` and `before` (units, ...) the update."""
    norm, update_norm = _norm(before), _norm(_precise(after) - _precise(before))
    usual_norm = math.sqrt(len(after))  # of weights with a standard deviation of 1 / sqrt(inputs)
    differences = (after - after[:1]).abs().max().item()
    return MatrixStats(
        norm=norm,
        gradient_norm=gradient_norm,
        update_norm=update_norm,
        update_share=update_norm / max(norm, _norm(after), usual_norm),
        identical_units=len(after) > 1 and differences < 1e-3 * after.abs().max().item(),
    )


def _layer_stats(activation: str | None, out: Tensor, unit_dim: int) -> LayerStats:
    """`out` (..., units, ...), with the units along `unit_dim`; a row of numbers (N,) is one unit."""
    if out.ndim > 1:
        units = out.movedim(unit_dim, -1).flatten(0, -2)  # (examples, units)
    else:
        units = out[:, None]  # (examples, 1)
    dead_mask = (units == 0).all(dim=0)  # (units,)
    saturated = None
    if activation in FLAT_ENDS:
        low, high = FLAT_ENDS[activation]
        saturated = ((out < low) | (out > high)).float().mean().item()
    values = _precise(out)
    return LayerStats(
        mean=values.mean().item(),
        std=values.std(correction=0).item(),
        dead_share=dead_mask.float().mean().item(),
        saturated=saturated,
        dead_mask=dead_mask.cpu(),
        n_examples=len(units),
        activation=activation,
        histogram=_histogram(values),
    )


def _add_gradient(stats: LayerStats, gradient: Tensor) -> None:
    stats.gradient_std = _precise(gradient).std(correction=0).item()
    stats.gradient_histogram = _histogram(gradient)


def _histogram(values: Tensor, n_bins: int = 61) -> Histogram:
    """Bin centres (n_bins,) and density (n_bins,) of the finite values, over a range symmetric about 0."""
    values = values.detach().float().flatten().cpu()
    values = values[torch.isfinite(values)]
    top = max(values.abs().max().item() if len(values) else 0.0, 1e-12)
    counts = torch.histc(values, n_bins, -top, top)
    width = 2 * top / n_bins
    return (torch.arange(n_bins) + 0.5) * width - top, counts / max(len(values), 1) / width
