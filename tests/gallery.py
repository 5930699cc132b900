"""Six drawings that the lectures need, composed with `nnhelpers.course.diagrams`; shapes and numbers come from outside.

`python tests/gallery.py` writes them to build/gallery, once under matplotlib's default style and once under its dark
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from nnhelpers.course import diagrams as dg

FOLDER = Path(__file__).resolve().parent.parent / "build" / "gallery"
LETTERS = ".abcdefghijklmnopqrstuvwxyz"


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last dimension; a logit of minus infinity gets probability 0."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def mlp(
    context: str, table: np.ndarray, w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray
) -> dg.Diagram:
    """The network of lecture 3 on one context: table (27, C), w1 (T C, H), b1 (H,), w2 (H, 27), b2 (27,)."""
    ids = [LETTERS.index(letter) for letter in context]
    embedded = table[ids]
    x = embedded.reshape(-1)
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2

    letters = dg.tokens(context, 16, upright=True)
    numbers = dg.tokens([str(i) for i in ids], 16, upright=True)
    names = [".", "a", "⋮", "e", "⋮", "m", "⋮", "z"]
    lines = [
        [""] * table.shape[1] if name == "⋮" else list(table[LETTERS.index(name)]) for name in names
    ]
    picked = [i for i, name in enumerate(names) if name in context]
    rows = dg.matrix(lines, "parameter", rows=names, format="", cell=(11, 14), picked=picked)
    vectors = dg.matrix(embedded, "embedding", rows=context, format="", cell=(11, 24))
    look_up = dg.row(
        dg.above(letters, dg.note("letters")),
        dg.above(numbers, dg.note("ids")),
        dg.above(rows, dg.note(f"table C {table.shape}")),
        dg.above(vectors, dg.note(f"rows C[ids] {embedded.shape}")),
        gap=40,
    )

    join = dg.operation("side by side")
    width = 11.0 * table.shape[1]
    pieces = [
        dg.above(dg.vector(piece, "embedding", cell=(11, 14)), dg.token(letter, width), gap=0)
        for letter, piece in zip(context, embedded, strict=True)
    ]
    x_strip = dg.row(*pieces, gap=0)
    first, second, normalise = (
        dg.operation(text) for text in ("ReLU(x W₁ + b₁)", "h W₂ + b₂", "softmax")
    )
    weights = dg.box("W₁, b₁", f"{w1.shape}, {b1.shape}", role="parameter")
    weights_2 = dg.box("W₂, b₂", f"{w2.shape}, {b2.shape}", role="parameter")
    dg.equal_widths(weights, weights_2)
    dg.equal_widths(join, first, second, normalise)
    h = dg.vector([*hidden[:16], "…", *hidden[-7:]], "hidden", cell=(14, 14))
    z = dg.vector(logits, "output", cell=(14, 14))
    p = dg.bars(softmax(logits), LETTERS)
    named = [
        dg.beside(dg.beside(strip, dg.shape_note(shape)), dg.note(name, bold=True), "left")
        for strip, name, shape in (
            (x_strip, "x", x.shape),
            (h, "h", hidden.shape),
            (z, "logits", logits.shape),
            (p, "p", logits.shape),
        )
    ]
    compute = dg.column(
        join,
        named[0],
        dg.beside(first, weights, "left", 26),
        named[1],
        dg.beside(second, weights_2, "left", 26),
        named[2],
        normalise,
        named[3],
        gap=20,
    )
    drawing = dg.Diagram(dg.column(look_up, compute, gap=20), f"From three letters to the next: {context} → ?")
    for i, name in enumerate(context):
        drawing.arrow(letters.parts[i], numbers.parts[i])
        drawing.arrow(numbers.parts[i], rows.row(names.index(name)), leave="right", enter="left")
        drawing.arrow(rows.row(names.index(name)), vectors.row(i), leave="right", enter="left")
    drawing.arrow(vectors, join, leave="bottom", enter="right")
    drawing.flow(join, x_strip, first, h, second, z, normalise, p)
    drawing.flow(weights, first)
    drawing.flow(weights_2, second)
    return drawing


def normalisation(values: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> dg.Diagram:
    """A batch (N, C) before and after batch normalisation, with the means and deviations of its columns."""
    normalised = (values - values.mean(axis=0)) / values.std(axis=0)
    scaled = gamma * normalised + beta
    examples = [f"example {i + 1}" for i in range(len(values))]
    units = [f"unit {j + 1}" for j in range(values.shape[1])]

    def panel(numbers: np.ndarray, name: str, rows: Sequence[str] | None) -> tuple[dg.Block, dg.Matrix]:
        body = dg.matrix(numbers, "hidden", rows=rows, columns=units, header_role="plain", cell=(40, 20))
        summary = dg.matrix(
            np.round([numbers.mean(axis=0), numbers.std(axis=0)], 9) + 0.0,
            "plain",
            rows=["mean", "std"] if rows else None,
            header_role="plain",
            cell=(40, 18),
            shade=False,
        )
        return dg.column(dg.above(body, dg.note(name, bold=True)), summary, gap=8, align="right"), body

    before, x = panel(values, f"x {values.shape}", examples)
    middle, x_hat = panel(normalised, "x̂", None)
    after, y = panel(scaled, "y", None)
    standardise = dg.operation("$\\dfrac{x - \\mathrm{mean}}{\\mathrm{std}}$")
    stretch = dg.operation("γ x̂ + β")
    learned = dg.matrix([gamma, beta], "parameter", rows=["γ", "β"], header_role="plain", cell=(30, 18))
    drawing = dg.Diagram(
        dg.row(before, standardise, middle, dg.above(stretch, learned, gap=24), after, gap=18),
        "Batch normalisation works down the columns: each unit over the examples of the batch",
    )
    drawing.flow(x, standardise, x_hat, stretch, y)
    drawing.flow(learned, stretch)
    return drawing


def dilation_tree(letters: str, dilations: Sequence[int]) -> dg.Block:
    """Convolutions of two taps over `letters`: what the last output depends on is drawn strongly."""
    n, depth = len(letters), len(dilations)
    reached = [{n - 1}]
    for dilation in reversed(dilations):
        reached.append({source for t in reached[-1] for source in (t - dilation, t) if source >= 0})
    reached.reverse()
    levels: list[list[dg.Box]] = [[dg.token(letter) for letter in letters]]
    for level in range(1, depth + 1):
        role = "hidden" if level < depth else "output"
        levels.append([dg.dot(role, 14, strong=t in reached[level]) for t in range(n)])
    names = ["letters", *(f"dilation {dilation}" for dilation in dilations)]
    rows = [[dg.note(name), *boxes] for name, boxes in zip(names, levels, strict=True)]
    drawn = dg.grid(rows[::-1], gap=(8, 34))
    for level, dilation in enumerate(dilations):
        for t in range(n):
            for source in {t - dilation, t} & set(range(n)):
                style = {"role": "hidden", "width": 2.0} if t in reached[level + 1] else {"role": "plain", "width": 0.7}
                ends = levels[level][source], levels[level + 1][t]
                drawn.arrows.append(
                    dg.Arrow(*ends, leave="top", enter="bottom", direct=True, head=False, **style)
                )
    return drawn


def gated_layer(n_channels: int, n_skip: int, dilation: int) -> dg.Block:
    """WaveNet's layer: a gate between two convolutions, then a residual and a skip path."""
    x = dg.tensor("x", ("B", n_channels, "T"), "residual")
    out = dg.tensor("next layer", ("B", n_channels, "T"), "residual")
    fork, add = dg.dot("residual"), dg.operation("+")
    taps = [
        dg.box(f"conv {name}", f"dilation {dilation}", role="parameter") for name in ("f", "g")
    ]
    tanh, sigmoid, gate, split = dg.operation("tanh"), dg.operation("sigmoid"), dg.operation("×"), dg.dot()
    mix = dg.box("1×1 conv", f"{n_channels} → {n_channels}", role="parameter")
    skip = dg.box("1×1 conv", f"{n_channels} → {n_skip}", role="parameter")
    total = dg.tensor("skip sum", ("B", n_skip, "T"), "hidden")
    dg.equal_widths(tanh, sigmoid)
    drawn = dg.grid(
        [
            [out, None, None, total],
            [add, mix, None, skip],
            [None, None, split],
            [None, None, gate],
            [None, tanh, None, sigmoid],
            [None, taps[0], None, taps[1]],
            [fork],
            [x],
        ],
        gap=(22, 20),
    )
    stream = {"role": "residual", "width": 3.5}
    drawn.arrows += [
        dg.Arrow(x, fork, head=False, **stream),
        dg.Arrow(fork, add, head=False, **stream),
        dg.Arrow(add, out, **stream),
        *(dg.Arrow(fork, conv, leave="right", enter="bottom") for conv in taps),
        dg.Arrow(taps[0], tanh),
        dg.Arrow(taps[1], sigmoid),
        dg.Arrow(tanh, gate, leave="top", enter="left"),
        dg.Arrow(sigmoid, gate, leave="top", enter="right"),
        dg.Arrow(gate, split, head=False),
        dg.Arrow(split, mix, leave="left", enter="bottom"),
        dg.Arrow(split, skip, leave="right", enter="bottom"),
        dg.Arrow(mix, add),
        dg.Arrow(skip, total),
    ]
    return drawn


def wavenet(letters: str, n_channels: int, n_skip: int, dilations: Sequence[int]) -> dg.Diagram:
    """The stack of dilated convolutions at the left, one of its layers at the right."""
    stack = dg.group(dilation_tree(letters, dilations), f"{len(dilations)} layers: what the last output sees")
    layer = dg.group(gated_layer(n_channels, n_skip, dilations[-1]), "one layer: gate, residual path, skip path")
    return dg.Diagram(dg.row(stack, layer, gap=18), "WaveNet: each layer doubles the reach")


def attention(text: str, x: np.ndarray, wq: np.ndarray, wk: np.ndarray, wv: np.ndarray) -> dg.Diagram:
    """One causal head on the letters of `text`: x (T, C), the three weights (C, d)."""
    n, d = len(text), wq.shape[1]
    q, k, v = x @ wq, x @ wk, x @ wv
    scores = q @ k.T / np.sqrt(d)
    allowed = np.tri(n, dtype=bool)
    masked = np.where(allowed, scores, -np.inf)
    weights = softmax(masked)

    def strip(values: np.ndarray, role: str) -> dg.Matrix:
        return dg.matrix(values, role, rows=text, format="", cell=(13, 18))

    def square(values: Sequence[Sequence[float | None]] | np.ndarray, role: str) -> dg.Matrix:
        return dg.matrix(values, role, rows=text, columns=text, cell=(34, 20))

    inputs = strip(x, "embedding")
    names = ("W_q", "W_k", "W_v")
    projections = [dg.box(f"${name}$", wq.shape, role="parameter") for name in names]
    parts = [strip(values, "hidden") for values in (q, k, v)]
    product = dg.operation(r"$q\,k^\top / \sqrt{d}$")
    raw, shares = square(scores, "hidden"), square(weights, "output")
    kept = [[s if ok else None for s, ok in zip(*pair, strict=True)] for pair in zip(scores, allowed, strict=True)]
    masked = square(kept, "hidden")
    mix, out = dg.operation("weights @ v"), strip(weights @ v, "hidden")
    named = [
        dg.beside(part, dg.column(dg.note(name, bold=True), dg.shape_note(part_shape), gap=1), gap=6)
        for part, name, part_shape in zip(parts, "qkv", (q.shape, k.shape, v.shape), strict=True)
    ]
    inputs_named = dg.beside(inputs, dg.column(dg.note("x", bold=True), dg.shape_note(x.shape), gap=1), gap=6)
    top = dg.column(inputs_named, dg.grid([projections, named], gap=(34, 20)), gap=30)
    squares = [
        dg.below(block, dg.note(name))
        for block, name in (
            (raw, f"scores {scores.shape}"),
            (masked, "the future masked: −∞"),
            (shares, "weights: each row adds to 1"),
        )
    ]
    bottom = dg.grid([squares], gap=(58, 20))
    drawing = dg.Diagram(dg.column(top, product, bottom, dg.row(mix, out), gap=28), "One attention head")
    for projection, part in zip(projections, parts, strict=True):
        drawing.arrow(inputs, projection, leave="bottom", enter="top")
        drawing.arrow(projection, part)
    drawing.arrow(parts[0], product, leave="bottom", enter="left")
    drawing.arrow(parts[1], product, leave="bottom", enter="top")
    drawing.arrow(product, raw, leave="bottom", enter="top")
    drawing.arrow(raw, masked, "mask")
    drawing.arrow(masked, shares, "softmax")
    drawing.arrow(shares, mix)
    drawing.arrow(parts[2], mix)
    drawing.arrow(mix, out)
    return drawing


def gpt_block(texts: Sequence[str], vectors: np.ndarray, n_head: int, n_layer: int) -> dg.Diagram:
    """A block of a GPT on the tokens `texts`, whose embeddings are vectors (T, C): what it reads and what it adds."""
    n, c = vectors.shape
    shape = (n, c)
    letters = dg.tokens(texts, 14)
    embedded = dg.row(*(dg.vector(vector[:5], "embedding", vertical=True, cell=(13, 10)) for vector in vectors), gap=25)
    start, end = dg.box("x", shape, role="residual"), dg.box("x, changed twice", shape, role="residual")
    forks, adds = [dg.dot("residual", 9) for _ in range(2)], [dg.operation("+") for _ in range(2)]
    norms = [dg.box("LayerNorm", role="parameter") for _ in range(2)]
    attend = dg.box(f"attention, {n_head} heads", f"{shape} → {shape}", role="parameter")
    think = dg.box("MLP", f"{c} → {4 * c} → {c}", role="parameter")
    dg.equal_widths(*norms, attend, think)
    inner = dg.grid(
        [
            [adds[1], dg.beside(think, dg.note("each token\nby itself"))],
            [forks[1], norms[1]],
            [adds[0], dg.beside(attend, dg.note("each token looks at\nitself and earlier ones"))],
            [forks[0], norms[0]],
        ],
        gap=(60, 22),
        axis=0,
    )
    frame = dg.group(inner, f"block, {n_layer} times", pad=18)
    drawing = dg.Diagram(dg.column(end, frame, start, letters, gap=26), "A GPT block adds to the residual stream")
    stream = {"role": "residual", "width": 5.0}
    for a, b in ((start, forks[0]), (forks[0], adds[0]), (adds[0], forks[1]), (forks[1], adds[1])):
        drawing.arrow(a, b, head=False, **stream)
    drawing.arrow(adds[1], end, **stream)
    for fork, norm, layer, add in zip(forks, norms, (attend, think), adds, strict=True):
        drawing.arrow(fork, norm, "read")
        drawing.arrow(norm, layer)
        drawing.arrow(layer, add, "add")
    for part in letters.parts:
        drawing.arrow(part, start)
    return drawing


def merge_word(word: str, merges: Sequence[tuple[str, str]]) -> tuple[list[dg.Tree], list[list[str]]]:
    """The trees of the tokens of a word, and the word after each merge, where merges are pairs by rank."""
    trees = [dg.Tree(dg.token(letter)) for letter in word]
    texts, steps = list(word), [list(word)]
    while pairs := [pair for pair in zip(texts, texts[1:], strict=False) if pair in merges]:
        best = min(pairs, key=merges.index)
        i = list(zip(texts, texts[1:], strict=False)).index(best)
        texts[i : i + 2] = ["".join(best)]
        node = dg.Box([(texts[i], dg.LETTER), (f"merge {len(steps)}", dg.Font(8.5))], "token")
        trees[i : i + 2] = [dg.Tree(node, trees[i : i + 2])]
        steps.append(list(texts))
    return trees, steps


def merge_tree(word: str, merges: Sequence[tuple[str, str]]) -> dg.Diagram:
    """How byte-pair encoding joins the letters of a word: the tree, and the word after each merge."""
    trees, steps = merge_word(word, merges)
    drawn = dg.row(*(dg.tree(tree) for tree in trees), align="bottom")
    lines = [
        [dg.note(f"merge {i}: {'+'.join(merges[i - 1])}" if i else "letters"), dg.tokens(step, 4)]
        for i, step in enumerate(steps)
    ]
    listing = dg.column(*(row for line in lines for row in [dg.row(*line, gap=10)]), gap=9, align="left")
    return dg.Diagram(dg.row(drawn, listing, gap=50), f"Byte-pair encoding of “{word}”")


DRAWINGS: dict[str, Callable[[], dg.Diagram]] = {}


def drawing(function: Callable[[], dg.Diagram]) -> Callable[[], dg.Diagram]:
    DRAWINGS[function.__name__] = function
    return function


@drawing
def mlp_of_lecture_3() -> dg.Diagram:
    rng = np.random.default_rng(3)
    return mlp(
        "emm",
        rng.normal(size=(27, 10)),
        rng.normal(size=(30, 200)) * (2 / 30) ** 0.5,
        np.zeros(200),
        rng.normal(size=(200, 27)) / 200**0.5,
        np.zeros(27),
    )


@drawing
def batch_normalisation() -> dg.Diagram:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(4, 3)) * (3.0, 0.4, 1.0) + (5.0, 0.0, -2.0)
    return normalisation(values, np.array([1.5, 1.0, 0.5]), np.array([0.0, 1.0, -1.0]))


@drawing
def wavenet_block() -> dg.Diagram:
    return wavenet("...barba", 32, 64, (1, 2, 4))


@drawing
def attention_head() -> dg.Diagram:
    rng = np.random.default_rng(7)
    return attention("emma", rng.normal(size=(4, 8)), *(rng.normal(size=(8, 4)) / 8**0.5 for _ in range(3)))


@drawing
def block_of_a_gpt() -> dg.Diagram:
    return gpt_block(["the", " cat", " sat", " on"], np.random.default_rng(5).normal(size=(4, 48)), 4, 6)


@drawing
def merges_of_a_word() -> dg.Diagram:
    return merge_tree("newest", [("e", "s"), ("es", "t"), ("n", "e"), ("ne", "w"), ("new", "est")])


def write(folder: Path = FOLDER) -> list[Path]:
    """Draw all of them under both themes; the paths of the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for theme in ("default", "dark_background"):
        with plt.style.context(theme):
            for name, make in DRAWINGS.items():
                figure = make().figure()
                path = folder / f"{name}_{theme.split('_')[0]}.png"
                figure.savefig(path, dpi=100)
                plt.close(figure)
                written.append(path)
    return written


if __name__ == "__main__":
    for path in write():
        print(path)
