"""The rules name what was planted, are quiet about healthy networks, and give no verdict on too little."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import torchs
from torch import nn

from nnhelpers import diagnosis
from nnhelpers.batches import minibatches
from nnhelpers.diagnosis import LayerStats, MatrixStats, Record
from nnhelpers.fit import batch_loss, fit
from nnhelpers.layers import Linear
from nnhelpers.mlp import MLP
from nnhelpers.monitor import HealthMonitor

X = torch.randint(0, 27, (2000, 3), generator=torch.Generator().manual_seed(0))
Y = (X[:, 1] + X[:, 2] // 9) % 27


# rules on numbers written by hand


def layer(std=1.0, dead=0, activation=None, saturated=None, n_examples=100, gradient_std=1.0, n_units=10):
    nothing = (torch.zeros(1), torch.zeros(1))
    mask = torch.arange(n_units) < dead
    return LayerStats(
        mean=0.0,
        std=std,
        dead_share=dead / n_units,
        saturated=saturated,
        dead_mask=mask,
        n_examples=n_examples,
        activation=activation,
        histogram=nothing,
        gradient_std=gradient_std,
    )


def matrix(norm=1.0, gradient=1.0, update=0.01, share=None, identical=False):
    return MatrixStats(norm, gradient, update, update if share is None else share, identical)


def record(layers=None, matrices=None, n=3, start=0):
    """The same layers and matrices, measured n times."""
    steps = [start + 10 * k for k in range(n)]
    layers = layers or {"0 Linear": layer()}
    return Record(steps, [layers] * n, [matrices or {"0 Linear": matrix()}] * n)


def problems(of):
    return [(finding.layer, finding.problem) for finding in diagnosis.findings(of)]


FLAT = {"1 Tanh": layer(activation="tanh", saturated=0.51)}
ENDS = ("0 ReLU", "1 ReLU", "2 ReLU")


def deep(stds=(1.0, 1.0, 1.0), gradient_stds=(1.0, 1.0, 1.0)):
    pairs = zip(ENDS, stds, gradient_stds, strict=True)
    return {name: layer(std, activation="relu", gradient_std=g) for name, std, g in pairs}


def beside(**options):
    """A matrix beside one that learns."""
    return {"0 Linear": matrix(), "1 Linear": matrix(**options)}


VERDICTS = {
    "healthy": (record(), []),
    "not finite": (record({"0 Linear": layer(std=math.nan)}), [("0 Linear", "not finite")]),
    "only the first that is not finite": (
        record({"0 Linear": layer(std=math.inf), "1 Linear": layer(std=math.nan)}),
        [("0 Linear", "not finite")],
    ),
    "logits at the limit": (record({"0 Linear": layer(std=3.0)}), []),
    "logits": (record({"0 Linear": layer(std=3.1)}), [("0 Linear", "overconfident at initialisation")]),
    "logits later on": (record({"0 Linear": layer(std=3.1)}, start=10), []),
    "half saturated": (record({"1 Tanh": layer(activation="tanh", saturated=0.5)}), []),
    "saturated": (record(FLAT), [("1 Tanh", "saturated")]),
    "some dead": (record({"1 ReLU": layer(dead=4)}), []),
    "dead": (record({"1 ReLU": layer(dead=5)}), [("1 ReLU", "dead units")]),
    "frozen": (record(None, beside(gradient=0.0, update=0.0)), [("1 Linear", "no gradient")]),
    "pulled by decay": (record(None, beside(gradient=0.0)), [("1 Linear", "moved without a gradient")]),
    "below a dead layer": (
        record({"1 ReLU": layer(dead=10)}, beside(gradient=0.0, update=0.0)),
        [("1 ReLU", "dead units")],
    ),
    "forgotten by the optimizer": (record(None, beside(update=0.0)), [("1 Linear", "no update")]),
    "identical": (record(None, beside(identical=True)), [("1 Linear", "identical units")]),
    "signal at the limit": (record(deep((1.0, 1.0, 0.1))), []),
    "vanishing": (record(deep((1.0, 1.0, 0.09))), [("2 ReLU", "vanishing signal")]),
    "exploding": (record(deep((0.2, 1.0, 2.1))), [("2 ReLU", "exploding signal")]),
    "vanishing backward": (record(deep((1,) * 3, (0.03, 1, 1))), [("0 ReLU", "vanishing gradient")]),
    "exploding backward": (record(deep((1,) * 3, (31, 1, 1))), [("0 ReLU", "exploding gradient")]),
    "no backward pass": (record(deep((1,) * 3, (math.nan,) * 3)), []),
    "a backward pass in one measurement only": (
        Record(
            [0, 1],
            [deep((1,) * 3, (math.nan,) * 3), deep((1,) * 3, (31, 1, 1))],
            [{"0 Linear": matrix()}] * 2,
        ),
        [("0 ReLU", "exploding gradient")],
    ),
    "fast": (record(None, beside(update=0.31)), [("1 Linear", "learning rate too high")]),
    "a small matrix may grow": (record(None, beside(update=2.0, share=0.2)), []),
    "slow": (record(None, beside(update=9e-5)), [("1 Linear", "learning rate too low")]),
    "slow at first only": (
        Record(
            [0, 1, 2],
            [{"a": layer()}] * 3,
            [{"a": matrix(update=u, norm=n)} for u, n in ((0.1, 0), (1e-9, 1), (1e-3, 1))],
        ),
        [],
    ),
    "slow, after weights of 0": (
        Record(
            [0, 1, 2],
            [{"a": layer()}] * 3,
            [{"a": matrix(update=u, share=u, norm=n)} for u, n in ((1e-9, 0), (1e-9, 1), (1e-9, 1))],
        ),
        [("a", "learning rate too low")],
    ),
    "statistics": (
        Record([0], [{"a": layer()}], [{"a": matrix()}], changed_statistics={"1 BatchNorm1d": 4}),
        [("1 BatchNorm1d", "batch statistics changed during evaluation")],
    ),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_each_rule_names_its_problem_beyond_its_limit_and_not_before(case):
    numbers, verdict = VERDICTS[case]
    assert problems(numbers) == verdict
    for name, problem in verdict:
        assert f"{name}: {problem}. " in diagnosis.report(numbers)


TOO_LITTLE = {
    "dead, three measurements of few": (
        record({"1 ReLU": layer(dead=9, n_examples=33)}),
        "99 examples in 3 m",
    ),
    "dead, two measurements of many": (
        record({"1 ReLU": layer(dead=9)}, n=2),
        "200 examples in 2 m.* 100 in 3",
    ),
    "dead, one example": (record({"1 ReLU": layer(dead=9, n_examples=1)}, n=1), "1 example in 1 measurement"),
    "saturated, few examples": (
        record({"1 Tanh": layer(activation="tanh", saturated=0.9, n_examples=15)}),
        "90% of its outputs .* for 15 examples; it takes 16",
    ),
    "no gradient twice": (
        record(None, beside(gradient=0.0, update=0.0), n=2),
        "no gradient in 2 m.* takes 3",
    ),
    "no update twice": (record(None, beside(update=0.0), n=2), "did not move in 2 measurements"),
    "slow once": (
        record(None, beside(update=9e-5), n=1),
        "9e-05 of its weights in 1 measurement; it takes 3",
    ),
}


@pytest.mark.parametrize("case", TOO_LITTLE)
def test_on_too_little_there_is_no_verdict_but_a_sentence_with_what_it_takes(case):
    numbers, sentence = TOO_LITTLE[case]
    assert problems(numbers) == []
    report = diagnosis.report(numbers)
    assert "healthy" not in report
    line = next(line for line in report.splitlines() if "too little seen (" in line)
    assert re.search(sentence, line)


def test_two_suspicions_about_one_layer_are_two_lines():
    both = layer(activation="tanh", saturated=0.9, dead=9, n_examples=5)
    lines = diagnosis.report(record({"1 Tanh": both})).splitlines()
    assert [line.partition(". ")[0] for line in lines[:2]] == [
        "1 Tanh: too little seen (saturated?)",
        "1 Tanh: too little seen (dead units?)",
    ]


def test_a_healthy_report_counts_what_was_seen_and_names_what_was_not():
    numbers = record(deep(), beside(), n=4)
    numbers.not_seen = ["the gates inside 5 LSTM", "biases and gains"]
    assert diagnosis.report(numbers) == (
        "healthy as far as seen: 3 outputs (3 activations), 2 weight matrices, 4 measurements; "
        "not seen: the gates inside 5 LSTM; biases and gains"
    )


def test_a_report_of_problems_also_says_what_was_not_seen():
    numbers = record(FLAT)
    numbers.not_seen = ["biases and gains"]
    first, last = diagnosis.report(numbers).splitlines()
    assert first.startswith("1 Tanh: saturated. 51% of its outputs lie on the flat ends")
    assert (
        last == "Seen: 1 output (1 activation), 1 weight matrix, 3 measurements; not seen: biases and gains."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gradient": 0.0}, "gradients (no backward pass reached a weight)"),
        ({"update": 0.0}, "updates (no weight had moved when step() was called)"),
    ],
)
def test_what_nothing_at_all_was_seen_of_is_not_judged(options, sentence):
    numbers = record(None, {"0 Linear": matrix(**options), "1 Linear": matrix(**options)})
    assert problems(numbers) == []
    assert sentence in diagnosis.report(numbers)
    assert sentence not in diagnosis.report(record())


def test_a_rule_of_ones_own_can_be_added(monkeypatch):
    def wide(record):
        for name, stats in record.layers[-1].items():
            if stats.std > 2:
                yield diagnosis.Finding(name, "wide outputs", f"Their standard deviation is {stats.std:.1f}.")

    monkeypatch.setattr(diagnosis, "RULES", [*diagnosis.RULES, wide])
    numbers = record({"0 Linear": layer(std=2.5)})
    assert diagnosis.report(numbers).startswith("0 Linear: wide outputs. Their standard deviation is 2.5.")


small = st.sampled_from([0.0, 1e-9, 0.01, 0.5, 100.0])


@given(
    st.lists(
        st.lists(st.tuples(small, small, small), min_size=3, max_size=3),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=200, deadline=None)
def test_no_verdict_contradicts_a_measurement(rows):
    """rows: for each measurement, three matrices of (norm, gradient, update)."""
    matrices = [{str(i): matrix(n, g, u) for i, (n, g, u) in enumerate(row)} for row in rows]
    n = len(rows)
    numbers = Record(list(range(n)), [{"0": layer()}] * n, matrices)
    for finding in diagnosis.findings(numbers):
        history = [at[finding.layer] for at in matrices]
        got_gradient = any(stats.gradient_norm > 0 for stats in history)
        moved = any(stats.update_norm > 0 for stats in history)
        expected = {
            "no gradient": not got_gradient and not moved,
            "moved without a gradient": not got_gradient and moved,
            "no update": got_gradient and not moved,
            "learning rate too low": moved,
            "learning rate too high": moved,
        }
        assert expected[finding.problem]


# networks in training


def network(**options):
    return MLP(27, 3, 10, 64, generator=torch.Generator().manual_seed(1), **options)


def deep_network(**options):
    return network(n_layer=5, **options)


class Functional(nn.Module):
    """Six hidden layers whose activations are functions."""

    def __init__(self, activation, gain):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Embedding.from_pretrained(torch.randn(27, 10, generator=generator), freeze=False)
        self.hidden = nn.ModuleList(nn.Linear(30 if i == 0 else 64, 64) for i in range(6))
        self.head, self.activation = nn.Linear(64, 27), activation
        with torch.no_grad():
            for linear in self.hidden:
                linear.weight.normal_(generator=generator).mul_(gain / math.sqrt(linear.in_features))
                linear.bias.zero_()
            self.head.weight.normal_(generator=generator).mul_(0.1 / 8)

    def forward(self, x):
        x = self.table(x).flatten(1)
        for linear in self.hidden:
            x = self.activation(linear(x))
        return self.head(x)


def scaled(model, factor, places=None):
    """The same model with its linear layers (or those at `places`) so many times larger."""
    linear = [module for module in model.modules() if isinstance(module, (Linear, nn.Linear))]
    with torch.no_grad():
        for module in linear if places is None else [linear[i] for i in places]:
            module.weight *= factor
    return model


def watch(model, lr=0.01, n_steps=100, every=10, extra=lambda: None, **options):
    def after_step():
        extra()
        monitor.step()

    with HealthMonitor(model, every) as monitor:
        fit(model, minibatches(X, Y, 128), n_steps, lr, after_step=after_step, progress=False, **options)
    return monitor


def with_dead_units(model):
    """Biases so low that most units of the first hidden layer never fire."""
    with torch.no_grad():
        model.layers[2].bias[:50] = -20.0
    return model


def with_equal_units(model):
    with torch.no_grad():
        model.layers[2].weight.fill_(0.1)
        model.layers[4].weight.fill_(0.01)
    return model


def frozen(model):
    model.layers[2].weight.requires_grad_(False)
    return model


def evaluated_in_training_mode(model):
    def evaluate():
        with torch.no_grad():
            model(X)

    return watch(model, extra=evaluate)


SICK = {
    "first weights too large, tanh": (
        lambda: watch(scaled(network(activation="tanh"), 4)),
        [("3 Tanh", "saturated")],
    ),
    "last layer too large": (
        lambda: watch(scaled(network(), 100, [-1])),
        [("4 Linear", "overconfident at initialisation")],
    ),
    "biases too low": (lambda: watch(with_dead_units(network())), [("3 ReLU", "dead units")]),
    "deep, weights too small": (
        lambda: watch(scaled(deep_network(activation="tanh"), 0.2)),
        [("11 Tanh", "vanishing signal"), ("3 Tanh", "vanishing gradient")],
    ),
    "deep, weights too large": (
        lambda: watch(scaled(deep_network(), 3)),
        [("11 ReLU", "exploding signal"), ("3 ReLU", "exploding gradient")],
    ),
    "deep, weights too small, functions": (
        lambda: watch(Functional(torch.tanh, 0.3)),
        [("tanh (6)", "vanishing signal"), ("tanh (1)", "vanishing gradient")],
    ),
    "weights too large, functions": (
        lambda: watch(Functional(torch.tanh, 20)),
        [("tanh (1)", "saturated")],
    ),
    "learning rate too high, sgd": (
        lambda: watch(network(norm="batch"), lr=30.0, optimizer="sgd", schedule="constant"),
        [("5 Linear", "learning rate too high")],
    ),
    "learning rate too high, adamw": (
        lambda: watch(network(norm="layer"), lr=1.0, schedule="constant"),
        [("2 Linear", "learning rate too high")],
    ),
    "learning rate too low": (lambda: watch(network(), lr=1e-6), [("2 Linear", "learning rate too low")]),
    "frozen layer": (lambda: watch(frozen(network())), [("2 Linear", "no gradient")]),
    "equal units": (lambda: watch(with_equal_units(network())), [("2 Linear", "identical units")]),
    "evaluated in training mode": (
        lambda: evaluated_in_training_mode(network(norm="batch")),
        [("3 BatchNorm1d", "batch statistics changed during evaluation")],
    ),
    "evaluated in training mode, torch": (
        lambda: evaluated_in_training_mode(torchs()),
        [("2.1 BatchNorm1d", "batch statistics changed during evaluation")],
    ),
    "last layer too large, torch": (
        lambda: watch(scaled(torchs(), 30, [-1])),
        [("3 Linear", "overconfident at initialisation")],
    ),
}


@pytest.mark.parametrize("case", SICK)
def test_the_planted_problem_and_its_layer_are_named(case):
    plant, planted = SICK[case]
    monitor = plant()
    found = {(finding.layer, finding.problem) for finding in monitor.findings()}
    assert set(planted) <= found
    assert "healthy" not in monitor.report()


HEALTHY = {
    "relu": network,
    "tanh with batch normalisation, deep": lambda: deep_network(activation="tanh", norm="batch"),
    "relu, deep": deep_network,
    "layer normalisation, deep": lambda: deep_network(norm="layer"),
    "torch": torchs,
    "functions, tanh": lambda: Functional(torch.tanh, 5 / 3),
    "functions, relu": lambda: Functional(F.relu, math.sqrt(2)),
}


@pytest.mark.parametrize("case", HEALTHY)
def test_a_healthy_network_is_called_healthy_as_far_as_seen(case):
    monitor = watch(HEALTHY[case](), lr=0.003)
    assert monitor.findings() == []
    assert monitor.report().startswith("healthy as far as seen: ")
    assert monitor.report().endswith("; not seen: biases and gains")


@pytest.mark.parametrize("lr", [0.1, 0.3, 1.0])
def test_a_small_last_layer_may_grow_quickly_at_first(lr):
    monitor = watch(network(), lr=lr, every=5, optimizer="sgd", schedule="constant")
    assert max(monitor.over_time("update_ratio")["4 Linear"]) > 0.1 * lr
    assert monitor.findings() == []


def test_weights_that_begin_at_zero_are_no_problem():
    assert watch(scaled(network(), 0.0, [-1]), every=1).findings() == []


def test_nan_is_named_at_the_first_layer_that_has_it():
    model = network()
    with HealthMonitor(model, every=1) as monitor:
        with torch.no_grad():
            model.layers[2].weight[0, 0] = math.nan
        batch_loss(model, X, Y).backward()
        monitor.step()
    first = monitor.findings()[0]
    assert (first.layer, first.problem) == ("2 Linear", "not finite")


def test_units_that_are_silent_for_a_moment_are_not_dead():
    model = network()
    with HealthMonitor(model, every=1) as monitor:
        for k in range(4):
            with torch.no_grad():
                model.layers[2].bias.fill_(-100.0 if k == 3 else 0.0)
            batch_loss(model, X, Y).backward()
            monitor.step()
    assert monitor.over_time("dead_share")["3 ReLU"] == [0.0, 0.0, 0.0, 1.0]
    assert "dead units" not in {finding.problem for finding in monitor.findings()}


@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("every", [1, 100])
def test_small_batches_give_a_healthy_network_no_bad_name(batch_size, every):
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    with HealthMonitor(model, every) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, batch_size), 3):
            optimizer.zero_grad()
            batch_loss(model, x, y).backward()
            optimizer.step()
            monitor.step()
    assert monitor.findings() == []


def test_a_batch_of_one_is_too_little_to_call_units_dead():
    model = network()
    with HealthMonitor(model, every=1) as monitor:
        batch_loss(model, X[:1], Y[:1]).backward()
        monitor.step()
    assert "3 ReLU: too little seen (dead units?). " in monitor.report()
    assert "for 1 example in 1 measurement; it takes 100 in 3" in monitor.report()


def test_an_optimizer_that_was_not_given_a_layer_is_found():
    model = network()
    rest = [p for layer in model.layers[3:] for _, p in layer.named_parameters()]
    optimizer = torch.optim.AdamW(rest, lr=0.003)
    with HealthMonitor(model, every=1) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, 64), 5):
            batch_loss(model, x, y).backward()
            optimizer.step()
            model.layers[2].weight.grad = model.layers[0].weight.grad = None
            monitor.step()
    found = {(finding.layer, finding.problem) for finding in monitor.findings()}
    assert found == {("0 Embedding", "no update"), ("2 Linear", "no update")}


def test_weights_that_only_decay_moves_are_not_said_to_stand_still():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    with HealthMonitor(model, every=1) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, 64), 5):
            hidden = model.layers[3](model.layers[2](model.layers[1](model.layers[0](x)).detach()))
            F.cross_entropy(model.layers[4](hidden), y).backward()
            if model.layers[0].weight.grad is None:
                model.layers[0].weight.grad = torch.zeros_like(model.layers[0].weight)
            optimizer.step()
            monitor.step()
            optimizer.zero_grad()
    assert ("0 Embedding", "moved without a gradient") in {(f.layer, f.problem) for f in monitor.findings()}
