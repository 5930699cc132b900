"""Answers to the exercises of lecture 1: the usual wrong ones, and others that are right."""

from .edits import changed

BACKWARD = """def my_backward(root):
    nodes = history(root)
    for node in nodes:
        if node.parents:
            node.grad = 0.0
    root.grad = 1.0
    n = 0
    for node in reversed(nodes):
        for parent, slope in zip(node.parents, node.local_grads):
            parent.grad += slope * node.grad
            n += 1
    return n
"""
STEP = """def training_step(model, points, targets, lr):
    loss = Value(0.0)
    for point, target in zip(points, targets):
        loss = loss + (model(point) - target) ** 2
    for p in model.parameters():
        p.grad = 0.0
    loss.backward()
    for p in model.parameters():
        p.data -= lr * p.grad
    return loss.data
"""


WRONG = {
    "# Exercise 1": [
        "dL_da, dL_db = 2.0, 5.0",  # the other factor
        "dL_da, dL_db = -1.0, 3.0",  # one path only
        "dL_da, dL_db = -1.0, 2.0",
        "dL_da, dL_db = -1.0, -1.0",  # 3b² taken with the sign of b
    ],
    "# Exercise 2": [
        "def leaky_relu(x, alpha=0.1):\n    return x.relu()",
        "def leaky_relu(x, alpha=0.1):\n    return x if x.data > 0 else alpha * x",  # no new Value
        "def leaky_relu(x, alpha=0.1):\n    slope = 1.0 if x.data >= 0 else alpha\n"
        "    return Value(slope * x.data, (x,), (slope,))",  # the slope at 0
        "def leaky_relu(x, alpha=0.1):\n    return Value(max(x.data, alpha * x.data))",  # no parents
        "def leaky_relu(x, alpha=0.1):\n    return Value(max(x.data, alpha * x.data), (x,), (1.0,))",
        "def leaky_relu(x, alpha=0.1):\n    return max(x.data, alpha * x.data)",  # not a Value
    ],
    "# Exercise 3": [
        changed(BACKWARD, "reversed(nodes)", "nodes"),
        changed(BACKWARD, "parent.grad +=", "parent.grad ="),
        changed(BACKWARD, "        if node.parents:\n            node.grad = 0.0", "        node.grad = 0.0"),
        changed(
            BACKWARD, "    for node in nodes:\n        if node.parents:\n            node.grad = 0.0\n", ""
        ),
        changed(BACKWARD, "    root.grad = 1.0\n", ""),
        changed(BACKWARD, "slope * node.grad", "slope * root.grad"),
        changed(BACKWARD, "    return n\n", ""),
    ],
    "# Exercise 4": [
        changed(STEP, "    for p in model.parameters():\n        p.grad = 0.0\n", ""),
        changed(STEP, "-= lr", "+= lr"),
        changed(STEP, "p.data -= lr * p.grad", "p = p - lr * p.grad"),  # new Values
        changed(STEP, "        p.grad = 0.0\n    loss.backward()\n", "        p.grad = 0.0\n"),
        changed(STEP, "    return loss.data", "    return loss.data / len(points)"),
        changed(STEP, "    return loss.data\n", ""),
        changed(STEP, "return loss.data", "return loss"),  # a Value
    ],
    "# Exercise 5": [
        "def cross_entropy(scores, k):\n    e = [s.exp() for s in scores]\n    return -(e[k] / sum(e)).log()",
        "def cross_entropy(scores, k):\n    return sum(s.exp() for s in scores).log() - scores[k]",
        "def cross_entropy(scores, k):\n    top = max(s.data for s in scores)\n"
        "    e = [(s - top).exp() for s in scores]\n    return -(e[k] / sum(e)).log()",  # log of 0
        "def cross_entropy(scores, k):\n    top = max(s.data for s in scores)\n"
        "    return sum((s - top).exp() for s in scores).log() - scores[k]",  # the shift forgotten once
    ],
    "# Exercise 6": [
        "def momentum_step(parameters, velocities, lr, mu):\n"
        "    for p in parameters:\n        p.data -= lr * p.grad\n    return velocities",
        "def momentum_step(parameters, velocities, lr, mu):\n"
        "    velocities = [mu * v + lr * p.grad for p, v in zip(parameters, velocities)]\n"
        "    for p, v in zip(parameters, velocities):\n        p.data -= lr * v\n    return velocities",
        "def momentum_step(parameters, velocities, lr, mu):\n"
        "    velocities = [mu * v + (1 - mu) * p.grad for p, v in zip(parameters, velocities)]\n"
        "    for p, v in zip(parameters, velocities):\n        p.data -= lr * v\n    return velocities",
        "def momentum_step(parameters, velocities, lr, mu):\n"  # new Values: the model would not learn
        "    velocities = [mu * v + p.grad for p, v in zip(parameters, velocities)]\n"
        "    parameters[:] = [p - lr * v for p, v in zip(parameters, velocities)]\n    return velocities",
        "def momentum_step(parameters, velocities, lr, mu):\n"
        "    new = [mu * v + p.grad for p, v in zip(parameters, velocities)]\n"
        "    for p, v in zip(parameters, new):\n        p.data += lr * v\n    return new",
        "def momentum_step(parameters, velocities, lr, mu):\n"  # in place, and nothing is returned
        "    for i, p in enumerate(parameters):\n        velocities[i] = mu * velocities[i] + p.grad\n"
        "        p.data -= lr * velocities[i]",
    ],
    "# Exercise 7": [
        'wrong_operations = {"difference", "tanh"}',  # what is seen at b = 1
        'wrong_operations = {"difference", "tanh", "quotient", "square"}',
        'wrong_operations = "difference"',
        'wrong_operations = {"difference", "tangent", "quotient"}',
    ],
    "# Exercise 8": [
        # the product of slopes, and tanh without the inner slope
        "class Dual:\n    def __init__(self, data, slope=0.0):\n        self.data, self.slope = data, slope\n"
        "    def __add__(self, o):\n        return Dual(self.data + o.data, self.slope + o.slope)\n"
        "    def __mul__(self, o):\n        return Dual(self.data * o.data, self.slope * o.slope)\n"
        "    def tanh(self):\n        t = math.tanh(self.data)\n        return Dual(t, (1 - t * t) * self.slope)"
        "\n\n\npasses_forward_mode, passes_backward_mode = 1000, 1",
        "class Dual:\n    def __init__(self, data, slope=0.0):\n        self.data, self.slope = data, slope\n"
        "    def __add__(self, o):\n        return Dual(self.data + o.data, self.slope + o.slope)\n"
        "    def __mul__(self, o):\n"
        "        return Dual(self.data * o.data, self.slope * o.data + self.data * o.slope)\n"
        "    def tanh(self):\n        t = math.tanh(self.data)\n        return Dual(t, 1 - t * t)"
        "\n\n\npasses_forward_mode, passes_backward_mode = 1, 1000",
    ],
}

RIGHT = {
    "# Exercise 2": [
        """def leaky_relu(x, alpha=0.1):
    out = Value(x.data if x.data > 0 else alpha * x.data, (x,), (1 if x.data > 0 else alpha,))
    return out
""",
    ],
    "# Exercise 3": [
        """def my_backward(root):
    nodes = sorted(history(root), key=lambda node: -node.number)
    walked = 0
    for node in nodes[1:]:
        node.grad = node.grad if not node.parents else 0
    root.grad = 1
    for node in nodes:
        for i in range(len(node.parents)):
            node.parents[i].grad = node.parents[i].grad + node.grad * node.local_grads[i]
        walked += len(node.parents)
    return walked
""",
    ],
    "# Exercise 4": [
        """def training_step(model, points, targets, lr):
    loss = sum((model(points[i]) - targets[i]) ** 2 for i in range(len(points)))
    parameters = model.parameters()
    for p in parameters:
        p.grad = 0
    loss.backward()
    for p in parameters:
        p.data = p.data - p.grad * lr
    return loss.data
""",
    ],
    "# Exercise 5": [
        """def cross_entropy(scores, k):
    top = max(s.data for s in scores)
    total = Value(0.0)
    for s in scores:
        total = total + (s - top).exp()
    return total.log() + top - scores[k]
""",
    ],
    "# Exercise 6": [
        """def momentum_step(parameters, velocities, lr, mu):
    for i, p in enumerate(parameters):
        velocities[i] = mu * velocities[i] + p.grad
        p.data = p.data - lr * velocities[i]
    return velocities
""",
        """def momentum_step(parameters, velocities, lr, mu):
    new = tuple(mu * v + p.grad for p, v in zip(parameters, velocities))
    for p, v in zip(parameters, new):
        p.data -= lr * v
    return new
""",
    ],
    "# Exercise 7": ['wrong_operations = ["tanh", "difference", "quotient"]'],
}
