"""The single things of a drawing: boxes, operations, tokens, matrices, bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .blocks import Block, Box, Grid, Note, Region
from .layouts import column, equal_widths, row
from .routing import Point
from .style import (
    LABEL,
    LEFT_OUT,
    LETTER,
    NAME,
    NUMBER,
    PAPER,
    ROLES,
    SHAPE,
    TINT,
    Font,
    Shape,
    role_color,
    shape_text,
    text_size,
    tinted,
)


def box(
    text: str,
    shape: Shape = "",
    role: str = "hidden",
    sheets: int = 0,
    width: float = 0.0,
) -> Box:
    """A named thing with its shape below the name; `sheets` behind it stand for further examples of a batch."""
    lines = [(line, NAME) for line in text.split("\n")]
    if shape:
        lines.append((shape_text(shape), SHAPE))
    return Box(lines, role, sheets=sheets, least=(width, 0.0))


def tensor(text: str, shape: Shape, role: str = "hidden") -> Box:
    """A pile of sheets with a name and a shape: a tensor whose first dimension is the batch."""
    return box(text, shape, role, sheets=2)


def operation(text: str) -> Box:
    """What is done with the numbers: a circle around a sign such as + or ×, a box around words."""
    if len(text) <= 1 or text in ("$\\sigma$",):
        return Box([(text, Font(13))], "operation", circle=True, least=(21.0, 21.0))
    return Box([(line, NAME) for line in text.split("\n")], "operation")


def dot(role: str = "operation", size: float = 7.0, strong: bool = True) -> Box:
    """A point where a line branches, or one unit of a layer; not `strong` ones are pale."""
    color = role_color(role)
    face, border = (color, color) if strong else (tinted(color, 0.12), tinted(color, 0.5))
    return Box([], role, face=face, border=border, circle=True, least=(size, size))


def note(text: str, bold: bool = False) -> Note:
    """A few words without a box."""
    return Note(text, Font(9, "bold" if bold else "normal"))


def shape_note(shape: Shape) -> Note:
    """A shape without a box, to stand beside what has it."""
    return Note(shape_text(shape), SHAPE)


def token(text: str, width: float = 24.0, strong: bool = False, comment: str = "") -> Box:
    """A letter, a token or an id, with a comment below it; a `strong` one catches the eye."""
    face = tinted(ROLES["token"].color, 0.85) if strong else None
    lines = [(text, LETTER), *([(comment, NUMBER)] if comment else [])]
    return Box(lines, "token", face, pad=(7, 4), least=(width, 0))


def tokens(texts: Sequence[str], gap: float = 8.0, upright: bool = False) -> Grid:
    """A row (or a column, `upright`) of equally wide token boxes, which are its `parts`."""
    boxes = [token(text) for text in texts]
    equal_widths(*boxes)
    return column(*boxes, gap=gap) if upright else row(*boxes, gap=gap)


class Matrix(Grid):
    """Numbers as cells. `row(i)`, `column(j)` and `cell(i, j)` can be ends of arrows; headers belong to them."""

    solid = True

    def __init__(self, body: list[list[Box]], left: list[Box], top: list[Box]):
        corner: list[Block | None] = [None] if left else []
        rows: list[list[Block | None]] = [[*corner, *top]] if top else []
        rows += [[*left[i : i + 1], *cells] for i, cells in enumerate(body)]
        super().__init__(rows, (0.0, 0.0))
        self.body, self.left, self.top = body, left, top

    def arrange(self, spread: float) -> list[Point]:
        """Rows line matrices up by the middle of their numbers, without the names of the columns."""
        offsets = super().arrange(spread)
        self.axis_y = sum(cells[0].height for cells in self.body) / 2
        return offsets

    def cell(self, i: int, j: int) -> Box:
        return self.body[i][j]

    def row(self, i: int) -> Region:
        return Region([*self.left[i : i + 1], *self.body[i]])

    def column(self, j: int) -> Region:
        return Region([*self.top[j : j + 1], *(cells[j] for cells in self.body)])


def matrix(
    values: Sequence[Sequence[float | str | None] | np.ndarray] | np.ndarray,
    role: str = "hidden",
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    format: str = ".2f",
    header_role: str = "token",
    cell: tuple[float, float] = (0.0, 0.0),
    picked: Sequence[int] | None = None,
    shade: bool = True,
    limits: tuple[float, float] | None = None,
) -> Matrix:
    """A matrix (len(values), len(values[0])) as cells, with names for its `rows` and `columns`.

    The darker a cell, the larger its number, signs counted: the lowest number is pale, the highest dark. `limits`, the
    numbers that are palest and darkest, give several matrices one scale; `shade=False` gives all numbers one colour.
    `None` and minus infinity are white. Texts are drawn as they are; "…", "⋮" and "" stand for cells that are left
    out. With `format=""` the cells are small and hold no numbers. `picked` are rows that stand out from the others,
    which are all paler.
    """
    n_columns = {len(line) for line in values}
    if len(n_columns) != 1:
        raise ValueError("each row of a matrix has the same number of cells and there is at least one row")
    if (rows is not None and len(rows) != len(values)) or (
        columns is not None and {len(columns)} != n_columns
    ):
        raise ValueError(
            f"rows and columns need one name each, got {len(rows or ())} and {len(columns or ())} names for "
            f"{len(values)} rows of {n_columns.pop()} cells"
        )
    numbers = [float(v) for line in values for v in line if _is_number(v) and np.isfinite(v)]
    low, high = limits or (min(numbers, default=0.0), max(numbers, default=1.0))
    texts = [[_cell_text(v, format) for v in line] for line in values]
    widest = max((text_size(t, NUMBER)[0] for line in texts for t in line if t), default=0.0)
    heads = [*(columns or ())]
    named = [_header(t, header_role, (0.0, 0.0)) for t in heads]
    width = max(
        [cell[0], widest + 5 if format else max(widest + 1, 9.0), *(header.width for header in named)]
    )
    height = max(cell[1], 18.0 if format else 9.0)
    body = [
        [
            _cell(t, v, role, (low, high) if shade else None, (width, height), picked is None or i in picked)
            for t, v in zip(line, values[i], strict=True)
        ]
        for i, line in enumerate(texts)
    ]
    return Matrix(
        body,
        [_header(text, header_role, (0.0, height)) for text in rows or ()],
        [_header(text, header_role, (width, 0.0)) for text in heads],
    )


def _is_number(value: float | str | None) -> TypeGuard[float]:
    return value is not None and not isinstance(value, str)


def _cell_text(value: float | str | None, format: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:{format}}".replace("-", "−").replace("inf", "∞") if format else ""


def _cell(
    text: str,
    value: float | str | None,
    role: str,
    limits: tuple[float, float] | None,
    size: tuple[float, float],
    picked: bool,
) -> Box:
    color = role_color(role)
    if value in LEFT_OUT:
        return Box(
            [(text, NUMBER)] if text else [], "plain", face=PAPER, pad=(0, 0), least=size, border="none"
        )
    if isinstance(value, str):
        face = tinted(color, TINT)
    elif value is None or np.isneginf(value) or np.isnan(value):
        face = PAPER
    else:
        share = _share(float(value), *limits) if limits else 0.0
        face = tinted(color, 0.06 + 0.74 * share) if picked else tinted(color, 0.05 + 0.12 * share)
    border = tinted(color, 0.85 if picked else 0.4)
    lines = [(text, NUMBER)] if text else []
    return Box(lines, role, face=face, pad=(0, 0), least=size, border=border, corner=0, linewidth=0.9)


def _share(value: float, low: float, high: float) -> float:
    """How far `value` lies on the way from `low` to `high`, 0 to 1; one half where there is no way."""
    if value <= low < high:
        return 0.0
    if value >= high > low:
        return 1.0
    return (value - low) / (high - low) if low < high else 0.5


def _header(text: str, role: str, least: tuple[float, float]) -> Box:
    if role == "token" and text not in LEFT_OUT:
        return Box([(text, LETTER)], role, pad=(4.5, 2), least=least, corner=0, linewidth=0.9)
    return Box([(text, LABEL)] if text else [], "plain", face=PAPER, pad=(3, 2.5), least=least, border="none")


def vector(
    values: Sequence[float | str | None] | np.ndarray,
    role: str = "hidden",
    format: str = "",
    vertical: bool = False,
    names: Sequence[str] | None = None,
    cell: tuple[float, float] = (0.0, 0.0),
    limits: tuple[float, float] | None = None,
) -> Matrix:
    """A strip of cells, shaded as in a matrix; `names` stand before (or, for a row, above) the cells."""
    if vertical:
        return matrix([[v] for v in values], role, rows=names, format=format, cell=cell, limits=limits)
    return matrix([list(values)], role, columns=names, format=format, cell=cell, limits=limits)


class Bars(Block):
    """Numbers from 0 on as bars over their names."""

    solid = True

    def __init__(
        self, values: Sequence[float] | np.ndarray, names: Sequence[str], role: str, height: float, bar: float
    ):
        super().__init__()
        if len(values) != len(names) or not len(values):
            raise ValueError(f"each bar has one name, got {len(values)} values and {len(names)} names")
        if min(values) < 0 or not max(values) > 0:
            raise ValueError("bars show numbers from 0 on, at least one of them above 0")
        self.values, self.role, self.rise = [float(v) for v in values], role, height
        self.bar = max(bar, *(text_size(name, LETTER)[0] + 4 for name in names))
        self.names = [_header(name, "token", (self.bar, 0.0)) for name in names]
        self.parts = list(self.names)
        self.color = role_color(role)

    def role_names(self) -> Iterator[str]:
        yield self.role

    def arrange(self, spread: float) -> list[Point]:
        bar = self.bar = max(self.bar, *(name.width for name in self.names))
        self.set_size(bar * len(self.values), self.rise + self.names[0].height)
        return [(i * bar, 0.0) for i in range(len(self.values))]

    def paint(self, axes: Axes, number: int) -> None:
        bottom, bar = self.y + self.names[0].height, self.bar
        ground = Rectangle((self.x, bottom), self.width, self.rise)
        ground.set(
            facecolor=tinted(self.color, 0.07), edgecolor=tinted(self.color, 0.85), linewidth=1.1, zorder=3
        )
        ground.set_gid(f"box {number}")
        axes.add_patch(ground)
        for i, value in enumerate(self.values):
            height = (self.rise - 5) * value / max(self.values)
            column = Rectangle((self.x + (i + 0.18) * bar, bottom), 0.64 * bar, height)
            column.set(facecolor=self.color, edgecolor="none", zorder=3.5, gid=f"bar {number}")
            axes.add_patch(column)


def bars(
    values: Sequence[float] | np.ndarray,
    names: Sequence[str],
    role: str = "output",
    height: float = 46.0,
    bar: float = 14.0,
) -> Bars:
    """Probabilities (or other numbers from 0 on) as bars above the names of what they belong to."""
    return Bars(values, names, role, height, bar)
