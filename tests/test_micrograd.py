"""micrograd: every value and gradient against torch, finite differences and the published micrograd."""

import copy
import math
import pickle
import random
import subprocess
import sys

import micrograd.engine
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nnhelpers import micrograd as mg
from nnhelpers.micrograd import MLP, Layer, Neuron, Value

numbers = st.floats(-3.0, 3.0, allow_subnormal=False)


def torch_leaf(x):
    return torch.tensor(x, dtype=torch.float64, requires_grad=True)


# A random program: leaves, then steps that combine earlier results; run on Values and on tensors alike.
UNARY = {
    "neg": lambda a: -a,
    "relu": lambda a: a.relu(),
    "tanh": lambda a: a.tanh(),
    "sigmoid": lambda a: a.sigmoid(),
    "exp": lambda a: (a.tanh()).exp(),
    "log": lambda a: (a * a + 0.5).log(),
    "square": lambda a: a**2,
    "inverse": lambda a: (a * a + 0.5) ** -1.5,
    "left numbers": lambda a: 2 - 3 * a + 1 / (a * a + 1) + 1.5 ** a.tanh(),
}
BINARY = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a.tanh() * b,
    "/": lambda a, b: a / (b * b + 1),
    "**": lambda a, b: (a * a + 0.5) ** b.tanh(),
}
steps = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 99), st.integers(0, 99)), max_size=12
)


def run_program(leaves, program):
    nodes = list(leaves)
    for name, i, j in program:
        a, b = nodes[i % len(nodes)], nodes[j % len(nodes)]
        nodes.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
    return sum(node.tanh() for node in nodes)


@settings(max_examples=300, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=4), steps)
def test_random_expressions_have_the_values_and_gradients_of_torch(xs, program):
    ours, theirs = [Value(x) for x in xs], [torch_leaf(x) for x in xs]
    a, b = run_program(ours, program), run_program(theirs, program)
    a.backward()
    b.backward()
    assert a.data == pytest.approx(b.item(), rel=1e-9, abs=1e-9)
    for v, t in zip(ours, theirs, strict=True):
        assert v.grad == pytest.approx(t.grad.item(), rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=3), steps)
def test_a_second_backward_adds_to_the_leaves_what_torch_adds(xs, program):
    ours, theirs = [Value(x) for x in xs], [torch_leaf(x) for x in xs]
    a, b = run_program(ours, program), run_program(theirs, program)
    for _ in range(2):
        a.backward()
        b.backward(retain_graph=True)
    for v, t in zip(ours, theirs, strict=True):
        assert v.grad == pytest.approx(t.grad.item(), rel=1e-9, abs=1e-9)


def test_a_second_backward_gives_64_where_the_published_micrograd_gives_96():
    a, published = Value(2.0), micrograd.engine.Value(2.0)
    for x in (a, published):
        y = (x * x) ** 2
        y.backward()
        assert x.grad == 32.0
        y.backward()
    assert (a.grad, published.grad) == (64.0, 96.0)


def test_backward_on_a_leaf_gives_one_and_accumulates():
    a = Value(3.0)
    a.backward()
    a.backward()
    assert a.grad == 2.0


def test_shared_subexpressions_are_waited_for():
    a = Value(1.0)
    b = a + a
    c = b + b
    c.backward()
    assert (a.grad, b.grad) == (4.0, 2.0)
    assert b.parents == (a, a)


def test_every_operation_passes_the_gradient_check():
    for name, f in UNARY.items():
        assert mg.gradient_check(f, 0.7) < 1e-7, name
    for name, f in BINARY.items():
        assert mg.gradient_check(f, 0.7, -1.3) < 1e-7, name


def test_the_gradient_check_sees_a_wrong_derivative():
    def wrong_square(a):
        return Value(a.data**2, (a,), (a.data,))

    assert mg.gradient_check(wrong_square, 1.5) > 0.1


def test_the_sum_of_100_000_values_works():
    values = [Value(1.0) for _ in range(100_000)]
    total = sum(values)
    total.backward()
    assert total.data == 100_000.0
    assert {v.grad for v in values} == {1.0}


def test_a_chain_100_000_deep_works_forward_backward_and_in_order():
    x = y = Value(1.0)
    for _ in range(100_000):
        y = y * 1.0
    y.backward()
    assert x.grad == 1.0
    assert len(mg.topological_order(y)) == 200_001


def test_topological_order_puts_parents_first_and_the_root_last():
    root = MLP(2, [3, 1], rng=random.Random(0))([Value(0.5), Value(-1.0)])
    order = mg.topological_order(root)
    place = {node: i for i, node in enumerate(order)}
    assert len(place) == len(order)
    assert order[-1] is root
    assert all(place[parent] < place[node] for node in order for parent in node.parents)


# Edges of the domain


def test_relu_has_slope_zero_at_zero_and_does_not_hide_nan():
    for x in (-1.0, 0.0, 2.0):
        a, t = Value(x), torch_leaf(x)
        a.relu().backward()
        t.relu().backward()
        assert a.grad == t.grad.item()
    assert math.isnan(Value(math.nan).relu().data)


@pytest.mark.parametrize("x", [-1000.0, -355.0, -40.0, 0.0, 40.0, 355.0, 1000.0])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exp"])
def test_large_arguments_give_what_torch_gives(name, x):
    a, t = Value(x), torch_leaf(x)
    ours, theirs = getattr(a, name)(), getattr(t, name)()
    ours.backward()
    theirs.backward()
    assert ours.data == pytest.approx(theirs.item(), rel=1e-12)
    assert a.grad == pytest.approx(t.grad.item(), rel=1e-9, abs=1e-15)


@given(st.floats(-1000.0, 1000.0))
@example(-1000.0)
@example(-720.0)
@example(-40.0)
@example(0.0)
@example(1000.0)
def test_softplus_and_its_slope_neither_overflow_nor_lose_what_is_small(x):
    a, t = Value(x), torch_leaf(x)
    ours = a.softplus()
    theirs = torch.logaddexp(t, torch.zeros((), dtype=torch.float64))  # ln(e^x + e^0), in another way
    ours.backward()
    theirs.backward()
    # torch's own sigmoid is 0 from about -710 on, where ours still has a few digits
    smallest_normal = torch.finfo(torch.float64).smallest_normal
    assert ours.data == pytest.approx(theirs.item(), rel=1e-12, abs=smallest_normal)
    assert a.grad == pytest.approx(torch.sigmoid(t).item(), rel=1e-12, abs=smallest_normal)


@pytest.mark.parametrize(
    ("base", "exponent"),
    [
        (0.0, 0.0),
        (0.0, 1.0),
        (0.0, 2.0),
        (0.0, 0.5),
        (-2.0, 3.0),
        (-2.0, -2.0),
        (-2.0, 0.0),
        (1e200, 2.0),
        (4.0, 0.5),
    ],
)
def test_powers_at_the_edges_have_the_values_and_slopes_of_torch(base, exponent):
    a, t = Value(base), torch_leaf(base)
    ours, theirs = a**exponent, t**exponent
    ours.backward()
    theirs.backward()
    assert ours.data == theirs.item()
    assert a.grad == pytest.approx(t.grad.item(), rel=1e-12)


def test_a_value_as_exponent_has_the_slope_of_torch_also_at_base_zero():
    for base in (0.0, 2.0):
        a, n = Value(base), Value(1.5)
        t, m = torch_leaf(base), torch_leaf(1.5)
        (a**n).backward()
        (t**m).backward()
        assert (a.grad, n.grad) == pytest.approx((t.grad.item(), m.grad.item()))


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        (lambda: Value(-8.0) ** (1 / 3), ValueError, "negative base takes whole exponents only"),
        (lambda: Value(-8.0) ** Value(3.0), ValueError, "use a positive base"),
        (lambda: Value(0.0).log(), ValueError, "numbers above 0"),
        (lambda: Value(-1.0).log(), ValueError, "numbers above 0"),
        (lambda: Value(1.0) / 0, ZeroDivisionError, "divided by zero"),
        (lambda: Value(0.0) ** -1, ZeroDivisionError, "keep the base away from 0"),
        (lambda: bool(Value(1.0)), TypeError, "compare its .data"),
        (lambda: Value(1.0, (Value(2.0),)), ValueError, "1 parents and 0 local derivatives"),
        (lambda: MLP(2, [1], activation="gelu"), ValueError, "unknown activation"),
        (lambda: Value("3"), TypeError, "one real number"),
        (lambda: Value(1j), TypeError, "one real number"),
        (lambda: Value(1.0) * "2", TypeError, "one real number"),
        (lambda: MLP(2, [])([1.0, 2.0]), ValueError, "at least one layer"),
        (lambda: Layer(2, 0), ValueError, "at least one neuron"),
        (lambda: Neuron(0), ValueError, "at least one input"),
        (lambda: Neuron(2, "gelu"), ValueError, "unknown activation"),
        (lambda: MLP(2, [1])([1.0]), ValueError, "takes 2 inputs, got 1"),
        (lambda: mg.dot([Value(1.0)], [1.0, 2.0], Value(0.0)), ValueError, "1 weights do not fit 2 inputs"),
        (lambda: mg.gradient_check(lambda: Value(1.0)), ValueError, "at least one input"),
    ],
)
def test_a_mistake_gets_a_sentence(operation, error, message):
    with pytest.raises(error, match=message):
        operation()


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2.0), np.float32(2.0), torch.tensor(2.0)])
def test_numbers_of_any_real_kind_stand_on_the_right(number):
    v = Value(3.0)
    total = v + number
    assert isinstance(total, Value)
    assert type(total.data) is float
    assert total.data == 3.0 + float(number)


def test_numbers_stand_on_either_side():
    v = Value(4.0)
    assert [(2 + v).data, (2 - v).data, (2 * v).data, (2 / v).data, (2**v).data] == [
        6.0,
        -2.0,
        8.0,
        0.5,
        16.0,
    ]
    assert [(v + 2).data, (v - 2).data, (v * 2).data, (v / 2).data, (v**2).data] == [6.0, 2.0, 8.0, 2.0, 16.0]
    assert (np.float64(2.0) * v).data == 8.0


# Networks


def test_the_worked_neuron_has_the_published_gradients():
    x1, x2, w1, w2 = Value(2.0), Value(0.0), Value(-3.0), Value(1.0)
    b = Value(6.8813735870195432)
    output = mg.dot([w1, w2], [x1, x2], b).tanh()
    output.backward()
    assert output.data == pytest.approx(0.7071, abs=1e-4)
    assert [v.grad for v in (x1, w1, x2, w2)] == pytest.approx([-1.5, 1.0, 0.5, 0.0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6), numbers, st.booleans())
def test_the_fused_weighted_sum_equals_the_sum_of_products(pairs, bias, inputs_are_values):
    def build(fused):
        w, x, b = [Value(p[0]) for p in pairs], [Value(p[1]) for p in pairs], Value(bias)
        inputs = x if inputs_are_values else [v.data for v in x]
        total = mg.dot(w, inputs, b) if fused else sum((wi * xi for wi, xi in zip(w, inputs, strict=True)), b)
        total.tanh().backward()
        return total.data, [v.grad for v in (*w, *x, b)]

    assert build(True) == (pytest.approx(build(False)[0]), pytest.approx(build(False)[1]))


def test_the_fused_weighted_sum_takes_values_and_numbers_mixed():
    w = [Value(2.0), Value(3.0)]
    x = Value(5.0)
    total = mg.dot(w, [1.0, x], Value(1.0))
    total.backward()
    assert (total.data, x.grad, w[1].grad) == (18.0, 3.0, 5.0)


def test_an_mlp_has_the_outputs_and_gradients_of_the_same_mlp_in_torch():
    ours = MLP(3, [5, 4, 2], activation="tanh", rng=random.Random(3))
    layers = []
    for layer in ours.layers:
        weights = torch.tensor([[w.data for w in n.weights] for n in layer.neurons], dtype=torch.float64)
        linear = torch.nn.Linear(weights.shape[1], weights.shape[0], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(weights)
            linear.bias.zero_()
        layers += [linear, torch.nn.Tanh()]
    theirs = torch.nn.Sequential(*layers[:-1])
    x = [0.5, -1.0, 2.0]
    out = ours(x)
    expected = theirs(torch.tensor(x, dtype=torch.float64))
    assert [v.data for v in out] == pytest.approx(expected.tolist())
    sum(out).backward()
    expected.sum().backward()
    linears = [m for m in theirs if isinstance(m, torch.nn.Linear)]
    grads = torch.cat([torch.cat([m.weight.grad, m.bias.grad[:, None]], dim=1).flatten() for m in linears])
    assert [p.grad for p in ours.parameters()] == pytest.approx(grads.tolist())


def test_zero_grad_clears_every_parameter_and_counts_are_right():
    model = MLP(2, [16, 16, 1])
    model([1.0, 2.0]).backward()
    assert any(p.grad for p in model.parameters())
    model.zero_grad()
    assert not any(p.grad for p in model.parameters())
    assert len(model.parameters()) == 3 * 16 + 17 * 16 + 17


def test_weights_depend_on_the_generator_alone():
    weights = [[p.data for p in MLP(2, [4, 1], rng=random.Random(7)).parameters()] for _ in range(2)]
    assert weights[0] == weights[1]


def test_an_interrupted_backward_does_not_spoil_the_next_one():
    a = Value(2.0)
    b = a * a
    broken = b + Value(1.0, (b,), ("no number",))
    with pytest.raises(TypeError):
        broken.backward()
    a.grad = 0.0
    (b + b).backward()
    assert a.grad == 8.0


def test_weights_have_the_variance_that_keeps_a_relu_signal_alive():
    weights = [w.data for n in Layer(50, 400, rng=random.Random(0)).neurons for w in n.weights]
    assert sum(w * w for w in weights) / len(weights) == pytest.approx(2 / 50, rel=0.02)


def test_the_overflow_of_a_negative_base_keeps_its_sign():
    assert (Value(-1e200) ** 3).data == -math.inf
    assert (Value(-1e200) ** 2).data == math.inf


@pytest.mark.parametrize("slope", [math.nan, math.inf])
def test_the_gradient_check_does_not_take_nan_or_infinity_for_agreement(slope):
    assert mg.gradient_check(lambda x: Value(x.data**2, (x,), (slope,)), 3.0) == math.inf


def test_the_gradient_check_is_relative_for_large_inputs_and_gradients():
    assert mg.gradient_check(lambda x: x * x, 1e9) < 1e-7
    assert mg.gradient_check(lambda x: 1e6 * x.tanh(), 0.3) < 1e-7


def test_numpy_leaves_the_arithmetic_to_value():
    assert isinstance(np.float64(2.0) * Value(3.0), Value)
    with pytest.raises(TypeError, match="one real number"):
        np.array([1.0, 2.0]) * Value(3.0)


def test_the_graph_as_text_names_every_node_once():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    c = a * b + a
    c.backward()
    assert mg.graph_as_text(c).split("\n") == [
        "a   data    2.0000  grad   -2.0000",
        "b   data   -3.0000  grad    2.0000",
        "v2  data   -6.0000  grad    1.0000  = a * b",
        "v3  data   -4.0000  grad    1.0000  = v2 + a",
    ]


def test_nodes_with_the_same_label_are_told_apart_in_the_text():
    x, y = Value(1.0, label="x"), Value(2.0, label="x")
    assert mg.graph_as_text(x * y).split("\n")[-1].endswith("= x0 * x1")


def test_micrograd_imports_neither_torch_nor_numpy_nor_matplotlib():
    code = "import sys, nnhelpers.micrograd; print([m for m in ('torch', 'numpy', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# Copies

COPIES = {
    "deepcopy": copy.deepcopy,
    **{
        f"pickle, protocol {protocol}": lambda x, protocol=protocol: pickle.loads(pickle.dumps(x, protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
    # the pickler that is written in Python
    "pickle in Python": lambda x: pickle._loads(pickle._dumps(x)),
}


def look(nodes):
    """All that there is to a graph: for each node its fields, and the places of its parents."""
    places = {id(node): i for i, node in enumerate(nodes)}
    return [
        (v.data, v.grad, v.label, v.op, v.local_grads, [places[id(parent)] for parent in v.parents])
        for v in nodes
    ]


@pytest.mark.parametrize("how", COPIES)
@settings(max_examples=30, deadline=None)
@given(st.lists(numbers, min_size=1, max_size=4), steps)
def test_the_copy_of_a_graph_is_equal_and_shares_nothing_with_it(how, xs, program):
    root = run_program([Value(x, label=f"x{i}") for i, x in enumerate(xs)], program) + 0.0
    root.backward()
    ours = mg.topological_order(root)
    before = look(ours)
    copied = mg.topological_order(COPIES[how](root))
    assert look(copied) == before
    assert not {id(v) for v in ours} & {id(v) for v in copied}
    mg.zero_grad(copied)
    copied[-1].backward()
    assert look(copied) == before
    mg.zero_grad(copied)
    assert look(ours) == before


@pytest.mark.parametrize("how", ["deepcopy", "pickle, protocol 5"])
def test_a_chain_of_100_000_nodes_can_be_copied(how):
    x = Value(0.5)
    v = x
    for _ in range(100_000):
        v = -v
    copied = mg.topological_order(COPIES[how](v))
    assert len(copied) == 100_001
    copied[-1].backward()
    assert (copied[0].data, copied[0].grad, x.grad) == (0.5, 1.0, 0.0)


@pytest.mark.parametrize("how", COPIES)
def test_a_ladder_of_diamonds_keeps_its_nodes_and_does_not_double_with_each_step(how):
    v = Value(1.0)
    for _ in range(300):
        v = v * 0.25 + v * 0.75
    copied = COPIES[how](v)
    assert look(mg.topological_order(copied)) == look(mg.topological_order(v))
    copied.backward()
    assert mg.topological_order(copied)[0].grad == 1.0


@pytest.mark.parametrize("how", COPIES)
def test_what_two_results_share_is_shared_by_their_copies_whichever_comes_first(how):
    w = Value(2.0, label="w")
    hidden = w * 3
    first, second = hidden.tanh(), hidden + w
    w2, first2, hidden2, second2 = COPIES[how]((w, first, hidden, second))
    assert first2.parents[0] is second2.parents[0] is hidden2
    assert second2.parents[1] is hidden2.parents[0] is w2
    second2, hidden2, w2 = COPIES[how]([second, hidden, w])
    assert second2.parents[0] is hidden2
    assert hidden2.parents[0] is second2.parents[1] is w2


@pytest.mark.parametrize("how", COPIES)
def test_a_network_and_its_loss_are_copied_together(how):
    model = MLP(2, [3, 1], "tanh", random.Random(0))
    loss = model([0.5, -1.0]) ** 2
    model2, loss2 = COPIES[how]((model, loss))
    loss2.backward()
    assert [p.grad for p in model.parameters()] == [0.0] * 13
    loss.backward()
    assert [p.grad for p in model2.parameters()] == [p.grad for p in model.parameters()]
    assert any(p.grad for p in model2.parameters())


def test_a_shallow_copy_is_a_node_of_its_own_with_the_same_parents():
    x = Value(2.0)
    y = x * x
    y.label = "y"
    y.backward()
    twin = copy.copy(y)
    assert twin is not y
    assert twin.parents[0] is x
    assert (twin.data, twin.grad, twin.label, twin.op) == (4.0, 1.0, "y", "*")
    twin.grad = 7.0
    assert y.grad == 1.0


def test_a_copy_that_fails_leaves_the_graph_as_it_was():
    v = Value(1.0) * 2
    v.label = lambda: None  # cannot be pickled
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        pickle.dumps(v)
    v.label = "v"
    assert look(mg.topological_order(pickle.loads(pickle.dumps(v)))) == look(mg.topological_order(v))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: MLP(2, 3), r"sizes of its layers as a list, such as \[16, 16, 1\], not 3"),
        (lambda: MLP(1, [1])(1.5), r"reads a list of numbers; for one write \[1.5\]"),
        (lambda: MLP(1, [1])(Value(1.5)), "reads a list of numbers"),
        (lambda: mg.gradient_check(lambda x: 3.0, 1.0), "returns one Value, got 3.0"),
        (lambda: mg.gradient_check(lambda x: [x], 1.0), "returns one Value, got "),
        (lambda: mg.topological_order(3.0), r"a graph is below a Value, not below 3.0 \(float\)"),
        (lambda: mg.graph_as_text([Value(1.0)]), "a graph is below a Value"),
    ],
)
def test_what_is_no_value_gets_a_sentence(use, message):
    with pytest.raises(TypeError, match=message):
        use()


def test_the_graph_of_a_value_class_of_ones_own_is_ordered_too():
    class Mine:
        def __init__(self, *parents):
            self.parents = parents

    a = Mine()
    b = Mine(a)
    c = Mine(b, a)
    assert mg.topological_order(c) == [a, b, c]


def test_a_nudge_of_nothing_shows_no_slope():
    with pytest.raises(ValueError, match="is above 0, got 0"):
        mg.gradient_check(lambda x: x, 1.0, h=0.0)
