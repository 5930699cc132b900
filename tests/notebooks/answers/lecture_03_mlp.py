"""Answers to the exercises of lecture 3: the usual wrong ones, and others that are right."""

WRONG = {
    "# Exercise 1": [
        "def count_parameters(vocab_size, block_size, n_embd, n_hidden):\n"
        "    return vocab_size * n_embd * block_size + block_size * n_embd * n_hidden + n_hidden"
        " + n_hidden * vocab_size + vocab_size",  # a table for each position
        "def count_parameters(vocab_size, block_size, n_embd, n_hidden):\n"
        "    return vocab_size * n_embd + block_size * n_embd * n_hidden + n_hidden * vocab_size",  # no biases
        "def count_parameters(vocab_size, block_size, n_embd, n_hidden):\n"
        "    return vocab_size * n_embd + n_embd * n_hidden + n_hidden + n_hidden * vocab_size + vocab_size",
    ],
    "# Exercise 2": [
        "def log_probability(model, tokenizer, name, block_size):\n"
        "    x, y = context_windows([name], tokenizer, block_size)\n"
        "    return -evaluation.nll(model, x, y)",  # the mean
        "def log_probability(model, tokenizer, name, block_size):\n"
        "    x, y = context_windows([name], tokenizer, block_size)\n"
        "    return -evaluation.token_nll(model, x, y)[:-1].sum().item()",  # without the end
        "def log_probability(model, tokenizer, name, block_size):\n"
        "    x, y = context_windows([name], tokenizer, block_size)\n"
        "    return evaluation.token_nll(model, x, y).sum().item()",  # the sign
    ],
    "# Exercise 3": [
        "def smallest_loss(windows, targets):\n    return 0.0",
        "def smallest_loss(windows, targets):\n    n = len(targets)\n"
        "    return sum(math.log(n / targets.count(t)) for t in targets) / n",  # no context
        "def smallest_loss(windows, targets):\n    groups = {}\n"
        "    for w, t in zip(windows, targets):\n        groups.setdefault(tuple(w), []).append(t)\n"
        "    each = [sum(math.log(len(g) / g.count(t)) for t in g) / len(g) for g in groups.values()]\n"
        "    return sum(each) / len(each)",  # a mean over contexts
        "def smallest_loss(windows, targets):\n    groups = {}\n"
        "    for w, t in zip(windows, targets):\n        groups.setdefault(tuple(sorted(w)), []).append(t)\n"
        "    total = sum(math.log(len(g) / g.count(t)) for g in groups.values() for t in g)\n"
        "    return total / len(targets)",  # the order of the window lost
    ],
    "# Exercise 4": [
        "def rmsprop_step(p, v, g, rate, beta):\n    new = beta * v + (1 - beta) * g**2\n"
        "    return p - rate * g / (v.sqrt() + 1e-8), new",  # the old v
        "def rmsprop_step(p, v, g, rate, beta):\n    v = beta * v + (1 - beta) * g**2\n"
        "    return p - rate * g / (v + 1e-8), v",  # no root
        "def rmsprop_step(p, v, g, rate, beta):\n    v = beta * v + g**2\n"
        "    return p - rate * g / (v.sqrt() + 1e-8), v",
        "def rmsprop_step(p, v, g, rate, beta):\n    v = beta * v + (1 - beta) * g**2\n"
        "    return p + rate * g / (v.sqrt() + 1e-8), v",
    ],
    "# Exercise 5": [
        "def accumulated_gradient(model, batches):\n    total = [torch.zeros_like(p) for p in model.parameters()]\n"
        "    for x, y in batches:\n        loss = F.cross_entropy(model(x), y) / len(batches)\n"
        "        for t, g in zip(total, torch.autograd.grad(loss, model.parameters())):\n            t += g\n"
        "    return total",  # a mean of means
        "def accumulated_gradient(model, batches):\n    total = [torch.zeros_like(p) for p in model.parameters()]\n"
        "    for x, y in batches:\n        loss = F.cross_entropy(model(x), y)\n"
        "        for t, g in zip(total, torch.autograd.grad(loss, model.parameters())):\n            t += g\n"
        "    return total",  # a sum
        "def accumulated_gradient(model, batches):\n"
        "    x, y = (torch.cat(part) for part in zip(*batches))\n"
        "    return torch.autograd.grad(F.cross_entropy(model(x), y), model.parameters())",  # all at once
    ],
    "# Exercise 6": [
        "small_but_good = best",  # too large
        "small_but_good = mlp.MLP(27, 8, n_embd=5, n_hidden=170, generator=torch.Generator().manual_seed(0))",
        "small_but_good = mlp.MLP(27, 8, n_embd=5, n_hidden=170, generator=torch.Generator().manual_seed(0))\n"
        "fit(small_but_good, minibatches(*long_dev, 512), 1000, lr=0.02)",  # has seen dev
    ],
}

RIGHT = {
    "# Exercise 1": [
        """def count_parameters(vocab_size, block_size, n_embd, n_hidden):
    return sum(p.numel() for p in mlp.MLP(vocab_size, block_size, n_embd, n_hidden).parameters())
""",
    ],
    "# Exercise 3": [
        """def smallest_loss(windows, targets):
    from collections import Counter

    pairs = Counter((tuple(w), t) for w, t in zip(windows, targets))
    contexts = Counter(tuple(w) for w in windows)
    return -sum(n * math.log(n / contexts[w]) for (w, t), n in pairs.items()) / len(targets)
""",
    ],
    "# Exercise 5": [
        """def accumulated_gradient(model, batches):
    n = sum(len(y) for x, y in batches)
    parts = []
    for x, y in batches:
        loss = F.cross_entropy(model(x), y, reduction="sum") / n
        parts.append(torch.autograd.grad(loss, list(model.parameters())))
    return tuple(sum(gradients) for gradients in zip(*parts))
""",
    ],
}
