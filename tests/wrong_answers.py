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
    "03_mlp": {
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
            "    x, y = data.context_windows([name], tokenizer, block_size)\n"
            "    return -evaluation.nll(model, x, y)",  # the mean
            "def log_probability(model, tokenizer, name, block_size):\n"
            "    x, y = data.context_windows([name], tokenizer, block_size)\n"
            "    return -evaluation.token_nll(model, x, y)[:-1].sum().item()",  # without the end
            "def log_probability(model, tokenizer, name, block_size):\n"
            "    x, y = data.context_windows([name], tokenizer, block_size)\n"
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
            "training.fit(small_but_good, training.minibatches(*long_dev, 512), 1000, rate=0.02)",  # has seen dev
        ],
    },
    "04_batchnorm": {
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
            "def deep_and_bare():\n    return build(n_hidden=100, n_layers=8)",  # not trained
            "def deep_and_bare():\n    model = build(n_hidden=50, n_layers=8, norm='batch')\n"
            "    train(model, 400, 0.01, optimizer='adamw', schedule='one_cycle')\n    return model",
            "def deep_and_bare():\n    model = build()\n"
            "    train(model, 600, 0.02, optimizer='adamw', schedule='one_cycle')\n    return model",
        ],
    },
    "05_backprop": {
        "# Exercise 1": [
            "def sigmoid_backward(dout, out):\n    return dout * (1 - out**2)\n\n\n"  # that of tanh
            "def mean_square_backward(x):\n    return 2 * x / x.numel()",
            "def sigmoid_backward(dout, out):\n    s = torch.sigmoid(out)\n    return dout * s * (1 - s)\n\n\n"
            "def mean_square_backward(x):\n    return 2 * x / x.numel()",  # out taken for the input
            "def sigmoid_backward(dout, out):\n    return out * (1 - out)\n\n\n"
            "def mean_square_backward(x):\n    return 2 * x / x.numel()",  # the arriving gradient forgotten
            "def sigmoid_backward(dout, out):\n    return dout * out * (1 - out)\n\n\n"
            "def mean_square_backward(x):\n    return 2 * x",  # the mean forgotten
            "def sigmoid_backward(dout, out):\n    return dout * out * (1 - out)\n\n\n"
            "def mean_square_backward(x):\n    return 2 * x / len(x)",  # the mean over rows
        ],
        "# Exercise 2": [
            "def unbroadcast(dout, shape):\n    return dout.sum(0)",
            "def unbroadcast(dout, shape):\n    return dout.sum(0, keepdim=True)",
            "def unbroadcast(dout, shape):\n    return dout.sum(tuple(range(dout.ndim - len(shape))))",  # sum(())
            "def unbroadcast(dout, shape):\n"  # a mean where a sum is due
            "    added = dout.ndim - len(shape)\n    out = dout.mean(tuple(range(added))) if added else dout\n"
            "    copied = tuple(i for i, size in enumerate(shape) if size == 1 and out.shape[i] != 1)\n"
            "    return out.mean(copied, keepdim=True) if copied else out",
            "def unbroadcast(dout, shape):\n"  # the 1 is lost
            "    added = dout.ndim - len(shape)\n    out = dout.sum(tuple(range(added))) if added else dout\n"
            "    copied = tuple(i for i, size in enumerate(shape) if size == 1 and out.shape[i] != 1)\n"
            "    return out.sum(copied) if copied else out",
            "def unbroadcast(dout, shape):\n"  # what was added in front is forgotten
            "    copied = tuple(i for i, size in enumerate(shape) if size == 1)\n"
            "    return dout.sum(copied, keepdim=True) if copied else dout",
        ],
        "# Exercise 3": [
            # over the batch, as batch normalisation does
            "def layer_norm_backward(dout, x, gain, eps=1e-5):\n"
            "    rows, d = x.reshape(-1, x.shape[-1]), dout.reshape(-1, x.shape[-1])\n"
            "    dx, dgain, dbias = backprop.batch_norm_backward(d, rows, gain, eps)\n"
            "    return dx.view_as(x), dgain, dbias",
            # the gain outside of the means, where batch normalisation has it
            "def layer_norm_backward(dout, x, gain, eps=1e-5):\n"
            "    c = x - x.mean(-1, keepdim=True)\n    r = ((c**2).mean(-1, keepdim=True) + eps) ** -0.5\n"
            "    h = c * r\n"
            "    dx = gain * r * (dout - dout.mean(-1, keepdim=True) - h * (dout * h).mean(-1, keepdim=True))\n"
            "    w = x.shape[-1]\n    return dx, (dout * h).reshape(-1, w).sum(0), dout.reshape(-1, w).sum(0)",
            # Bessel's variance
            "def layer_norm_backward(dout, x, gain, eps=1e-5):\n"
            "    c = x - x.mean(-1, keepdim=True)\n    r = (x.var(-1, keepdim=True) + eps) ** -0.5\n"
            "    h, d = c * r, gain * dout\n"
            "    dx = r * (d - d.mean(-1, keepdim=True) - h * (d * h).mean(-1, keepdim=True))\n"
            "    w = x.shape[-1]\n    return dx, (dout * h).reshape(-1, w).sum(0), dout.reshape(-1, w).sum(0)",
            # a missing path
            "def layer_norm_backward(dout, x, gain, eps=1e-5):\n"
            "    c = x - x.mean(-1, keepdim=True)\n    r = ((c**2).mean(-1, keepdim=True) + eps) ** -0.5\n"
            "    h, d = c * r, gain * dout\n"
            "    dx = r * (d - d.mean(-1, keepdim=True))\n"
            "    w = x.shape[-1]\n    return dx, (dout * h).reshape(-1, w).sum(0), dout.reshape(-1, w).sum(0)",
            # gain and bias summed over the first axis only
            "def layer_norm_backward(dout, x, gain, eps=1e-5):\n"
            "    c = x - x.mean(-1, keepdim=True)\n    r = ((c**2).mean(-1, keepdim=True) + eps) ** -0.5\n"
            "    h, d = c * r, gain * dout\n"
            "    dx = r * (d - d.mean(-1, keepdim=True) - h * (d * h).mean(-1, keepdim=True))\n"
            "    return dx, (dout * h).sum(0), dout.sum(0)",
        ],
        "# Exercise 4": [
            # no mask
            "def attention_backward(dout, q, k, v):\n    s = q.shape[-1] ** -0.5\n"
            "    P = torch.softmax(q @ k.T * s, dim=1)\n    dP = dout @ v.T\n"
            "    dS = P * (dP - (dP * P).sum(1, keepdim=True)) * s\n    return dS @ k, dS.T @ q, P.T @ dout",
            # the scale forgotten on the way back
            "def attention_backward(dout, q, k, v):\n    s = q.shape[-1] ** -0.5\n"
            "    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)\n"
            "    P = torch.softmax((q @ k.T * s).masked_fill(later, -torch.inf), dim=1)\n    dP = dout @ v.T\n"
            "    dS = P * (dP - (dP * P).sum(1, keepdim=True))\n    return dS @ k, dS.T @ q, P.T @ dout",
            # softmax taken entry by entry
            "def attention_backward(dout, q, k, v):\n    s = q.shape[-1] ** -0.5\n"
            "    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)\n"
            "    P = torch.softmax((q @ k.T * s).masked_fill(later, -torch.inf), dim=1)\n    dP = dout @ v.T\n"
            "    dS = P * (1 - P) * dP * s\n    return dS @ k, dS.T @ q, P.T @ dout",
            # not transposed
            "def attention_backward(dout, q, k, v):\n    s = q.shape[-1] ** -0.5\n"
            "    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)\n"
            "    P = torch.softmax((q @ k.T * s).masked_fill(later, -torch.inf), dim=1)\n    dP = dout @ v.T\n"
            "    dS = P * (dP - (dP * P).sum(1, keepdim=True)) * s\n    return dS @ k, dS @ q, P @ dout",
            # the sum of softmax's backward over the column
            "def attention_backward(dout, q, k, v):\n    s = q.shape[-1] ** -0.5\n"
            "    later = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)\n"
            "    P = torch.softmax((q @ k.T * s).masked_fill(later, -torch.inf), dim=1)\n    dP = dout @ v.T\n"
            "    dS = P * (dP - (dP * P).sum(0, keepdim=True)) * s\n    return dS @ k, dS.T @ q, P.T @ dout",
        ],
        "# Exercise 5": [
            # shifted the wrong way
            "def causal_conv_backward(dout, x, weight, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
            "    dx, dw = torch.zeros_like(x), torch.zeros_like(weight)\n    for k in range(K):\n"
            "        s = min(dilation * (K - 1 - k), T)\n        early, late = dout[:, :, : T - s], x[:, :, s:]\n"
            "        dx[:, :, s:] += weight[:, :, k].T @ early\n"
            "        dw[:, :, k] = (early @ late.transpose(1, 2)).sum(0)\n    return dx, dw",
            # the taps in reverse
            "def causal_conv_backward(dout, x, weight, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
            "    dx, dw = torch.zeros_like(x), torch.zeros_like(weight)\n    for k in range(K):\n"
            "        s = min(dilation * k, T)\n        late, early = dout[:, :, s:], x[:, :, : T - s]\n"
            "        dx[:, :, : T - s] += weight[:, :, k].T @ late\n"
            "        dw[:, :, k] = (late @ early.transpose(1, 2)).sum(0)\n    return dx, dw",
            # a shift longer than the sequence
            "def causal_conv_backward(dout, x, weight, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
            "    dx, dw = torch.zeros_like(x), torch.zeros_like(weight)\n    for k in range(K):\n"
            "        s = dilation * (K - 1 - k)\n        late, early = dout[:, :, s:], x[:, :, : T - s]\n"
            "        dx[:, :, : T - s] += weight[:, :, k].T @ late\n"
            "        dw[:, :, k] = (late @ early.transpose(1, 2)).sum(0)\n    return dx, dw",
            # the last tap overwrites the others
            "def causal_conv_backward(dout, x, weight, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
            "    dx, dw = torch.zeros_like(x), torch.zeros_like(weight)\n    for k in range(K):\n"
            "        s = min(dilation * (K - 1 - k), T)\n        late, early = dout[:, :, s:], x[:, :, : T - s]\n"
            "        dx[:, :, : T - s] = weight[:, :, k].T @ late\n"
            "        dw[:, :, k] = (late @ early.transpose(1, 2)).sum(0)\n    return dx, dw",
            # the mean over the batch, the dilation ignored
            "def causal_conv_backward(dout, x, weight, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
            "    dx, dw = torch.zeros_like(x), torch.zeros_like(weight)\n    for k in range(K):\n"
            "        s = min(K - 1 - k, T)\n        late, early = dout[:, :, s:], x[:, :, : T - s]\n"
            "        dx[:, :, : T - s] += weight[:, :, k].T @ late\n"
            "        dw[:, :, k] = (late @ early.transpose(1, 2)).mean(0)\n    return dx, dw",
        ],
        "# Exercise 6": [
            # the lecture's own network, on the last three letters: no gain
            "def initial_parameters(generator):\n"
            "    return [p.detach().clone() for p in new_network().parameters()]\n\n\n"
            "def logits_and_gradients(parameters, x, y):\n"
            "    C, W, gain, bias, V, b = parameters\n    z = C[x[:, -3:]].flatten(1) @ W.T\n"
            "    h = F.batch_norm(z, None, None, gain, bias, training=True).relu()\n"
            "    return h @ V.T + b, loss_and_gradients(parameters, x[:, -3:], y)[1]",
            # autograd inside
            "def initial_parameters(generator):\n    C = torch.randn(27, 10, generator=generator)\n"
            "    W = 0.1 * torch.randn(200, 80, generator=generator)\n"
            "    return [C, W, torch.ones(200), torch.zeros(200),"
            " 0.01 * torch.randn(27, 200, generator=generator), torch.zeros(27)]\n\n\n"
            "def logits_and_gradients(parameters, x, y):\n"
            "    with torch.enable_grad():\n"
            "        leaves = [p.clone().requires_grad_() for p in parameters]\n"
            "        C, W, gain, bias, V, b = leaves\n"
            "        h = F.batch_norm(C[x].flatten(1) @ W.T, None, None, gain, bias, training=True).relu()\n"
            "        loss = F.cross_entropy(h @ V.T + b, y)\n"
            "        return h @ V.T + b, list(torch.autograd.grad(loss, leaves))",
            # one of the two paths into a shared table forgotten
            "def initial_parameters(generator):\n    C = torch.randn(27, 24, generator=generator)\n"
            "    W = torch.randn(200, 192, generator=generator) * 0.1\n"
            "    V = 0.01 * torch.randn(24, 200, generator=generator)\n    return [C, W, V, torch.zeros(27)]\n\n\n"
            "def logits_and_gradients(parameters, x, y):\n    C, W, V, b = parameters\n"
            "    flat = C[x].flatten(1)\n    pre = flat @ W.T\n    h = pre.relu()\n"
            "    o = h @ V.T\n    logits = o @ C.T + b\n"
            "    do, _, db = backprop.linear_backward(backprop.cross_entropy_backward(logits, y), o, C)\n"
            "    dh, dV, _ = backprop.linear_backward(do, h, V)\n"
            "    dflat, dW, _ = backprop.linear_backward(backprop.relu_backward(dh, pre), flat, W)\n"
            "    dC = backprop.embedding_backward(dflat.view(*x.shape, -1), x, 27)\n"
            "    return logits, [dC, dW, dV, db]",
            # the loss clamped, which the opening of the lecture warns of
            "def initial_parameters(generator):\n    C = torch.randn(27, 10, generator=generator)\n"
            "    return [C, 0.1 * torch.randn(27, 80, generator=generator)]\n\n\n"
            "def logits_and_gradients(parameters, x, y):\n    C, W = parameters\n    flat = C[x].flatten(1)\n"
            "    logits = flat @ W.T\n    dlogits = backprop.cross_entropy_backward(logits, y)\n"
            "    dlogits = dlogits * (F.cross_entropy(logits, y, reduction='none') < 3)[:, None]\n"
            "    dflat, dW, _ = backprop.linear_backward(dlogits, flat, W)\n"
            "    return logits, [backprop.embedding_backward(dflat.view(*x.shape, -1), x, 27), dW]",
        ],
    },
}
