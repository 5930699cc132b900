"""Judging what `nnhelpers.monitor` measured: the record, the limits, and one rule for each problem.

The rules read plain records, so they can be tried on numbers of your own, and a rule of your own can be added:

    def wide(record):
        for name, stats in record.layers[-1].items():
            if stats.std > 5:
                yield Finding(name, "wide outputs", f"Their standard deviation is {stats.std:.1f}.")

    RULES.append(wide)

Each limit is a rule of thumb: it lies between what healthy networks of the course's sizes show and what networks with
the planted problem show.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Histogram = tuple["Tensor", "Tensor"]  # bin centres (n_bins,) and density (n_bins,)

# "Measured" means: MLPs of 1 to 10 layers, tanh or ReLU, with and without norms, that train well on names.

# Logits of standard deviation s cost about s² / 2 nats at the start: 4.5 nats here, more than ln 27 = 3.3 of guessing.
MAX_FIRST_LOGITS_STD = 3.0
# Share of outputs on the flat ends. A tanh layer with gain 5/3 begins at 0.2; up to 0.5 was measured later on.
MAX_SATURATED = 0.5
# Share of units that are 0 for every example. Up to 0.26 was measured in five ReLU layers.
MAX_DEAD_SHARE = 0.4
# Factor between the activations at the two ends of a network. Up to 4 was measured.
MAX_SIGNAL_FACTOR = 10.0
# The same for their gradients, which vary more. Up to 8 was measured.
MAX_GRADIENT_FACTOR = 30.0
# Norm of one update / norm of the weights (or of weights of the usual size, if larger). Up to 0.01 was measured with
# AdamW at a rate of 0.003. A step of 0.3 turns the weights by up to 17 degrees: little of what was learned is left.
MAX_UPDATE_SHARE = 0.3
# Norm of the largest update / norm of the weights: a tenth of the 0.001 that was measured at least.
MIN_UPDATE_RATIO = 1e-4

# A verdict of the kind "never" or "for no example" needs more than one look: a layer may rest for a moment, and
# a warm-up begins with tiny steps.
MIN_MEASUREMENTS = 3
# A unit that fires for one example in 20 is silent in 100 of them with a probability of 0.95^100 = 0.6%.
MIN_EXAMPLES_DEAD = 100
# If all outputs of an example saturate together, as a worst case, and 20% of the examples do, then more than half of
# 16 do with a probability of 0.1%.
MIN_EXAMPLES_SATURATED = 16


@dataclass
class LayerStats:
    """One output of a layer in one batch, and the gradient of the loss with respect to it."""

    mean: float
    std: float
    dead_share: float  # of the units, that are 0 for every example of this batch
    saturated: float | None  # share of outputs on the flat ends; None where the activation has none
    dead_mask: Tensor  # (units,) bool: which units are dead
    n_examples: int  # that each unit was seen for; positions in a row count as examples
    activation: str | None  # "tanh", "relu", ...; None for what is no activation
    histogram: Histogram
    gradient_std: float = math.nan  # NaN until a backward pass has reached the output
    gradient_histogram: Histogram | None = None


@dataclass
class MatrixStats:
    """One weight matrix in one step: norms of the weights before it, of the gradient, and of the update."""

    norm: float
    gradient_norm: float  # before any clipping; 0 if no gradient arrived
    update_norm: float
    update_share: float  # of the largest norm: before, after, or as usual (1 / sqrt(inputs) for each weight)
    identical_units: bool  # whether all rows, the weights of one unit each, are the same

    @property
    def gradient_ratio(self) -> float:
        """Norm of the gradient / norm of the weights; NaN for weights that are all 0."""
        return self.gradient_norm / (self.norm or math.nan)

    @property
    def update_ratio(self) -> float:
        """Norm of the update / norm of the weights; NaN for weights that are all 0."""
        return self.update_norm / (self.norm or math.nan)


@dataclass
class Record:
    """All that was measured, in order of time: one number of steps and two dictionaries for each measurement."""

    steps: list[int]
    layers: list[dict[str, LayerStats]]  # in the order of the forward pass
    matrices: list[dict[str, MatrixStats]]
    changed_statistics: dict[str, int] = field(
        default_factory=dict
    )  # passes in training mode without gradients
    not_seen: list[str] = field(default_factory=list)  # what the measuring could not reach, in words


class Finding(NamedTuple):
    """A layer or weight matrix, its problem in a word or two, and a sentence with the numbers and a remedy."""

    layer: str
    problem: str
    sentence: str


class TooLittle(NamedTuple):
    """A layer or weight matrix that looks bad, but of which too little was seen to name the problem for certain."""

    layer: str
    problem: str
    sentence: str


Rule = Callable[[Record], Iterable[Finding | TooLittle]]


def findings(record: Record) -> list[Finding]:
    """Every problem that the rules find, in the order of `RULES`; empty for a healthy network."""
    return [verdict for verdict in _verdicts(record) if isinstance(verdict, Finding)]


def report(record: Record) -> str:
    """The findings in words, what too little was seen of, and what was not seen at all."""
    lines = _lines(_verdicts(record))
    unseen = "; ".join(not_seen(record)) or "nothing that it knows of"
    if not lines:
        return f"healthy as far as seen: {_seen(record)}; not seen: {unseen}"
    return "\n".join([*lines, f"Seen: {_seen(record)}; not seen: {unseen}."])


def not_seen(record: Record) -> list[str]:
    """What no rule could judge, because it was not measured."""
    unseen = list(record.not_seen)
    matrices = [stats for at in record.matrices for stats in at.values()]
    if matrices and not _any_gradient(record):
        unseen.append("gradients (no backward pass reached a weight)")
    if matrices and not _any_update(record):
        unseen.append("updates (no weight had moved when step() was called)")
    if len(matrices) > 1 and not any(stats.activation for at in record.layers for stats in at.values()):
        unseen.append(
            "activations (none was met; one that is computed by hand is seen as a module, such as nn.Tanh())"
        )
    return unseen


def _verdicts(record: Record) -> list[Finding | TooLittle]:
    return [verdict for rule in RULES for verdict in rule(record)]


def _lines(verdicts: list[Finding | TooLittle]) -> list[str]:
    """One line for each verdict; of the uses of one layer, "act Tanh (1)", "(2)", ..., only the first is printed."""
    groups: dict[tuple[str, str], list[Finding | TooLittle]] = {}
    for verdict in verdicts:
        layer = re.sub(r" \(\d+\)$", "", verdict.layer)
        groups.setdefault((layer, verdict.problem), []).append(verdict)
    lines = []
    for (_, problem), (first, *others) in groups.items():
        if isinstance(first, TooLittle):
            problem = f"too little seen ({problem}?)"
        line = f"{first.layer}: {problem}. {first.sentence}"
        if others:
            line += f" The same holds for {_number(len(others), 'more use')} of it."
        lines.append(line)
    return lines


def _seen(record: Record) -> str:
    layers = record.layers[-1]
    n_activations = sum(stats.activation is not None for stats in layers.values())
    return (
        f"{_number(len(layers), 'output')} ({_number(n_activations, 'activation')}), "
        f"{_number(len(record.matrices[-1]), 'weight matrix', 'weight matrices')}, "
        f"{_number(len(record.steps), 'measurement')}"
    )


def _number(n: int, one: str, many: str | None = None) -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _any_gradient(record: Record) -> bool:
    return any(stats.gradient_norm != 0.0 for at in record.matrices for stats in at.values())


def _any_update(record: Record) -> bool:
    return any(stats.update_norm != 0.0 for at in record.matrices for stats in at.values())


def _history(record: Record) -> Iterator[tuple[str, list[MatrixStats]]]:
    """Each weight matrix of the last measurement with all that was measured of it."""
    for name in record.matrices[-1]:
        yield name, [at[name] for at in record.matrices if name in at]


def _not_finite(record: Record) -> Iterator[Finding]:
    """Names the first layer only: what follows it is not finite either."""
    for name, stats in record.layers[-1].items():
        if not math.isfinite(stats.std):
            sentence = "Its outputs hold NaN or infinity; lower the learning rate or clip the gradient."
            yield Finding(name, "not finite", sentence)
            return


def _overconfident(record: Record) -> Iterator[Finding]:
    if record.steps[0] != 0 or not record.layers[0]:
        return
    name, stats = list(record.layers[0].items())[-1]
    if stats.std > MAX_FIRST_LOGITS_STD:
        sentence = (
            f"Its first outputs had a standard deviation of {stats.std:.1f}; begin with smaller weights."
        )
        yield Finding(name, "overconfident at initialisation", sentence)


def _saturated(record: Record) -> Iterator[Finding | TooLittle]:
    for name, stats in record.layers[-1].items():
        if stats.saturated is None or not stats.saturated > MAX_SATURATED:
            continue
        share = f"{stats.saturated:.0%} of its outputs lie on the flat ends"
        if stats.n_examples < MIN_EXAMPLES_SATURATED:
            yield TooLittle(
                name,
                "saturated",
                f"{share}, for {_number(stats.n_examples, 'example')}; it takes {MIN_EXAMPLES_SATURATED} to judge.",
            )
        else:
            sentence = f"{share}, where almost no gradient passes; make its inputs smaller."
            yield Finding(name, "saturated", sentence)


def _dead_units(record: Record) -> Iterator[Finding | TooLittle]:
    for name in record.layers[-1]:
        share, n_examples, n_measurements = _lasting_dead_share(record, name)
        if share <= MAX_DEAD_SHARE:
            continue
        if n_measurements < MIN_MEASUREMENTS or n_examples < MIN_EXAMPLES_DEAD:
            yield TooLittle(
                name,
                "dead units",
                f"{share:.0%} of its units were 0 for {_number(n_examples, 'example')} in "
                f"{_number(n_measurements, 'measurement')}; it takes {MIN_EXAMPLES_DEAD} in {MIN_MEASUREMENTS} "
                "to call them dead.",
            )
        else:
            sentence = f"{share:.0%} of its units are 0 for every example and cannot learn."
            yield Finding(name, "dead units", sentence)


def _lasting_dead_share(record: Record, name: str) -> tuple[float, int, int]:
    """The share of units that were dead in all of the last measurements, for how many examples and measurements."""
    recent = [at[name] for at in record.layers[-MIN_MEASUREMENTS:] if name in at]
    # where positions stand in the place of units, their number may change
    recent = [stats for stats in recent if len(stats.dead_mask) == len(recent[-1].dead_mask)]
    always_dead = recent[0].dead_mask.clone()
    for stats in recent[1:]:
        always_dead &= stats.dead_mask
    share = int(always_dead.sum()) / max(len(always_dead), 1)
    return share, sum(stats.n_examples for stats in recent), len(recent)


def _no_gradient(record: Record) -> Iterator[Finding | TooLittle]:
    """Weights without a gradient, in a network in which others get one."""
    if not _any_gradient(record):
        return
    if any(_lasting_dead_share(record, name)[0] == 1.0 for name in record.layers[-1]):
        return  # then nothing below gets a gradient, and the dead layer is the one to name
    for name, history in _history(record):
        if any(stats.gradient_norm != 0.0 for stats in history):
            continue
        if any(stats.update_norm != 0.0 for stats in history):
            sentence = (
                "Its weights moved, but no gradient was seen: is it weight decay alone that moves them?"
            )
            yield Finding(name, "moved without a gradient", sentence)
        elif len(history) < MIN_MEASUREMENTS:
            yield TooLittle(
                name,
                "no gradient",
                f"Its weights got no gradient in {_number(len(history), 'measurement')}; "
                f"it takes {MIN_MEASUREMENTS} to judge.",
            )
        else:
            sentence = (
                "Its weights never got one and never moved: is it frozen, unused, or cut off from the loss?"
            )
            yield Finding(name, "no gradient", sentence)


def _no_update(record: Record) -> Iterator[Finding | TooLittle]:
    """Weights that get a gradient and stay where they are, in a network in which others move."""
    if not _any_update(record):
        return
    for name, history in _history(record):
        gets_gradient = any(stats.gradient_norm != 0.0 for stats in history)
        if not gets_gradient or any(stats.update_norm != 0.0 for stats in history):
            continue
        if len(history) < MIN_MEASUREMENTS:
            yield TooLittle(
                name,
                "no update",
                f"Its weights did not move in {_number(len(history), 'measurement')}; "
                f"it takes {MIN_MEASUREMENTS} to judge.",
            )
        else:
            sentence = "Its weights get a gradient but never moved: was it given to the optimizer?"
            yield Finding(name, "no update", sentence)


def _identical_units(record: Record) -> Iterator[Finding]:
    for name, stats in record.matrices[0].items():
        if stats.identical_units:
            sentence = "Its units began with equal weights and stay equal; begin with random ones."
            yield Finding(name, "identical units", sentence)


def _depth(record: Record) -> Iterator[Finding]:
    """Compares the first and the last activation where they differ most, over all measurements."""
    names = [name for name, stats in record.layers[-1].items() if stats.activation is not None]
    if len(names) < 3:
        return
    first, last = names[0], names[-1]
    pairs = [(at[first], at[last]) for at in record.layers if first in at and last in at]
    signals = [(start.std, end.std) for start, end in pairs]
    gradients = [(end.gradient_std, start.gradient_std) for start, end in pairs]
    yield from _change("signal", first, last, signals, MAX_SIGNAL_FACTOR)
    yield from _change("gradient", last, first, gradients, MAX_GRADIENT_FACTOR)


def _change(
    what: str, start: str, end: str, sizes: list[tuple[float, float]], limit: float
) -> Iterator[Finding]:
    """What became of a size on its way from `start` to `end`: `sizes` holds both, for each measurement."""
    finite = [pair for pair in sizes if math.isfinite(pair[0]) and math.isfinite(pair[1])]
    if not finite:
        return
    ratios = [max(b, 1e-30) / max(a, 1e-30) for a, b in finite]
    ratio = max(ratios, key=lambda r: abs(math.log(r)))
    times = f"{max(ratio, 1 / ratio):.2g} times"
    if ratio < 1 / limit:
        sentence = f"It was {times} smaller than at {start}; raise the weights, or normalise."
        yield Finding(end, f"vanishing {what}", sentence)
    elif ratio > limit:
        sentence = f"It was {times} larger than at {start}; lower the weights, or normalise."
        yield Finding(end, f"exploding {what}", sentence)


def _learning_rate(record: Record) -> Iterator[Finding | TooLittle]:
    for name, history in _history(record):
        share = max(stats.update_share for stats in history)
        # weights that began at 0 had no ratio then
        ratios = [stats.update_ratio for stats in history if not math.isnan(stats.update_ratio)]
        largest = max(ratios, default=0.0)
        if share > MAX_UPDATE_SHARE:
            sentence = f"One update was {share:.0%} of its weights; about 1% is usual."
            yield Finding(name, "learning rate too high", sentence)
        elif 0.0 < largest < MIN_UPDATE_RATIO:
            so_far = f"No update was larger than {largest:.0e} of its weights"
            if len(history) < MIN_MEASUREMENTS:
                yield TooLittle(
                    name,
                    "learning rate too low",
                    f"{so_far} in {_number(len(history), 'measurement')}; it takes {MIN_MEASUREMENTS} to judge.",
                )
            else:
                yield Finding(name, "learning rate too low", f"{so_far}.")


def _changed_statistics(record: Record) -> Iterator[Finding]:
    for name, n_passes in record.changed_statistics.items():
        sentence = f"{n_passes} passes without gradients ran in training mode; call eval() first."
        yield Finding(name, "batch statistics changed during evaluation", sentence)


RULES: list[Rule] = [
    _not_finite,
    _overconfident,
    _saturated,
    _dead_units,
    _no_gradient,
    _no_update,
    _identical_units,
    _depth,
    _learning_rate,
    _changed_statistics,
]
