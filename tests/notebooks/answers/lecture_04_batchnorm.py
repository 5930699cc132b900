"""Answers to the exercises of lecture 4: the usual wrong ones, and others that are right."""

from .edits import changed

STEP = """def batch_norm_step(z, gamma, beta, running_mean, running_var, eps, momentum):
    n = len(z)
    mean = z.mean(dim=0)
    variance = ((z - mean) ** 2).mean(dim=0)
    out = gamma * (z - mean) / torch.sqrt(variance + eps) + beta
    new_mean = (1 - momentum) * running_mean + momentum * mean
    new_var = (1 - momentum) * running_var + momentum * variance * n / (n - 1)
    return out, new_mean, new_var
"""
SATURATION = """def saturation(model, x):
    shares, hooks = [], []

    def look(layer, inputs, out):
        shares.append((out.abs() > 0.97).double().mean().item())

    for layer in model.modules():
        if isinstance(layer, nn.Tanh):
            hooks.append(layer.register_forward_hook(look))
    model(x)
    for hook in hooks:
        hook.remove()
    return shares
"""
GROUPS = """def group_norm(x, n_groups, gamma, beta, eps=1e-5):
    groups = x.view(len(x), n_groups, -1)
    mean = groups.mean(dim=-1, keepdim=True)
    variance = ((groups - mean) ** 2).mean(dim=-1, keepdim=True)
    return gamma * ((groups - mean) / torch.sqrt(variance + eps)).view(x.shape) + beta
"""
FOLDED = """def folded_after(gamma, beta, running_mean, running_var, eps, weight, bias):
    scale = gamma / torch.sqrt(running_var + eps)
    shift = beta - running_mean * scale
    return weight * scale, bias + weight @ shift
"""
DEEP = """def deep_and_bare():
    model = build(8, 100, hidden=2**0.5, head=0.1, bend=nn.ReLU)
    fit(model, train_x, train_y, 800, lr=0.004)
    return model
"""

WRONG = {
    "# Exercise 1": [
        "def first_loss(vocab_size, s):\n    return math.log(vocab_size) + s**2",
        "def first_loss(vocab_size, s):\n    return math.log(vocab_size) + s / 2",
        "def first_loss(vocab_size, s):\n    return math.log(27) + s**2 / 2",
        "def first_loss(vocab_size, s):\n    return math.log2(vocab_size) + s**2 / 2",
    ],
    "# Exercise 2": [
        changed(STEP, " * n / (n - 1)", ""),
        changed(STEP, "** 2).mean(dim=0)", "** 2).sum(dim=0) / (n - 1)"),
        changed(STEP, "z.mean(dim=0)", "z.mean(dim=1, keepdim=True)"),
        changed(STEP, "z.mean(dim=0)", "z.mean()"),
        changed(STEP, "(1 - momentum) * running_mean + momentum * mean", "momentum * running_mean + mean"),
        changed(STEP, "torch.sqrt(variance + eps)", "(torch.sqrt(variance) + eps)"),
        changed(STEP, "torch.sqrt(variance + eps)", "torch.sqrt(variance)"),
        changed(STEP, " + beta", ""),
        changed(STEP, "return out, new_mean, new_var", "return out"),
        # right numbers, but the arguments are changed
        changed(
            STEP, "(1 - momentum) * running_mean + momentum * mean", "running_mean.lerp_(mean, momentum)"
        ),
    ],
    "# Exercise 3": [
        changed(SATURATION, "out.abs()", "out"),
        changed(SATURATION, "out.abs()", "inputs[0].abs()"),
        changed(SATURATION, "        hook.remove()", "        pass"),
        changed(SATURATION, "model.modules()", "model.children()"),
        changed(SATURATION, "if isinstance(layer, nn.Tanh):", "if True:"),
        changed(SATURATION, "return shares", "return shares[::-1]"),
        # by the order of the parts, not of the calls
        "def saturation(model, x):\n    shares = []\n    for layer in model.modules():\n"
        "        if not list(layer.children()):\n            x = layer(x)\n"
        "            if isinstance(layer, nn.Tanh):\n"
        "                shares.append((x.abs() > 0.97).double().mean().item())\n    return shares",
    ],
    "# Exercise 4": [
        "def leaky_gain(a):\n    return math.sqrt(2)",
        "def leaky_gain(a):\n    return math.sqrt(2 / (1 + a))",
        "def leaky_gain(a):\n    return 2 / (1 + a**2)",
        "def leaky_gain(a):\n    return math.sqrt((1 + a**2) / 2)",  # upside down
    ],
    "# Exercise 5": [
        changed(GROUPS, "n_groups, -1)", "1, -1)"),
        changed(GROUPS, "n_groups, -1)", "-1, n_groups)"),
        changed(GROUPS, "** 2).mean(", "** 2).sum("),
        changed(GROUPS, "torch.sqrt(variance + eps)", "torch.sqrt(variance)"),
        changed(GROUPS, "variance + eps)", "variance + eps).detach()"),
        changed(GROUPS, "(groups - mean) / ", "groups / "),
    ],
    "# Exercise 6": [
        changed(FOLDED, "bias + weight @ shift", "bias"),
        changed(FOLDED, "bias + weight @ shift", "bias + (weight * scale) @ shift"),
        changed(FOLDED, "beta - running_mean", "beta + running_mean"),
        changed(FOLDED, "torch.sqrt(running_var + eps)", "(running_var + eps)"),
        changed(FOLDED, "weight * scale,", "weight.T * scale,"),
    ],
    "# Exercise 7": [
        'diagnosis = dict.fromkeys("ABCDEF", "stuck units")',
        'diagnosis = dict.fromkeys("ABCDEF", "stuk units")',
        'diagnosis = {"A": "weights too large"}',
    ],
    "# Exercise 8": [
        "def deep_and_bare():\n    return best",  # shallow, and it reads other windows
        "def deep_and_bare():\n    return build(8, 100, hidden=2**0.5, head=0.1, bend=nn.ReLU)",  # not trained
        changed(DEEP, "bend=nn.ReLU", "bend=nn.ReLU, norm=BatchNorm"),
        changed(DEEP, "build(8, ", "build(2, "),
        changed(DEEP, "hidden=2**0.5", "hidden=0.58"),  # torch's default size
        changed(DEEP, "fit(model, train_x, train_y, 800, lr=0.004)", "train_sgd(model, 800, 0.1)"),
    ],
}

RIGHT = {
    "# Exercise 1": [
        "def first_loss(vocab_size, s):\n    return -math.log(1 / vocab_size) + 0.5 * s * s",
    ],
    "# Exercise 2": [
        """def batch_norm_step(z, gamma, beta, running_mean, running_var, eps, momentum):
    mean, biased, unbiased = z.mean(0), z.var(0, correction=0), z.var(0)
    out = (z - mean) * (biased + eps) ** -0.5 * gamma + beta
    return [out, torch.lerp(running_mean, mean, momentum), torch.lerp(running_var, unbiased, momentum)]
""",
    ],
    "# Exercise 3": [
        """def saturation(model, x):
    seen = {}
    hooks = [
        layer.register_forward_hook(lambda layer, _, out: seen.update({layer: out}))
        for layer in model.modules()
        if type(layer) is nn.Tanh
    ]
    try:
        with torch.no_grad():
            model(x)
    finally:
        [hook.remove() for hook in hooks]
    return [float(((h < -0.97) | (h > 0.97)).sum() / h.numel()) for h in seen.values()]
""",
    ],
    "# Exercise 4": [
        'def leaky_gain(a):\n    return nn.init.calculate_gain("leaky_relu", a)',
    ],
    "# Exercise 5": [
        """def group_norm(x, n_groups, gamma, beta, eps=1e-5):
    parts = []
    for part in x.chunk(n_groups, dim=1):
        part = part - part.mean(dim=1, keepdim=True)
        parts.append(part * ((part**2).mean(dim=1, keepdim=True) + eps).rsqrt())
    return torch.cat(parts, dim=1) * gamma + beta
""",
    ],
    "# Exercise 6": [
        """def folded_after(gamma, beta, running_mean, running_var, eps, weight, bias):
    scale = gamma * (running_var + eps) ** -0.5
    new_bias = bias.clone()
    for i in range(len(scale)):
        new_bias += weight[:, i] * (beta[i] - running_mean[i] * scale[i])
    return weight @ torch.diag(scale), new_bias
""",
    ],
}
