"""Backward functions: each agammast torch's autograd of torch's own forward, and agammast finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nnhelpers import backprop as bp

IDS = torch.tensor([[3, 0, 3], [3, 4, 0]])  # 3 and 0 repeat, 1 and 2 never occur
sizes, seeds = st.integers(1, 5), st.integers(0, 10**6)
few = settings(max_examples=25, deadline=None)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """max |ours - theirs| / max |theirs|; where theirs is 0 but for rounding, ours must be too."""
    assert ours.shape == theirs.shape
    difference, largest = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    if (
        largest < 1e-15 and difference < 1e-15
    ):  # torch 2.14 gives 1e-17 where attention sees one position alone
        return 0.0
    return difference / largest if largest else math.inf


def as_tuple(grads) -> tuple[Tensor, ...]:
    return grads if isinstance(grads, tuple) else (grads,)


@dataclass(frozen=True)
class Layer:
    """torch's forward(*inputs), our backward(dout, *inputs), and the shapes of the inputs."""

    forward: Callable
    backward: Callable
    shapes: tuple[tuple[int, ...], ...]

    def inputs(self, seed: int = 0) -> list[Tensor]:
        return [normal(*shape, seed=seed + i) for i, shape in enumerate(self.shapes)]

    def dout(self, inputs: list[Tensor], seed: int = 0) -> Tensor:
        return normal(*self.forward(*inputs).shape, seed=seed + 10)  # not the numbers of an input

    def assert_equals_autograd(self, inputs: list[Tensor], seed: int = 0) -> None:
        leaves = [x.clone().requires_grad_() for x in inputs]
        dout = self.dout(inputs, seed)
        theirs = torch.autograd.grad(self.forward(*leaves), leaves, dout)
        for ours, expected in zip(as_tuple(self.backward(dout, *inputs)), theirs, strict=True):
            assert relative_error(ours, expected) < 1e-10


def cross_entropy(targets: Tensor, vocab_size: int) -> Layer:
    def forward(logits):
        return F.cross_entropy(logits.reshape(-1, vocab_size), targets.flatten())

    def backward(dout, logits):
        return dout * bp.cross_entropy_backward(logits, targets)

    return Layer(forward, backward, ((*targets.shape, vocab_size),))


def linear(*leading: int, n_in: int = 3, n_out: int = 4) -> Layer:
    def backward(dout, x, weight, bias):
        return bp.linear_backward(dout, x, weight)

    return Layer(F.linear, backward, ((*leading, n_in), (n_out, n_in), (n_out,)))


def embedding(ids: Tensor, vocab_size: int, n_embd: int) -> Layer:
    def backward(dout, table):
        return bp.embedding_backward(dout, ids, vocab_size)

    return Layer(lambda table: F.embedding(ids, table), backward, ((vocab_size, n_embd),))


def batch_norm(*shape: int, eps: float = 1e-5) -> Layer:
    def forward(x, gamma, bias):
        return F.batch_norm(x, None, None, gamma, bias, training=True, eps=eps)

    def backward(dout, x, gamma, bias):
        return bp.batch_norm_backward(dout, x, gamma, eps)

    return Layer(forward, backward, (shape, shape[1:2], shape[1:2]))


def layer_norm(*shape: int, eps: float = 1e-5) -> Layer:
    def forward(x, gamma, bias):
        return F.layer_norm(x, shape[-1:], gamma, bias, eps)

    def backward(dout, x, gamma, bias):
        return bp.layer_norm_backward(dout, x, gamma, eps)

    return Layer(forward, backward, (shape, shape[-1:], shape[-1:]))


def softmax(*shape: int) -> Layer:
    return Layer(
        lambda x: torch.softmax(x, -1), lambda d, x: bp.softmax_backward(d, torch.softmax(x, -1)), (shape,)
    )


def attention(*shape: int, causal: bool) -> Layer:
    def forward(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def backward(dout, q, k, v):
        return bp.attention_backward(dout, q, k, v, causal)

    return Layer(forward, backward, (shape, shape, shape))


def conv(
    n_taps: int, dilation: int, n_steps: int = 6, n_in: int = 3, n_out: int = 4, n_rows: int = 2
) -> Layer:
    def forward(x, weight, bias):
        return F.conv1d(F.pad(x, (dilation * (n_taps - 1), 0)), weight, bias, dilation=dilation)

    def backward(dout, x, weight, bias):
        return bp.causal_conv_backward(dout, x, weight, dilation)

    return Layer(forward, backward, ((n_rows, n_in, n_steps), (n_out, n_in, n_taps), (n_out,)))


LAYERS = {
    "cross-entropy": cross_entropy(torch.tensor([2, 0, 2, 2]), 5),
    "cross-entropy of sequences": cross_entropy(IDS, 5),
    "cross-entropy of one target": cross_entropy(torch.tensor(1), 5),
    "linear": linear(5),
    "linear of one row": linear(),
    "linear of sequences": linear(2, 5),
    "relu": Layer(F.relu, bp.relu_backward, ((4, 5),)),
    "tanh": Layer(torch.tanh, lambda d, x: bp.tanh_backward(d, torch.tanh(x)), ((4, 5),)),
    "embedding": embedding(IDS, 5, 4),
    "embedding of one id": embedding(torch.tensor(1), 3, 4),
    "batch norm": batch_norm(6, 3),
    "batch norm of sequences": batch_norm(3, 4, 5),
    "batch norm of one sequence": batch_norm(1, 4, 5),
    "batch norm, large eps": batch_norm(6, 3, eps=0.5),
    "layer norm": layer_norm(4, 5),
    "layer norm of one row": layer_norm(5),
    "layer norm of sequences": layer_norm(2, 3, 5),
    "layer norm, large eps": layer_norm(4, 5, eps=0.5),
    "softmax": softmax(2, 3, 5),
    "attention": attention(5, 3, causal=True),
    "attention of heads": attention(2, 3, 5, 4, causal=True),
    "attention that looks ahead": attention(2, 5, 3, causal=False),
    "attention to one position": attention(2, 1, 3, causal=True),
    **{f"conv, {k} taps, dilation {d}": conv(k, d) for k in (1, 2, 3) for d in (1, 2, 4)},
    "conv shorter than its padding": conv(3, 4, n_steps=3),
    "conv of one step": conv(3, 2, n_steps=1),
}
every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())


# Every layer: the same gradients as torch, and what the module promises


@every_layer
def test_gradients_are_those_of_autograd(layer):
    for seed in (0, 100):
        layer.assert_equals_autograd(layer.inputs(seed))


@every_layer
def test_gradients_are_those_of_finite_differences(layer):
    class ByHand(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.save_for_backward(*inputs)
            return layer.forward(*inputs)

        @staticmethod
        def backward(ctx, dout):
            return layer.backward(dout, *ctx.saved_tensors)

    assert torch.autograd.gradcheck(ByHand.apply, [x.requires_grad_() for x in layer.inputs()])


@every_layer
def test_arguments_are_not_changed_and_results_are_tensors_of_their_own(layer):
    inputs = layer.inputs()
    arguments = [layer.dout(inputs), *inputs]
    copies, versions = [x.clone() for x in arguments], [x._version for x in arguments]
    for grad in as_tuple(layer.backward(*arguments)):
        grad += 1
    assert all(torch.equal(x, copy) for x, copy in zip(arguments, copies, strict=True))
    assert [x._version for x in arguments] == versions


@every_layer
def test_without_autograd_the_gradients_are_the_same(layer):
    inputs = layer.inputs()
    dout, leaves = layer.dout(inputs), [x.clone().requires_grad_() for x in inputs]
    with torch.no_grad():
        without = as_tuple(layer.backward(dout, *leaves))
    assert not any(grad.requires_grad for grad in without)
    with_graph = as_tuple(layer.backward(dout, *leaves))
    assert all(torch.equal(a, b) for a, b in zip(without, with_graph, strict=True))


@every_layer
def test_float32_stays_float32_and_agrees_with_float64(layer):
    inputs = layer.inputs()
    arguments = [layer.dout(inputs), *inputs]
    double = as_tuple(layer.backward(*arguments))
    single = as_tuple(layer.backward(*[x.float() for x in arguments]))
    assert {grad.dtype for grad in double} == {torch.float64}
    assert {grad.dtype for grad in single} == {torch.float32}
    assert all(relative_error(a.double(), b) < 1e-4 for a, b in zip(single, double, strict=True))


@every_layer
def test_the_order_in_memory_does_not_matter(layer):
    def permuted(x):  # the same numbers, laid out from the last axis to the first
        backwards = tuple(reversed(range(x.ndim)))
        return x.permute(backwards).contiguous().permute(backwards)

    inputs = layer.inputs()
    dout = layer.dout(inputs)
    straight = as_tuple(layer.backward(dout, *inputs))
    other = as_tuple(layer.backward(permuted(dout), *map(permuted, inputs)))
    assert all(relative_error(a, b) < 1e-12 for a, b in zip(other, straight, strict=True))


# Cross-entropy


@few
@given(st.lists(sizes, max_size=3), st.integers(1, 9), seeds)
def test_cross_entropy_of_any_shape_equals_autograd_and_its_rows_sum_to_zero(shape, vocab_size, seed):
    targets = (normal(*shape, seed=seed + 7).abs() * 1e6).long() % vocab_size
    layer = cross_entropy(targets, vocab_size)
    (logits,) = layer.inputs(seed)
    layer.assert_equals_autograd([logits], seed)
    assert bp.cross_entropy_backward(logits, targets).sum(-1).abs().max() < 1e-14


def test_tied_largest_logits_share_the_gradient():
    targets = torch.tensor([0, 2, 3])
    logits = torch.tensor([[2.0, 2.0, 2.0, 0.0]] * 3, dtype=torch.float64)
    cross_entropy(targets, 4).assert_equals_autograd([logits])
    p = math.exp(2) / (3 * math.exp(2) + 1)
    assert (3 * bp.cross_entropy_backward(logits, targets)[2, :3]).tolist() == pytest.approx([p] * 3)


def test_the_gradient_of_equal_logits_is_known():
    grad = bp.cross_entropy_backward(torch.zeros(2, 4), torch.tensor([1, 1]))
    assert grad.tolist() == [[0.125, -0.375, 0.125, 0.125]] * 2


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_logits_of_ten_thousand_do_not_overflow(size):
    logits = size * torch.eye(3)[[0, 0]]
    targets = torch.tensor([0, 1])
    cross_entropy(targets, 3).assert_equals_autograd([logits.double()])
    grad = bp.cross_entropy_backward(logits, targets)
    right, wrong = grad.tolist()
    if size > 0:  # all the probability is on token 0
        assert right == [0.0, 0.0, 0.0]
        assert wrong == [0.5, -0.5, 0.0]
    else:
        assert right == [-0.5, 0.25, 0.25]
        assert wrong == [0.0, -0.25, 0.25]


def test_a_token_ruled_out_by_minus_infinity_gets_no_gradient():
    grad = bp.cross_entropy_backward(torch.tensor([0.0, -math.inf, 0.0]), torch.tensor(0))
    assert grad.tolist() == [-0.5, 0.0, 0.5]


# Linear, relu, tanh, embedding


@few
@given(st.lists(sizes, max_size=3), sizes, sizes, seeds)
def test_linear_of_any_shape_equals_autograd(shape, n_in, n_out, seed):
    layer = linear(*shape, n_in=n_in, n_out=n_out)
    layer.assert_equals_autograd(layer.inputs(seed), seed)


def test_relu_has_slope_zero_at_zero_and_does_not_hide_nan():
    x = torch.tensor([-1.0, -0.0, 0.0, 1.0, math.nan], dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(F.relu(leaf).sum(), leaf)
    assert bp.relu_backward(torch.ones_like(x), x).tolist() == theirs.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_relu_shuts_out_an_infinite_gradient_where_it_is_flat():
    assert bp.relu_backward(torch.tensor([math.inf, math.nan]), torch.tensor([-1.0, 0.0])).tolist() == [0, 0]


def test_a_saturated_tanh_passes_nothing_and_an_undecided_one_everything():
    out = torch.tanh(torch.tensor([-100.0, 0.0, 100.0]))
    assert bp.tanh_backward(torch.full((3,), 7.0), out).tolist() == [0.0, 7.0, 0.0]


@few
@given(st.lists(sizes, max_size=3), st.integers(1, 4), sizes, seeds)
def test_embedding_of_any_ids_equals_autograd(shape, vocab_size, n_embd, seed):
    ids = (normal(*shape, seed=seed + 7).abs() * 1e6).long() % vocab_size
    layer = embedding(ids, vocab_size, n_embd)
    layer.assert_equals_autograd(layer.inputs(seed), seed)


def test_repeated_ids_add_up_and_an_id_that_never_occurs_gets_zero():
    dout = torch.tensor([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]])
    grad = bp.embedding_backward(dout, torch.tensor([2, 0, 2]), 4)
    assert grad.tolist() == [[10.0, 20.0], [0.0, 0.0], [101.0, 202.0], [0.0, 0.0]]


def test_an_embedding_of_nothing_has_gradient_zero():
    grad = bp.embedding_backward(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3)
    assert grad.tolist() == [[0.0, 0.0]] * 3


# Batch norm and layer norm


@few
@given(st.integers(3, 9), sizes, st.none() | sizes, seeds)
def test_batch_norm_of_any_shape_equals_autograd(n_rows, n_channels, length, seed):
    layer = batch_norm(n_rows, n_channels, *[] if length is None else [length])
    layer.assert_equals_autograd(layer.inputs(seed), seed)


@few
@given(st.integers(2, 9), sizes, st.none() | sizes, seeds)
def test_batch_norm_passes_on_nothing_along_ones_and_along_xhat(n_rows, n_channels, length, seed):
    layer = batch_norm(n_rows, n_channels, *[] if length is None else [length], eps=1e-12)
    x, gamma, bias = layer.inputs(seed)
    dx, _, _ = layer.backward(layer.dout([x, gamma, bias], seed), x, gamma, bias)
    dims = [0] if length is None else [0, 2]
    xhat = F.batch_norm(x, None, None, training=True, eps=1e-12)
    rstd = x.var(dims, correction=0).rsqrt()
    assert (dx.sum(dims).abs() < 1e-12 * (1 + rstd)).all()
    # exactly 0 for eps = 0: x̂ has variance 1 - eps · rstd², and a smaller part along x̂ than that is taken off
    assert ((dx * xhat).sum(dims).abs() < 1e-10 * (1 + rstd**3)).all()


def test_batch_norm_of_two_rows_equals_autograd_and_passes_on_next_to_nothing():
    for eps in (1e-2, 1e-5):
        layer = batch_norm(2, 3, eps=eps)
        layer.assert_equals_autograd(layer.inputs())
    x, gamma, bias = layer.inputs()
    dout = layer.dout([x, gamma, bias])
    dx = bp.batch_norm_backward(dout, x, gamma)[0]
    # x̂ is (±1, ∓1) whatever x is, but for eps: dx = ± gamma · rstd³ · eps · (dout₀ - dout₁) / 2
    variance = (x[0] - x[1]).square() / 4
    expected = gamma * (variance + 1e-5) ** -1.5 * 1e-5 * (dout[0] - dout[1]) / 2
    assert relative_error(dx, torch.stack([expected, -expected])) < 1e-8
    assert dx.abs().max() < 1e-3 * dout.abs().max()


def test_batch_norm_of_a_constant_column_divides_by_the_root_of_eps():
    layer = batch_norm(4, 3)
    x, gamma, bias = layer.inputs()
    x[:, 1] = 0.5
    layer.assert_equals_autograd([x, gamma, bias])
    dout = layer.dout([x, gamma, bias])
    dx, dgamma, _ = bp.batch_norm_backward(dout, x, gamma)
    expected = gamma[1] * (dout[:, 1] - dout[:, 1].mean()) / math.sqrt(1e-5)
    assert relative_error(dx[:, 1], expected) < 1e-10
    assert dgamma[1] == 0.0


def test_batch_norm_of_one_value_per_channel_passes_on_nothing():
    dx, dgamma, dbias = bp.batch_norm_backward(normal(1, 3), normal(1, 3, seed=1), normal(3, seed=2))
    assert (dx.tolist(), dgamma.tolist()) == ([[0.0] * 3], [0.0] * 3)
    assert torch.equal(dbias, normal(1, 3)[0])


def test_a_linear_bias_before_batch_norm_has_gradient_zero():
    h, weight, bias = linear(16, n_in=5, n_out=4).inputs()
    x = F.linear(h, weight, bias)
    dx = bp.batch_norm_backward(normal(16, 4, seed=3), x, normal(4, seed=4))[0]
    _, dweight, dbias = bp.linear_backward(dx, h, weight)
    assert dbias.abs().max() < 1e-13
    assert dweight.abs().max() > 1e-2


@few
@given(st.lists(sizes, max_size=2), st.integers(3, 9), seeds)
def test_layer_norm_of_any_shape_equals_autograd(shape, n_embd, seed):
    layer = layer_norm(*shape, n_embd)
    layer.assert_equals_autograd(layer.inputs(seed), seed)


@few
@given(st.integers(1, 9), st.integers(2, 9), seeds)
def test_layer_norm_passes_on_nothing_along_ones(n_rows, n_embd, seed):
    dout, x, gamma = normal(n_rows, n_embd, seed=seed), normal(n_rows, n_embd, seed=seed + 1), normal(n_embd)
    dx = bp.layer_norm_backward(dout, x, gamma)[0]
    assert (dx.sum(-1).abs() < 1e-12 * (1 + x.var(-1, correction=0).rsqrt())).all()


def test_layer_norm_is_batch_norm_turned_over_where_the_gamma_is_one():
    dout, x = normal(5, 7), normal(5, 7, seed=1)
    turned = bp.batch_norm_backward(dout.T, x.T, torch.ones(5, dtype=torch.float64))[0].T
    layer = bp.layer_norm_backward(dout, x, torch.ones(7, dtype=torch.float64))[0]
    assert relative_error(layer, turned) < 1e-13


@pytest.mark.parametrize("norm", [bp.batch_norm_backward, bp.layer_norm_backward])
def test_normalization_adds_a_hundred_thousandth_to_the_variance_unless_told_otherwise(norm):
    dout, x, gamma = normal(6, 6), normal(6, 6, seed=1), normal(6, seed=2)
    assert torch.equal(norm(dout, x, gamma)[0], norm(dout, x, gamma, eps=1e-5)[0])
    assert not torch.equal(norm(dout, x, gamma)[0], norm(dout, x, gamma, eps=1e-6)[0])


# Softmax and attention


@few
@given(st.lists(sizes, min_size=1, max_size=4), seeds)
def test_softmax_of_any_shape_equals_autograd_and_its_rows_sum_to_zero(shape, seed):
    layer = softmax(*shape[:-1], shape[-1] + 1)
    (x,) = layer.inputs(seed)
    layer.assert_equals_autograd([x], seed)
    assert layer.backward(layer.dout([x], seed), x).sum(-1).abs().max() < 1e-14


def test_cross_entropy_is_softmax_after_minus_the_logarithm():
    logits, targets = normal(4, 5), torch.tensor([2, 0, 2, 4])
    probs = torch.softmax(logits, -1)
    dprobs = -F.one_hot(targets, 5) / probs / 4
    ours = bp.cross_entropy_backward(logits, targets)
    assert relative_error(bp.softmax_backward(dprobs, probs), ours) < 1e-13


@few
@given(st.lists(sizes, max_size=2), st.integers(2, 6), sizes, st.booleans(), seeds)
def test_attention_of_any_shape_equals_autograd(shape, n_steps, head_size, causal, seed):
    layer = attention(*shape, n_steps, head_size, causal=causal)
    layer.assert_equals_autograd(layer.inputs(seed), seed)


@pytest.mark.parametrize("t", range(6))
def test_the_output_at_t_sends_gradient_to_every_position_up_to_t_and_to_none_after(t):
    q, k, v, dout = (normal(2, 6, 3, seed=i) for i in range(4))
    dout[:, :t] = dout[:, t + 1 :] = 0
    dq, dk, dv = bp.attention_backward(dout, q, k, v)
    assert dq.any(-1).any(0).tolist() == [s == t and t > 0 for s in range(6)]  # at 0 there is no choice
    assert dk.any(-1).any(0).tolist() == [s <= t and t > 0 for s in range(6)]
    assert dv.any(-1).any(0).tolist() == [s <= t for s in range(6)]


def test_attention_is_causal_unless_told_otherwise():
    q, k, v, dout = (normal(6, 3, seed=i) for i in range(4))
    dout[3:] = 0
    assert not any(grad[3:].any() for grad in bp.attention_backward(dout, q, k, v))
    dq, dk, dv = bp.attention_backward(dout, q, k, v, causal=False)
    assert not dq[3:].any()
    assert dk[3:].any(-1).all()
    assert dv[3:].any(-1).all()


def test_every_output_gives_one_whole_unit_of_gradient_to_the_values():
    q, k, v, _ = (normal(2, 6, 3, seed=i) for i in range(4))
    _, _, dv = bp.attention_backward(torch.ones_like(q), q, k, v)
    assert dv.sum(-2) == pytest.approx(torch.full((2, 3), 6.0))


# Causal convolution


@few
@given(sizes, sizes, sizes, st.integers(1, 9), st.integers(1, 4), st.integers(1, 5), seeds)
def test_causal_conv_of_any_shape_equals_autograd(n_rows, n_in, n_out, n_steps, n_taps, dilation, seed):
    layer = conv(n_taps, dilation, n_steps, n_in, n_out, n_rows)
    layer.assert_equals_autograd(layer.inputs(seed), seed)


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("n_taps", [1, 2, 3])
@pytest.mark.parametrize("t", [0, 3, 11])
def test_the_output_at_t_of_a_conv_sends_gradient_to_t_and_back_in_steps_of_the_dilation(n_taps, dilation, t):
    x, weight, dout = normal(2, 3, 12), normal(4, 3, n_taps, seed=1), torch.zeros(2, 4, 12).double()
    dout[..., t] = 1
    dx, dweight, _ = bp.causal_conv_backward(dout, x, weight, dilation)
    reached = [t - dilation * back for back in range(n_taps) if t >= dilation * back]
    assert dx.any(0).any(0).nonzero().flatten().tolist() == sorted(reached)
    assert int(dweight.any(0).any(0).sum()) == len(reached)


def test_a_conv_has_dilation_one_unless_told_otherwise():
    x, weight, dout = normal(2, 3, 6), normal(4, 3, 2, seed=1), normal(2, 4, 6, seed=2)
    default, one = bp.causal_conv_backward(dout, x, weight), bp.causal_conv_backward(dout, x, weight, 1)
    assert all(torch.equal(a, b) for a, b in zip(default, one, strict=True))


def test_a_conv_of_one_tap_is_a_linear_layer_at_each_step():
    x, weight, dout = normal(2, 3, 6), normal(4, 3, 1, seed=1), normal(2, 4, 6, seed=2)
    dx, dweight, dbias = bp.causal_conv_backward(dout, x, weight)
    as_linear = bp.linear_backward(dout.mT, x.mT, weight[..., 0])
    for ours, expected in zip((dx.mT, dweight[..., 0], dbias), as_linear, strict=True):
        assert relative_error(ours, expected) < 1e-13


# All together


def test_a_network_by_hand_has_the_gradients_of_autograd():
    """Embedding, linear, batch norm, tanh, linear, cross-entropy: the MLP of lecture 4, back to its table."""
    shapes = [(5, 2), (7, 6), (7,), (7,), (7,), (5, 7), (5,)]
    leaves = [normal(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    table, w1, b1, gamma, shift, w2, b2 = leaves
    ids = torch.tensor([[0, 0, 1], [0, 1, 3], [1, 3, 3], [3, 3, 0], [0, 0, 3], [3, 0, 4]])
    targets = torch.tensor([0, 1, 1, 4, 2, 0])

    emb = F.embedding(ids, table).flatten(1)
    pre = F.linear(emb, w1, b1)
    h = torch.tanh(F.batch_norm(pre, None, None, gamma, shift, training=True))
    logits = F.linear(h, w2, b2)
    theirs = torch.autograd.grad(F.cross_entropy(logits, targets), leaves)

    with torch.no_grad():
        dlogits = bp.cross_entropy_backward(logits, targets)
        dh, dw2, db2 = bp.linear_backward(dlogits, h, w2)
        dpre, dgamma, dshift = bp.batch_norm_backward(bp.tanh_backward(dh, h), pre, gamma)
        demb, dw1, db1 = bp.linear_backward(dpre, emb, w1)
        dtable = bp.embedding_backward(demb.view(6, 3, 2), ids, 5)
    ours = [dtable, dw1, db1, dgamma, dshift, dw2, db2]
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if i != 2:
            assert relative_error(a, b) < 1e-10
    assert max(db1.abs().max(), theirs[2].abs().max()) < 1e-14  # batch norm takes the bias away


# Mistakes


@pytest.mark.parametrize(
    ("backward", "shapes", "message"),
    [
        (
            bp.linear_backward,
            "2,4 2,3 3,4",
            "weight has shape (3, 4), expected (out, in) with out = 3, in = 3",
        ),
        (bp.linear_backward, "2,4 2,3 4", "weight has shape (4,), expected (out, in) with in = 3"),
        (
            bp.linear_backward,
            "2,5 2,3 4,3",
            "dout has shape (2, 5), expected (..., out) with ... = (2,), out = 4",
        ),
        (
            bp.linear_backward,
            "4 2,3 4,3",
            "dout has shape (4,), expected (..., out) with ... = (2,), out = 4",
        ),
        (bp.relu_backward, "3 2,3", "dout has shape (3,), expected (...) with ... = (2, 3)"),
        (bp.tanh_backward, "2,1 2,3", "dout has shape (2, 1), expected (...) with ... = (2, 3)"),
        (bp.batch_norm_backward, "4,3 4,3 4", "gamma has shape (4,), expected (C) with C = 3"),
        (
            bp.batch_norm_backward,
            "4,3,1 4,3 3",
            "dout has shape (4, 3, 1), expected (N, C) with N = 4, C = 3",
        ),
        (bp.batch_norm_backward, "4,3 4,3,2 3", "expected (N, C, L) with N = 4, C = 3, L = 2"),
        (bp.batch_norm_backward, "3 3 3", "x has shape (3,), expected (N, C)"),
        (bp.batch_norm_backward, "2,3,4,5 2,3,4,5 3", "x has shape (2, 3, 4, 5), expected (N, C, L)"),
        (bp.layer_norm_backward, "4,3 4,3 4", "gamma has shape (4,), expected (C) with C = 3"),
        (bp.layer_norm_backward, "3,3 4,3 3", "expected (..., C) with ... = (4,), C = 3"),
        (bp.softmax_backward, "4,1 4,3", "dout has shape (4, 1), expected (..., V) with ... = (4,), V = 3"),
        (
            bp.attention_backward,
            "2,5,3 2,5,3 2,4,3 2,5,3",
            "k has shape (2, 4, 3), expected (..., T, C) with",
        ),
        (
            bp.attention_backward,
            "2,5,3 2,5,3 2,5,3 2,5,4",
            "v has shape (2, 5, 4), expected (..., T, C) with",
        ),
        (bp.attention_backward, "5,3 2,5,3 2,5,3 2,5,3", "dout has shape (5, 3), expected (..., T, C) with"),
        (bp.attention_backward, "3 3 3 3", "q has shape (3,), expected (..., T, C)"),
        (
            bp.causal_conv_backward,
            "2,4,5 2,3,6 4,3,2",
            "dout has shape (2, 4, 5), expected (B, C_out, T) with",
        ),
        (bp.causal_conv_backward, "2,4,6 2,3,6 3,4,2", "expected (C_out, C_in, K) with C_out = 3, C_in = 3"),
    ],
)
def test_a_shape_that_does_not_fit_is_named_with_the_one_expected(backward, shapes, message):
    arguments = [torch.zeros([int(size) for size in shape.split(",")]) for shape in shapes.split()]
    with pytest.raises(ValueError, match=r"^.+$") as error:
        backward(*arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.tensor([0, 5]), "must lie in 0..4, got 0..5"),
        (torch.tensor([-1, 3]), "must lie in 0..4, got -1..3"),
        (torch.tensor([0.0, 1.0]), "are token ids and must be int64, got torch.float32"),
        (torch.tensor([0]), "(1,)"),
    ],
)
def test_ids_that_do_not_fit_get_a_sentence(ids, message):
    with pytest.raises(ValueError, match=r"^targets .+$") as error:
        bp.cross_entropy_backward(torch.zeros(2, 5), ids)
    assert message in str(error.value)
    with pytest.raises(ValueError, match=r"^(ids|dout) .+$") as error:
        bp.embedding_backward(torch.zeros(2, 4), ids, 5)
    assert message in str(error.value)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_a_loss_without_targets_or_without_logits_gets_a_sentence(shape):
    message = (
        "needs at least one target, got none" if shape else r"logits has shape \(\), expected \(..., V\)"
    )
    with pytest.raises(ValueError, match=message):
        bp.cross_entropy_backward(
            torch.zeros(*shape, 4) if shape else torch.tensor(0.0), torch.zeros(shape).long()
        )


@pytest.mark.parametrize("dilation", [0, -1])
def test_a_dilation_below_one_gets_a_sentence(dilation):
    with pytest.raises(ValueError, match=f"distance between taps and at least 1, got {dilation}"):
        bp.causal_conv_backward(normal(2, 4, 6), normal(2, 3, 6), normal(4, 3, 2), dilation)
