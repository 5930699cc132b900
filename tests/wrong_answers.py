"""The usual wrong answers to the exercises, each of which its check must refuse: {notebook: {title: [source]}}."""

WRONG = {
    "01_micrograd": {
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
    },
    "02_bigram": {
        "# Exercise 1": [
            "def bits(nats):\n    return nats * math.log(2)\n\n\ndef perplexity(nats):\n    return math.exp(nats)",
            "def bits(nats):\n    return math.log2(nats) if nats else 0.0\n\n\n"
            "def perplexity(nats):\n    return math.exp(nats)",
            "def bits(nats):\n    return nats / math.log(2)\n\n\ndef perplexity(nats):\n    return 2**nats",
        ],
        "# Exercise 2": [
            "def probabilities_from(counts, alpha):\n    counts = counts + alpha\n    return counts / counts.sum(1)",
            "def probabilities_from(counts, alpha):\n    return (counts + alpha) / (counts + alpha).sum()",
            "def probabilities_from(counts, alpha):\n"
            "    return (counts + alpha) / (counts + alpha).sum(1, keepdim=True)",  # 0 / 0
            "def probabilities_from(counts, alpha):\n"
            "    return (counts + alpha) / counts.sum(1, keepdim=True).clamp(min=1)",
        ],
        "# Exercise 3": [
            "def index_at(probabilities, u):\n    total = 0.0\n    for i, p in enumerate(probabilities):\n"
            "        total += p\n        if u <= total:\n            return i",  # the wrong side is open
            "def index_at(probabilities, u):\n    total = 0.0\n    for i, p in enumerate(probabilities):\n"
            "        total += p\n        if u < total:\n            return i\n    return len(probabilities)",
            "def index_at(probabilities, u):\n    total = 0.0\n    for i, p in enumerate(probabilities):\n"
            "        total += p\n        if u < total:\n            return i",  # no way out
            "def index_at(probabilities, u):\n    total = 0.0\n    for i, p in enumerate(probabilities):\n"
            "        total += p\n        if u < total:\n            return i\n    return i",  # the last may have none
            "def index_at(probabilities, u):\n    return max(range(len(probabilities)), key=probabilities.__getitem__)",
        ],
        "# Exercise 4": [
            "def gradient(W, N, penalty):\n"
            "    return (torch.softmax(W, 1) * N.sum(1, keepdim=True) - N) / N.sum() + 2 * penalty * W",
            "def gradient(W, N, penalty):\n    return (torch.softmax(W, 1) - N / N.sum(1, keepdim=True)) / len(W)",
            "def gradient(W, N, penalty):\n"
            "    return (N - torch.softmax(W, 1) * N.sum(1, keepdim=True)) / N.sum() + 2 * penalty * W / W.numel()",
        ],
        "# Exercise 5": [
            "def discounted(counts, lower, D):\n    return (counts - D) / counts.sum() + D * lower",
            "def discounted(counts, lower, D):\n"
            "    return (counts - D).clamp(min=0) / counts.sum() + D * len(counts) / counts.sum() * lower",
            "def discounted(counts, lower, D):\n    return (counts - D).clamp(min=0) / counts.sum() + lower",
            "def discounted(counts, lower, D):\n    return D * counts / counts.sum() + (1 - D) * lower",
        ],
        "# Exercise 6": [
            "beats = ngram.KneserNey(6, 27, 0.9).fit(wide_x, wide_y)",  # as good, not better
            "beats = ngram.KneserNey(6, 27, 0.9).fit(wide_dev_x, wide_dev_y)",  # has seen dev
            "def beats(windows):\n    return torch.zeros(len(windows), 27)",
            "def beats(windows):\n    return windows.zero_()",  # spoils what it is given
            "def beats(windows):\n    members = [ngram.KneserNey(k, 27, 0.9).fit(wide_x, wide_y) for k in (5, 6, 7)]\n"
            "    return sum(m(windows) for m in members)",  # a sum of logits is not a distribution
        ],
    },
}
