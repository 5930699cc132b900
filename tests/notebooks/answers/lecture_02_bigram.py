"""Answers to the exercises of lecture 2: the usual wrong ones, and others that are right."""

from .edits import changed

COUNTS = """def my_counts(words):
    N = [[0] * 27 for _ in range(27)]
    for word in words:
        ids = to_ids(word)
        for i, j in zip(ids[:-1], ids[1:]):
            N[i][j] += 1
    return N
"""
PROBABILITIES = """def my_probabilities(N, alpha):
    return [[(n + alpha) / (sum(row) + alpha * len(row)) for n in row] for row in N]
"""
STEP = """def descent_step(W, x, y, lr):
    N = torch.bincount(27 * x + y, minlength=27 * 27).view(27, 27)
    S = N.sum(dim=1, keepdim=True)
    P = torch.softmax(W, dim=1)
    loss = -P[x, y].log().mean()
    gradient = (S * P - N) / len(x)
    return W - lr * gradient, loss.item()
"""


WRONG = {
    "# Exercise 1": [
        "def bits(nats):\n    return nats * math.log(2)\n\n\ndef perplexity(nats):\n    return math.exp(nats)",
        "def bits(nats):\n    return math.log2(nats) if nats else 0.0\n\n\n"
        "def perplexity(nats):\n    return math.exp(nats)",
        "def bits(nats):\n    return nats / math.log(2)\n\n\ndef perplexity(nats):\n    return 2**nats",
    ],
    "# Exercise 2": [
        # 27 times the same row
        changed(COUNTS, "[[0] * 27 for _ in range(27)]", "[[0] * 27] * 27") + PROBABILITIES,
        changed(COUNTS, "N[i][j]", "N[j][i]") + PROBABILITIES,
        changed(COUNTS, "N[i][j] += 1", "N[i][j] = 1") + PROBABILITIES,
        changed(COUNTS, "to_ids(word)", "to_ids(word)[1:]") + PROBABILITIES,  # without the start
        COUNTS + changed(PROBABILITIES, "sum(row) + alpha * len(row)", "sum(row) + alpha"),
        COUNTS + changed(PROBABILITIES, "sum(row) + alpha * len(row)", "sum(row)"),
        COUNTS + changed(PROBABILITIES, "sum(row)", "sum(map(sum, N))"),
    ],
    "# Exercise 3": [
        changed(STEP, "W - lr", "W + lr"),
        changed(STEP, ", keepdim=True", ""),
        changed(STEP, "S * P - N", "P - N"),
        changed(STEP, " / len(x)\n", "\n"),
        changed(STEP, "dim=1)\n    loss", "dim=0)\n    loss"),
        changed(STEP, "27 * x + y", "27 * y + x"),
        changed(STEP, ".log().mean()", ".mean().log()"),
    ],
    "# Exercise 4": [
        # all three letters once around
        "sums = {name: (table.sum(dim=1) - 1).abs().max().item() for name, table in tables.items()}\n"
        "rows_do_not_sum_to_one = min(sums, key=sums.get)\n"
        "infinite_dev_loss = rows_and_columns_swapped = max(sums, key=sums.get)",
    ],
    "# Exercise 5": [
        "too_large = 50\nlargest_good = 50",  # it does not fly apart
        "too_large = 500\nlargest_good = 20",
        "too_large = -5\nlargest_good = 200",
        "too_large = 500\nlargest_good = 500",
    ],
    "# Exercise 6": [
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
    "# Exercise 7": [
        "def discounted(counts, lower, D):\n    S = sum(counts)\n"
        "    return [(n - D) / S + D * p for n, p in zip(counts, lower)]",
        "def discounted(counts, lower, D):\n    S = sum(counts)\n"
        "    return [max(n - D, 0) / S + D * len(counts) / S * p for n, p in zip(counts, lower)]",
        "def discounted(counts, lower, D):\n    S = sum(counts)\n"
        "    return [max(n - D, 0) / S + p for n, p in zip(counts, lower)]",
        "def discounted(counts, lower, D):\n    S = sum(counts)\n"
        "    return [D * n / S + (1 - D) * p for n, p in zip(counts, lower)]",
    ],
    "# Exercise 8": [
        "beats = best.prob",  # as good, not better
        "beats = MixedNGram(dev, 6).prob",  # has seen dev
        "def beats(text, symbol):\n    return 1 / 27",
        "def beats(text, symbol):\n    return 2 * best.prob(text, symbol)",  # no distribution
        "def beats(text, symbol):\n    return 0.0",
    ],
}

RIGHT = {
    "# Exercise 6": [
        """def index_at(probabilities, u):
    from itertools import accumulate

    sums = enumerate(accumulate(probabilities))
    return next((i for i, total in sums if u < total), max(i for i, p in enumerate(probabilities) if p > 0))
""",
    ],
    "# Exercise 2": [
        """def my_counts(words):
    pairs = Counter(pair for word in words for pair in zip("." + word, word + "."))
    return [[pairs[a, b] for b in symbols] for a in symbols]


def my_probabilities(N, alpha):
    table = torch.tensor(N, dtype=torch.float64) + alpha
    return table / table.sum(dim=1, keepdim=True)
""",
    ],
    "# Exercise 3": [
        """def descent_step(W, x, y, lr):
    W = W.clone()
    log_P = torch.log_softmax(W, dim=1)
    said = torch.zeros_like(W).index_add_(0, x, log_P[x].exp())
    happened = torch.zeros_like(W).index_put_((x, y), torch.ones(len(x), dtype=W.dtype), accumulate=True)
    W -= lr * (said - happened) / len(x)
    return W, float(-log_P[x, y].mean())
""",
    ],
    "# Exercise 7": [
        """def discounted(counts, lower, D):
    import numpy

    counts, lower = numpy.array(counts), numpy.array(lower)
    return numpy.maximum(counts - D, 0) / counts.sum() + D * numpy.count_nonzero(counts) / counts.sum() * lower
""",
    ],
}
