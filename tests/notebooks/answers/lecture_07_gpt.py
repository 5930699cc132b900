"""Answers to the exercises of lecture 7: the usual wrong ones, and others that are right."""

from .edits import changed

HEAD = """def my_head(x, W_Q, W_K, W_V):
    q, k, v = x @ W_Q, x @ W_K, x @ W_V
    scores = q @ k.T / q.shape[1] ** 0.5
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    weights = torch.softmax(scores.masked_fill(future, -torch.inf), dim=1)
    return weights @ v, weights
"""
STEP = """def one_step(x_new, W_Q, W_K, W_V, keys, values):
    keys = torch.cat([keys, x_new @ W_K])
    values = torch.cat([values, x_new @ W_V])
    weights = torch.softmax(x_new @ W_Q @ keys.T / keys.shape[1] ** 0.5, dim=1)
    return weights @ values, keys, values
"""
COUNT = """def count_gpt(vocab_size, n_layer, n_head, n_embd):
    C, inner = n_embd, 32 * math.ceil(8 * n_embd / 3 / 32)
    block = 4 * C**2 + 3 * C * inner + 2 * C + 2 * (C // n_head)
    return vocab_size * C + n_layer * block + C
"""
GROUPED = """def grouped_attention(q, k, v):
    B, H, T, d = q.shape
    G = k.shape[1]
    grouped = q.view(B, G, H // G, T, d)
    out, _ = attend(grouped, k[:, :, None], v[:, :, None])
    return out.reshape(B, H, T, d)
"""
TINY = "torch.manual_seed(0)\ncontender = GPT(66, 32, n_layer=2, n_head=4, n_embd=64)\n"

WRONG = {
    "# Exercise 1": [
        # not divided by the root
        "weights_by_hand = [0.1, 0.9]\noutput_by_hand = [0.8, 3.6]",
        # the positions exchanged
        "weights_by_hand = [0.75, 0.25]\noutput_by_hand = [6.0, 1.0]",
    ],
    "# Exercise 2": [
        changed(HEAD, " / q.shape[1] ** 0.5", ""),
        changed(HEAD, " / q.shape[1] ** 0.5", " / x.shape[1] ** 0.5"),
        changed(HEAD, "dim=1", "dim=0"),
        changed(HEAD, ".triu(1)", ".triu(0)"),
        changed(HEAD, ".masked_fill(future, -torch.inf)", ""),
        changed(HEAD, "scores.masked_fill(future, -torch.inf)", "scores.masked_fill(future, 0.0)"),
        changed(HEAD, "weights @ v, weights", "weights @ v"),
    ],
    "# Exercise 3": [
        "def window_mask(T, width):\n    return torch.ones(T, T, dtype=torch.bool).tril()",
        "def window_mask(T, width):\n    t, s = torch.arange(T)[:, None], torch.arange(T)\n"
        "    return (s <= t) & (s >= t - width)",
        "def window_mask(T, width):\n    s, t = torch.arange(T)[:, None], torch.arange(T)\n"
        "    return (s <= t) & (s > t - width)",
        "def window_mask(T, width):\n    t, s = torch.arange(T)[:, None], torch.arange(T)\n"
        "    return (s < t) & (s > t - width)",
        # the mask of `attend`: True where it may not look
        "def window_mask(T, width):\n    t, s = torch.arange(T)[:, None], torch.arange(T)\n"
        "    return (s > t) | (s <= t - width)",
    ],
    "# Exercise 4": [
        changed(STEP, "torch.cat([keys, x_new @ W_K])", "torch.cat([x_new @ W_K, keys])"),
        # the new position does not see itself
        "def one_step(x_new, W_Q, W_K, W_V, keys, values):\n"
        "    weights = torch.softmax(x_new @ W_Q @ keys.T / keys.shape[1] ** 0.5, dim=1)\n"
        "    return weights @ values, torch.cat([keys, x_new @ W_K]), torch.cat([values, x_new @ W_V])",
        changed(STEP, " / keys.shape[1] ** 0.5", ""),
        changed(STEP, "return weights @ values, keys, values", "return weights @ values"),
    ],
    "# Exercise 5": [
        changed(COUNT, "+ n_layer * block + C", "+ n_layer * block"),
        changed(COUNT, "vocab_size * C", "2 * vocab_size * C"),
        changed(COUNT, " + 2 * (C // n_head)", ""),
        changed(COUNT, "2 * (C // n_head)", "2 * C"),
        changed(COUNT, "3 * C * inner", "2 * C * inner"),
    ],
    "# Exercise 6": [
        # heads dealt like cards instead of in groups
        "def grouped_attention(q, k, v):\n    n = q.shape[1] // k.shape[1]\n"
        "    return attend(q, k.repeat(1, n, 1, 1), v.repeat(1, n, 1, 1))[0]",
        "def grouped_attention(q, k, v):\n    return attend(q, k, v)[0]",
        # not causal
        "def grouped_attention(q, k, v):\n    n = q.shape[1] // k.shape[1]\n"
        "    k, v = k.repeat_interleave(n, dim=1), v.repeat_interleave(n, dim=1)\n"
        "    return F.scaled_dot_product_attention(q, k, v)",
    ],
    "# Exercise 7": [
        "diagnosis = dict.fromkeys('ABCD', 'no mask')",
        "diagnosis = dict(zip(kinds, reversed(kinds.values())))",
    ],
    "# Exercise 8": [
        TINY,  # not trained
        TINY.replace("n_embd=64", "n_embd=96")
        + "losses = fit(contender, text_batches(train_ids, 32, 4), 2, lr=0.01)",
    ],
}

RIGHT = {
    "# Exercise 1": ["weights_by_hand = torch.tensor([1 / 4, 3 / 4])\noutput_by_hand = (2, 3)"],
    "# Exercise 2": [
        "def my_head(x, W_Q, W_K, W_V):\n    rows, mixtures = [], []\n    T, d = len(x), W_Q.shape[1]\n"
        "    for t in range(T):\n"
        "        scores = torch.stack([(x[t] @ W_Q) @ (x[s] @ W_K) / d**0.5 for s in range(t + 1)])\n"
        "        p = torch.softmax(scores, dim=0)\n"
        "        rows.append(F.pad(p, (0, T - 1 - t)))\n"
        "        mixtures.append(sum(p[s] * (x[s] @ W_V) for s in range(t + 1)))\n"
        "    return torch.stack(mixtures), torch.stack(rows)",
    ],
    "# Exercise 3": [
        "def window_mask(T, width):\n    ones = torch.ones(T, T, dtype=torch.bool)\n"
        "    return ones.tril() & ones.triu(1 - width)",
    ],
    "# Exercise 4": [
        "def one_step(x_new, W_Q, W_K, W_V, keys, values):\n"
        "    K, V = torch.vstack([keys, x_new @ W_K]), torch.vstack([values, x_new @ W_V])\n"
        "    return attend(x_new @ W_Q, K, V)[0], K, V",
    ],
    "# Exercise 5": [
        "def count_gpt(vocab_size, n_layer, n_head, n_embd):\n"
        "    return sum(p.numel() for p in GPT(vocab_size, 4, n_layer, n_head, n_embd).parameters())",
    ],
    "# Exercise 6": [
        "def grouped_attention(q, k, v):\n    n = q.shape[1] // k.shape[1]\n"
        "    return attend(q, k.repeat_interleave(n, dim=1), v.repeat_interleave(n, dim=1))[0]",
    ],
}
