"""The hand-written layers against torch's own, and the errors that a person meets."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random
from torch import nn

from nnhelpers import evaluation
from nnhelpers.layers import (
    GAINS,
    BatchNorm1d,
    Embedding,
    Flatten,
    LayerNorm,
    Linear,
    ReLU,
    Sequential,
    Tanh,
)
from nnhelpers.mlp import MLP

DTYPES = [torch.float32, torch.float64]
SHAPES = [(2, 5), (7, 5), (2, 5, 1), (1, 5, 4), (6, 5, 3)]


def convert(layer, dtype):
    """The same layer with its numbers in another precision."""
    for name in (*layer.parameter_names, "running_mean", "running_var"):
        if getattr(layer, name, None) is not None:
            tensor = getattr(layer, name).detach().to(dtype)
            setattr(layer, name, tensor.requires_grad_(name in layer.parameter_names))
    return layer


def give(ours, theirs):
    """Both layers get the same random parameters."""
    for seed, name in enumerate(ours.parameter_names):
        values = random(*getattr(ours, name).shape, seed=seed + 50).to(getattr(ours, name).dtype)
        with torch.no_grad():
            getattr(ours, name).copy_(values)
            getattr(theirs, name).copy_(values)


def agree(ours, theirs, x):
    """Same output, and the same gradients of the input and of each parameter."""
    dtype = x.dtype
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = ours(a), theirs(b)
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    weights = random(*out.shape, seed=9).to(dtype)
    grads = torch.autograd.grad((out * weights).sum(), [a, *ours.parameters()])
    wanted = torch.autograd.grad((expected * weights).sum(), [b, *theirs.parameters()])
    for got, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_batch_norm_is_torchs_forward_statistics_and_gradients_in_both_modes(dtype, shape, momentum):
    if math.prod(shape) // 5 < 2:
        pytest.skip("one value a channel")
    ours = convert(BatchNorm1d(5, momentum=momentum), dtype)
    theirs = nn.BatchNorm1d(5, momentum=momentum, dtype=dtype)
    give(ours, theirs)
    for seed in range(3):
        agree(ours, theirs, 3 * random(*shape, seed=seed, dtype=dtype) + 2)
        torch.testing.assert_close(ours.running_mean, theirs.running_mean)
        torch.testing.assert_close(ours.running_var, theirs.running_var)
        assert ours.num_batches_tracked == int(theirs.num_batches_tracked)
    before = ours.running_mean.clone(), ours.running_var.clone()
    agree(ours.eval(), theirs.eval(), random(*shape, seed=7, dtype=dtype))
    assert torch.equal(ours.running_mean, before[0])
    assert torch.equal(ours.running_var, before[1])


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 1)])
def test_batch_norm_refuses_to_train_on_one_value_a_channel_and_evaluates_it(shape):
    layer = BatchNorm1d(5)
    with pytest.raises(ValueError, match="more than one value per channel, and this batch has 1"):
        layer(torch.zeros(shape))
    assert layer.num_batches_tracked == 0
    assert torch.equal(layer.running_mean, torch.zeros(5))
    agree(layer.eval(), nn.BatchNorm1d(5).eval(), random(*shape, dtype=torch.float32))


def test_batch_norm_in_eval_mode_before_any_training_lets_x_pass():
    x = random(4, 5, dtype=torch.float32)
    torch.testing.assert_close(BatchNorm1d(5).eval()(x), x / math.sqrt(1 + 1e-5))


@pytest.mark.parametrize("shape", [(4, 6), (4, 5, 2, 2), (5,)])
def test_batch_norm_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"takes \(N, 5\) or \(N, 5, L\), got"):
        BatchNorm1d(5)(torch.zeros(shape))


def test_a_bias_before_batch_norm_gets_no_gradient():
    linear, norm = convert(Linear(4, 3), torch.float64), convert(BatchNorm1d(3), torch.float64)
    out = torch.tanh(norm(linear(random(8, 4))))
    (gradient,) = torch.autograd.grad((out * random(8, 3, seed=1)).sum(), [linear.bias])
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 5), (7, 5), (2, 3, 5), (5,)])
def test_layer_norm_is_torchs_in_both_modes(dtype, shape):
    ours, theirs = convert(LayerNorm(5), dtype), nn.LayerNorm(5, dtype=dtype)
    give(ours, theirs)
    agree(ours, theirs, 3 * random(*shape, dtype=dtype) + 2)
    agree(ours.eval(), theirs.eval(), random(*shape, dtype=dtype))
    with pytest.raises(ValueError, match=r"5 features got \(5, 4\)"):
        ours(torch.zeros(5, 4))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (4,)])
def test_linear_is_torchs(shape, bias):
    ours, theirs = convert(Linear(4, 6, bias=bias), torch.float64), nn.Linear(4, 6, bias=bias).double()
    with torch.no_grad():
        theirs.weight.copy_(ours.weight)
        if bias:
            ours.bias.copy_(random(6))
            theirs.bias.copy_(random(6))
    agree(ours, theirs, random(*shape))


@given(ids=st.lists(st.integers(0, 8), min_size=1, max_size=30), width=st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_embedding_looks_up_rows_and_adds_up_their_gradients(ids, width):
    table, ids = convert(Embedding(9, width), torch.float64), torch.tensor(ids)
    out, weights = table(ids), random(len(ids), width)
    assert torch.equal(out, table.weight[ids])
    theirs = table.weight.detach().clone().requires_grad_()
    (got,) = torch.autograd.grad((out * weights).sum(), [table.weight])
    (want,) = torch.autograd.grad((F.embedding(ids, theirs) * weights).sum(), [theirs])
    torch.testing.assert_close(got, want)


def test_embedding_keeps_the_shape_of_the_ids_even_when_there_are_none():
    assert Embedding(9, 4)(torch.zeros(2, 3, 5, dtype=torch.int64)).shape == (2, 3, 5, 4)
    assert Embedding(9, 4)(torch.zeros(0, 3, dtype=torch.int64)).shape == (0, 3, 4)


def test_activations_and_flatten_are_torchs():
    x = random(3, 4)
    x[0, 0], x[0, 1] = 0.0, math.nan
    for ours, theirs in ((ReLU(), nn.ReLU()), (Tanh(), nn.Tanh())):
        torch.testing.assert_close(ours(x), theirs(x), equal_nan=True, rtol=0, atol=0)
    assert Flatten()(random(2, 3, 4)).shape == (2, 12)
    a = torch.zeros(1, requires_grad=True)
    ReLU()(a).sum().backward()
    assert a.grad.item() == 0.0


@pytest.mark.parametrize("nonlinearity", GAINS)
def test_linear_weights_start_with_torchs_gain_over_the_root_of_the_inputs(nonlinearity):
    weight = Linear(300, 400, nonlinearity=nonlinearity, generator=torch.Generator().manual_seed(0)).weight
    expected = nn.init.calculate_gain(nonlinearity) / math.sqrt(300)
    assert weight.std().item() == pytest.approx(expected, rel=0.01)
    assert weight.shape == (400, 300)


@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_mlp_is_the_network_built_from_torchs_layers(norm, activation):
    ours = MLP(27, 3, n_embd=4, n_hidden=6, n_layer=2, norm=norm, activation=activation)
    theirs = [nn.Embedding(27, 4), nn.Flatten()]
    for width in (12, 6):
        theirs += [nn.Linear(width, 6, bias=norm is None)]
        theirs += [nn.BatchNorm1d(6)] if norm == "batch" else [nn.LayerNorm(6)] if norm == "layer" else []
        theirs += [nn.ReLU() if activation == "relu" else nn.Tanh()]
    theirs = nn.Sequential(*theirs, nn.Linear(6, 27))
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
    with torch.no_grad():
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            b.copy_(a)
    ids = torch.randint(0, 27, (9, 3), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(ids), theirs(ids))
    torch.testing.assert_close(ours.eval()(ids), theirs.eval()(ids))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_hidden_layer_of_the_mlp_start_with_the_gain_of_their_activation(activation):
    model = MLP(27, 3, 10, 300, 2, activation=activation, generator=torch.Generator().manual_seed(0))
    hidden = [layer.weight for layer in model.layers if isinstance(layer, Linear)][:-1]
    for weight in hidden:
        expected = nn.init.calculate_gain(activation) / math.sqrt(weight.shape[1])
        assert weight.std().item() == pytest.approx(expected, rel=0.02)


def test_the_same_generator_gives_the_same_network_and_a_loss_near_ln_v():
    a, b = (MLP(27, 3, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    ids = torch.randint(0, 27, (500, 4), generator=torch.Generator().manual_seed(1))
    assert evaluation.nll(a, ids[:, :3], ids[:, 3]) == pytest.approx(math.log(27), abs=0.03)


def test_modes_reach_every_part_and_evaluation_restores_them():
    model = MLP(27, 3, n_layer=2, norm="batch")
    inner = Sequential(model, Sequential(ReLU()))
    assert [name for name, _ in inner.named_modules()][:3] == ["", "0", "0.0"]
    assert all(not module.training for module in inner.eval().modules())
    model.train()
    evaluation.nll(model, torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    assert all(module.training for module in model.modules())
    assert all(module.num_batches_tracked == 0 for module in model.modules() if type(module) is BatchNorm1d)


def test_torch_modules_may_stand_among_our_layers():
    model = Sequential(Embedding(5, 4), Flatten(), nn.Linear(8, 3), nn.Dropout(0.5))
    assert model(torch.zeros(2, 2, dtype=torch.int64)).shape == (2, 3)
    assert len(model.parameters()) == 3
    model.eval()
    assert not model.layers[3].training


def test_a_hook_sees_each_forward_pass_until_it_is_removed():
    layer, seen = ReLU(), []
    handle = layer.register_forward_hook(lambda module, inputs, out: seen.append((module, inputs[0], out)))
    x = torch.tensor([-1.0, 2.0])
    layer(x)
    handle.remove()
    handle.remove()
    layer(x)
    ((module, given_x, out),) = seen
    assert module is layer
    assert given_x is x
    assert out.tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: Embedding(27, 2)(torch.tensor([27])), r"ids must lie in 0..26.*got 27..27"),
        (lambda: Embedding(27, 2)(torch.tensor([-1])), r"ids must lie in 0..26"),
        (lambda: Linear(6, 2)(torch.zeros(3, 8)), r"reads 6 features.*block size"),
        (lambda: Linear(6, 2, nonlinearity="gelu"), "one of linear, relu, tanh, got 'gelu'"),
        (lambda: MLP(27, 3)(torch.zeros(2, 8, dtype=torch.int64)), r"\(N, 3\), got \(2, 8\).*block_size=3"),
        (lambda: MLP(27, 0), "at least 1"),
        (lambda: MLP(27, 3, norm="group"), "got 'relu' and 'group'"),
        (lambda: MLP(27, 3, activation="elu"), "got 'elu' and None"),
    ],
)
def test_a_mistake_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message):
        use()


# As torch.nn has them


def pair(norm="batch"):
    """The same network of ours and of torch, with different numbers."""
    ours = Sequential(Linear(4, 6), BatchNorm1d(6), Tanh(), Linear(6, 2))
    theirs = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))
    return ours, theirs


def test_a_state_goes_from_torch_to_ours_and_back():
    ours, theirs = pair()
    x = random(5, 4, dtype=torch.float32)
    theirs(x)  # moves the running statistics
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    for mode in (True, False):
        torch.testing.assert_close(ours.train(mode)(x), theirs.train(mode)(x))
    again = pair()[1]
    again.load_state_dict(ours.state_dict())
    torch.testing.assert_close(again.eval()(x), ours.eval()(x))


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    ours, _ = pair()
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    other = {**before, "0.weight": torch.zeros(6, 5)}
    with pytest.raises(ValueError, match=r"0.weight has shape \(6, 4\) here, and \(6, 5\) in the state"):
        ours.load_state_dict(other)
    with pytest.raises(ValueError, match=r"other names than this Sequential: 3.bias"):
        ours.load_state_dict({name: tensor for name, tensor in before.items() if name != "3.bias"})
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.state_dict().items())


def test_a_model_moves_to_another_dtype_as_in_torch():
    ours, theirs = pair()
    ours.load_state_dict(theirs.state_dict())
    x = random(5, 4)
    torch.testing.assert_close(ours.to(torch.float64)(x), theirs.to(torch.float64)(x))
    dtypes = {name: tensor.dtype for name, tensor in theirs.state_dict().items()}
    assert {name: tensor.dtype for name, tensor in ours.state_dict().items()} == dtypes
    assert all(p.requires_grad for p in ours.parameters())


def test_children_zero_grad_and_repr_are_torchs():
    ours, theirs = pair()
    ours(random(5, 4, dtype=torch.float32)).sum().backward()
    ours.zero_grad()
    assert all(p.grad is None for p in ours.parameters())
    assert [type(child).__name__ for child in ours.children()] == [
        type(child).__name__ for child in theirs.children()
    ]
    for mine, its in zip(ours.children(), theirs.children(), strict=True):
        assert repr(mine).split(")")[0] == repr(its).split(", affine")[0].split(")")[0]
    assert repr(ours).splitlines()[0] == "Sequential("
    assert "  (1): BatchNorm1d(6, eps=1e-05, momentum=0.1)" in repr(ours)


def test_a_hook_that_is_removed_twice_is_removed_once_and_others_stay():
    layer, seen = Linear(2, 2), []
    first = layer.register_forward_hook(lambda *_: seen.append("first"))
    layer.register_forward_hook(lambda *_: seen.append("second"))
    layer(torch.zeros(1, 2))
    first.remove()
    first.remove()
    layer(torch.zeros(1, 2))
    assert seen == ["first", "second", "second"]


FLOATS = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (
            lambda: Embedding(5, 3)(FLOATS),
            r"whole numbers, int64 or int32, got torch.float32 of shape \(4, 3\)",
        ),
        (lambda: Embedding(5, 3)([1, 2]), "got list"),
        (lambda: Embedding(5, 3)(FLOATS > 0), "got torch.bool"),
        (lambda: Embedding(0, 3), "num_embeddings is a whole number of at least 1, got 0"),
        (lambda: Embedding(5, 2.0), "embedding_dim is a whole number of at least 1, got 2.0"),
        (
            lambda: Linear(3, 2)(FLOATS.long()),
            "Linear reads a tensor of decimals .* ids go through an Embedding",
        ),
        (lambda: Linear(3, 2)(FLOATS[0, 0]), r"got torch.float32 of shape \(\)"),
        (lambda: Linear(3, 2)([1.0, 2.0, 3.0]), "got list"),
        (lambda: Linear(0, 2), "in_features is a whole number of at least 1, got 0"),
        (lambda: Linear(3, -1), "out_features is a whole number of at least 1, got -1"),
        (lambda: BatchNorm1d(3)(FLOATS.long()), "BatchNorm1d reads a tensor of decimals"),
        (lambda: BatchNorm1d(0), "num_features is a whole number of at least 1, got 0"),
        (lambda: BatchNorm1d(3, momentum=2.0), "momentum a share from 0 to 1, or None; got 1e-05 and 2.0"),
        (lambda: BatchNorm1d(3, eps=-1.0), "eps is 0 or more"),
        (lambda: LayerNorm(3)(FLOATS.long()), "LayerNorm reads a tensor of decimals"),
        (lambda: LayerNorm(0), "normalized_shape is a whole number of at least 1, got 0"),
        (lambda: Flatten()(FLOATS[0]), r"Flatten keeps the examples \(N, ...\) apart, got \(3,\)"),
        (lambda: Sequential([ReLU()]), r"a Sequential takes layers, .* got \[ReLU\(\)\] among them"),
        (lambda: Sequential(ReLU), "got <class .*ReLU'> among them"),
        (lambda: Sequential("relu"), "got 'relu' among them"),
        (
            lambda: Linear(3, 2).load_state_dict([FLOATS]),
            "a state is a dictionary of tensors by name, got list",
        ),
        (lambda: MLP(5.0, 3), "whole numbers of at least 1, got 5.0, 3, 10, 200, 1"),
        (lambda: MLP(5, 3)([[1, 2, 3]]), r"reads windows \(N, 3\), got list"),
        (lambda: MLP(5, 3)(FLOATS), "whole numbers, int64 or int32, got torch.float32"),
    ],
)
def test_what_a_layer_cannot_read_or_be_gets_a_sentence(use, message):
    with pytest.raises(ValueError, match=message) as error:
        use()
    assert "\n" not in str(error.value)
