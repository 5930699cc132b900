"""Answers to the exercises of lecture 1: the usual wrong ones, and others that are right."""

WRONG = {
    "# Exercise 1": [
        "dL_da, dL_db = 2.0, 5.0",  # the other factor
        "dL_da, dL_db = -1.0, 3.0",  # one path only
        "dL_da, dL_db = -1.0, 2.0",
        "dL_da, dL_db = -1.0, -1.0",  # 3b² taken with the sign of b
    ],
    "# Exercise 2": [
        "def leaky_relu(x, alpha=0.1):\n    return x.relu()",
        "def leaky_relu(x, alpha=0.1):\n    slope = 1.0 if x.data >= 0 else alpha\n"
        "    return V(slope * x.data, (x,), (slope,))",  # the slope at 0
        "def leaky_relu(x, alpha=0.1):\n    return V(max(x.data, alpha * x.data))",  # no parents
        "def leaky_relu(x, alpha=0.1):\n    return V(max(x.data, alpha * x.data), (x,), (1.0,))",
        "def leaky_relu(x, alpha=0.1):\n    return max(x.data, alpha * x.data)",  # not a Value
    ],
    "# Exercise 3": [
        "def maximum(a, b):\n    return a if a.data >= b.data else b",  # all of a tie to one
        "def maximum(a, b):\n    return V(max(a.data, b.data), (a, b), (0.5, 0.5))",
        "def maximum(a, b):\n    g = float(a.data >= b.data)\n"
        "    return V(max(a.data, b.data), (a, b), (g, float(b.data >= a.data)))",  # a tie counts twice
    ],
    "# Exercise 4": [
        "def cross_entropy(scores, k):\n    e = [s.exp() for s in scores]\n    return -(e[k] / sum(e)).log()",
        "def cross_entropy(scores, k):\n    return sum(s.exp() for s in scores).log() - scores[k]",
        "def cross_entropy(scores, k):\n    top = max(s.data for s in scores)\n"
        "    e = [(s - top).exp() for s in scores]\n    return -(e[k] / sum(e)).log()",  # log of 0
        "def cross_entropy(scores, k):\n    top = max(s.data for s in scores)\n"
        "    return sum((s - top).exp() for s in scores).log() - scores[k]",  # the shift forgotten once
    ],
    "# Exercise 5": [
        "def momentum_step(parameters, velocities, rate, mu):\n"
        "    for p in parameters:\n        p.data -= rate * p.grad\n    return velocities",
        "def momentum_step(parameters, velocities, rate, mu):\n"
        "    velocities = [mu * v + rate * p.grad for p, v in zip(parameters, velocities)]\n"
        "    for p, v in zip(parameters, velocities):\n        p.data -= rate * v\n    return velocities",
        "def momentum_step(parameters, velocities, rate, mu):\n"
        "    velocities = [mu * v + (1 - mu) * p.grad for p, v in zip(parameters, velocities)]\n"
        "    for p, v in zip(parameters, velocities):\n        p.data -= rate * v\n    return velocities",
        "def momentum_step(parameters, velocities, rate, mu):\n"  # new Values: the model would not learn
        "    velocities = [mu * v + p.grad for p, v in zip(parameters, velocities)]\n"
        "    parameters[:] = [p - rate * v for p, v in zip(parameters, velocities)]\n    return velocities",
        "def momentum_step(parameters, velocities, rate, mu):\n"
        "    new = [mu * v + p.grad for p, v in zip(parameters, velocities)]\n"
        "    for p, v in zip(parameters, new):\n        p.data += rate * v\n    return new",
    ],
    "# Exercise 6": [
        # the product of slopes, and tanh without the inner slope
        "class Dual:\n    def __init__(self, data, slope=0.0):\n        self.data, self.slope = data, slope\n"
        "    def __add__(self, o):\n        return Dual(self.data + o.data, self.slope + o.slope)\n"
        "    def __mul__(self, o):\n        return Dual(self.data * o.data, self.slope * o.slope)\n"
        "    def tanh(self):\n        t = math.tanh(self.data)\n        return Dual(t, (1 - t * t) * self.slope)",
        "class Dual:\n    def __init__(self, data, slope=0.0):\n        self.data, self.slope = data, slope\n"
        "    def __add__(self, o):\n        return Dual(self.data + o.data, self.slope + o.slope)\n"
        "    def __mul__(self, o):\n"
        "        return Dual(self.data * o.data, self.slope * o.data + self.data * o.slope)\n"
        "    def tanh(self):\n        t = math.tanh(self.data)\n        return Dual(t, 1 - t * t)",
    ],
}

RIGHT = {
    "# Exercise 2": [
        """def leaky_relu(x, alpha=0.1):
    out = V(x.data if x.data > 0 else alpha * x.data, (x,), (1 if x.data > 0 else alpha,))
    return out
""",
    ],
    "# Exercise 4": [
        """def cross_entropy(scores, k):
    top = max(s.data for s in scores)
    total = V(0.0)
    for s in scores:
        total = total + (s - top).exp()
    return total.log() + top - scores[k]
""",
    ],
    "# Exercise 5": [
        """def momentum_step(parameters, velocities, rate, mu):
    for i, p in enumerate(parameters):
        velocities[i] = mu * velocities[i] + p.grad
        p.data = p.data - rate * velocities[i]
    return velocities
""",
        """def momentum_step(parameters, velocities, rate, mu):
    new = tuple(mu * v + p.grad for p, v in zip(parameters, velocities))
    for p, v in zip(parameters, new):
        p.data -= rate * v
    return new
""",
    ],
}
