"""Answers to the exercises of lecture 7: the usual wrong ones, and others that are right."""

_TOP_P = (
    "def top_p(probabilities, p):\n    ordered, order = probabilities.sort(descending=True, stable=True)\n"
    "    kept = torch.where({keep}, ordered, 0.0)\n"
    "    return torch.zeros_like(probabilities).scatter(0, order, kept{scale})"
)
_GROUPED = (
    "def grouped_step(q, k, v, keys, values):\n"
    "    keys, values = torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)\n"
    "    times = q.shape[1] // k.shape[1]\n    K, V = keys.{repeat}, values.{repeat}\n"
    "    weights = torch.softmax(q @ K.mT / math.sqrt({size}), dim=-1)\n    return weights @ V, {caches}"
)
_INTERLEAVE = "repeat_interleave(times, dim=1)"
_BEST = (
    "def best_from(some_batches):\n"
    "    config = gpt.GPTConfig.modern(66, 32, n_layer=2, n_head=4, n_embd={width})\n"
    "    model = gpt.GPT(config, torch.Generator().manual_seed(0))\n"
    "    fit(model, some_batches, {steps}, 0.003, progress=False)\n    return model"
)

WRONG = {
    "# Exercise 1": [
        "def window_mask(T, width):\n    return torch.ones(T, T, dtype=torch.bool).tril()",  # no window
        "def window_mask(T, width):\n    ones = torch.ones(T, T, dtype=torch.bool)\n"
        "    return ones.tril() & ones.triu(-width)",  # one position too many
        "def window_mask(T, width):\n    ones = torch.ones(T, T, dtype=torch.bool)\n"
        "    return ones.triu() & ones.tril(width - 1)",  # the future
        "def window_mask(T, width):\n    ones = torch.ones(T, T, dtype=torch.bool)\n"
        "    return ~(ones.tril() & ones.triu(1 - width))",  # what is forbidden
        "def window_mask(T, width):\n    ones = torch.ones(T, T)\n"
        "    return ones.tril() * ones.triu(1 - width)",  # numbers, not truth values
    ],
    "# Exercise 2": [
        "weights_by_hand = [0.1, 0.9]\noutput_by_hand = [0.8, 3.6]",  # not divided
        "weights_by_hand = [0.5, 0.5]\noutput_by_hand = [4.0, 2.0]",  # averaged
        "weights_by_hand = [0.75, 0.25]\noutput_by_hand = [6.0, 1.0]",  # the other way round
        "weights_by_hand = [0.0, 1.0]\noutput_by_hand = [0.0, 4.0]",  # the largest alone
        "weights_by_hand = [0.25, 0.75]\noutput_by_hand = [8.0, 4.0]",  # values added, not weighed
    ],
    "# Exercise 3": [
        _TOP_P.format(keep="ordered.cumsum(0) < p", scale=" / kept.sum()"),  # without the one that reaches p
        _TOP_P.format(keep="ordered.cumsum(0) <= p", scale=" / kept.sum()"),
        _TOP_P.format(keep="ordered.cumsum(0) - ordered <= p", scale=" / kept.sum()"),  # one more than needed
        _TOP_P.format(keep="ordered.cumsum(0) - ordered < p", scale=""),  # not divided by the rest's sum
        "def top_p(probabilities, p):\n    ordered, _ = probabilities.sort(descending=True)\n"
        "    kept = torch.where(ordered.cumsum(0) - ordered < p, ordered, 0.0)\n"
        "    return kept / kept.sum()",  # not put back in place
        "def top_p(probabilities, p):\n    kept = torch.where(probabilities >= p, probabilities, 0.0)\n"
        "    return kept / kept.sum()",  # a threshold for each
    ],
    "# Exercise 4": [
        _GROUPED.format(repeat="repeat(1, times, 1, 1)", size="q.shape[-1]", caches="keys, values"),
        _GROUPED.format(repeat=_INTERLEAVE, size="q.shape[-1]", caches="K, V"),  # the copies are stored
        _GROUPED.format(repeat=_INTERLEAVE, size="q.shape[1] * q.shape[-1]", caches="keys, values"),
        "def grouped_step(q, k, v, keys, values):\n"  # the new position does not see itself
        "    times = q.shape[1] // k.shape[1]\n"
        "    K, V = keys.repeat_interleave(times, 1), values.repeat_interleave(times, 1)\n"
        "    weights = torch.softmax(q @ K.mT / math.sqrt(q.shape[-1]), dim=-1)\n"
        "    return weights @ V, torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)",
        "def grouped_step(q, k, v, keys, values):\n"  # the newest in front
        "    keys, values = torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)\n"
        "    out = F.scaled_dot_product_attention(q, keys, values, enable_gqa=True)\n"
        "    return out, keys, values",
    ],
    "# Exercise 5": [
        'leaks = {"A": True, "B": True, "C": True, "D": True, "E": True, "F": True}',
        'leaks = {"A": False, "B": True, "C": False, "D": True, "E": True, "F": True}',  # what 7.3 showed, undone
        'leaks = {"A": True, "B": True, "C": False, "D": True, "E": False, "F": True}',
        'leaks = {"A": False, "B": True, "C": False, "D": False, "E": False, "F": True}',
        'leaks = {"A": False, "B": True, "C": False, "D": True, "E": False, "F": False}',
    ],
    "# Exercise 6": [
        _BEST.format(width=64, steps=60),  # one pass, AdamW
        _BEST.format(width=128, steps=20),  # too large
        "def best_from(some_batches):\n    return gpt.GPT(gpt.GPTConfig(66, 32, 2, 4, 64))",  # untrained
        "def best_from(some_batches):\n"  # looks ahead
        "    torch.manual_seed(0)\n"
        "    model = OurGPT(66, 32, 1, 4, 64, causal=False)\n"
        "    fit(model, some_batches * 2, 120, 0.003, progress=False)\n    return model",
    ],
}

RIGHT = {
    "# Exercise 1": [
        """def window_mask(T, width):
    ones = torch.ones(T, T, dtype=torch.bool)
    return ones.tril() & ones.triu(1 - width)
""",
        """def window_mask(T, width):
    import numpy

    return torch.from_numpy(numpy.tri(T, dtype=bool) & ~numpy.tri(T, k=-width, dtype=bool))
""",
    ],
    "# Exercise 2": [
        """weights_by_hand = torch.tensor([0.25, 0.75])
output_by_hand = (2, 3)
""",
    ],
    "# Exercise 3": [
        """def top_p(probabilities, p):
    kept, total = [0.0] * len(probabilities), 0.0
    for i in sorted(range(len(probabilities)), key=lambda i: probabilities[i].item(), reverse=True):
        if total >= p:
            break
        kept[i] = probabilities[i].item()
        total += kept[i]
    return torch.tensor(kept, dtype=torch.float64) / sum(kept)
""",
    ],
    "# Exercise 4": [
        """def grouped_step(q, k, v, keys, values):
    keys, values = torch.cat((keys, k), 2), torch.cat((values, v), 2)
    B, H, _, d = q.shape
    grouped = q.view(B, k.shape[1], H // k.shape[1], d)
    weights = torch.softmax(grouped @ keys.transpose(2, 3) * d**-0.5, dim=-1)
    return (weights @ values).view(B, H, 1, d), keys, values
""",
    ],
}
