"""Answers to the exercises of lecture 5: the usual wrong ones, and others that are right."""

WRONG = {
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
}

RIGHT = {
    "# Exercise 1": [
        """def sigmoid_backward(dout, out):
    return (out - out**2) * dout


def mean_square_backward(x):
    x = x.clone()
    n = 1
    for size in x.shape:
        n *= size
    return x.mul_(2 / n)
""",
    ],
    "# Exercise 2": [
        """def unbroadcast(dout, shape):
    return dout.sum_to_size(shape)
""",
    ],
    "# Exercise 3": [
        """def layer_norm_backward(dout, x, gain, eps=1e-5):
    width = x.shape[-1]
    rows, douts = x.reshape(-1, width), dout.reshape(-1, width)
    dx, dgain, dbias = torch.zeros_like(rows), torch.zeros_like(gain), torch.zeros_like(gain)
    for i in range(len(rows)):
        centred = rows[i] - rows[i].mean()
        s = torch.sqrt(centred.pow(2).mean() + eps)
        xhat = centred / s
        dxhat = douts[i] * gain
        dx[i] = (dxhat - dxhat.mean() - xhat * (dxhat * xhat).mean()) / s
        dgain += douts[i] * xhat
        dbias += douts[i]
    return dx.view(x.shape), dgain, dbias
""",
    ],
}
