"""Six drawings that the lectures need, composed with `nnhelpers.course.diagrams`; shapes and numbers come from outside.

`python tests/gallery.py` writes them to build/gallery, once under matplotlib's default style and once under its dark
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

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

    look_up = dg.lookup(context, ids, table, LETTERS, "C")
    join = dg.operation("concatenate")
    width = 11.0 * table.shape[1]
    limits = float(table.min()), float(table.max())
    pieces = [
        dg.above(dg.vector(piece, "embedding", cell=(11, 14), limits=limits), dg.token(letter, width), gap=0)
        for letter, piece in zip(context, embedded, strict=True)
    ]
    x_strip = dg.row(*pieces, gap=0)
    first, second, normalise = (dg.operation(text) for text in ("ReLU(x W₁ + b₁)", "h W₂ + b₂", "softmax"))
    weights = dg.box("W₁, b₁", f"{w1.shape}, {b1.shape}", role="parameter")
    weights_2 = dg.box("W₂, b₂", f"{w2.shape}, {b2.shape}", role="parameter")
    dg.equal_widths(weights, weights_2)
    dg.equal_widths(join, first, second, normalise)
    h = dg.vector([*hidden[:16], "…", *hidden[-7:]], "hidden", cell=(14, 14))
    z = dg.vector(logits, "output", cell=(18, 16))
    p = dg.bars(softmax(logits), LETTERS, bar=18)
    meaning = dg.note("p: probability of the next letter (untrained)")
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
        dg.below(named[3], meaning),
        gap=20,
    )
    drawing = dg.Diagram(
        dg.column(look_up, compute, gap=20), f"From three letters to the next: {context} → ?"
    )
    drawing.arrow(look_up.whole, join, leave="bottom", enter="right")
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

    def table(numbers: np.ndarray, role: str, rows: Sequence[str] | None) -> dg.Matrix:
        return dg.matrix(
            numbers, role, rows=rows, columns=units, format=".1f", header_role="plain", cell=(35, 20)
        )

    def statistics(numbers: np.ndarray, rows: Sequence[str], under: dg.Matrix) -> dg.Matrix:
        means_and_deviations = np.array([numbers.mean(axis=0), numbers.std(axis=0)])
        return dg.matrix(
            # without a minus before a mean of 0
            np.round(means_and_deviations, 9) + 0.0,
            "plain",
            rows=rows,
            format=".1f",
            header_role="plain",
            cell=(under.cell(0, 0).width, 20),
            shade=False,
        )

    def titled(body: dg.Matrix, name: str, shape: str) -> dg.Block:
        return dg.above(body, dg.column(dg.note(name, bold=True), dg.shape_note(shape), gap=1))

    def panel(body: dg.Matrix, summary: dg.Block, name: str) -> dg.Block:
        return dg.below(titled(body, name, str(values.shape)), summary, gap=8, align="right")

    x, x_hat, y = (
        table(numbers, "hidden", rows)
        for numbers, rows in ((values, examples), (normalised, None), (scaled, None))
    )
    summaries = [
        statistics(numbers, rows, under)
        for numbers, rows, under in (
            (values, ["mean", "std"], x),
            (normalised, ["mean", "std"], x_hat),
            (scaled, ["mean = β", "std = γ"], y),
        )
    ]
    learned = table(np.array([gamma, beta]), "parameter", ["γ", "β"])
    formula = "$\\dfrac{x - \\mathrm{mean}}{\\mathrm{std}}$"
    standardise = dg.operation(f"{formula}\nper column\n(over the {len(values)}\nexamples)")
    stretch = dg.operation("γ x̂ + β\nper column")
    drawing = dg.Diagram(
        dg.row(
            panel(x, summaries[0], "x"),
            standardise,
            panel(x_hat, summaries[1], "x̂"),
            dg.above(stretch, titled(learned, "γ, β", f"{gamma.shape} each"), gap=24),
            panel(y, summaries[2], "y"),
            gap=10,
        ),
        "Batch normalisation works down the columns: each unit over the examples of the batch",
    )
    drawing.flow(x, standardise, x_hat, stretch, y)
    drawing.arrow(summaries[0], standardise, leave="right", enter="bottom")
    drawing.flow(learned, stretch)
    return drawing


def dilation_tree(letters: str, n_channels: int, dilations: Sequence[int]) -> dg.Block:
    """Convolutions of two taps over `letters`: what the last output depends on is drawn strongly."""
    n = len(letters)
    reached = [{n - 1}]
    for dilation in reversed(dilations):
        reached.append({source for t in reached[-1] for source in (t - dilation, t) if source >= 0})
    reached.reverse()
    tokens = [dg.token(letter) for letter in letters]
    levels: list[list[dg.Box]] = []
    for level in range(len(dilations) + 1):
        role = "hidden" if level else "embedding"
        levels.append([dg.dot(role, 14, strong=t in reached[level]) for t in range(n)])
    rows: list[list[dg.Block | None]] = [
        [dg.note("letters"), *tokens],
        [dg.note(f"embedding:\n{n_channels} numbers"), *levels[0]],
    ]
    for level, dilation in enumerate(dilations, 1):
        # the name of a convolution stands beside its lines, that of a layer beside its values
        rows += [[dg.note(f"dilation {dilation}")], [dg.note(f"layer {level}"), *levels[level]]]
    drawn = dg.grid(rows[::-1], gap=(8, 38))
    for letter, embedded in zip(tokens, levels[0], strict=True):
        drawn.arrows.append(dg.Arrow(letter, embedded, leave="top", enter="bottom"))
    for level, dilation in enumerate(dilations):
        for t in range(n):
            for source in {t - dilation, t} & set(range(n)):
                style: dict[str, Any] = (
                    {"role": "hidden", "width": 2.0}
                    if t in reached[level + 1]
                    else {"role": "plain", "width": 0.7}
                )
                ends = levels[level][source], levels[level + 1][t]
                drawn.arrows.append(
                    dg.Arrow(*ends, leave="top", enter="bottom", direct=True, head=False, **style)
                )
    return drawn


def gated_layer(n_channels: int, n_skip: int, dilation: int) -> dg.Block:
    """WaveNet's layer: a gate between two convolutions, then a residual and a skip path."""
    x = dg.tensor("x", ("B", n_channels, "T"), "residual")
    out = dg.tensor("to the\nnext layer,\nif any", ("B", n_channels, "T"), "residual")
    fork, add = dg.dot("residual"), dg.operation("+")
    taps = [
        dg.box(
            f"conv {name}", f"{n_channels} → {n_channels}\nkernel 2\ndilation {dilation}", role="parameter"
        )
        for name in ("f", "g")
    ]
    tanh, sigmoid, gate, split = dg.operation("tanh"), dg.operation("sigmoid"), dg.operation("×"), dg.dot()
    mix = dg.box("1×1 conv", f"{n_channels} → {n_channels}", role="parameter")
    skip = dg.box("1×1 conv", f"{n_channels} → {n_skip}", role="parameter")
    total = dg.tensor("skip sum", ("B", n_skip, "T"), "hidden")
    collect, others = dg.operation("+"), dg.note("from the\nother layers")
    dg.equal_widths(tanh, sigmoid)
    drawn = dg.grid(
        [
            [out, None, None, total],
            [None, others, None, collect],
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
    stream: dict[str, Any] = {"role": "residual", "width": 3.5}
    drawn.arrows += [
        dg.Arrow(x, fork, head=False, **stream),
        dg.Arrow(fork, add, head=False, **stream),
        dg.Arrow(add, out, **stream),
        *(dg.Arrow(fork, conv, leave="right", enter="bottom") for conv in taps),
        dg.Arrow(taps[0], tanh),
        dg.Arrow(taps[1], sigmoid),
        dg.Arrow(tanh, gate, "value", leave="top", enter="left"),
        dg.Arrow(sigmoid, gate, "gate", leave="top", enter="right"),
        dg.Arrow(gate, split, head=False),
        dg.Arrow(split, mix, leave="left", enter="bottom"),
        dg.Arrow(split, skip, leave="right", enter="bottom"),
        dg.Arrow(mix, add),
        dg.Arrow(skip, collect),
        dg.Arrow(others, collect),
        dg.Arrow(collect, total),
    ]
    return drawn


def wavenet(letters: str, n_channels: int, n_skip: int, dilations: Sequence[int]) -> dg.Diagram:
    """The stack of dilated convolutions at the left, one of its layers at the right."""
    stack = dg.group(
        dilation_tree(letters, n_channels, dilations), f"{len(dilations)} layers: what the last output sees"
    )
    shapes = dg.note("(B, channels, T): B examples in the batch, T time steps")
    layer = dg.group(
        dg.column(gated_layer(n_channels, n_skip, dilations[-1]), shapes),
        f"inside one layer (here layer {len(dilations)}, dilation {dilations[-1]})",
    )
    panels = dg.row(stack, layer, gap=10, align="stretch")
    drawing = dg.Diagram(panels, "WaveNet: each layer doubles the reach")
    drawing.explain("parameter", "layers with parameters")
    return drawing


def attention(text: str, x: np.ndarray, wq: np.ndarray, wk: np.ndarray, wv: np.ndarray) -> dg.Diagram:
    """One causal head on the letters of `text`: x (T, C), the three weights (C, d)."""
    n, d = len(text), wq.shape[1]
    q, k, v = x @ wq, x @ wk, x @ wv
    scores = q @ k.T / np.sqrt(d)
    allowed = np.tri(n, dtype=bool)
    masked_scores = np.where(allowed, scores, -np.inf)
    weights = softmax(masked_scores)

    limits = float(scores.min()), float(scores.max())
    # the rows of out are averages of the rows of v, so no number of out lies outside
    limits_of_v = float(v.min()), float(v.max())

    def strip(values: np.ndarray, role: str, limits: tuple[float, float] | None = None) -> dg.Matrix:
        return dg.matrix(values, role, rows=text, format="", cell=(13, 18), limits=limits)

    def square(values: np.ndarray, role: str, limits: tuple[float, float] | None = None) -> dg.Matrix:
        return dg.matrix(values, role, rows=text, columns=text, cell=(33, 20), limits=limits)

    def named(block: dg.Block, name: str, shape: tuple[int, ...], *remarks: str) -> dg.Block:
        about = dg.column(
            dg.note(name, bold=True), dg.shape_note(shape), *map(dg.note, remarks), gap=1, align="left"
        )
        return dg.beside(block, about, "right", 6)

    def looking(block: dg.Matrix) -> dg.Block:
        across = dg.above(block, dg.note("looks at →"), align="right")
        return dg.beside(across, dg.note("looks\nfrom ↓"), "left", 3, align="top")

    inputs, out = strip(x, "embedding"), strip(weights @ v, "hidden", limits_of_v)
    wide = [dg.box(f"$W_{name}$", wq.shape, role="parameter") for name in "qkv"]
    queries, keys, values = strip(q, "hidden"), strip(k, "hidden"), strip(v, "hidden", limits_of_v)
    product, mix, fork = dg.operation(r"$q\,k^\top / \sqrt{d}$"), dg.operation("weights @ v"), dg.dot()
    mask, normalise = dg.operation("mask"), dg.operation("softmax")
    raw, masked = (square(numbers, "hidden", limits) for numbers in (scores, masked_scores))
    shares = square(weights, "output")
    brace = dg.brace(inputs)
    x_named = named(inputs, "x", x.shape, "token + position embeddings:", "the two m’s differ")
    head = dg.grid(
        [
            [wide[0], None, wide[1], None, wide[2]],
            [
                named(queries, "q", q.shape),
                None,
                named(keys, "k", k.shape),
                None,
                named(values, "v", v.shape),
            ],
            [dg.beside(product, dg.note(f"d = {d}"), "left")],
            [
                looking(raw),
                mask,
                dg.below(
                    dg.above(masked, dg.note(f"masked scores {masked_scores.shape}")),
                    dg.note("the future is masked"),
                ),
                normalise,
                dg.below(looking(shares), dg.note("each row adds to 1"), 5, align="left"),
            ],
            [None, None, None, None, mix],
            [None, None, None, None, named(out, "out", v.shape)],
        ],
        gap=(10, 22),
        axis=2,
    )
    body = dg.column(dg.below(x_named, brace), fork, head, gap=22)
    drawing = dg.Diagram(body, "One attention head: who looks at whom, and what they bring back")
    drawing.arrow(brace, fork, head=False)
    for side, projection, part in zip(
        ("left", "bottom", "right"), wide, (queries, keys, values), strict=True
    ):
        drawing.arrow(fork, projection, leave=side, enter="top")
        drawing.arrow(projection, part)
    drawing.arrow(queries, product)
    drawing.arrow(keys, product, leave="bottom", enter="right")
    drawing.arrow(product, raw, f"scores {scores.shape}")
    drawing.flow(raw, mask, masked, normalise, shares)
    drawing.arrow(shares, mix, f"weights {weights.shape}", leave="bottom", enter="top")
    drawing.arrow(values, mix, leave="bottom", enter="right")
    drawing.arrow(mix, out)
    return drawing


def gpt_block(
    texts: Sequence[str], before: np.ndarray, after: np.ndarray, n_head: int, n_layer: int
) -> dg.Diagram:
    """A block of a GPT: what it reads from the residual stream, and what it adds. before, after: (T, C)."""
    n, c = before.shape
    shape = (n, c)

    def stream_at(
        vectors: np.ndarray, role: str, name: str, columns: Sequence[str] | None
    ) -> tuple[dg.Block, dg.Matrix]:
        body = dg.matrix(
            [*vectors[:, :3].T, ["⋮"] * n, vectors[:, -1]], role, columns=columns, format="", cell=(48, 11)
        )
        about = dg.column(
            dg.note(name, bold=True), dg.shape_note(shape), dg.note(f"{n} tokens →\n{c} numbers ↓"), gap=2
        )
        return dg.beside(body, about, "left"), body

    letters = [dg.token(text, 44) for text in texts]
    bottom, start = stream_at(before, "embedding", "token + position\nembeddings", None)
    top, end = stream_at(after, "residual", "x, to the next block", texts)
    forks, adds = [dg.dot("residual", 9) for _ in range(2)], [dg.operation("+") for _ in range(2)]
    norms = [dg.box("LayerNorm", role="parameter") for _ in range(2)]
    attend = dg.box(f"attention, {n_head} heads", f"{shape} → {shape}", role="parameter")
    think = dg.box("MLP", f"{c} → {4 * c} → {c}", role="parameter")
    dg.equal_widths(*norms, attend, think)
    inner = dg.grid(
        [
            [adds[1], dg.beside(think, dg.note("each token\nby itself"))],
            [forks[1], norms[1]],
            [
                dg.beside(adds[0], dg.note("residual\nstream"), "left"),
                dg.beside(attend, dg.note("each token looks at\nitself and earlier ones")),
            ],
            [forks[0], norms[0]],
        ],
        gap=(60, 22),
        axis=0,
    )
    frame = dg.group(inner, f"one of {n_layer} blocks (each has its own weights)", pad=16, corner="right")
    positions = [dg.token(str(i), 44) for i in range(n)]
    words = dg.column(
        dg.beside(dg.row(*letters, gap=4), dg.note("tokens"), "left"),
        dg.beside(dg.row(*positions, gap=4), dg.note("positions"), "left"),
        gap=0,
    )
    drawing = dg.Diagram(
        dg.column(top, frame, bottom, words, gap=26), "A GPT block adds to the residual stream"
    )
    stream: dict[str, Any] = {"role": "residual", "width": 5.0}
    for a, b in ((start, forks[0]), (forks[0], adds[0]), (adds[0], forks[1]), (forks[1], adds[1])):
        drawing.arrow(a, b, head=False, **stream)
    drawing.arrow(adds[1], end, **stream)
    for fork, norm, layer, add in zip(forks, norms, (attend, think), adds, strict=True):
        drawing.arrow(fork, norm, "read")
        drawing.arrow(norm, layer)
        drawing.arrow(layer, add, "add")
    for i, letter in enumerate(letters):
        drawing.arrow(letter, start.column(i))
    drawing.explain("parameter", "layers with parameters")
    return drawing


Step = tuple[str, list[str]]


def merge_word(word: str, merges: Sequence[tuple[str, str]]) -> tuple[list[dg.Tree], list[Step]]:
    """The trees of a word's tokens, and each merge with the word after it; merges are pairs, by rank."""
    trees = [dg.Tree(dg.token(letter)) for letter in word]
    texts = list(word)
    steps: list[Step] = [("letters", list(word))]
    while pairs := [pair for pair in pairwise(texts) if pair in merges]:
        best = min(pairs, key=merges.index)
        i = list(pairwise(texts)).index(best)
        texts[i : i + 2] = ["".join(best)]
        node = dg.token(texts[i], comment=f"merge {len(steps)}")
        trees[i : i + 2] = [dg.Tree(node, trees[i : i + 2])]
        steps.append((f"{len(steps)}. {' + '.join(best)}", list(texts)))
    return trees, steps


def merge_tree(word: str, merges: Sequence[tuple[str, str]]) -> dg.Diagram:
    """How byte-pair encoding joins the letters of a word: the tree, and the word after each merge."""
    trees, steps = merge_word(word, merges)
    drawn = dg.row(*(dg.tree(tree) for tree in trees), align="bottom")
    lines = []
    for i, (name, texts) in enumerate(steps):
        known = steps[max(i - 1, 0)][1]
        boxes = [dg.token(text, 28.0 * len(text) - 4, strong=text not in known) for text in texts]
        lines.append([dg.note(name), dg.row(*boxes, gap=4)])
    listing = dg.grid(lines, gap=(14, 10), align="left")
    learned = dg.column(
        dg.note("The merge rules and their order were learned"),
        dg.note("beforehand, by counting pairs in a large text."),
        gap=1,
        align="left",
    )
    steps_and_source = dg.below(listing, learned, gap=16, align="left")
    drawing = dg.Diagram(
        dg.row(drawn, steps_and_source, gap=50), f"Byte-pair encoding of “{word}”, merge by merge"
    )
    drawing.explain(dg.token("", strong=True), "just merged")
    return drawing


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
    # three units with mean 0 and standard deviation 1, so that one digit shows each number exactly
    z = np.array([[-1, 1, -1, 1], [0.2, -1.4, 1.4, -0.2], [1.4, 0.2, -0.2, -1.4]]).T
    return normalisation(
        z * (2, 0.5, 10) + (5, -0.4, 20), np.array([1.5, 1.0, 0.5]), np.array([0.0, 1.0, -1.0])
    )


@drawing
def wavenet_block() -> dg.Diagram:
    return wavenet("...barba", 32, 64, (1, 2, 4))


@drawing
def attention_head() -> dg.Diagram:
    # a seed for which each row of weights adds to exactly 1 with two digits after the point
    rng = np.random.default_rng(1974)
    token_table, position_table = rng.normal(size=(3, 8)), rng.normal(size=(4, 8))
    x = token_table[[0, 1, 1, 2]] + 0.7 * position_table
    return attention("emma", x, *(rng.normal(size=(8, 3)) / 8**0.5 for _ in range(3)))


@drawing
def block_of_a_gpt() -> dg.Diagram:
    rng = np.random.default_rng(5)
    before = rng.normal(size=(4, 48))
    return gpt_block(["The", "cat", "sat", "on"], before, before + 0.7 * rng.normal(size=(4, 48)), 4, 6)


@drawing
def merges_of_a_word() -> dg.Diagram:
    return merge_tree("newest", [("e", "s"), ("es", "t"), ("n", "e"), ("ne", "w"), ("new", "est")])


def save(figure: Figure, name: str, theme: str, folder: Path = FOLDER) -> Path:
    """Write a picture of the figure; the path says which drawing it is and under which theme."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{theme.split('_')[0]}.png"
    figure.savefig(path, dpi=100)
    return path


if __name__ == "__main__":
    for theme in ("default", "dark_background"):
        with plt.style.context(theme):
            for name, make in DRAWINGS.items():
                print(save(make().figure(), name, theme))
