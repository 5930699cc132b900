"""Figures that several lectures draw. Each takes arrays and returns a matplotlib figure; nothing is computed here."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from .layout import layered_layout

# Okabe and Ito 2008: eight colours that stay apart for colour-blind readers
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW, BLACK = COLORS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#F0E442",
    "#000000",
)
DASHES = ("-", "--", "-.", ":")  # because one curve may cover another


def use_style() -> None:
    """The look of every figure in the course: size in inches, fonts, colours; white also under a dark theme."""
    if getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)() is not None:
        from matplotlib_inline.config import InlineBackend

        # in a notebook: the layout leaves nothing to crop, so do not draw every figure twice for it
        InlineBackend.instance().print_figure_kwargs = {"bbox_inches": None}
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.8),
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.h_pad": 0.08,
            "figure.constrained_layout.w_pad": 0.08,
            "axes.prop_cycle": plt.cycler(color=COLORS[:6]),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.labelsize": 10.5,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "legend.frameon": False,
            "lines.linewidth": 2.0,
            "image.cmap": "cividis",
        }
    )


def graph(
    labels: Sequence[str],
    edges: Sequence[tuple[int, int]],
    edge_labels: Sequence[str] | None = None,
    title: str = "",
    colors: Sequence[str] | None = None,
) -> Figure:
    """A computation graph as boxes joined by arrows, read from left to right.

    `labels` may run over several lines; `edges` are pairs (from, to) of positions in `labels`.
    """
    places = np.array(layered_layout(len(labels), edges)) * (2.8, 1.0)  # boxes are wider than high
    lines = max(label.count("\n") for label in labels) + 1
    places[:, 1] *= 0.3 + 0.35 * lines
    extent = places.max(axis=0) - places.min(axis=0)
    figure, axes = plt.subplots(figsize=(min(1.6 + 0.72 * extent[0], 12), 1.3 + 0.62 * extent[1]))
    repeats: dict[tuple[int, int], int] = {}
    for i, (a, b) in enumerate(edges):
        nth = repeats[a, b] = repeats.get((a, b), -1) + 1
        bend = 0.0 if edges.count((a, b)) == 1 else 0.25 * (-1) ** nth
        style = {"arrowstyle": "-|>", "color": "0.45", "shrinkA": 24, "shrinkB": 27, "lw": 1.1}
        axes.annotate("", places[b], places[a], arrowprops={**style, "connectionstyle": f"arc3,rad={bend}"})
        if edge_labels is not None:
            along = places[b] - places[a]
            spot = places[a] + 0.4 * along - (0, 0.55 * bend * np.hypot(*along))
            clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            axes.text(*spot, edge_labels[i], ha="center", va="center", fontsize=8.5, color=RED, bbox=clear)
    for i, (place, label) in enumerate(zip(places, labels, strict=True)):
        face = colors[i] if colors is not None else "#EAF3FA"
        box = {"boxstyle": "round,pad=0.35", "facecolor": face, "edgecolor": BLUE, "linewidth": 1.1}
        axes.text(*place, label, ha="center", va="center", fontsize=8.5, family="monospace", bbox=box)
    axes.set_xlim(places[:, 0].min() - 1.2, places[:, 0].max() + 1.2)
    axes.set_ylim(places[:, 1].max() + 0.75, places[:, 1].min() - 0.75)
    axes.axis("off")
    axes.set_title(title)
    return figure


def heatmap(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    labels: tuple[str, str, str],
    annotate: bool = False,
) -> Figure:
    """A matrix (len(rows), len(columns)) as colours; `labels` name the rows, the columns and the unit of the values.

    With `annotate` each cell also holds its value as text, cells of value 0 are grey and empty, and the colours are
    spread out where values are small.
    """
    values = np.asarray(values)
    if values.shape != (len(rows), len(columns)):
        raise ValueError(
            f"values of shape {values.shape} do not fit {len(rows)} rows and {len(columns)} columns"
        )
    scale = 0.42 if annotate else 0.22
    size = (scale * len(columns) + 2.0, scale * len(rows) + (0.7 if annotate else 2.0))
    figure, axes = plt.subplots(figsize=size)
    if annotate:
        shades = plt.get_cmap("Blues").with_extremes(bad="0.9")
        image = axes.imshow(np.ma.masked_equal(values, 0), cmap=shades, norm=PowerNorm(0.4))
        for (i, j), value in np.ndenumerate(values):
            color = "white" if value > 0.25 * values.max() else "0.15"
            number = f"{value:.0f}" if value else ""
            axes.text(j, i, number, ha="center", va="center", fontsize=7, color=color, in_layout=False)
    else:
        image = axes.imshow(values)
    axes.grid(False)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, ylabel=labels[0], xlabel=labels[1])
    figure.colorbar(image, label=labels[2], shrink=0.8)
    return figure


def curves(
    x: Sequence[float],
    ys: Mapping[str, Sequence[float]],
    title: str,
    labels: tuple[str, str],
    levels: Mapping[str, float] | None = None,
    log_x: bool = False,
) -> Figure:
    """One curve for each entry of `ys` over the same `x`, and a named dashed line at each of the `levels`."""
    figure, axes = plt.subplots()
    styles = zip(ys.items(), "osD^v<" * len(ys), DASHES * len(ys), strict=False)
    for (name, y), marker, dashes in styles:
        axes.plot(x, y, label=name, linestyle=dashes, marker=marker if len(x) <= 20 else None, markersize=5)
    for (name, level), color in zip((levels or {}).items(), ("0.35", "0.6", "0.15") * 9, strict=False):
        axes.axhline(level, color=color, linestyle="--", linewidth=1.2)
        axes.annotate(
            name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9
        )
    if log_x:
        axes.set_xscale("log")
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1])
    if len(ys) > 1:
        axes.legend()
    return figure


def histograms(
    parts: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    title: str,
    labels: tuple[str, str],
    axes: Axes | None = None,
) -> Figure:
    """One outline for each entry of `parts`, (bin centres, density), from dark (first layer) to light (last)."""
    if axes is None:
        _, axes = plt.subplots()
    shades = plt.get_cmap("cividis")(np.linspace(0, 0.9, max(len(parts), 1)))
    for shade, dashes, (name, (centres, density)) in zip(
        shades, DASHES * len(parts), parts.items(), strict=False
    ):
        axes.plot(centres, density, color=shade, linestyle=dashes, linewidth=1.6, label=name)
    axes.set(title=title, xlabel=labels[0], ylabel=labels[1])
    if len(parts) > 1:
        axes.legend(fontsize=8.5)
    return axes.figure
