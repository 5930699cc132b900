"""Answers to the exercises of lecture 3: the usual wrong ones, and others that are right."""

from .edits import changed

FORWARD = """def my_forward(parameters, x):
    C, W1, b1, W2, b2 = parameters
    e = C[x].view(len(x), -1)
    h = torch.relu(e @ W1 + b1)
    return h @ W2 + b2
"""
BACKWARD = """def second_layer_backward(h, W2, b2, y):
    N = len(y)
    d_logits = torch.softmax(h @ W2 + b2, dim=1)
    d_logits[torch.arange(N), y] -= 1
    d_logits = d_logits / N
    return h.T @ d_logits, d_logits.sum(dim=0), d_logits @ W2.T
"""
PROBABILITY = """def log_probability(model, name):
    x, y = windows_of([name], model.block_size)
    with torch.no_grad():
        log_p = torch.log_softmax(model(x), dim=1)
    return log_p[torch.arange(len(y)), y].sum().item()
"""
ACCUMULATED = """def accumulated_gradient(model, batches):
    n = sum(len(y) for x, y in batches)
    total = [torch.zeros_like(p) for p in model.parameters()]
    for x, y in batches:
        loss = F.cross_entropy(model(x), y) * len(y) / n
        gradients = torch.autograd.grad(loss, model.parameters())
        for summed, g in zip(total, gradients):
            summed += g
    return total
"""


WRONG = {
    "# Exercise 1": [
        "def count_parameters(V, T, C, H):\n    return V * C + T * C * H + H * V",  # no biases
        "def count_parameters(V, T, C, H):\n    return T * V * C + T * C * H + H + H * V + V",  # a table each
        "def count_parameters(V, T, C, H):\n    return V * C + C * H + H + H * V + V",  # one letter
    ],
    "# Exercise 2": [
        changed(FORWARD, "torch.relu(e @ W1 + b1)", "e @ W1 + b1"),
        changed(FORWARD, " + b1", ""),
        changed(FORWARD, "h @ W2 + b2", "torch.softmax(h @ W2 + b2, dim=1)"),
        changed(FORWARD, "C[x].view(len(x), -1)", "C[x].transpose(1, 2).reshape(len(x), -1)"),
        changed(FORWARD, "h @ W2 + b2", "torch.relu(h @ W2 + b2)"),
    ],
    "# Exercise 3": [
        changed(BACKWARD, "d_logits / N", "d_logits"),
        changed(BACKWARD, " -= 1", " -= 0"),
        changed(BACKWARD, "d_logits.sum(dim=0)", "d_logits.mean(dim=0)"),
        changed(BACKWARD, "dim=1)\n    d_logits[", "dim=0)\n    d_logits["),
        changed(BACKWARD, "d_logits @ W2.T", "d_logits.sum(dim=0) @ W2.T"),
        changed(BACKWARD, "[torch.arange(N), y]", "[:, y]"),
    ],
    "# Exercise 4": [
        changed(PROBABILITY, ".sum()", ".mean()"),
        changed(
            PROBABILITY, "log_p[torch.arange(len(y)), y]", "log_p[torch.arange(len(y)), y][:-1]"
        ),  # no end
        changed(PROBABILITY, "log_p[torch.arange(len(y)), y].sum()", "-log_p[torch.arange(len(y)), y].sum()"),
        changed(PROBABILITY, "torch.log_softmax", "torch.softmax"),
    ],
    "# Exercise 5": [
        "def rmsprop_step(p, v, g, lr, beta):\n    return p - lr * g / (v.sqrt() + 1e-8), beta * v + (1 - beta) * g**2",
        "def rmsprop_step(p, v, g, lr, beta):\n    v = beta * v + (1 - beta) * g**2\n"
        "    return p - lr * g / (v + 1e-8).sqrt(), v",
        "def rmsprop_step(p, v, g, lr, beta):\n    v = beta * v + (1 - beta) * g**2\n"
        "    return p - lr * g / (v + 1e-8), v",
        "def rmsprop_step(p, v, g, lr, beta):\n    v.copy_(beta * v + (1 - beta) * g**2)\n"
        "    return p - lr * g / (v.sqrt() + 1e-8), v",  # in place
    ],
    "# Exercise 6": [
        changed(ACCUMULATED, " * len(y) / n", " / len(batches)"),
        changed(ACCUMULATED, " * len(y) / n", ""),
        changed(ACCUMULATED, "summed += g", "summed.copy_(g)"),
        "def accumulated_gradient(model, batches):\n    x = torch.cat([x for x, y in batches])\n"
        "    y = torch.cat([y for x, y in batches])\n"
        "    return torch.autograd.grad(F.cross_entropy(model(x), y), model.parameters())",  # all at once
        "def accumulated_gradient(model, batches):\n    n = sum(len(y) for x, y in batches)\n"
        "    for x, y in batches:\n        (F.cross_entropy(model(x), y) * len(y) / n).backward()\n"
        "    return [p.grad for p in model.parameters()]",  # not cleared: wrong the second time
    ],
    "# Exercise 7": [
        'diagnosis = dict.fromkeys("ABCD", "rate too large")',
        "diagnosis = dict(zip(kinds, reversed(kinds.values())))",
    ],
    "# Exercise 8": [
        "small_but_good = three[0]",  # it reads three letters
        "small_but_good = best",  # too large
        "small_but_good = MLP(8, 5, 170, torch.Generator().manual_seed(0))",  # not trained
        "small_but_good = MLP(8, 5, 170, torch.Generator().manual_seed(0))\n"
        "fit(small_but_good, *long_dev, 1500, lr=0.02)",  # has seen dev
    ],
}

RIGHT = {
    "# Exercise 1": ["def count_parameters(V, T, C, H):\n    return C * V + (T * C + 1) * H + (H + 1) * V"],
    "# Exercise 2": [
        """def my_forward(parameters, x):
    table, first, bias, second, last = parameters
    e = torch.cat([table[x[:, t]] for t in range(x.shape[1])], dim=1)
    return torch.einsum("nh,hv->nv", (e @ first + bias).clamp(min=0), second) + last
""",
    ],
    "# Exercise 3": [
        """def second_layer_backward(h, W2, b2, y):
    d_W2, d_b2, d_h = torch.zeros_like(W2), torch.zeros_like(b2), torch.zeros_like(h)
    for i in range(len(y)):
        d = torch.softmax(h[i] @ W2 + b2, dim=0)
        d[y[i]] -= 1
        d = d / len(y)
        d_W2 += h[i][:, None] * d
        d_b2 += d
        d_h[i] = W2 @ d
    return d_W2, d_b2, d_h
""",
    ],
    "# Exercise 4": [
        """def log_probability(model, name):
    context, total = [0] * model.block_size, 0.0
    for i in [*(id_of[letter] for letter in name), 0]:
        p = torch.softmax(model(torch.tensor([context]))[0].double(), dim=0)
        total += math.log(p[i].item())
        context = context[1:] + [i]
    return total
""",
    ],
    "# Exercise 6": [
        """def accumulated_gradient(model, batches):
    for p in model.parameters():
        p.grad = None
    n = sum(len(y) for x, y in batches)
    for x, y in batches:
        (F.cross_entropy(model(x), y, reduction="sum") / n).backward()
    return [p.grad for p in model.parameters()]
""",
    ],
}
