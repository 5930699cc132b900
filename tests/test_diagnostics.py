"""The health monitor names what was planted, is quiet about healthy networks, and leaves no trace."""

from __future__ import annotations

import gc
import itertools
import math
import weakref

import pytest
import torch
from nnhelpers.diagnostics import HealthMonitor
from nnhelpers.training import batch_loss, fit, minibatches
from torch import nn

from nnhelpers.mlp import MLP, Linear, Sequential

X = torch.randint(0, 27, (2000, 3), generator=torch.Generator().manual_seed(0))
Y = (X[:, 1] + X[:, 2] // 9) % 27


def network(**options):
    return MLP(27, 3, 10, 64, generator=torch.Generator().manual_seed(1), **options)


def deep(**options):
    return network(n_layers=5, **options)


def torchs():
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


def scaled(model, factor, places=None):
    """The same model with its linear layers (or those at `places`) so many times larger."""
    linear = [module for module in model.modules() if isinstance(module, (Linear, nn.Linear))]
    with torch.no_grad():
        for module in linear if places is None else [linear[i] for i in places]:
            module.weight *= factor
    return model


def watch(model, rate=0.01, n_steps=100, every=10, extra=lambda: None, **options):
    def after_step():
        extra()
        monitor.step()

    with HealthMonitor(model, every) as monitor:
        fit(model, minibatches(X, Y, 128), n_steps, rate, after_step=after_step, progress=False, **options)
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


def leaking():
    """A network that is evaluated without gradients, but in training mode."""
    model = network(norm="batch")

    def evaluate():
        with torch.no_grad():
            model(X)

    return watch(model, extra=evaluate)


def leaking_torch():
    model = torchs()

    def evaluate():
        with torch.no_grad():
            model(X)

    return watch(model, extra=evaluate)


SICK = {
    "first weights too large, tanh": (
        lambda: watch(scaled(network(activation="tanh"), 4)),
        "saturated",
        "3 Tanh",
    ),
    "last layer too large": (lambda: watch(scaled(network(), 100, [-1])), "sure too early", "4 Linear"),
    "biases too low": (lambda: watch(with_dead_units(network())), "dead units", "3 ReLU"),
    "deep, weights too small": (
        lambda: watch(scaled(deep(activation="tanh"), 0.2)),
        "fading signal",
        "11 Tanh",
    ),
    "deep, weights too small, backward": (
        lambda: watch(scaled(deep(activation="tanh"), 0.2)),
        "fading gradient",
        "3 Tanh",
    ),
    "deep, weights too large": (lambda: watch(scaled(deep(), 3)), "exploding signal", "11 ReLU"),
    "deep, weights too large, backward": (lambda: watch(scaled(deep(), 3)), "exploding gradient", "3 ReLU"),
    "rate too high, sgd": (
        lambda: watch(network(norm="batch"), rate=30.0, optimizer="sgd", schedule="constant"),
        "rate too high",
        "5 Linear",
    ),
    "rate too high, adamw": (
        lambda: watch(network(norm="layer"), rate=1.0, schedule="constant"),
        "rate too high",
        "2 Linear",
    ),
    "rate too low": (lambda: watch(network(), rate=1e-6), "rate too low", "2 Linear"),
    "frozen layer": (lambda: watch(frozen(network())), "no gradient", "2 Linear"),
    "equal units": (lambda: watch(with_equal_units(network())), "copies", "2 Linear"),
    "evaluated in training mode": (leaking, "leaking statistics", "3 BatchNorm1d"),
    "evaluated in training mode, torch": (leaking_torch, "leaking statistics", "2.1 BatchNorm1d"),
    "last layer too large, torch": (lambda: watch(scaled(torchs(), 30, [-1])), "sure too early", "3 Linear"),
}


@pytest.mark.parametrize("case", SICK)
def test_the_monitor_names_the_planted_disease_and_the_layer(case):
    plant, disease, layer = SICK[case]
    monitor = plant()
    assert disease in {finding.disease for finding in monitor.findings() if finding.layer == layer}
    assert f"{layer}: {disease}." in monitor.report()


HEALTHY = {
    "relu": network,
    "tanh with batch normalisation, deep": lambda: deep(activation="tanh", norm="batch"),
    "relu, deep": deep,
    "layer normalisation, deep": lambda: deep(norm="layer"),
    "torch": torchs,
}


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
def test_a_small_last_layer_may_grow_quickly_at_first(rate):
    monitor = watch(network(), rate=rate, every=5, optimizer="sgd", schedule="constant")
    assert max(monitor.over_time("update_ratio")["4 Linear"]) > 0.1 * rate
    assert monitor.findings() == []


def test_weights_that_begin_at_zero_have_no_ratio_and_are_not_ill():
    monitor = watch(scaled(network(), 0.0, [-1]), every=1)
    assert math.isnan(monitor.over_time("update_ratio")["4 Linear"][0])
    assert monitor.findings() == []


@pytest.mark.parametrize("case", HEALTHY)
def test_the_monitor_is_quiet_about_a_healthy_network(case):
    monitor = watch(HEALTHY[case]())
    assert monitor.findings() == []
    assert monitor.report().startswith("healthy: ")


def test_nan_in_the_activations_is_named_at_the_first_layer_that_has_it():
    model = network()
    monitor = HealthMonitor(model, every=1)
    with torch.no_grad():
        model.layers[2].weight[0, 0] = math.nan
    batch_loss(model, X, Y).backward()
    monitor.step()
    first = monitor.findings()[0]
    assert (first.layer, first.disease) == ("2 Linear", "not finite")


def test_what_is_measured_is_what_torch_computes():
    model, (x, y) = network(activation="tanh"), next(minibatches(X, Y, 64))
    kept = []
    handle = model.layers[3].register_forward_hook(
        lambda module, inputs, out: (out.retain_grad(), kept.append(out))
    )
    monitor = HealthMonitor(model, every=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    before = model.layers[2].weight.detach().clone()
    batch_loss(model, x, y).backward()
    optimizer.step()
    monitor.step()
    handle.remove()
    stats, (out,) = monitor.layers[0]["3 Tanh"], kept
    assert stats.mean == pytest.approx(out.mean().item(), abs=1e-6)
    assert stats.std == pytest.approx(out.std(correction=0).item(), rel=1e-5)
    assert stats.saturated == pytest.approx((out.abs() > 0.97).double().mean().item())
    assert stats.gradient_std == pytest.approx(out.grad.std(correction=0).item(), rel=1e-5)
    centres, density = stats.histogram
    assert (density.sum() * (centres[1] - centres[0])).item() == pytest.approx(1.0, abs=1e-4)
    gradient = model.layers[2].weight.grad
    ratios = monitor.matrices[0]["2 Linear"]
    assert ratios.gradient_ratio == pytest.approx((gradient.norm() / before.norm()).item(), rel=1e-5)
    assert ratios.update_ratio == pytest.approx(0.5 * ratios.gradient_ratio, rel=1e-4)


def test_a_unit_is_dead_when_it_is_zero_for_every_example():
    model = Sequential(nn.Linear(2, 4), nn.ReLU())
    with torch.no_grad():
        model.layers[0].weight.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0], [0, 0]]))
        model.layers[0].bias.copy_(torch.tensor([0.0, 0, -1, 1]))
    with HealthMonitor(model) as monitor:
        model(torch.tensor([[1.0, -1], [2.0, -2]]))
        monitor.step()
    assert monitor.layers[0]["1 ReLU"].silent.tolist() == [False, True, True, False]
    assert monitor.over_time("dead")["1 ReLU"] == [0.5]


def test_units_that_are_silent_for_a_moment_are_not_dead():
    model = network()
    with HealthMonitor(model, every=1) as monitor:
        for k in range(4):
            with torch.no_grad():
                model.layers[2].bias.fill_(-100.0 if k == 3 else 0.0)
            batch_loss(model, X, Y).backward()
            monitor.step()
    assert monitor.over_time("dead")["3 ReLU"] == [0.0, 0.0, 0.0, 1.0]
    assert "dead units" not in {finding.disease for finding in monitor.findings()}


def test_between_measurements_nothing_is_computed(monkeypatch):
    calls = []
    measure = HealthMonitor._measure
    monkeypatch.setattr(HealthMonitor, "_measure", lambda *args: (calls.append(1), measure(*args)))
    watch(network(), n_steps=20, every=10)
    assert len(calls) == 2 * len(network().layers)


def test_units_lie_along_the_dimension_named():
    model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-100.0, 0, 0, 0]))
    with HealthMonitor(model, unit_dim=1) as monitor:
        model(torch.randn(8, 3, 5, generator=torch.Generator().manual_seed(0)))
        monitor.step()
    assert monitor.layers[0]["1 ReLU"].silent.tolist() == [True, False, False, False]


def test_only_every_so_many_steps_are_measured():
    monitor = watch(network(), n_steps=21, every=10)
    assert monitor.steps == [0, 10, 20]
    assert {len(series) for series in monitor.over_time("update_ratio").values()} == {3}
    assert set(monitor.over_time("saturated")) == set()


@pytest.mark.parametrize("build", [network, torchs])
def test_a_watched_network_is_trained_to_the_same_bytes_and_left_without_a_trace(build):
    def state(model):
        keys = ("_forward_hooks", "_backward_hooks", "_hooks")
        return [{k: len(v) for k, v in vars(module).items() if k in keys} for module in model.modules()]

    watched, alone = build(), build()
    watch(watched)
    fit(alone, minibatches(X, Y, 128), 100, 0.01, progress=False)
    assert all(torch.equal(p, q) for p, q in zip(watched.parameters(), alone.parameters(), strict=True))
    assert state(watched) == state(alone) == state(build())
    assert [vars(m).keys() for m in watched.modules()] == [vars(m).keys() for m in alone.modules()]


def test_a_detached_model_can_be_collected_and_the_measurements_stay():
    model = network()
    monitor = watch(model, n_steps=10)
    ghost = weakref.ref(model)
    monitor.detach()
    report = monitor.report()
    steps = list(monitor.steps)
    model(X)
    monitor.step()
    assert monitor.steps == steps
    assert monitor.report() == report
    del model, monitor
    gc.collect()
    assert ghost() is None


def test_a_model_is_watched_by_one_monitor_at_a_time():
    model = network()
    with HealthMonitor(model), pytest.raises(ValueError, match=r"watched already; detach\(\)"):
        HealthMonitor(model)
    HealthMonitor(model).detach()


def test_evaluation_is_not_measured():
    model = network(norm="batch")
    with HealthMonitor(model, every=1) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, 50), 3):
            batch_loss(model, x, y).backward()
            model.eval()
            with torch.no_grad():
                model(X)
            model.train()
            monitor.step()
    assert len(monitor.steps) == 3
    assert not {f.disease for f in monitor.findings()} & {"leaking statistics"}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: HealthMonitor(network(), every=0), "at least 1, got 0"),
        (lambda: HealthMonitor(network()).report(), "nothing was measured yet"),
        (lambda: HealthMonitor(network()).over_time("std"), "nothing was measured yet"),
        (lambda: watch(network(), n_steps=1).over_time("variance"), "'variance' is not measured; .*'std'"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


def test_sequences_of_changing_length_can_be_watched_with_their_units_in_the_middle():
    model = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Flatten(2), torch.nn.ReLU())
    with HealthMonitor(model, every=1, unit_dim=1) as monitor:
        for length in (3, 5, 5):
            model(torch.zeros(2, length, dtype=torch.int64)).sum().backward()
            monitor.step()
    assert [len(at["2 ReLU"].silent) for at in monitor.layers] == [3, 5, 5]
    assert isinstance(monitor.report(), str)
