"""Answers to the exercises of lecture 6: the usual wrong ones, and others that are right."""

from .edits import changed

CONV = """def my_conv(x, weight, bias, dilation):
    K = len(weight)
    out = bias
    for k in range(K):
        back = dilation * (K - 1 - k)
        earlier = F.pad(x, (0, 0, back, 0))[:, : x.shape[1]]
        out = out + earlier @ weight[k]
    return out
"""
GATED = """def my_gated_layer(x, conv, to_skip, to_residual):
    value, gate = conv(x).chunk(2, dim=2)
    z = torch.tanh(value) * torch.sigmoid(gate)
    return x + to_residual(z), to_skip(z)
"""
MENDED = """def mended(x, weight):
    B, T, C = x.shape
    h = F.conv1d(F.pad(x.transpose(1, 2), (2, 0)), weight).transpose(1, 2)
    so_far = x.cumsum(dim=1) / torch.arange(1, T + 1).view(1, T, 1)
    return h - so_far
"""
CONTINUED = """def continued(model, beginning):
    ids = [0, *[id_of[letter] for letter in beginning]]
    while len(ids) < 21:
        with torch.no_grad():
            i = model(torch.tensor([ids]))[0, -1].argmax().item()
        if i == 0:
            break
        ids.append(i)
    return "".join(symbols[i] for i in ids[1:])
"""
NO_RESIDUAL = """class NoResidual(WaveNet):
    def forward(self, ids):
        x, ages, total = self.embedding(ids), ages_of(ids), 0.0
        for layer in self.layers:
            value, gate = layer.conv(x, None, ages).chunk(2, dim=2)
            z = layer.dropout(torch.tanh(value) * torch.sigmoid(gate))
            total = total + layer.skip(z)
            if layer.residual is not None:
                x = layer.residual(z)
        h = torch.relu(total / math.sqrt(len(self.layers)))
        return self.head(torch.relu(self.mix(h)))
"""


WRONG = {
    "# Exercise 1": [
        "def reach(kernel_size, dilations):\n    return kernel_size * sum(dilations)",
        "def reach(kernel_size, dilations):\n    return (kernel_size - 1) * sum(dilations)",  # without itself
        "def reach(kernel_size, dilations):\n    return kernel_size ** len(dilations)",
        "def reach(kernel_size, dilations):\n    return 1 + (kernel_size - 1) * max(dilations)",
    ],
    "# Exercise 2": [
        changed(CONV, "(K - 1 - k)", "k"),  # the kernel reversed
        changed(CONV, "out = bias\n", "out = torch.zeros(weight.shape[2])\n"),  # no bias
        changed(CONV, "(0, 0, back, 0))[:, : x.shape[1]]", "(0, 0, 0, back))[:, back:]"),  # the future
        changed(CONV, "dilation * (K - 1 - k)", "K - 1 - k"),
        changed(
            CONV, "(0, 0, back, 0))[:, : x.shape[1]]", "(back, 0))[:, :, : x.shape[2]]"
        ),  # wrong dimension
    ],
    "# Exercise 3": [
        changed(GATED, "value, gate =", "gate, value ="),
        changed(GATED, "x + to_residual(z)", "to_residual(z)"),
        changed(GATED, "to_skip(z)", "to_skip(x)"),
        changed(GATED, "x + to_residual(z), to_skip(z)", "to_skip(z), x + to_residual(z)"),
        changed(GATED, "torch.tanh(value) *", "value *"),
        changed(GATED, "dim=2", "dim=1"),
    ],
    "# Exercise 4": [
        changed(MENDED, "(2, 0)", "(1, 1)"),
        changed(
            MENDED,
            "so_far = x.cumsum(dim=1) / torch.arange(1, T + 1).view(1, T, 1)",
            "so_far = x.cumsum(dim=1) / T",
        ),
        changed(
            MENDED,
            "so_far = x.cumsum(dim=1) / torch.arange(1, T + 1).view(1, T, 1)",
            "so_far = x.mean(dim=1, keepdim=True)",
        ),
        changed(MENDED, "h - so_far", "h"),
        changed(MENDED, "(2, 0)", "(0, 2)"),
    ],
    "# Exercise 5": [
        changed(CONTINUED, "ids = [0, *[id_of[letter] for letter in beginning]]", "ids = [0]"),
        changed(
            CONTINUED,
            "[0, *[id_of[letter] for letter in beginning]]",
            "[0] + [id_of[c] for c in beginning] + [0]",
        ),
        changed(CONTINUED, "[0, -1]", "[0, 0]"),
        changed(
            CONTINUED,
            "        if i == 0:\n            break\n        ids.append(i)",
            "        ids.append(i)\n        if i == 0:\n            break",
        ),
        changed(CONTINUED, "ids[1:])", "ids)"),
    ],
    "# Exercise 6": [
        changed(NO_RESIDUAL, "x = layer.residual(z)", "x = x + layer.residual(z)"),
        changed(NO_RESIDUAL, "x = layer.residual(z)", "x = z"),
        changed(NO_RESIDUAL, " / math.sqrt(len(self.layers))", ""),
        changed(NO_RESIDUAL, "layer.conv(x, None, ages)", "layer.conv(x)"),
    ],
    "# Exercise 7": [
        'diagnosis = dict.fromkeys("ABCD", "healthy")',
        "diagnosis = dict(zip(kinds, reversed(kinds.values())))",
    ],
    "# Exercise 8": [
        "small_but_good = wavenet",  # too large
        "small_but_good = WaveNet(27, 20, (1, 2, 4, 8))",  # not trained
        "small_but_good = WaveNet(27, 20, (1, 2, 4, 8))\n"
        "fit(small_but_good, name_batches(dev), 1500, lr=0.01)",  # has seen dev
        "small_but_good = TwoConvs((1, 1), 24)\nfit(small_but_good, name_batches(train), 200, lr=0.01)",  # looks ahead
    ],
}

RIGHT = {
    "# Exercise 1": [
        "def reach(kernel_size, dilations):\n    seen = {0}\n    for d in dilations:\n"
        "        seen = {s + d * k for s in seen for k in range(kernel_size)}\n    return max(seen) + 1",
    ],
    "# Exercise 2": [
        """def my_conv(x, weight, bias, dilation):
    B, T, n_in = x.shape
    K, _, n_out = weight.shape
    out = torch.zeros(B, T, n_out) + bias
    for t in range(T):
        for k in range(K):
            s = t - dilation * (K - 1 - k)
            if s >= 0:
                out[:, t] += x[:, s] @ weight[k]
    return out
""",
    ],
    "# Exercise 3": [
        """def my_gated_layer(x, conv, to_skip, to_residual):
    C = x.shape[-1]
    both = conv(x)
    z = both[..., :C].tanh() / (1 + (-both[..., C:]).exp())
    return to_residual(z) + x, to_skip(z)
""",
    ],
    "# Exercise 4": [
        """def mended(x, weight):
    T = x.shape[1]
    out = torch.zeros_like(x)
    for t in range(T):
        for k in range(3):
            if t - 2 + k >= 0:
                out[:, t] += x[:, t - 2 + k] @ weight[:, :, k].T
        out[:, t] -= x[:, : t + 1].mean(dim=1)
    return out
""",
    ],
    "# Exercise 5": [
        """def continued(model, beginning):
    queues, name = empty_queues(model, 1), beginning
    with torch.no_grad():
        for i in [0, *[id_of[letter] for letter in beginning]]:
            logits = model(torch.tensor([[i]]), queues)[0, 0]
        while len(name) < 20 and logits.argmax() != 0:
            i = logits.argmax().item()
            name += symbols[i]
            logits = model(torch.tensor([[i]]), queues)[0, 0]
    return name
""",
    ],
    "# Exercise 6": [
        """class NoResidual(WaveNet):
    def forward(self, ids):
        x, ages, skips = self.embedding(ids), ages_of(ids), []
        for layer in self.layers:
            new, skip = layer(x, ages=ages)
            x = new - x
            skips.append(skip)
        h = torch.stack(skips).sum(dim=0) / len(skips) ** 0.5
        return self.head(self.mix(h.relu()).relu())
""",
    ],
}
