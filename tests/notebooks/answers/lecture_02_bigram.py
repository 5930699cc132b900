"""Answers to the exercises of lecture 2: the usual wrong ones, and others that are right."""

WRONG = {
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
}

RIGHT = {
    "# Exercise 2": [
        """def probabilities_from(counts, alpha):
    rows = []
    for row in counts.tolist():
        total = sum(row) + alpha * len(row)
        rows.append([(n + alpha) / total if total else 1 / len(row) for n in row])
    return rows
""",
        """def probabilities_from(counts, alpha):
    import numpy

    table = counts.numpy().astype(float) + alpha
    table[table.sum(axis=1) == 0] = 1
    return table / table.sum(axis=1, keepdims=True)
""",
    ],
    "# Exercise 3": [
        """def index_at(probabilities, u):
    from itertools import accumulate

    sums = enumerate(accumulate(probabilities))
    return next((i for i, total in sums if u < total), max(i for i, p in enumerate(probabilities) if p > 0))
""",
    ],
    "# Exercise 5": [
        """def discounted(counts, lower, D):
    n = counts.sum().item()
    out = torch.zeros(len(counts))
    freed = 0.0
    for i in range(len(counts)):
        taken = min(counts[i].item(), D)
        freed += taken
        out[i] = (counts[i] - taken) / n
    return out + freed / n * lower
""",
        """def discounted(counts, lower, D):
    import numpy

    counts, lower = counts.numpy(), lower.numpy()
    return numpy.maximum(counts - D, 0) / counts.sum() + D * numpy.count_nonzero(counts) / counts.sum() * lower
""",
    ],
}
