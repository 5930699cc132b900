"""Looking inside a network while it trains: what its layers do, which one is ill, and of what."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor


# where a value counts as ill; each stands in the sentence that `report` prints
LIMITS = {
    "logits": 3.0,  # standard deviation of the first outputs: costs about half its square, in nats
    "saturated": 0.5,  # share of a layer's outputs on the flat ends of tanh or sigmoid
    "dead": 0.4,  # share of a layer's units that are 0 for every example, three measurements long
    "signal": 10.0,  # factor between the activations at the two ends of a network
    "gradient": 30.0,  # factor between their gradients
    "fast": 0.3,  # norm of an update / norm of the weights, or of weights of the usual size if that is larger
    "slow": 1e-4,  # norm of an update / norm of the weights, largest
}
FLAT = {"Tanh": (-0.97, 0.97), "Sigmoid": (0.015, 0.985)}  # outside of these the slope is below 6% of its top
ACTIVATIONS = (*FLAT, "ReLU", "LeakyReLU", "ELU", "GELU", "SiLU")
NUMBERS = ("mean", "std", "dead", "saturated", "gradient_std")  # of a layer, for `over_time`
_watched: weakref.WeakSet = weakref.WeakSet()


@dataclass
class LayerStats:
    """One layer in one batch: its outputs, and the gradient of the loss with respect to them."""

    mean: float
    std: float
    dead: float  # share of units that are 0 for every example of this batch
    saturated: float | None  # share of outputs on the flat ends; None where there are none
    silent: Tensor  # (units,) which ones are dead
    histogram: tuple[Tensor, Tensor]  # bin centres and density
    gradient_std: float = math.nan
    gradient_histogram: tuple[Tensor, Tensor] | None = None


class MatrixStats(NamedTuple):
    """One weight matrix in one step: the norms of gradient and update, each divided by the norm of the matrix."""

    gradient_ratio: float
    update_ratio: float
    update_share: float  # of the largest norm: before, after, or as usual (1 / sqrt(inputs) for each weight)
    copies: bool  # whether all rows, the weights of one unit each, are the same


class Finding(NamedTuple):
    """A layer, what it suffers from in a word or two, and a sentence with the numbers and a remedy."""

    layer: str
    disease: str
    sentence: str


class HealthMonitor:
    """Watches a network train. `model` is made of layers with forward hooks: `nnhelpers.mlp` or any `nn.Module`.

        with HealthMonitor(model, every=50) as monitor:
            fit(model, batches, n_steps=1000, rate=0.01, after_step=monitor.step)
        print(monitor.report())

    In a loop of your own call `monitor.step()` after each update. Every `every` steps, from the first on, each layer's
    outputs and their gradients and the weights are measured; units lie along dimension `unit_dim` of an output. For a
    small MLP that takes about as long as seven steps: with every=50 training takes a sixth longer. `detach()`, or the
    end of the block, removes every hook; what was measured stays. A model that is watched already raises `ValueError`.
    """

    def __init__(self, model: Any, every: int = 100, unit_dim: int = -1):
        if every < 1:
            raise ValueError(f"every is a number of steps, at least 1, got {every}")
        if model in _watched:
            raise ValueError("this model is being watched already; detach() the other monitor first")
        names = [name for name, _ in model.named_modules()]
        leaves = [
            (name, module)
            for name, module in model.named_modules()
            if not any(other.startswith(f"{name}." if name else "") and other != name for other in names)
        ]
        self.steps: list[int] = []  # how many updates had been made at each measurement
        self.layers: list[dict[str, LayerStats]] = []  # one dictionary for each measurement
        self.matrices: list[dict[str, MatrixStats]] = []
        self._model, self._every, self._unit_dim = model, every, unit_dim
        self._n_steps = 0
        self._leaks: dict[str, int] = {}  # passes in training mode but without gradients
        self._current: dict[str, LayerStats] = {}
        self._before: dict[str, Tensor] = {}
        self._modules = {f"{name} {type(module).__name__}".strip(): module for name, module in leaves}
        self._hooks = [
            module.register_forward_hook(self._watcher(name)) for name, module in self._modules.items()
        ]
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
        self._current, self._before = {}, {}
        _watched.discard(self._model)

    def _watcher(self, name: str) -> Callable:
        """The forward hook of one layer."""
        import torch

        def watch(module: Any, inputs: tuple, out: Tensor) -> None:
            if not module.training:
                return
            if not torch.is_grad_enabled():
                if getattr(module, "running_mean", None) is not None:
                    self._leaks[name] = self._leaks.get(name, 0) + 1
                return
            if self._n_steps % self._every == 0 and isinstance(out, torch.Tensor):
                self._measure(name, module, out)

        return watch

    def _measure(self, name: str, module: Any, out: Tensor) -> None:
        stats = self._current[name] = _layer_stats(type(module).__name__, out.detach(), self._unit_dim)
        if out.requires_grad:
            out.register_hook(lambda gradient: _add_gradient(stats, gradient))
        for part, p in _matrices(module):
            self._before[f"{name}.{part}"] = p.detach().clone()

    def step(self) -> None:
        """To be called after each update of the weights; measures if this step is one of those to be measured."""
        if self._hooks and self._n_steps % self._every == 0 and self._current:
            ratios = {}
            for name, module in self._modules.items():
                for part, p in _matrices(module):
                    if (before := self._before.get(f"{name}.{part}")) is not None:
                        ratios[name] = _matrix_stats(p, before)
            self.steps.append(self._n_steps)
            self.layers.append(self._current)
            self.matrices.append(ratios)
            self._current, self._before = {}, {}
        self._n_steps += 1

    def over_time(self, what: str) -> dict[str, list[float]]:
        """For each layer or matrix the values at `monitor.steps`.

        `what` is "mean", "std", "dead", "saturated" or "gradient_std" of a layer, or "gradient_ratio" or
        "update_ratio" of a weight matrix.
        """
        self._check_measured()
        if what not in (*NUMBERS, *MatrixStats._fields[:2]):
            raise ValueError(
                f"{what!r} is not measured; choose one of {[*NUMBERS, *MatrixStats._fields[:2]]}"
            )
        source = self.layers if what in NUMBERS else self.matrices
        values = {name: [getattr(at[name], what) for at in source if name in at] for name in source[-1]}
        return {name: series for name, series in values.items() if None not in series}

    def _check_measured(self) -> None:
        if not self.steps:
            raise ValueError(
                "nothing was measured yet: train with after_step=monitor.step, or call monitor.step() after each update"
            )

    def findings(self) -> list[Finding]:
        """Every layer that is ill and what it suffers from; empty for a healthy network."""
        self._check_measured()
        rules = (
            self._not_finite,
            self._first_logits,
            self._saturated,
            self._dead,
            self._no_gradient,
            self._copies,
        )
        rules += (self._depth, self._rate, self._statistics)
        return [Finding(*finding) for rule in rules for finding in rule()]

    def report(self) -> str:
        """The findings in words, or that there are none."""
        findings = self.findings()
        if not findings:
            return f"healthy: {len(self.layers[-1])} layers, {len(self.steps)} measurements, nothing unusual"
        return "\n".join(f"{layer}: {disease}. {sentence}" for layer, disease, sentence in findings)

    def _not_finite(self) -> Iterable[tuple]:
        for name, stats in self.layers[-1].items():
            if not math.isfinite(stats.std):
                return [
                    (
                        name,
                        "not finite",
                        "Its outputs hold NaN or infinity; lower the rate or clip the gradient.",
                    )
                ]
        return []

    def _first_logits(self) -> Iterable[tuple]:
        name, stats = list(self.layers[0].items())[-1]
        if self.steps[0] == 0 and stats.std > LIMITS["logits"]:
            sure = f"Its first outputs had a standard deviation of {stats.std:.1f}"
            yield name, "sure too early", f"{sure}; begin with smaller weights."

    def _saturated(self) -> Iterable[tuple]:
        for name, stats in self.layers[-1].items():
            if stats.saturated is not None and stats.saturated > LIMITS["saturated"]:
                share = f"{stats.saturated:.0%} of its outputs lie on the flat ends"
                yield name, "saturated", f"{share}, where almost no gradient passes; make its inputs smaller."

    def _dead(self) -> Iterable[tuple]:
        for name in self.layers[-1]:
            if (share := self._dead_share(name)) > LIMITS["dead"]:
                yield (
                    name,
                    "dead units",
                    f"{share:.0%} of its units are 0 for every example and cannot learn.",
                )

    def _dead_share(self, name: str) -> float:
        """The share of units that were silent in all of the last three measurements."""
        recent = [at[name].silent for at in self.layers[-3:] if name in at]
        recent = [silent for silent in recent if len(silent) == len(recent[-1])]  # positions may stand there
        return sum(all(unit) for unit in zip(*(r.tolist() for r in recent), strict=True)) / len(recent[0])

    def _no_gradient(self) -> Iterable[tuple]:
        if any(self._dead_share(name) == 1.0 for name in self.layers[-1]):
            return  # then nothing below gets a gradient, and the dead layer is the one to name
        for name in self.matrices[-1]:
            if all(at[name].gradient_ratio == 0.0 for at in self.matrices if name in at):
                yield (
                    name,
                    "no gradient",
                    "Its weights never got one: is it frozen, or cut off from the loss?",
                )

    def _copies(self) -> Iterable[tuple]:
        for name, stats in self.matrices[0].items():
            if stats.copies:
                yield (
                    name,
                    "copies",
                    "Its units began with equal weights and stay equal; begin with random ones.",
                )

    def _depth(self) -> Iterable[tuple]:
        """Compares the two ends of the network where they differ most, over all measurements."""
        names = [name for name in self.layers[-1] if name.split()[-1] in ACTIVATIONS]
        if len(names) < 3:
            return
        for what, field, start, end in (
            ("signal", "std", names[0], names[-1]),
            ("gradient", "gradient_std", names[-1], names[0]),
        ):
            pairs = [(getattr(at[end], field), getattr(at[start], field)) for at in self.layers]
            ratio = max((max(b, 1e-30) / max(a, 1e-30) for b, a in pairs), key=lambda r: abs(math.log(r)))
            times = f"{max(ratio, 1 / ratio):.2g} times"
            if ratio < 1 / LIMITS[what]:
                yield (
                    end,
                    f"fading {what}",
                    f"It was {times} smaller than at {start}; raise the weights, or normalise.",
                )
            elif ratio > LIMITS[what]:
                yield (
                    end,
                    f"exploding {what}",
                    f"It was {times} larger than at {start}; lower the weights, or normalise.",
                )

    def _rate(self) -> Iterable[tuple]:
        for name in self.matrices[-1]:
            seen = [at[name] for at in self.matrices if name in at]
            share, largest = (
                max(stats.update_share for stats in seen),
                max(stats.update_ratio for stats in seen),
            )
            if share > LIMITS["fast"]:
                yield name, "rate too high", f"One update was {share:.0%} of its weights; about 1% is usual."
            elif 0.0 < largest < LIMITS["slow"]:
                yield name, "rate too low", f"No update was larger than {largest:.0e} of its weights."

    def _statistics(self) -> Iterable[tuple]:
        for name, n in self._leaks.items():
            yield (
                name,
                "leaking statistics",
                f"{n} passes without gradients ran in training mode; call eval() first.",
            )


def _matrices(module: Any) -> list[tuple[str, Tensor]]:
    """A layer's own weight matrices: parameters of two dimensions and more."""
    return [(name, p) for name, p in module.named_parameters(recurse=False) if p.ndim >= 2]


def _matrix_stats(p: Tensor, before: Tensor) -> MatrixStats:
    size, after = before.norm().item(), p.detach().norm().item()
    gradient = 0.0 if p.grad is None else p.grad.norm().item()
    update = (p.detach() - before).norm().item()
    copies = len(p) > 1 and (p - p[:1]).abs().max().item() < 1e-3 * p.abs().max().item()
    divisor = size or math.nan  # weights that begin at 0 have no ratio
    return MatrixStats(
        gradient / divisor, update / divisor, update / max(size, after, math.sqrt(len(p))), copies
    )


def _layer_stats(kind: str, out: Tensor, unit_dim: int) -> LayerStats:
    units = out.movedim(unit_dim, -1).flatten(0, -2) if out.ndim > 1 else out[:, None]  # (examples, units)
    silent = (units == 0).all(dim=0)
    saturated = None
    if kind in FLAT:
        low, high = FLAT[kind]
        saturated = ((out < low) | (out > high)).double().mean().item()
    out = out.double()
    return LayerStats(
        mean=out.mean().item(),
        std=out.std(correction=0).item(),
        dead=silent.double().mean().item(),
        saturated=saturated,
        silent=silent,
        histogram=_histogram(out),
    )


def _add_gradient(stats: LayerStats, gradient: Tensor) -> None:
    stats.gradient_std = gradient.double().std(correction=0).item()
    stats.gradient_histogram = _histogram(gradient)


def _histogram(values: Tensor, n_bins: int = 61) -> tuple[Tensor, Tensor]:
    """Bin centres (n_bins,) and density (n_bins,) of the finite values, over a range symmetric about 0."""
    import torch

    values = values.detach().float().flatten().cpu()
    values = values[torch.isfinite(values)]
    top = max(values.abs().max().item() if len(values) else 0.0, 1e-12)
    counts = torch.histc(values, n_bins, -top, top)
    width = 2 * top / n_bins
    return (torch.arange(n_bins) + 0.5) * width - top, counts / max(len(values), 1) / width
