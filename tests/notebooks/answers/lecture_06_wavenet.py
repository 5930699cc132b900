"""Answers to the exercises of lecture 6: the usual wrong ones, and others that are right."""

_RIGHT_REACH = (
    "def reach(kernel_sizes, dilations):\n"
    "    return 1 + sum((K - 1) * d for K, d in zip(kernel_sizes, dilations, strict=True))\n\n\n"
)
_RIGHT_FUSE = (
    "def fuse(x, n):\n    N, T, C = x.shape\n    if T % n:\n        raise ValueError('no')\n"
    "    return x.reshape(N, T // n, n * C)\n\n\n"
)
_RIGHT_KERNEL = "def as_kernel(weight, n):\n    return weight.reshape(len(weight), n, -1).transpose(1, 2)"
_NETWORK = "def my_network():\n    return wavenet.WaveNet(27, {}, generator=torch.Generator().manual_seed(0))"

WRONG = {
    "# Exercise 1": [
        _RIGHT_REACH + "def layers_needed(kernel_size, n_letters):\n"  # a logarithm that is nearly whole
        "    return math.ceil(math.log(n_letters) / math.log(kernel_size))",
        _RIGHT_REACH
        + "def layers_needed(kernel_size, n_letters):\n    return -(-(n_letters - 1) // (kernel_size - 1))",
        _RIGHT_REACH.replace("1 + sum", "sum")
        + "def layers_needed(kernel_size, n_letters):\n    return None",
        _RIGHT_REACH.replace("(K - 1) * d", "K * d")
        + "def layers_needed(kernel_size, n_letters):\n    return int(math.log2(n_letters))",
        "def reach(kernel_sizes, dilations):\n    out = 1\n"  # a product, right for doubling dilations alone
        "    for K in kernel_sizes:\n        out *= K\n    return out\n\n\n"
        "def layers_needed(kernel_size, n_letters):\n    return n_letters - 1",
    ],
    "# Exercise 2": [
        # zeros on both sides
        "def causal_conv(x, weight, bias, dilation):\n"
        "    return F.conv1d(x, weight, bias, dilation=dilation, padding='same')",
        # zeros at the right
        "def causal_conv(x, weight, bias, dilation):\n    reach = dilation * (weight.shape[2] - 1)\n"
        "    return F.conv1d(F.pad(x, (0, reach)), weight, bias, dilation=dilation)",
        # the kernel back to front
        "def causal_conv(x, weight, bias, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
        "    padded = F.pad(x, (dilation * (K - 1), 0))\n"
        "    out = sum(weight[:, :, K - 1 - k] @ padded[:, :, k * dilation : k * dilation + T] for k in range(K))\n"
        "    return out if bias is None else out + bias[:, None]",
        # the dilation forgotten
        "def causal_conv(x, weight, bias, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
        "    padded = F.pad(x, (K - 1, 0))\n"
        "    out = sum(weight[:, :, k] @ padded[:, :, k : k + T] for k in range(K))\n"
        "    return out if bias is None else out + bias[:, None]",
        # the bias forgotten
        "def causal_conv(x, weight, bias, dilation):\n    T, K = x.shape[2], weight.shape[2]\n"
        "    padded = F.pad(x, (dilation * (K - 1), 0))\n"
        "    return sum(weight[:, :, k] @ padded[:, :, k * dilation : k * dilation + T] for k in range(K))",
    ],
    "# Exercise 3": [
        "def mended(net, ids):\n    return net(ids)",
        # the convolution alone
        "def mended(net, ids):\n    x = F.pad(net.embedding(ids).transpose(1, 2), (2, 0))\n"
        "    x = torch.tanh(F.conv1d(x, net.conv.weight, net.conv.bias))\n"
        "    x = x - x.mean(dim=2, keepdim=True)\n"
        "    x = x / torch.sqrt((x**2).mean(dim=(1, 2), keepdim=True) + 0.1)\n    return net.head(x.transpose(1, 2))",
        # the sum so far instead of the mean so far
        "def mended(net, ids):\n    x = F.pad(net.embedding(ids).transpose(1, 2), (2, 0))\n"
        "    x = torch.tanh(F.conv1d(x, net.conv.weight, net.conv.bias))\n    x = x - x.cumsum(dim=2)\n"
        "    x = x / torch.sqrt((x**2).mean(dim=1, keepdim=True) + 0.1)\n    return net.head(x.transpose(1, 2))",
        # the size over all positions
        "def mended(net, ids):\n    x = F.pad(net.embedding(ids).transpose(1, 2), (2, 0))\n"
        "    x = torch.tanh(F.conv1d(x, net.conv.weight, net.conv.bias))\n"
        "    x = x - x.cumsum(dim=2) / torch.arange(1, x.shape[2] + 1)\n"
        "    x = x / torch.sqrt((x**2).mean(dim=(1, 2), keepdim=True) + 0.1)\n    return net.head(x.transpose(1, 2))",
        # causal, but the mean is dropped
        "def mended(net, ids):\n    x = F.pad(net.embedding(ids).transpose(1, 2), (2, 0))\n"
        "    x = torch.tanh(F.conv1d(x, net.conv.weight, net.conv.bias))\n"
        "    x = x / torch.sqrt((x**2).mean(dim=1, keepdim=True) + 0.1)\n    return net.head(x.transpose(1, 2))",
    ],
    "# Exercise 4": [
        # no error
        "def fuse(x, n):\n    return x.reshape(x.shape[0], -1, n * x.shape[2])\n\n\n" + _RIGHT_KERNEL,
        # what is left over is dropped
        "def fuse(x, n):\n    N, T, C = x.shape\n    return x[:, : T // n * n].reshape(N, T // n, n * C)\n\n\n"
        + _RIGHT_KERNEL,
        # the units of a group one after the other
        "def fuse(x, n):\n    N, T, C = x.shape\n    if T % n:\n        raise ValueError('no')\n"
        "    return x.reshape(N, T // n, n, C).transpose(2, 3).reshape(N, T // n, n * C)\n\n\n"
        + _RIGHT_KERNEL,
        # the columns of the weight taken as (C, n)
        _RIGHT_FUSE + "def as_kernel(weight, n):\n    return weight.reshape(len(weight), -1, n)",
        # the rightmost first
        _RIGHT_FUSE
        + "def as_kernel(weight, n):\n    return weight.reshape(len(weight), n, -1).transpose(1, 2).flip(2)",
    ],
    "# Exercise 5": [
        # the newest is read instead of the oldest
        "def queue_step(x, queues, layers):\n    moved = []\n"
        "    for queue, (weight, bias, _) in zip(queues, layers, strict=True):\n"
        "        z = queue[:, :, -1] @ weight[:, :, 0].T + x @ weight[:, :, 1].T + bias\n"
        "        moved.append(torch.cat([queue[:, :, 1:], x[:, :, None]], dim=2))\n"
        "        x = x + torch.tanh(z)\n    return x, moved",
        # the output goes into the queue
        "def queue_step(x, queues, layers):\n    moved = []\n"
        "    for queue, (weight, bias, _) in zip(queues, layers, strict=True):\n"
        "        x = x + torch.tanh(queue[:, :, 0] @ weight[:, :, 0].T + x @ weight[:, :, 1].T + bias)\n"
        "        moved.append(torch.cat([queue[:, :, 1:], x[:, :, None]], dim=2))\n    return x, moved",
        # the first input goes into all queues
        "def queue_step(x, queues, layers):\n    moved, first = [], x\n"
        "    for queue, (weight, bias, _) in zip(queues, layers, strict=True):\n"
        "        z = queue[:, :, 0] @ weight[:, :, 0].T + x @ weight[:, :, 1].T + bias\n"
        "        moved.append(torch.cat([queue[:, :, 1:], first[:, :, None]], dim=2))\n"
        "        x = x + torch.tanh(z)\n    return x, moved",
        # the two taps exchanged
        "def queue_step(x, queues, layers):\n    moved = []\n"
        "    for queue, (weight, bias, _) in zip(queues, layers, strict=True):\n"
        "        z = queue[:, :, 0] @ weight[:, :, 1].T + x @ weight[:, :, 0].T + bias\n"
        "        moved.append(torch.cat([queue[:, :, 1:], x[:, :, None]], dim=2))\n"
        "        x = x + torch.tanh(z)\n    return x, moved",
        # the queues are never moved on
        "def queue_step(x, queues, layers):\n"
        "    for queue, (weight, bias, _) in zip(queues, layers, strict=True):\n"
        "        x = x + torch.tanh(queue[:, :, 0] @ weight[:, :, 0].T + x @ weight[:, :, 1].T + bias)\n"
        "    return x, queues",
    ],
    "# Exercise 6": [
        # too large
        "my_settings = {'lr': 0.02, 'optimizer': 'muon', 'schedule': 'cosine'}\n\n\n" + _NETWORK.format(64),
        # the network of the race itself
        "my_settings = {'lr': 0.02, 'optimizer': 'muon', 'schedule': 'cosine', 'warmup_steps': 10}\n\n\n"
        + _NETWORK.format(32),
        # it looks ahead
        "my_settings = {'lr': 0.01}\n\n\ndef my_network():\n    return TwoConvs((1, 1), generator=seeded())",
        # more steps than the others have
        "my_settings = {'lr': 0.02, 'n_steps': 2000}\n\n\n" + _NETWORK.format(32),
        # trained before
        "my_settings = {'lr': 0.001, 'optimizer': 'adamw'}\n\n\n"
        "def my_network():\n    return copy.deepcopy(quick)",
    ],
}

RIGHT = {
    "# Exercise 1": [
        """def reach(kernel_sizes, dilations):
    total = 1
    for K, d in zip(kernel_sizes, dilations):
        total += K * d - d
    return total


def layers_needed(kernel_size, n_letters):
    n = 0
    while kernel_size**n < n_letters:
        n += 1
    return n
""",
    ],
    "# Exercise 2": [
        """def causal_conv(x, weight, bias, dilation):
    out = torch.zeros(x.shape[0], weight.shape[0], x.shape[2], dtype=x.dtype)
    for t in range(x.shape[2]):
        for k in range(weight.shape[2]):
            s = t - dilation * (weight.shape[2] - 1 - k)
            if s >= 0:
                out[:, :, t] += x[:, :, s] @ weight[:, :, k].T
    if bias is not None:
        out += bias.view(1, -1, 1)
    return out
""",
    ],
    "# Exercise 4": [
        """def fuse(x, n):
    if x.shape[1] % n != 0:
        raise ValueError("the letters do not come out even")
    return torch.cat([x[:, i::n] for i in range(n)], dim=2)


def as_kernel(weight, n):
    return torch.stack(weight.chunk(n, dim=1), dim=2)
""",
    ],
    "# Exercise 5": [
        """def queue_step(x, queues, layers):
    for queue, (weight, bias, dilation) in zip(queues, layers):
        oldest = queue[:, :, 0].clone()
        queue[:, :, :-1] = queue[:, :, 1:].clone()
        queue[:, :, -1] = x
        x = x + torch.tanh(F.linear(oldest, weight[:, :, 0]) + F.linear(x, weight[:, :, 1], bias))
    return x, queues
""",
    ],
}
