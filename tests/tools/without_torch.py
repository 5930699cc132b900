"""What needs no torch, used as the README and the lectures use it; run by `make pythons` on several Pythons.

Only numpy, regex and tqdm are installed there. The figures it is held to stand in the lectures.
"""

import math
import sys
import tempfile
from pathlib import Path

from nnhelpers import bpe, data, micrograd, ngram
from nnhelpers.characters import CharTokenizer
from nnhelpers.course import checks


def autograd() -> None:
    x, w = micrograd.Value(2.0), micrograd.Value(-3.0)
    y = (x * w + 6.8813735870195432).tanh()
    y.backward()
    h = 1e-6
    slope = (math.tanh((2 + h) * -3 + 6.8813735870195432) - math.tanh((2 - h) * -3 + 6.8813735870195432)) / (
        2 * h
    )
    assert abs(x.grad - slope) < 1e-6
    total = sum((micrograd.Value(1.0) for _ in range(100_000)), micrograd.Value(0.0))
    total.backward()
    assert total.data == 100_000.0


def counting() -> None:
    words = data.load_names()
    train, dev, _ = data.split(words, seed=42)
    letters = CharTokenizer(words, boundary=".")

    def windows(part, order):
        rows = [[0] * (order - 1) + letters.encode(word) + [0] for word in part]
        pairs = [(row[i - order + 1 : i], row[i]) for row in rows for i in range(order - 1, len(row))]
        return [x for x, _ in pairs], [y for _, y in pairs]

    model = ngram.KneserNey(3, letters.vocab_size, discount=0.9).fit(*windows(train, 3))
    x, y = windows(dev, 3)
    logits = model(x)
    loss = -sum(row[target] for row, target in zip(logits, y, strict=True)) / len(y)
    assert 2.1 < loss < 2.3, loss
    assert all(abs(sum(map(math.exp, row)) - 1) < 1e-9 for row in logits[:100])


def tokens() -> None:
    gpt4 = bpe.BPETokenizer.from_tiktoken("cl100k_base")
    ids = [15339, 4513, 12340, 30, 320, 31495, 230, 75265, 243, 92245, 16715, 57037]
    assert gpt4.encode("hello123!!!? (안녕하세요!) 😉") == ids
    text = data.load_shakespeare()[:100_000]
    mine = bpe.BPETokenizer.train(text, 512)
    with tempfile.TemporaryDirectory() as folder:
        mine.save(Path(folder) / "tok.json")
        again = bpe.BPETokenizer.load(Path(folder) / "tok.json")
    assert again.decode(again.encode(text)) == text


for part in (autograd, counting, tokens):
    part()
checks.value("a check", 1.0, 1.0)
assert "torch" not in sys.modules
assert "matplotlib" not in sys.modules
print("all right on Python", sys.version.split()[0])
