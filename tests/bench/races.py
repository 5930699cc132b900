"""Time to the loss of the classic recipes on names: 200,000 steps of SGD at batch 32, against the lectures' recipes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

import torch
import torch.nn.functional as F

from nnhelpers import backprop, data, evaluation, mlp, wavenet
from nnhelpers.batches import context_windows, minibatches, packed_words, whole_words
from nnhelpers.characters import CharTokenizer
from nnhelpers.fit import fit

from .duel import duel

STEPS, TIMED = 200_000, 4_000  # a classic run, and what is timed of it


def names() -> tuple[data.Split, CharTokenizer]:
    words = data.load_names()
    return data.split(words, seed=42), CharTokenizer(words, boundary=".")


def draws(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        rows = torch.randint(0, len(x), (32,), generator=generator)
        yield x[rows], y[rows]


def plain_sgd(parameters: list, forward: Callable, pairs: Iterator, n_steps: int, done: int = 0) -> None:
    """Steps of 0.1, and of 0.01 in the second half of STEPS."""
    for step, (x, y) in enumerate(islice(pairs, n_steps), start=done):
        loss = F.cross_entropy(forward(x), y)
        for p in parameters:
            p.grad = None
        loss.backward()
        rate = 0.1 if step < STEPS // 2 else 0.01
        with torch.no_grad():
            for p in parameters:
                p -= rate * p.grad


def tanh_network() -> tuple[list[torch.Tensor], Callable]:
    """The classic network of 11,897 parameters on three letters (Karpathy 2022), with careful first weights."""
    generator = torch.Generator().manual_seed(2147483647)
    shapes = ((27, 10), (30, 200), (200,), (200, 27), (27,))
    sizes = (1.0, 5 / 3 / math.sqrt(30), 0.01, 0.01, 0.0)
    parameters = [
        (size * torch.randn(shape, generator=generator)).requires_grad_()
        for shape, size in zip(shapes, sizes, strict=True)
    ]
    table, w1, b1, w2, b2 = parameters
    return parameters, lambda x: torch.tanh(table[x].flatten(1) @ w1 + b1) @ w2 + b2


def classic_mlp() -> list[dict]:
    parts, tokenizer = names()
    train, dev = (context_windows(part, tokenizer, 3) for part in (parts.train, parts.dev))
    parameters, forward = tanh_network()
    plain_sgd(parameters, forward, draws(*train), STEPS)
    classic = evaluation.nll(forward, *dev)
    reached = []

    def ours() -> None:
        model = mlp.MLP(27, 3, n_embd=10, n_hidden=200, generator=torch.Generator().manual_seed(len(reached)))
        deal = minibatches(*train, 1024)
        fit(model, deal, 1600, lr=0.02, weight_decay=0.05, progress=False)
        reached.append(evaluation.nll(model, *dev))

    parameters, forward = tanh_network()
    pairs = draws(*train)
    row = duel(
        "names: an MLP on three letters to the classic one's dev loss",
        f"{STEPS:,} steps of SGD (timed over {TIMED:,})",
        ours,
        lambda: plain_sgd(parameters, forward, pairs, TIMED),
        theirs_times=STEPS / TIMED,
    )
    losses = {"classic_dev_loss": round(classic, 4), "our_dev_losses": [round(loss, 4) for loss in reached]}
    return [row | losses]


def classic_wavenet() -> list[dict]:
    parts, tokenizer = names()
    train, dev = (context_windows(part, tokenizer, 8) for part in (parts.train, parts.dev))
    tree = wavenet.Tree(27, 8, n_embd=24, n_hidden=128, generator=torch.Generator().manual_seed(0))
    plain_sgd(list(tree.parameters()), tree, draws(*train), STEPS)
    classic = evaluation.nll(tree, *dev)
    whole_train, whole_dev = (whole_words(part, tokenizer) for part in (parts.train, parts.dev))
    reached = []

    def ours() -> None:
        generator = torch.Generator().manual_seed(len(reached))
        torch.manual_seed(len(reached))
        model = wavenet.WaveNet(27, 80, (1, 2, 4, 8), dropout=0.05, bos_id=0, generator=generator)
        options = {"optimizer": "muon", "schedule": "cosine", "warmup_steps": 45, "weight_decay": 0.1}
        deal = packed_words(*whole_train, n_tokens=1024)
        fit(model, deal, 900, lr=0.01, progress=False, **options)
        reached.append(evaluation.nll(model, *whole_dev))

    fresh = wavenet.Tree(27, 8, n_embd=24, n_hidden=128, generator=torch.Generator().manual_seed(0))
    pairs = draws(*train)
    row = duel(
        "names: WaveNet to the dev loss of the classic tree of pairs",
        f"{STEPS:,} steps of SGD (timed over {TIMED:,})",
        ours,
        lambda: plain_sgd(list(fresh.parameters()), fresh, pairs, TIMED),
        theirs_times=STEPS / TIMED,
    )
    losses = {"classic_dev_loss": round(classic, 4), "our_dev_losses": [round(loss, 4) for loss in reached]}
    return [row | losses]


def by_hand() -> list[dict]:
    """Lecture 5: the backward pass written out, against autograd's, for one batch of 32."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((27, 10), (200, 30), (200,), (27, 200), (27,))
    table, w1, b1, w2, b2 = parameters = [0.1 * torch.randn(s, generator=generator) for s in shapes]
    x = torch.randint(0, 27, (32, 3), generator=generator)
    y = torch.randint(0, 27, (32,), generator=generator)

    def manual() -> list[torch.Tensor]:
        e = table[x].flatten(1)
        z = F.linear(e, w1, b1)
        h = torch.relu(z)
        logits = F.linear(h, w2, b2)
        dlogits = backprop.cross_entropy_backward(logits, y)
        dh, dw2, db2 = backprop.linear_backward(dlogits, h, w2)
        dz = backprop.relu_backward(dh, z)
        de, dw1, db1 = backprop.linear_backward(dz, e, w1)
        return [backprop.embedding_backward(de.view(32, 3, 10), x, 27), dw1, db1, dw2, db2]

    leaves = [p.clone().requires_grad_() for p in parameters]

    def autograd() -> list[torch.Tensor]:
        table, w1, b1, w2, b2 = leaves
        logits = F.linear(torch.relu(F.linear(table[x].flatten(1), w1, b1)), w2, b2)
        return list(torch.autograd.grad(F.cross_entropy(logits, y), leaves))

    for ours, theirs in zip(manual(), autograd(), strict=True):
        torch.testing.assert_close(ours, theirs)

    def many(step: Callable) -> None:
        for _ in range(300):
            step()

    what = "an MLP's 300 gradients by hand (lecture 5), batches of 32"
    return [
        duel(what, f"autograd of torch {torch.__version__}", lambda: many(manual), lambda: many(autograd), 7)
    ]
