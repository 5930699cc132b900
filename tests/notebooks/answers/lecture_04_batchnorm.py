"""Answers to the exercises of lecture 4: the usual wrong ones, and others that are right."""

WRONG = {
    "# Exercise 1": [
        "def leaky_gain(a):\n    return math.sqrt(2)",
        "def leaky_gain(a):\n    return math.sqrt(2 / (1 + a))",
        "def leaky_gain(a):\n    return 2 / (1 + a**2)",
        "def leaky_gain(a):\n    return math.sqrt((1 + a**2) / 2)",  # upside down
    ],
    "# Exercise 2": [
        "def my_rms_norm(x, gain, eps=1e-5):\n    return gain * x / (x.norm(dim=-1, keepdim=True) + eps)",
        "def my_rms_norm(x, gain, eps=1e-5):\n    return gain * x / (x.square().mean(-1, keepdim=True) + eps)",
        "def my_rms_norm(x, gain, eps=1e-5):\n    return gain * (x - x.mean(-1, keepdim=True)) /"
        " torch.sqrt(x.var(-1, correction=0, keepdim=True) + eps)",  # LayerNorm
        "def my_rms_norm(x, gain, eps=1e-5):\n"
        "    return gain * x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps).detach()",
        "def my_rms_norm(x, gain, eps=1e-5):\n    return gain * x / torch.sqrt(x.square().mean() + eps)",
        "def my_rms_norm(x, gain, eps=1e-5):\n    return gain * x / x.square().mean(-1, keepdim=True).sqrt()",
    ],
    "# Exercise 3": [
        "def running_statistics(batches, momentum):\n    mean, var = torch.zeros_like(batches[0][0]),"
        " torch.ones_like(batches[0][0])\n    for b in batches:\n"
        "        mean = (1 - momentum) * mean + momentum * b.mean(0)\n"
        "        var = (1 - momentum) * var + momentum * b.var(0, correction=0)\n    return mean, var",
        "def running_statistics(batches, momentum):\n    mean, var = torch.zeros_like(batches[0][0]),"
        " torch.ones_like(batches[0][0])\n    for b in batches:\n"
        "        mean = momentum * mean + (1 - momentum) * b.mean(0)\n"
        "        var = momentum * var + (1 - momentum) * b.var(0)\n    return mean, var",
        "def running_statistics(batches, momentum):\n    every = torch.cat(batches)\n"
        "    return every.mean(0), every.var(0)",
        "def running_statistics(batches, momentum):\n    mean, var = torch.zeros_like(batches[0][0]),"
        " torch.zeros_like(batches[0][0])\n    for b in batches:\n"
        "        mean = (1 - momentum) * mean + momentum * b.mean(0)\n"
        "        var = (1 - momentum) * var + momentum * b.var(0)\n    return mean, var",
    ],
    "# Exercise 4": [
        "def folded_after(g, beta, mean, var, eps, W, b):\n    s = g / torch.sqrt(var + eps)\n"
        "    return W * s, b",  # the shift forgotten
        "def folded_after(g, beta, mean, var, eps, W, b):\n    s = g / torch.sqrt(var + eps)\n"
        "    return W * s, b + (W * s) @ (beta - mean * s)",
        "def folded_after(g, beta, mean, var, eps, W, b):\n    s = g / torch.sqrt(var + eps)\n"
        "    return W * s, b + W @ (beta + mean * s)",
        "def folded_after(g, beta, mean, var, eps, W, b):\n    s = g / (var + eps)\n"
        "    return W * s, b + W @ (beta - mean * s)",
    ],
    "# Exercise 5": [
        'diagnosis = dict.fromkeys("ABCDE", "dead units")',
        'diagnosis = {"A": "rate too high", "B": "dead units", "C": "weights too large",'
        ' "D": "leaking statistics", "E": "rate too low"}',
        'diagnosis = {"A": "weights too large"}',
    ],
    "# Exercise 6": [
        "def deep_and_bare():\n    return best",  # shallow, and it reads other windows
        "def deep_and_bare():\n    return build(n_hidden=100, n_layer=8)",  # not trained
        "def deep_and_bare():\n    model = build(n_hidden=50, n_layer=8, norm='batch')\n"
        "    train(model, 400, 0.01, optimizer='adamw', schedule='one_cycle')\n    return model",
        "def deep_and_bare():\n    model = build()\n"
        "    train(model, 600, 0.02, optimizer='adamw', schedule='one_cycle')\n    return model",
    ],
}

RIGHT = {
    "# Exercise 1": [
        """def leaky_gain(a):
    return torch.nn.init.calculate_gain("leaky_relu", a)
""",
    ],
    "# Exercise 2": [
        """def my_rms_norm(x, gain, eps=1e-5):
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain
""",
    ],
    "# Exercise 3": [
        """def running_statistics(batches, momentum):
    mean, var = batches[0].new_zeros(batches[0].shape[1]), batches[0].new_ones(batches[0].shape[1])
    for batch in batches:
        mean += momentum * (batch.mean(0) - mean)
        var += momentum * (batch.var(0) - var)
    return [mean, var]
""",
    ],
    "# Exercise 4": [
        """def folded_after(norm_gain, norm_bias, running_mean, running_var, eps, weight, bias):
    scale = norm_gain * (running_var + eps) ** -0.5
    new_bias = bias.clone()
    for i in range(len(scale)):
        new_bias += weight[:, i] * (norm_bias[i] - running_mean[i] * scale[i])
    return weight @ torch.diag(scale), new_bias
""",
    ],
}
