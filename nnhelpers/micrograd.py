"""Lecture 1: a scalar autograd engine and a small neural network on top of it, in plain Python.

A `Value` remembers its parents and the derivative of itself with respect to each of them. `backward` is then one line
of chain rule, applied in reverse topological order: a node's gradient is complete before it is passed on.
Source of the idea: reverse-mode differentiation, Linnainmaa 1970; Rumelhart, Hinton and Williams 1986.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from operator import attrgetter, mul
from typing import Any
from weakref import WeakValueDictionary

Number = float | int
Rng = random.Random | None
_data = attrgetter("data")


class Value:
    """One number in a computation, and after `backward()` the derivative of the result with respect to it.

    Works with `+ - * / **` against numbers on either side. Anything but a real number raises `TypeError`; an
    undefined operation (`log` of -1, a negative base with a fractional exponent) raises `ValueError`.
    """

    __array_ufunc__ = None  # numpy numbers leave the arithmetic to Value
    __slots__ = ("data", "grad", "label", "local_grads", "op", "parents")

    def __init__(
        self,
        data: Number,
        parents: tuple[Value, ...] = (),
        local_grads: tuple[float, ...] = (),
        op: str = "",
        label: str = "",
    ):
        if len(parents) != len(local_grads):
            raise ValueError(
                f"{len(parents)} parents and {len(local_grads)} local derivatives: give one for each"
            )
        self.data = data if type(data) is float else _real(data)  # the test here saves a call
        self.grad = 0.0
        # a tuple: with a set, a + a would lose a parent and sums would change their order
        self.parents = parents
        self.local_grads = local_grads  # d self / d parent, one for each parent
        self.op = op
        self.label = label

    def __bool__(self) -> bool:
        raise TypeError("a Value is neither true nor false; compare its .data")

    def __repr__(self) -> str:
        return f"Value(data={self.data:.4g}, grad={self.grad:.4g})"

    # Each operation: the result beside its derivative with respect to each parent.

    def __add__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0), "+")

    def __mul__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data), "*")

    def __sub__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data - other.data, (self, other), (1.0, -1.0), "-")

    def __truediv__(self, other: Value | Number) -> Value:
        a, b = self.data, (other := _value(other)).data
        if b == 0.0:
            raise ZeroDivisionError(f"{a:g} was divided by zero; keep the divisor away from 0")
        return Value(a / b, (self, other), (1.0 / b, -a / b / b), "/")

    def __pow__(self, exponent: Value | Number) -> Value:
        if isinstance(exponent, Value):
            a, n = self.data, exponent.data
            local_grads = (_power_slope(a, n), _power_log_slope(a, n))
            return Value(_power(a, n), (self, exponent), local_grads, "**")
        a, n = self.data, _real(exponent)
        return Value(_power(a, n), (self,), (_power_slope(a, n),), f"**{n:g}")

    def __neg__(self) -> Value:
        return Value(-self.data, (self,), (-1.0,), "neg")

    def relu(self) -> Value:
        """max(0, x); the slope at exactly 0 is taken as 0, and NaN stays NaN."""
        off = self.data <= 0.0
        return Value(0.0 if off else self.data, (self,), (0.0 if off else 1.0,), "relu")

    def tanh(self) -> Value:
        t = math.tanh(self.data)  # by way of exp(2x) this would overflow from x = 355 on
        return Value(t, (self,), (1.0 - t * t,), "tanh")

    def sigmoid(self) -> Value:
        s, slope = _sigmoid(self.data)
        return Value(s, (self,), (slope,), "sigmoid")

    def softplus(self) -> Value:
        """ln(1 + e**x), the loss of a yes-or-no score x of the wrong sign; neither end overflows or is rounded to 0."""
        x = self.data
        return Value(max(x, 0.0) + math.log1p(math.exp(-abs(x))), (self,), (_sigmoid(x)[0],), "softplus")

    def exp(self) -> Value:
        e = _exp(self.data)
        return Value(e, (self,), (e,), "exp")

    def log(self) -> Value:
        if self.data <= 0.0:
            raise ValueError(f"log of {self.data:g} is not defined; it takes numbers above 0")
        return Value(math.log(self.data), (self,), (1.0 / self.data,), "log")

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Number) -> Value:
        return _value(other) - self

    def __rtruediv__(self, other: Number) -> Value:
        return _value(other) / self

    def __rpow__(self, other: Number) -> Value:
        return _value(other) ** self

    def backward(self) -> None:
        """Add d self / d leaf to the `.grad` of every leaf below; set the `.grad` of the nodes in between.

        Leaves accumulate over calls, as in torch, until they are set to zero. Nothing recurses: depth is no limit.
        """
        order = topological_order(self)
        for node in order:
            if node.parents:
                node.grad = 0.0
        self.grad = 1.0 if self.parents else self.grad + 1.0
        for node in reversed(order):  # a node's gradient is complete before it is passed on
            for parent, local_grad in zip(node.parents, node.local_grads, strict=True):
                parent.grad += local_grad * node.grad

    def __reduce__(self) -> tuple[Any, ...]:
        """What `pickle` and `copy.deepcopy` take: the graph as a list, in which nothing recurses."""
        return _last, ([_listed(node) for node in topological_order(self)],)

    def __copy__(self) -> Value:
        twin = Value(self.data, self.parents, self.local_grads, self.op, self.label)
        twin.grad = self.grad
        return twin


def topological_order(root: Value) -> list[Value]:
    """All nodes that `root` depends on, parents before children, `root` last. Nothing recurses."""
    if not hasattr(root, "parents"):  # a Value of one's own will do
        raise TypeError(f"a graph is below a Value, not below {root!r} ({type(root).__name__})")
    order, seen = [], {id(root)}
    stack = [(root, iter(root.parents))]
    while stack:
        node, parents = stack[-1]
        for parent in parents:
            if id(parent) not in seen:
                seen.add(id(parent))
                stack.append((parent, iter(parent.parents)))
                break
        else:  # all parents stand in the order
            order.append(node)
            stack.pop()
    return order


class _Listed:
    """A node as it stands in a pickle: its parents stand before it in the list, so that none is entered from here."""

    def __init__(self, value: Value):
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        value = self.value
        parents = tuple(map(_listed, value.parents))
        return _restored, (value.data, parents, value.local_grads, value.op, value.label, value.grad)


# pickle and deepcopy know by identity what they have written, so a Value is listed as one object as long as they work
_in_work: WeakValueDictionary[int, _Listed] = WeakValueDictionary()


def _listed(value: Value) -> _Listed:
    return _in_work.setdefault(id(value), _Listed(value))


def _restored(
    data: float, parents: tuple[Value, ...], local_grads: tuple[float, ...], op: str, label: str, grad: float
) -> Value:
    value = Value(data, parents, local_grads, op, label)
    value.grad = grad
    return value


def _last(nodes: Sequence[Value]) -> Value:
    return nodes[-1]


def _real(number: Any) -> float:
    if type(number) is float:
        return number
    if isinstance(number, Real) or getattr(number, "shape", None) == ():  # a 0-dimensional tensor or array
        return float(number)
    raise TypeError(f"a Value holds one real number, not {number!r} ({type(number).__name__})")


def _value(number: Value | Number) -> Value:
    return number if isinstance(number, Value) else Value(number)


def _sigmoid(x: float) -> tuple[float, float]:
    """1 / (1 + e**-x) and its slope."""
    t = math.exp(-abs(x))  # at most 1, whatever the sign: exp(-x) would overflow at x = -710
    return (1.0 if x >= 0.0 else t) / (1.0 + t), t / (1.0 + t) ** 2


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _power(a: float, n: float) -> float:
    if a < 0.0 and not n.is_integer():
        raise ValueError(f"{a:g} ** {n:g} is not a real number; a negative base takes whole exponents only")
    if a == 0.0 and n < 0.0:
        raise ZeroDivisionError(f"0 ** {n:g} divides by zero; keep the base away from 0")
    try:
        return a**n
    except OverflowError:
        return -math.inf if a < 0.0 and n % 2 == 1 else math.inf


def _power_slope(a: float, n: float) -> float:
    """d a**n / d a = n a**(n-1); infinite at a = 0 for n between 0 and 1, and 0 for n = 0 whatever a is."""
    if n == 0.0:
        return 0.0
    return math.inf if a == 0.0 and n < 1.0 else n * _power(a, n - 1.0)


def _power_log_slope(a: float, n: float) -> float:
    """d a**n / d n = a**n ln a, which tends to 0 as a does."""
    if a < 0.0:
        raise ValueError(f"{a:g} ** n has no real slope with respect to n; use a positive base")
    return _power(a, n) * math.log(a) if a else 0.0


def dot(weights: Sequence[Value], inputs: Sequence[Value | Number], bias: Value | Number) -> Value:
    """`w1 x1 + ... + wn xn + b` as one node instead of 2n; inputs that are plain numbers get no gradient.

    One node saves most of a network's time: a neuron of n inputs would otherwise make 2n Values, and visit them in
    `backward`. For the same reason the numbers are taken out with `map`, which loops in C.
    """
    if len(weights) != len(inputs):
        raise ValueError(f"{len(weights)} weights do not fit {len(inputs)} inputs; give one for each")
    bias = _value(bias)
    w = tuple(map(_data, weights))
    if Value in set(map(type, inputs)):
        nodes = tuple(map(_value, inputs))
        x = tuple(map(_data, nodes))
        return Value(sum(map(mul, w, x), bias.data), (*weights, *nodes, bias), (*x, *w, 1.0), "dot")
    x = tuple(map(_real, inputs))
    return Value(sum(map(mul, w, x), bias.data), (*weights, bias), (*x, 1.0), "dot")


def _check_activation(activation: str) -> None:
    if activation not in ("", "relu", "tanh", "sigmoid"):
        raise ValueError(f"unknown activation {activation!r}; use 'relu', 'tanh', 'sigmoid' or ''")


class Neuron:
    """`activation(w . x + b)`: weights uniform with variance 2/n (He et al. 2015), bias 0.

    `activation` names a method of `Value` ("relu", "tanh", "sigmoid") or is "" for none.
    """

    def __init__(self, n_inputs: int, activation: str = "relu", rng: Rng = None):
        if n_inputs < 1:
            raise ValueError(f"a neuron needs at least one input, got n_inputs={n_inputs}")
        _check_activation(activation)
        limit = math.sqrt(6.0 / n_inputs)  # uniform over -limit..limit: variance limit**2 / 3
        uniform = (rng or random).uniform
        self.weights = tuple(Value(uniform(-limit, limit), label=f"w{i}") for i in range(1, n_inputs + 1))
        self.bias = Value(0.0, label="b")
        self.activation = activation

    def __call__(self, inputs: Sequence[Value | Number]) -> Value:
        if len(inputs) != len(self.weights):
            raise ValueError(f"this neuron takes {len(self.weights)} inputs, got {len(inputs)}")
        total = dot(self.weights, inputs, self.bias)
        return getattr(total, self.activation)() if self.activation else total

    def parameters(self) -> list[Value]:
        return [*self.weights, self.bias]


class Layer:
    """`n_outputs` neurons that read the same inputs."""

    def __init__(self, n_inputs: int, n_outputs: int, activation: str = "relu", rng: Rng = None):
        if n_outputs < 1:
            raise ValueError(f"a layer needs at least one neuron, got n_outputs={n_outputs}")
        self.neurons = [Neuron(n_inputs, activation, rng) for _ in range(n_outputs)]

    def __call__(self, inputs: Sequence[Value | Number]) -> list[Value]:
        return [neuron(inputs) for neuron in self.neurons]

    def parameters(self) -> list[Value]:
        return [p for neuron in self.neurons for p in neuron.parameters()]


class MLP:
    """Layers of the given `sizes`, with an activation after each but the last: `MLP(2, [16, 16, 1])`.

    Called with `n_inputs` numbers or Values it returns one Value, or a list if the last layer has several.
    """

    def __init__(self, n_inputs: int, sizes: Sequence[int], activation: str = "relu", rng: Rng = None):
        _check_activation(activation)
        if not isinstance(sizes, Sequence):
            raise TypeError(
                f"an MLP takes the sizes of its layers as a list, such as [16, 16, 1], not {sizes!r}"
            )
        if not sizes:
            raise ValueError("an MLP needs at least one layer: give its sizes, such as [16, 16, 1]")
        widths = [n_inputs, *sizes]
        self.layers = [
            Layer(n_in, n_out, activation if i < len(sizes) else "", rng)
            for i, (n_in, n_out) in enumerate(zip(widths, sizes, strict=False), start=1)
        ]

    def __call__(self, inputs: Sequence[Value | Number]) -> Value | list[Value]:
        if isinstance(inputs, Real | Value):
            raise TypeError(f"an MLP reads a list of numbers; for one write [{inputs!r}]")
        outputs = self.layers[0](inputs)
        for layer in self.layers[1:]:
            outputs = layer(outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for p in layer.parameters()]

    def zero_grad(self) -> None:
        zero_grad(self.parameters())


def zero_grad(values: Iterable[Value]) -> None:
    """Set the gradient of each value to zero, as before every new `backward()`."""
    for value in values:
        value.grad = 0.0


def gradient_check(f: Callable[..., Value], *inputs: Number, h: float = 1e-4) -> float:
    """The largest difference between `backward` and central differences of `f(*inputs)`; infinite if one is NaN.

    `f` takes as many Values as there are inputs and returns one. An input x is nudged to both sides by h max(1, |x|),
    where `f` must be defined. Differences are relative to max(1, |gradient|); with h = 1e-4, below 1e-7 is good.
    """
    if not inputs:
        raise ValueError("gradient_check needs at least one input at which to take the slope")
    if not h > 0:
        raise ValueError(f"h, by how much an input is nudged, is above 0, got {h}")
    leaves = [Value(x) for x in inputs]
    result = f(*leaves)
    if not hasattr(result, "backward"):
        raise TypeError(f"gradient_check needs a function that returns one Value, got {result!r}")
    result.backward()
    worst = 0.0
    for i, leaf in enumerate(leaves):
        step = h * max(1.0, abs(leaf.data))
        slope = (_shifted(f, inputs, i, step) - _shifted(f, inputs, i, -step)) / (2 * step)
        error = abs(slope - leaf.grad) / max(1.0, abs(leaf.grad))
        worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


def _shifted(f: Callable[..., Value], inputs: Sequence[Number], i: int, shift: float) -> float:
    """`f(*inputs)` with `shift` added to input i."""
    values = [Value(x) for x in inputs]
    values[i] = Value(inputs[i] + shift)
    return f(*values).data


def graph_as_text(root: Value) -> str:
    """The graph below `root`, one node a line, parents before children, with data, grad and origin."""
    order = topological_order(root)
    names = _distinct_names(order)
    width = max(len(name) for name in names.values())
    lines = []
    for v in order:
        origin = f"  = {_formula(v.op, [names[id(p)] for p in v.parents])}" if v.parents else ""
        lines.append(f"{names[id(v)]:<{width}}  data {v.data:9.4f}  grad {v.grad:9.4f}{origin}")
    return "\n".join(lines)


def _distinct_names(nodes: Sequence[Value]) -> dict[int, str]:
    """A name for each node, by its id: its label, or, where several share one, the label with its place appended."""
    labels = [node.label for node in nodes]
    names = {}
    for i, node in enumerate(nodes):
        is_unique = node.label and labels.count(node.label) == 1
        names[id(node)] = node.label if is_unique else f"{node.label or 'v'}{i}"
    return names


def _formula(op: str, names: list[str]) -> str:
    if op in ("+", "-", "*", "/", "**"):
        return f"{names[0]} {op} {names[1]}"
    return names[0] + op if op.startswith("**") else f"{op}({', '.join(names)})"
