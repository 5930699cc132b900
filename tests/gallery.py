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

    # look up
    letters = dg.column(*dg.tokens(context).parts, gap=16)
    numbers = dg.column(*dg.tokens([str(i) for i in ids]).parts, gap=16)
    names, lines = [], []
    for name in (".", "a", "⋮", "e", "⋮", "m", "⋮", "z"):
        names.append(name)
        lines.append(["⋮"] * table.shape[1] if name == "⋮" else list(table[LETTERS.index(name)]))
    picked = [i for i, name in enumerate(names) if name in context]
    rows = dg.matrix(lines, "parameter", rows=names, format="", cell=(11, 14), picked=picked)
    vectors = dg.matrix(embedded, "embedding", rows=context, format="", cell=(11, 18))
    look_up = dg.row(
        dg.above(letters, dg.note("letters")),
        dg.above(numbers, dg.note("ids")),
        dg.above(rows, dg.note(f"table C {table.shape}")),
        dg.above(vectors, dg.note(f"C[ids] {embedded.shape}")),
        gap=38,
    )

    # compute
    width = 11.0 * table.shape[1]
    pieces = [
        dg.above(dg.vector(vector, "embedding", cell=(11, 12)), dg.tokens([letter]), gap=0)
        for letter, vector in zip(context, embedded, strict=True)
    ]
    for piece in pieces:
        piece.parts[1].parts[0].width = width
    strip = dg.row(*pieces, gap=0)
    first, second = dg.operation("ReLU(x W₁ + b₁)"), dg.operation("h W₂ + b₂")
    weights = dg.box(f"W₁ {w1.shape}, b₁ {b1.shape[0]}", role="parameter")
    weights2 = dg.box(f"W₂ {w2.shape}, b₂ {b2.shape[0]}", role="parameter")
    h = dg.vector([*hidden[:18], "…", *hidden[-8:]], "hidden", cell=(14, 14))
    z = dg.vector(logits, "output", cell=(14, 14))
    normalise = dg.operation("softmax")
    p = dg.bars(softmax(logits), LETTERS)
    compute = dg.column(
        dg.beside(strip, dg.shape_note(x.shape)),
        dg.beside(first, weights, "left", 26),
        dg.beside(h, dg.shape_note(hidden.shape)),
        dg.beside(second, weights2, "left", 26),
        dg.beside(z, dg.shape_note(logits.shape)),
        normalise,
        dg.beside(p, dg.shape_note(logits.shape)),
        gap=20,
    )
    drawing = dg.Diagram(dg.column(look_up, compute, gap=34), f"From three letters to the next: {context} → ?")
    for i, name in enumerate(context):
        drawing.arrow(letters.parts[i], numbers.parts[i])
        drawing.arrow(numbers.parts[i], rows.row(names.index(name)), leave="right", enter="left")
        drawing.arrow(rows.row(names.index(name)), vectors.row(i), leave="right", enter="left")
    drawing.arrow(vectors, strip, "side by side", leave="bottom", enter="top")
    drawing.flow(strip, first, h, second, z, normalise, p)
    drawing.flow(weights, first)
    drawing.flow(weights2, second)
    return drawing


def normalisation(values: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> dg.Diagram:
    """A batch (N, C) before and after batch normalisation, with the means and deviations of its columns."""
    normalised = (values - values.mean(axis=0)) / values.std(axis=0)
    scaled = gamma * normalised + beta
    examples = [f"example {i + 1}" for i in range(len(values))]
    units = [f"unit {j + 1}" for j in range(values.shape[1])]

    def panel(numbers: np.ndarray, role: str, name: str, rows: Sequence[str] | None) -> tuple[dg.Block, dg.Matrix]:
        body = dg.matrix(numbers, role, rows=rows, columns=units, header_role="plain", cell=(44, 20))
        sums = dg.matrix(
            [numbers.mean(axis=0) + 0.0, numbers.std(axis=0)],
            "plain",
            rows=["mean", "std"] if rows else None,
            header_role="plain",
            cell=(44, 18),
        )
        return dg.above(dg.column(body, sums, gap=8, align="right"), dg.note(name, bold=True)), body

    before, x = panel(values, "hidden", f"x {values.shape}", examples)
    middle, x_hat = panel(np.round(normalised, 9), "hidden", "x̂: each column mean 0, std 1", None)
    after, y = panel(scaled, "hidden", "y = γ x̂ + β", None)
    standardise, stretch = dg.operation("x − mean\nstd"), dg.operation("γ x̂ + β")
    learned = dg.matrix(
        [gamma, beta], "parameter", rows=["γ", "β"], header_role="plain", cell=(38, 18)
    )
    drawing = dg.Diagram(
        dg.row(before, standardise, middle, dg.above(stretch, learned, gap=24), after, gap=24),
        "Batch normalisation works down the columns: each unit over the examples of the batch",
    )
    drawing.flow(x, standardise, x_hat, stretch, y)
    drawing.flow(learned, stretch)
    return drawing


def wavenet(n_channels: int, n_skip: int, dilations: Sequence[int]) -> dg.Diagram:
    """The stack of dilated causal convolutions, and one of its gated blocks."""
    n_inputs = 1 + sum(dilations)
    levels = [[dg.node(role="hidden") for _ in range(n_inputs)] for _ in range(len(dilations) + 1)]
    raise NotImplementedError


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
