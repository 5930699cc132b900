"""The monitor measures what torch computes, sees every kind of layer or says that it does not, leaves no trace."""

from __future__ import annotations

import contextlib
import copy
import gc
import itertools
import math
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import torchs
from torch import nn

from nnhelpers.batches import minibatches
from nnhelpers.fit import batch_loss, fit
from nnhelpers.gpt import GPT, GPTConfig
from nnhelpers.layers import Layer, Sequential
from nnhelpers.mlp import MLP
from nnhelpers.monitor import HealthMonitor
from nnhelpers.wavenet import WaveNet

X = torch.randint(0, 27, (2000, 3), generator=torch.Generator().manual_seed(0))
Y = (X[:, 1] + X[:, 2] // 9) % 27


def network(**options):
    return MLP(27, 3, 10, 64, generator=torch.Generator().manual_seed(1), **options)


class Net(nn.Module):
    """An embedding, a hidden layer by the rule given, a head: windows (N, 3) -> logits (N, 27)."""

    def __init__(self, hidden, **parts):
        super().__init__()
        torch.manual_seed(3)
        self.table, self.a, self.b = nn.Embedding(27, 10), nn.Linear(30, 64), nn.Linear(64, 64)
        self.head = nn.Linear(64, 27)
        for name, part in parts.items():
            setattr(self, name, part)
        self.hidden = hidden

    def forward(self, x):
        return self.head(self.hidden(self, self.table(x).flatten(1)))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        torch.manual_seed(3)
        self.table, self.rnn = nn.Embedding(27, 10), kind(10, 16, batch_first=True, **options)
        self.head = nn.Linear(16, 27)

    def forward(self, x):
        states, _ = self.rnn(self.table(x))
        return self.head(states[:, -1])


def small_gpt(**options):
    config = GPTConfig.modern(27, 3, n_layer=2, n_head=2, n_embd=16, **options)
    return GPT(config, torch.Generator().manual_seed(0))


def loss_of(model, x, y):
    out = model(x)
    return F.cross_entropy(out if out.ndim == 2 else out[:, -1], y)


def watch(model, n_steps=20, every=10, lr=0.003, **options):
    """A loop by hand, as torch's tutorials have it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    with HealthMonitor(model, every, **options) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, 64), n_steps):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
            monitor.step()
    return monitor


def one_pass(model, x):
    with HealthMonitor(model, every=1) as monitor:
        model(x)
        monitor.step()
    return monitor


# what is measured is right


def test_outputs_and_their_gradients_are_those_that_torch_keeps():
    model, (x, y) = network(activation="tanh"), next(minibatches(X, Y, 64))
    kept = []
    handle = model.layers[3].register_forward_hook(
        lambda module, inputs, out: (out.retain_grad(), kept.append(out))
    )
    with HealthMonitor(model, every=1) as monitor:
        batch_loss(model, x, y).backward()
        monitor.step()
    handle.remove()
    stats, (out,) = monitor.layers[0]["3 Tanh"], kept
    assert stats.mean == pytest.approx(out.mean().item(), abs=1e-6)
    assert stats.std == pytest.approx(out.std(correction=0).item(), rel=1e-5)
    assert stats.saturated == pytest.approx((out.abs() > 0.97).double().mean().item())
    assert stats.gradient_std == pytest.approx(out.grad.std(correction=0).item(), rel=1e-5)
    assert stats.n_examples == 64
    for centres, density in (stats.histogram, stats.gradient_histogram):
        assert (density.sum() * (centres[1] - centres[0])).item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_gradient_and_update_of_a_matrix_are_those_of_sgd(dtype):
    torch.manual_seed(0)
    model = nn.Linear(8, 5).to(dtype)
    x = torch.randn(16, 8, dtype=dtype)
    (gradient,) = torch.autograd.grad(model(x).square().sum(), [model.weight])
    before = model.weight.detach().clone().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with HealthMonitor(model, every=1) as monitor:
        model(x).square().sum().backward()
        optimizer.step()
        monitor.step()
    after = model.weight.detach().double()
    stats = monitor.matrices[0]["Linear"]
    assert stats.norm == pytest.approx(before.norm().item(), rel=1e-5)
    assert stats.gradient_ratio == pytest.approx((gradient.double().norm() / before.norm()).item(), rel=1e-5)
    assert stats.update_ratio == pytest.approx(((after - before).norm() / before.norm()).item(), rel=1e-5)
    largest = max(before.norm().item(), after.norm().item(), math.sqrt(5))
    assert stats.update_share == pytest.approx((after - before).norm().item() / largest, rel=1e-5)


def test_norms_in_half_precision_do_not_overflow():
    model = nn.Linear(100, 100, bias=False).to(torch.float16)
    with torch.no_grad():
        model.weight.fill_(1000)
    monitor = one_pass(model, torch.ones(1, 100, dtype=torch.float16))
    # sqrt(100 * 100 * 1000²), while the largest number in float16 is 65504
    assert monitor.matrices[0]["Linear"].norm == pytest.approx(100_000, rel=1e-5)


@given(st.lists(st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_unit_is_dead_when_it_is_zero_for_every_example(rows):
    stats = one_pass(nn.Sequential(nn.ReLU()), torch.tensor(rows)).layers[0]["0 ReLU"]
    dead = [all(row[unit] <= 0 for row in rows) for unit in range(3)]
    assert stats.dead_mask.tolist() == dead
    assert stats.dead_share == pytest.approx(sum(dead) / 3)
    assert stats.n_examples == len(rows)


def test_units_lie_along_the_dimension_named():
    model = nn.Sequential(nn.Conv1d(3, 4, 1), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-100.0, 0, 0, 0]))
    with HealthMonitor(model, unit_dim=1) as monitor:
        model(torch.randn(8, 3, 5, generator=torch.Generator().manual_seed(0)))
        monitor.step()
    assert monitor.layers[0]["1 ReLU"].dead_mask.tolist() == [True, False, False, False]
    assert monitor.layers[0]["1 ReLU"].n_examples == 8 * 5


def test_sequences_of_changing_length_can_be_watched_with_their_units_in_the_middle():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(2), nn.ReLU())
    with HealthMonitor(model, every=1, unit_dim=1) as monitor:
        for length in (3, 5, 5):
            model(torch.zeros(2, length, dtype=torch.int64)).sum().backward()
            monitor.step()
    assert [len(at["2 ReLU"].dead_mask) for at in monitor.layers] == [3, 5, 5]
    assert isinstance(monitor.report(), str)


def test_only_every_so_many_steps_are_measured():
    monitor = watch(network(), n_steps=21, every=10)
    assert monitor.steps == [0, 10, 20]
    assert {len(series) for series in monitor.over_time("update_ratio").values()} == {3}
    assert monitor.over_time("saturated") == {}


def test_weights_that_begin_at_zero_have_no_ratio():
    model = network()
    with torch.no_grad():
        model.layers[-1].weight.zero_()
    assert math.isnan(watch(model, every=1).over_time("update_ratio")["4 Linear"][0])


# the order of the calls makes no difference


def loop(order, accumulate=1):
    """Three steps with the calls in the order given; of each micro-batch the loss is one part."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with HealthMonitor(model, every=1) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, 64), 3):
            for part_x, part_y in zip(x.chunk(accumulate), y.chunk(accumulate), strict=True):
                (batch_loss(model, part_x, part_y) / accumulate).backward()
            optimizer.step()
            for call in order:
                if call == "step":
                    monitor.step()
                else:
                    optimizer.zero_grad(set_to_none=call == "to none")
    return monitor


@pytest.mark.parametrize("order", [("to none", "step"), ("to zero", "step"), ("step", "to zero")])
def test_gradients_are_the_same_wherever_zero_grad_stands(order):
    assert loop(order).matrices == loop(("step", "to none")).matrices
    assert "no gradient" not in {finding.problem for finding in loop(order).findings()}


def test_the_gradient_of_several_backward_passes_is_their_sum():
    whole, parts = loop(("to none", "step")), loop(("to none", "step"), accumulate=4)
    for name, stats in whole.matrices[0].items():
        assert parts.matrices[0][name].gradient_norm == pytest.approx(stats.gradient_norm, rel=1e-4)
    assert list(parts.layers[0]) == list(whole.layers[0])
    assert parts.layers[0]["3 ReLU"].n_examples == 16


def test_gradients_are_measured_before_they_are_clipped():
    model = network()
    with HealthMonitor(model, every=1) as monitor:
        batch_loss(model, X, Y).backward()
        norm = model.layers[2].weight.grad.norm().item()
        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)
        monitor.step()
    assert monitor.matrices[0]["2 Linear"].gradient_norm == pytest.approx(norm)


# every kind of module is seen, or it is said that it is not


@pytest.mark.parametrize(
    ("kind", "options", "hidden"),
    [
        (nn.RNN, {}, None),
        (nn.RNN, {"num_layers": 2}, "the lower layers inside rnn RNN"),
        (nn.LSTM, {}, "the gates inside rnn LSTM"),
        (nn.GRU, {}, "the gates inside rnn GRU"),
    ],
)
def test_recurrent_layers_are_measured_and_what_is_hidden_in_them_is_said(kind, options, hidden):
    model = Recurrent(kind, **options)
    with torch.no_grad():
        states, _ = model.rnn(model.table(X))
    name = f"rnn {kind.__name__}"
    monitor = one_pass(model, X)
    stats = monitor.layers[0][name]
    assert stats.std == pytest.approx(states.std(correction=0).item(), rel=1e-4)
    assert stats.saturated == pytest.approx((states.abs() > 0.97).double().mean().item(), abs=1e-6)
    matrices = {part for part, p in model.rnn.named_parameters() if p.ndim == 2}
    assert {key.split()[-1] for key in monitor.matrices[0] if key.startswith(name)} == matrices
    unseen = monitor.report().partition("not seen: ")[2]
    assert hidden in unseen if hidden else "inside" not in unseen


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU])
def test_a_saturated_recurrent_layer_is_found(kind):
    model = Recurrent(kind)
    with torch.no_grad():
        for p in model.rnn.parameters():
            p *= 100
    found = {(finding.layer, finding.problem) for finding in watch(model).findings()}
    assert (f"rnn {kind.__name__}", "saturated") in found


def test_attention_that_returns_a_pair_is_measured_with_all_its_weights():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(4, 5, 8)
    with HealthMonitor(attention, every=1) as monitor:
        out, _ = attention(x, x, x)
        out.square().sum().backward()
        monitor.step()
    assert monitor.layers[0]["MultiheadAttention"].std == pytest.approx(
        out.std(correction=0).item(), rel=1e-5
    )
    gradients = {name: stats.gradient_norm for name, stats in monitor.matrices[0].items()}
    assert gradients == {
        "MultiheadAttention": pytest.approx(attention.in_proj_weight.grad.norm().item()),
        "out_proj NonDynamicallyQuantizableLinear": pytest.approx(
            attention.out_proj.weight.grad.norm().item()
        ),
    }


class Wrapped(nn.Module):
    """Owns a weight, has a part, and returns its output wrapped."""

    def __init__(self, wrap):
        super().__init__()
        self.weight, self.part, self.wrap = nn.Parameter(torch.ones(3, 3)), nn.Tanh(), wrap

    def forward(self, x):
        return self.wrap(self.part(x @ self.weight))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda out: (out, None),
        lambda out: [out.argmax(), out],
        lambda out: {"loss": out.sum(), "logits": out},
        lambda out: ({"deep": (None, [out])}, torch.ones(3)),
    ],
)
def test_the_first_tensor_of_a_tuple_or_dictionary_is_measured(wrap):
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    monitor = one_pass(Wrapped(wrap), x)
    out = torch.tanh(x @ torch.ones(3, 3))
    assert monitor.layers[0]["Wrapped"].std == pytest.approx(out.std(correction=0).item(), rel=1e-5)
    assert set(monitor.matrices[0]) == {"Wrapped"}


@pytest.mark.parametrize("wrap", [lambda out: None, lambda out: "text", lambda out: object(), lambda out: ()])
def test_the_weights_of_a_module_whose_output_is_no_tensor_are_measured_and_the_rest_is_said(wrap):
    monitor = one_pass(Wrapped(wrap), torch.ones(4, 3))
    assert set(monitor.layers[0]) == {"part Tanh"}
    assert monitor.matrices[0]["Wrapped"].norm == pytest.approx(3.0)
    assert "not seen: the output of Wrapped (holds no tensor)" in monitor.report()


def test_a_module_that_is_never_called_is_named():
    model = Net(lambda net, x: net.a(x))
    report = watch(model).report()
    assert "the output of b Linear (not called in training mode)" in report
    assert "healthy" not in report


FUNCTIONS = {
    "torch.tanh": (torch.tanh, "tanh"),
    "method": (lambda x: x.tanh(), "tanh"),
    "F.tanh": (F.tanh, "tanh"),
    "in place": (lambda x: x.tanh_(), "tanh"),
    "relu": (F.relu, "relu"),
    "relu in place": (lambda x: F.relu(x, inplace=True), "relu"),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "gelu": (F.gelu, "gelu"),
    "silu": (F.silu, "silu"),
    "leaky": (F.leaky_relu, "leaky_relu"),
    "elu": (F.elu, "elu"),
    "softplus": (F.softplus, "softplus"),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_an_activation_function_is_measured_like_the_module_of_its_kind(case):
    function, name = FUNCTIONS[case]
    kept = []

    def hidden(net, x):
        out = function(net.a(x) * 3)
        out.retain_grad()
        kept.append(out)
        # a copy, so that no later change in place reaches it
        return net.b(out * 1)

    model = Net(hidden)
    with HealthMonitor(model, every=1) as monitor:
        loss_of(model, X, Y).backward()
        monitor.step()
    stats, (out,) = monitor.layers[0][name], kept
    assert stats.activation == name
    assert stats.std == pytest.approx(out.std(correction=0).item(), rel=1e-4)
    assert stats.gradient_std == pytest.approx(out.grad.std(correction=0).item(), rel=1e-4)
    if name == "tanh":
        assert stats.saturated == pytest.approx((out.abs() > 0.97).double().mean().item(), abs=1e-6)
    assert list(monitor.layers[0]) == ["table Embedding", "a Linear", name, "b Linear", "head Linear"]


def test_a_saturated_activation_function_is_found():
    model = Net(lambda net, x: torch.tanh(net.a(x)))
    with torch.no_grad():
        model.a.weight *= 100
    assert ("tanh", "saturated") in {(f.layer, f.problem) for f in watch(model).findings()}


def test_an_activation_module_is_measured_once_not_again_for_the_function_inside_it():
    model = Net(lambda net, x: net.act(net.a(x)), act=nn.GELU())
    assert [name for name, stats in one_pass(model, X).layers[0].items() if stats.activation] == ["act GELU"]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (small_gpt(), ["blocks.0.feed_forward silu", "blocks.1.feed_forward silu"]),
        (small_gpt(mlp="gelu"), ["blocks.0.feed_forward gelu", "blocks.1.feed_forward gelu"]),
    ],
)
def test_the_activations_of_a_gpt_are_seen(model, names):
    layers = one_pass(model, X).layers[0]
    assert [name for name, stats in layers.items() if stats.activation] == names


def test_the_last_activations_of_a_wavenet_are_seen():
    model = WaveNet(27, 8)
    with HealthMonitor(model, unit_dim=1) as monitor:
        model(X)
        monitor.step()
    assert {"layers.0.tanh Tanh", "relu (1)", "relu (2)"} <= set(monitor.layers[0])


def test_a_network_without_a_known_activation_is_told_so():
    by_hand = Net(lambda net, x: net.a(x).clamp(min=0))
    assert "not seen: " in watch(by_hand).report()
    assert "activations (none was met; one that is computed by hand" in watch(by_hand).report()
    assert "activations (none" not in watch(torchs()).report()


def test_a_layer_of_ones_own_that_is_no_torch_module_is_told_that_its_functions_are_not_seen():
    class Mine(Layer):
        def forward(self, x):
            return torch.tanh(x)

    torch.manual_seed(0)
    monitor = one_pass(Sequential(nn.Linear(3, 3), Mine()), torch.ones(4, 3))
    assert "activation functions inside 1 Mine" in monitor.report()
    assert "inside" not in watch(network()).report()


def test_each_use_of_a_shared_layer_is_an_entry_of_its_own():
    kept = []

    def hidden(net, x):
        first = net.act(net.a(x))
        second = net.act(net.b(first))
        kept.extend([first, second])
        return second

    model = Net(hidden, act=nn.Tanh())
    with torch.no_grad():
        model.a.weight *= 100
    monitor = watch(model)
    first, second = kept[-2:]
    last = one_pass(model, X[:64])
    assert [name for name in last.layers[0] if "act" in name] == ["act Tanh (1)", "act Tanh (2)"]
    first, second = kept[-2:]
    for use, out in (("act Tanh (1)", first), ("act Tanh (2)", second)):
        saturated = (out.abs() > 0.97).double().mean().item()
        assert last.layers[0][use].saturated == pytest.approx(saturated, abs=1e-6)
    assert [f.layer for f in monitor.findings() if f.problem == "saturated"] == ["act Tanh (1)"]


def test_a_report_names_the_many_uses_of_one_layer_in_one_line():
    def hidden(net, x):
        h = torch.zeros(len(x), 64)
        for _ in range(5):
            h = net.act(net.a(x) * 100 + net.b(h))
        return h

    report = watch(Net(hidden, act=nn.Tanh())).report()
    assert report.count("saturated") == 1
    assert "act Tanh (1): saturated." in report
    assert "The same holds for 4 more uses of it." in report


def test_the_weights_of_a_layer_that_is_used_twice_are_one_entry_with_the_whole_gradient():
    model = Net(lambda net, x: net.b(torch.relu(net.b(torch.relu(net.a(x))))))
    with HealthMonitor(model, every=1) as monitor:
        loss_of(model, X, Y).backward()
        gradient = model.b.weight.grad.norm().item()
        monitor.step()
    assert monitor.matrices[0]["b Linear"].gradient_norm == pytest.approx(gradient)
    assert {"b Linear (1)", "b Linear (2)"} <= set(monitor.layers[0])


def test_a_matrix_that_two_modules_share_is_measured_once_with_the_whole_gradient():
    model = small_gpt()
    with HealthMonitor(model, every=1) as monitor:
        loss_of(model, X, Y).backward()
        gradient = model.head.weight.grad.norm().item()
        monitor.step()
    assert monitor.matrices[0]["token_embedding Embedding"].gradient_norm == pytest.approx(gradient)
    assert "head Linear" not in monitor.matrices[0]


def test_a_layer_that_stands_twice_in_a_list_of_ours_is_seen_twice():
    act = nn.Tanh()
    torch.manual_seed(0)
    monitor = one_pass(Sequential(nn.Linear(3, 3), act, nn.Linear(3, 3), act), torch.ones(2, 3))
    assert list(monitor.layers[0]) == ["0 Linear", "1 Tanh (1)", "2 Linear", "1 Tanh (2)"]


def test_several_passes_in_one_step_are_not_several_uses():
    model = torchs()
    with HealthMonitor(model, every=1) as monitor:
        for _ in range(3):
            loss_of(model, X[:10], Y[:10]).backward()
        monitor.step()
    assert not [name for name in monitor.layers[0] if "(" in name]


def test_a_part_that_is_called_beside_the_network_adds_to_the_pass():
    model = Net(lambda net, x: torch.relu(net.a(x)))
    with HealthMonitor(model, every=1) as monitor:
        model(X)
        model.b(torch.ones(2, 64))
        monitor.step()
    assert {"a Linear", "relu", "head Linear", "b Linear"} <= set(monitor.layers[0])


def test_activation_checkpointing_does_not_count_a_layer_twice():
    def hidden(net, x):
        inner = lambda x: torch.tanh(net.b(net.act(net.a(x))))  # noqa: E731
        return torch.utils.checkpoint.checkpoint(inner, x, use_reentrant=False)

    monitor = watch(Net(hidden, act=nn.ReLU()), every=1, n_steps=2)
    names = ["table Embedding", "a Linear", "act ReLU", "b Linear", "tanh", "head Linear"]
    assert list(monitor.layers[1]) == names
    assert all(stats.gradient_std > 0 for stats in monitor.layers[1].values())


def test_a_sparse_gradient_is_measured():
    model = nn.Sequential(nn.Embedding(5, 4, sparse=True))
    with HealthMonitor(model, every=1) as monitor:
        model(torch.tensor([1, 1, 2])).sum().backward()
        monitor.step()
    # row 1 has the gradient 2, row 2 the gradient 1
    assert monitor.matrices[0]["0 Embedding"].gradient_norm == pytest.approx(math.sqrt(4 * 4 + 4 * 1))


def compiled_inside():
    return nn.Sequential(nn.Linear(3, 3), torch.compile(nn.Linear(3, 3)))


def compiled_in_place():
    model = nn.Linear(3, 3)
    model.compile()
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: torch.compile(nn.Linear(3, 3)), "OptimizedModule"),
        (compiled_inside, "1 OptimizedModule"),
        (compiled_in_place, "Linear"),
        (lambda: torch.jit.script(nn.Linear(3, 3)), "RecursiveScriptModule"),
    ],
)
def test_a_compiled_network_is_refused_in_a_sentence(build, name):
    with pytest.raises(ValueError, match=rf"^{name} is compiled, .* as it was before it was compiled"):
        HealthMonitor(build())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("called_before", [False, True])
def test_a_network_that_is_trained_through_a_compiled_twin_is_not_said_to_be_healthy(called_before):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Tanh()), torch.ones(4, 3)
    # "eager" needs no compiler for C++
    compiled = torch.compile(model, backend="eager")
    if called_before:
        compiled(x)
    with HealthMonitor(model, every=1) as monitor:
        compiled(x).sum().backward()
        monitor.step()
    torch.compiler.reset()
    with pytest.raises(ValueError, match=r"nothing was measured yet: train the model .* not compiled"):
        monitor.report()


def test_evaluation_is_not_measured():
    model = network(norm="batch")
    with HealthMonitor(model, every=1) as monitor:
        for x, y in itertools.islice(minibatches(X, Y, 50), 3):
            batch_loss(model, x, y).backward()
            model.eval()
            with torch.no_grad():
                model(X)
            model(X)
            model.train()
            monitor.step()
    assert [at["2 Linear"].n_examples for at in monitor.layers] == [50, 50, 50]
    assert "statistics" not in monitor.report()


# it leaves no trace


@pytest.mark.parametrize(
    "build",
    [
        network,
        torchs,
        small_gpt,
        lambda: Recurrent(nn.LSTM),
        lambda: Net(lambda net, x: F.silu(net.b(torch.tanh(net.a(x))))),
    ],
)
def test_a_watched_network_is_trained_to_the_same_bytes_and_left_without_a_trace(build):
    def hooks(model):
        return [{k: len(v) for k, v in vars(m).items() if k.endswith("_hooks")} for m in model.modules()]

    def train(model, after_step=lambda: None):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for x, y in itertools.islice(minibatches(X, Y, 64), 12):
            optimizer.zero_grad()
            loss_of(model, x, y).backward()
            optimizer.step()
            after_step()

    watched, alone = build(), build()
    with HealthMonitor(watched, every=3) as monitor:
        train(watched, monitor.step)
    train(alone)
    assert all(torch.equal(p, q) for p, q in zip(watched.parameters(), alone.parameters(), strict=True))
    assert hooks(watched) == hooks(alone) == hooks(build())
    assert [vars(m).keys() for m in watched.modules()] == [vars(m).keys() for m in alone.modules()]
    assert not any(p._post_accumulate_grad_hooks for p in watched.parameters())


def test_between_measurements_no_output_is_touched():
    model, read = torchs(), []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            read.append(func.__name__)
            return func(*args, **(kwargs or {}))

    def reads_of_a_step():
        read.clear()
        with Spy():
            loss_of(model, X, Y)
        return list(read)

    alone = reads_of_a_step()
    with HealthMonitor(model, every=2) as monitor:
        assert len(reads_of_a_step()) > len(alone)
        monitor.step()
        assert reads_of_a_step() == alone


def test_a_detached_model_can_be_collected_and_the_measurements_stay():
    model = network()
    monitor = watch(model, n_steps=10)
    ghost = weakref.ref(model)
    monitor.detach()
    report, steps = monitor.report(), list(monitor.steps)
    model(X)
    monitor.step()
    assert monitor.steps == steps
    assert monitor.report() == report
    del model, monitor
    gc.collect()
    assert ghost() is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_pass_that_fails_is_forgotten_and_leaves_torch_as_it_was(error):
    def hidden(net, x):
        out = torch.tanh(net.a(x))
        if failing:
            raise error
        return out

    failing = True
    model = Net(hidden)
    with HealthMonitor(model, every=1) as monitor:
        with pytest.raises(error):
            model(X)
        failing = False
        loss_of(model, X, Y).backward()
        monitor.step()
        assert list(monitor.layers[0]) == ["table Embedding", "a Linear", "tanh", "head Linear"]
        failing = True
        with pytest.raises(error):
            model(X)
    assert torch._C._len_torch_function_stack() == 0


def test_an_error_that_forward_catches_does_not_put_later_functions_in_the_wrong_place():
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError

    def hidden(net, x):
        with contextlib.suppress(RuntimeError):
            net.failing(x)
        return torch.tanh(net.a(x))

    model = Net(hidden, failing=Failing())
    with HealthMonitor(model, every=1) as monitor:
        model(X)
        assert torch._C._len_torch_function_stack() == 0
        monitor.step()
    assert "tanh" in monitor.layers[0]


def test_a_layer_that_gets_no_example_is_not_measured():
    model = Net(lambda net, x: net.a(x) + net.b(net.a(x)[:0]).sum())
    with HealthMonitor(model, every=1) as monitor:
        loss_of(model, X, Y).backward()
        monitor.step()
    assert "b Linear" not in monitor.layers[0]
    assert "not finite" not in monitor.report()


def test_a_copy_of_a_watched_network_is_not_measured_in_its_place():
    model = torchs()
    with HealthMonitor(model, every=1) as monitor:
        model(X)
        copy.deepcopy(model)(X[:5])
        monitor.step()
    assert monitor.layers[0]["1 Flatten"].n_examples == len(X)
    assert not [name for name in monitor.layers[0] if "(" in name]


def test_a_model_is_watched_by_one_monitor_at_a_time():
    model = network()
    with HealthMonitor(model), pytest.raises(ValueError, match=r"watched already; detach\(\)"):
        HealthMonitor(model)
    HealthMonitor(model).detach()


def test_fit_trains_under_the_monitor_as_its_example_says():
    model = network()
    with HealthMonitor(model, every=50) as monitor:
        fit(model, minibatches(X, Y, 64), n_steps=101, lr=0.01, after_step=monitor.step, progress=False)
    assert monitor.steps == [0, 50, 100]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: HealthMonitor(network(), every=0), "at least 1, got 0"),
        (lambda: HealthMonitor(network()).report(), "nothing was measured yet"),
        (lambda: HealthMonitor(network()).over_time("std"), "nothing was measured yet"),
        (lambda: watch(network(), n_steps=1).over_time("variance"), "'variance' is not measured; .*'std'"),
        (
            lambda: watch(network(), unit_dim=2),
            r"unit_dim=2: the output of 1 Flatten has the shape \(64, 30\)",
        ),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()
