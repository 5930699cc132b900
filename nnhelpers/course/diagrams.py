"""A pen for structure: boxes, tensors, table look-ups, trees and graphs, joined by arrows. Plain matplotlib.

A drawing says what stands beside or above what and what flows where; places follow from the sizes of the texts::

    x, layer = box("x", (32, 30), role="embedding"), box("linear", role="operation")
    drawing = Diagram(row(x, layer, box("h", (32, 200), role="hidden")))
    drawing.flow(x, layer)
    drawing.figure()

The same thing has the same colour in every lecture (Okabe and Ito 2008, safe for colour-blind readers), and a legend
names the roles that a drawing uses:

    token       orange            letters, tokens and their ids
    embedding   sky blue          rows of a look-up table, vectors that stand for tokens
    hidden      blue              what layers compute in between
    output      green             logits and probabilities
    parameter   reddish purple    what training changes
    operation   white, dark edge  what is done with the numbers
    residual    vermilion         the residual stream; also local derivatives on the arrows of a graph
    plain       grey              everything else

All lengths are in points (1/72 inch), y upwards. Each figure brings its own faces and text colours, so it looks the
same under every theme of matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import hypot
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.text import Text

from .routing import (
    DIRECTIONS,
    OPPOSITE,
    Point,
    Rect,
    around,
    clear,
    label_spot,
    ports,
    route,
    straight,
)

PAPER = "#FFFFFF"
# cells with one of these stand for cells that are left out
LEFT_OUT = ("…", "⋮", "")
INK = "#1C1C1C"
LINE = "#4A4A4A"


class Role(NamedTuple):
    color: str
    meaning: str


ROLES = {
    "token": Role("#E69F00", "tokens, ids"),
    "embedding": Role("#56B4E9", "embeddings"),
    "hidden": Role("#0072B2", "hidden values"),
    "output": Role("#009E73", "logits, probabilities"),
    "parameter": Role("#CC79A7", "parameters"),
    "operation": Role("#5A5A5A", "operations"),
    "residual": Role("#D55E00", "residual stream"),
    "plain": Role("#8A8A8A", ""),
}
# how far a line's baseline lies below its middle, in sizes of the font
BASELINE = 0.32
# the share of the role's colour in a face
TINT = 0.30
# vermilion, darkened until it can be read on white
SLOPE = "#A34700"

# points: between blocks of a row or a column
GAP = 26.0
HEAD = 7.0
CORNER = 2.2


class Font(NamedTuple):
    size: float = 10.0
    weight: str = "normal"
    family: str = "DejaVu Sans"


NAME, SHAPE, LABEL = Font(10), Font(8.5, family="DejaVu Sans Mono"), Font(9)
LETTER, NUMBER, TITLE = Font(10.5, "bold", "DejaVu Sans Mono"), Font(8.5), Font(12, "bold")

Shape = Sequence[int | str] | str


# ---------------------------------------------------------------------------------------------------------- colours


def tinted(color: str, share: float) -> str:
    """`share` of the colour, the rest white."""
    return to_hex(tuple(1 - share * (1 - channel) for channel in to_rgb(color)))


def luminance(color: str) -> float:
    """Relative luminance, 0 (black) to 1 (white), as in WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ink_on(face: str) -> str:
    """The text colour that stands out on `face`: dark or white."""
    return INK if (luminance(face) + 0.05) / (luminance(INK) + 0.05) >= 5 else PAPER


def role_color(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f"a role is one of {', '.join(ROLES)}, got {role!r}")
    return ROLES[role].color


# ------------------------------------------------------------------------------------------------------------- text


def _text(x: float, y: float, text: str, font: Font, color: str) -> Text:
    """Text centred at a point. A line of letters is centred by its font, so that a, d and g share their baseline."""
    single = "$" not in text and "\n" not in text
    return Text(
        x,
        y - BASELINE * font.size if single else y,
        text,
        color=color,
        fontsize=font.size,
        fontweight=font.weight,
        fontfamily=font.family,
        math_fontfamily="dejavusans",
        usetex=False,
        ha="center",
        va="baseline" if single else "center",
    )


@cache
def text_size(text: str, font: Font = NAME) -> tuple[float, float]:
    """Width and height in points, measured by the renderer.

    Hinting moves letters to whole pixels, so the same text is up to 4% wider at one resolution than at another: the
    largest size over the usual resolutions counts.
    """
    sizes = []
    for dpi in (72, 100, 144, 200):
        figure = Figure(dpi=dpi)
        artist = _text(0, 0, text, font, INK)
        artist.set_figure(figure)
        extent = artist.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        sizes.append((extent.width * 72 / dpi, max(extent.height * 72 / dpi, 1.2 * font.size)))
    return max(width for width, _ in sizes), max(height for _, height in sizes)


def shape_text(shape: Shape) -> str:
    """(32, 3, 10) as "(32, 3, 10)"; a string stays as it is."""
    if isinstance(shape, str):
        return shape
    return f"({', '.join(str(n) for n in shape)}{',' if len(shape) == 1 else ''})"


# ----------------------------------------------------------------------------------------------------------- blocks


class Block:
    """Something with a size that gets its place when the diagram is drawn.

    Rows and columns line their blocks up by the axes: `axis_x` and `axis_y`, from the lower left corner.
    """

    solid = False  # no arrow runs through a solid block

    def __init__(self) -> None:
        self.width = self.height = self.axis_x = self.axis_y = 0.0
        self.x = self.y = 0.0
        self.parts: list[Block] = []
        self.arrows: list[Arrow] = []

    @property
    def frame(self) -> Rect:
        """Where it stands, once the diagram was drawn."""
        return Rect(self.x, self.y, self.x + self.width, self.y + self.height)

    def arrange(self, spread: float) -> list[Point]:
        """Set the own size and axes for gaps that are `spread` times as wide; the places of the parts in it."""
        return []

    def place(self, x: float, y: float) -> None:
        self.x, self.y = x, y
        for part, (dx, dy) in zip(self.parts, self.offsets, strict=True):
            part.place(x + dx, y + dy)

    def measure(self, spread: float) -> None:
        for part in self.parts:
            part.measure(spread)
        self.offsets = self.arrange(spread)

    def all(self) -> Iterator[Block]:
        """This block and everything in it."""
        yield self
        for part in self.parts:
            yield from part.all()

    def role_names(self) -> Iterator[str]:
        yield from ()

    def paint(self, axes: Axes, number: int) -> None:
        """Draw what belongs to the block itself; the parts are drawn after it."""

    def _size(self, width: float, height: float) -> None:
        self.width, self.height, self.axis_x, self.axis_y = width, height, width / 2, height / 2


class Box(Block):
    """Lines of text in a rectangle, a circle, or on a pile of sheets, which stand for the batch."""

    solid = True

    def __init__(
        self,
        lines: Sequence[tuple[str, Font]],
        role: str = "plain",
        face: str | None = None,
        pad: tuple[float, float] = (9.0, 6.0),
        least: tuple[float, float] = (0.0, 0.0),
        circle: bool = False,
        sheets: int = 0,
        border: str | None = None,
        corner: float = CORNER,
        linewidth: float = 1.1,
    ):
        super().__init__()
        self.corner, self.linewidth = corner, linewidth
        self.lines, self.role, self.circle, self.sheets = list(lines), role, circle, sheets
        color = role_color(role)
        pale = PAPER if role == "operation" else tinted(color, 0.12 if role == "plain" else TINT)
        self.face = face or pale
        self.border = border or color
        sizes = [text_size(text, font) for text, font in lines]
        self.text_height = sum(h for _, h in sizes) + 2.5 * max(len(sizes) - 1, 0)
        width = max([w for w, _ in sizes], default=0) + 2 * pad[0]
        height = self.text_height + 2 * pad[1]
        width, height = max(width, least[0]), max(height, least[1])
        if circle:
            width = height = max(hypot(*text_size(*lines[0])) + 4, least[0], least[1]) if lines else least[0]
        self._size(width + self.SHEET * sheets, height + self.SHEET * sheets)

    SHEET = 3.5

    def role_names(self) -> Iterator[str]:
        yield self.role

    def paint(self, axes: Axes, number: int) -> None:
        offset = self.SHEET * self.sheets
        w, h = self.width - offset, self.height - offset
        for sheet in range(self.sheets, -1, -1):
            x, y = self.x + self.SHEET * sheet, self.y + self.SHEET * sheet
            patch: Circle | FancyBboxPatch
            if self.circle:
                patch = Circle((x + w / 2, y + h / 2), w / 2)
            else:
                patch = FancyBboxPatch((x, y), w, h, boxstyle=f"round,pad=0,rounding_size={self.corner}")
            face = "none" if self.border == "none" else self.face
            patch.set(facecolor=face, edgecolor=self.border, linewidth=self.linewidth, zorder=3)
            patch.set_gid(f"box {number}" if sheet == 0 else f"sheet {number}")
            axes.add_patch(patch)
        top = self.y + h / 2 + self.text_height / 2
        for text, font in self.lines:
            height = text_size(text, font)[1]
            artist = _text(self.x + w / 2, top - height / 2, text, font, ink_on(self.face))
            artist.set(zorder=4, gid=f"text {number}")
            axes.add_artist(artist)
            top -= height + 2.5


class Note(Block):
    """Text without a box, straight on the paper."""

    solid = True

    def __init__(self, text: str, font: Font = LABEL, color: str = INK):
        super().__init__()
        self.text, self.font, self.color = text, font, color
        width, height = text_size(text, font)
        self._size(width + 4, height + 2)

    def paint(self, axes: Axes, number: int) -> None:
        artist = _text(*self.frame.centre, self.text, self.font, self.color)
        artist.set(zorder=4, gid=f"note {number}")
        axes.add_artist(artist)


class Space(Block):
    """Nothing, of a certain size."""

    def __init__(self, width: float = 0.0, height: float = 0.0):
        super().__init__()
        self._size(width, height)


class Region(Block):
    """Some blocks of the drawing taken together, as one end of an arrow: a row of a table, say."""

    def __init__(self, members: Sequence[Block]):
        super().__init__()
        self.members = list(members)

    @property
    def frame(self) -> Rect:
        return around([member.frame for member in self.members])


class Grid(Block):
    """Blocks in rows and columns, lined up by their axes, or by their edges."""

    def __init__(
        self,
        rows: Sequence[Sequence[Block | None]],
        gap: tuple[float, float],
        align: str = "axis",
        axis: int | None = None,
    ):
        super().__init__()
        if align not in ("axis", "left", "right", "top", "bottom", "stretch"):
            raise ValueError(f"align is axis, left, right, top, bottom or stretch, got {align!r}")
        self.cells = [
            (i, j, block) for i, row in enumerate(rows) for j, block in enumerate(row) if block is not None
        ]
        self.n_rows, self.n_columns = len(rows), max((len(row) for row in rows), default=0)
        self.gap, self.align = gap, align
        self.axis_column = 0 if axis is None and self.n_columns == 1 and align == "axis" else axis
        self.parts = [block for _, _, block in self.cells]

    def _anchor(self, block: Block) -> Point:
        x = {"left": 0.0, "right": block.width}.get(self.align, block.axis_x)
        y = {"bottom": 0.0, "top": block.height, "stretch": block.height}.get(self.align, block.axis_y)
        return x, y

    def _stretch_groups(self) -> None:
        for i in range(self.n_rows):
            members = [block for k, _, block in self.cells if k == i]
            height = max((block.height for block in members), default=0.0)
            for block in members:
                if isinstance(block, Group):
                    block.stretch(height)

    def arrange(self, spread: float) -> list[Point]:
        if self.align == "stretch":
            self._stretch_groups()
        before, after = np.zeros(self.n_columns), np.zeros(self.n_columns)
        below, above = np.zeros(self.n_rows), np.zeros(self.n_rows)
        for i, j, block in self.cells:
            x, y = self._anchor(block)
            before[j], after[j] = max(before[j], x), max(after[j], block.width - x)
            below[i], above[i] = max(below[i], y), max(above[i], block.height - y)
        h_gap, v_gap = spread * self.gap[0], spread * self.gap[1]
        lefts = np.cumsum([0.0, *(before + after + h_gap)])[: self.n_columns]
        self.width = float(sum(before + after) + h_gap * max(self.n_columns - 1, 0))
        self.height = float(sum(below + above) + v_gap * max(self.n_rows - 1, 0))
        tops = self.height - np.cumsum([0.0, *(below + above + v_gap)])[: self.n_rows]
        columns, rows = lefts + before, tops - above
        self.axis_x = self.width / 2 if self.axis_column is None else float(columns[self.axis_column])
        self.axis_y = float(rows[0]) if self.n_rows == 1 and self.align == "axis" else self.height / 2
        anchors = [self._anchor(block) for _, _, block in self.cells]
        return [
            (float(columns[j] - x), float(rows[i] - y))
            for (i, j, _), (x, y) in zip(self.cells, anchors, strict=True)
        ]


class Attached(Block):
    """A block with another at its side, which does not move the axes."""

    def __init__(self, main: Block, extra: Block, side: str, gap: float):
        super().__init__()
        if side not in DIRECTIONS:
            raise ValueError(f"side is left, right, top or bottom, got {side!r}")
        self.parts, self.side, self.gap = [main, extra], side, gap

    def arrange(self, spread: float) -> list[Point]:
        main, extra = self.parts
        gap = self.gap * spread
        x, y = main.axis_x - extra.axis_x, main.axis_y - extra.axis_y
        if self.side in ("left", "right"):
            x = main.width + gap if self.side == "right" else -gap - extra.width
        else:
            y = main.height + gap if self.side == "top" else -gap - extra.height
        left, bottom = min(0.0, x), min(0.0, y)
        self.width = max(main.width, x + extra.width) - left
        self.height = max(main.height, y + extra.height) - bottom
        self.axis_x, self.axis_y = main.axis_x - left, main.axis_y - bottom
        return [(-left, -bottom), (x - left, y - bottom)]


class Group(Block):
    """A soft frame with a label in an upper corner around a block."""

    def __init__(self, body: Block, label: str, role: str, pad: float, corner: str):
        super().__init__()
        if corner not in ("left", "right"):
            raise ValueError(f"the label's corner is left or right, got {corner!r}")
        self.parts, self.pad, self.role, self.corner = [body], pad, role, corner
        self.color = role_color(role)
        if label:
            self.parts.append(Note(label, Font(9, "bold")))

    def role_names(self) -> Iterator[str]:
        yield self.role

    def arrange(self, spread: float) -> list[Point]:
        body, labels = self.parts[0], self.parts[1:]
        pad, head = self.pad, sum(label.height + 2 for label in labels)
        inner = max(body.width, *(label.width for label in labels), 0.0)
        left = pad + (inner - body.width) / 2
        self.width, self.height = inner + 2 * pad, body.height + 2 * pad + head
        self.axis_x, self.axis_y = left + body.axis_x, pad + body.axis_y
        spots = [(left, pad)]
        for label in labels:
            x = 6.0 if self.corner == "left" else self.width - label.width - 6.0
            spots.append((x, self.height - label.height - 5.0))
        return spots

    def stretch(self, height: float) -> None:
        """Make the frame higher; its body stays in the middle, its label at the top."""
        extra = max(height - self.height, 0.0)
        (x, y), *labels = self.offsets
        self.offsets = [(x, y + extra / 2), *((a, b + extra) for a, b in labels)]
        self.height += extra
        self.axis_y += extra / 2

    def paint(self, axes: Axes, number: int) -> None:
        frame = FancyBboxPatch(
            (self.x, self.y), self.width, self.height, boxstyle="round,pad=0,rounding_size=6"
        )
        frame.set(facecolor=tinted(self.color, 0.07), edgecolor=tinted(self.color, 0.55), linewidth=1, zorder=1)
        frame.set_gid(f"frame {number}")
        axes.add_patch(frame)


class Fixed(Block):
    """Blocks whose places (of their lower left corners) a function tells once their sizes are known."""

    def __init__(self, parts: Sequence[Block], places: Callable[[float], list[Point]]):
        super().__init__()
        self.parts, self.places = list(parts), places

    def arrange(self, spread: float) -> list[Point]:
        places = self.places(spread)
        frames = [Rect(x, y, x + b.width, y + b.height) for b, (x, y) in zip(self.parts, places, strict=True)]
        whole = around(frames)
        self._size(whole.width, whole.height)
        return [(x - whole.left, y - whole.bottom) for x, y in places]


# ------------------------------------------------------------------------------------------------------ single things


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


def space(width: float = 0.0, height: float = 0.0) -> Space:
    """Room in a row or a column."""
    return Space(width, height)


def token(text: str, width: float = 24.0, strong: bool = False) -> Box:
    """A letter, a token or an id; a `strong` one catches the eye."""
    face = tinted(ROLES["token"].color, 0.85) if strong else None
    return Box([(text, LETTER)], "token", face, pad=(7, 4), least=(width, 0))


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

    def cell(self, i: int, j: int) -> Box:
        return self.body[i][j]

    def row(self, i: int) -> Region:
        return Region([*self.left[i : i + 1], *self.body[i]])

    def column(self, j: int) -> Region:
        return Region([*self.top[j : j + 1], *(cells[j] for cells in self.body)])


def matrix(
    values: Sequence[Sequence[float | str | None]] | np.ndarray,
    role: str = "hidden",
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    format: str = ".2f",
    header_role: str = "token",
    cell: tuple[float, float] = (0.0, 0.0),
    picked: Sequence[int] | None = None,
    shade: bool = True,
) -> Matrix:
    """A matrix (len(values), len(values[0])) as cells, with names for its `rows` and `columns`.

    The stronger the colour, the larger the number in size (unless `shade` is off); texts are drawn as they are and `None` as an empty grey
    cell. With `format=""` the cells are small and hold no numbers. `picked` are rows that stand out from the others.
    """
    n_columns = {len(line) for line in values}
    if len(n_columns) != 1:
        raise ValueError("each row of a matrix has the same number of cells and there is at least one row")
    if (rows is not None and len(rows) != len(values)) or (columns is not None and {len(columns)} != n_columns):
        raise ValueError(
            f"rows and columns need one name each, got {len(rows or ())} and {len(columns or ())} names for "
            f"{len(values)} rows of {n_columns.pop()} cells"
        )
    numbers = [abs(float(v)) for line in values for v in line if _is_number(v)]
    largest = max((n for n in numbers if np.isfinite(n)), default=1.0) or 1.0
    texts = [[_cell_text(v, format) for v in line] for line in values]
    widest = max((text_size(t, NUMBER)[0] for line in texts for t in line if t), default=0.0)
    heads = [*(columns or ())]
    widest = max([widest, *(text_size(t, LETTER if header_role == "token" else LABEL)[0] for t in heads)])
    width = max(cell[0], widest + 7 if format else max(widest + 1, 9.0))
    height = max(cell[1], 18.0 if format else 9.0)
    body = [
        [
            _cell(t, v, role, largest if shade else np.inf, (width, height), picked is None or i in picked)
            for t, v in zip(line, values[i], strict=True)
        ]
        for i, line in enumerate(texts)
    ]
    return Matrix(
        body,
        [_header(text, header_role, (0.0, height)) for text in rows or ()],
        [_header(text, header_role, (width, 0.0)) for text in heads],
    )


def _is_number(value: float | str | None) -> bool:
    return value is not None and not isinstance(value, str)


def _cell_text(value: float | str | None, format: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:{format}}".replace("-", "−").replace("inf", "∞") if format else ""


def _cell(
    text: str, value: float | str | None, role: str, largest: float, size: tuple[float, float], picked: bool
) -> Box:
    color = role_color(role)
    if value in LEFT_OUT:
        return Box([(text, NUMBER)] if text else [], "plain", face=PAPER, pad=(0, 0), least=size, border="none")
    if value is None:
        face = "#E9E9E9"
    elif isinstance(value, str):
        face = tinted(color, TINT)
    else:
        share = min(abs(float(value)) / largest, 1.0) if np.isfinite(value) else 0.0
        face = tinted(color, 0.06 + 0.74 * share) if picked else tinted(color, 0.05 + 0.12 * share)
    border = tinted(color, 0.85 if picked else 0.4)
    lines = [(text, NUMBER)] if text else []
    return Box(lines, role, face=face, pad=(0, 0), least=size, border=border, corner=0, linewidth=0.9)


def _header(text: str, role: str, least: tuple[float, float]) -> Box:
    if role == "token" and text not in LEFT_OUT:
        return Box([(text, LETTER)], role, pad=(4.5, 2), least=least, corner=0, linewidth=0.9)
    return Box([(text, LABEL)] if text else [], "plain", face=PAPER, pad=(5, 2.5), least=least, border="none")


def vector(
    values: Sequence[float] | np.ndarray,
    role: str = "hidden",
    format: str = "",
    vertical: bool = False,
    names: Sequence[str] | None = None,
    cell: tuple[float, float] = (0.0, 0.0),
) -> Matrix:
    """A strip of cells; `names` stand before (or, for a row, above) the cells."""
    if vertical:
        return matrix([[v] for v in values], role, rows=names, format=format, cell=cell)
    return matrix([list(values)], role, columns=names, format=format, cell=cell)


class Bars(Block):
    """Numbers from 0 on as bars over their names."""

    solid = True

    def __init__(self, values: Sequence[float], names: Sequence[str], role: str, height: float, bar: float):
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
        self._size(bar * len(self.values), self.rise + self.names[0].height)
        return [(i * bar, 0.0) for i in range(len(self.values))]

    def paint(self, axes: Axes, number: int) -> None:
        bottom, bar = self.y + self.names[0].height, self.bar
        ground = Rectangle((self.x, bottom), self.width, self.rise)
        ground.set(facecolor=tinted(self.color, 0.07), edgecolor=tinted(self.color, 0.85), linewidth=1.1, zorder=3)
        ground.set_gid(f"box {number}")
        axes.add_patch(ground)
        for i, value in enumerate(self.values):
            height = (self.rise - 5) * value / max(self.values)
            column = Rectangle((self.x + (i + 0.18) * bar, bottom), 0.64 * bar, height)
            column.set(facecolor=self.color, edgecolor="none", zorder=3.5, gid=f"bar {number}")
            axes.add_patch(column)


def bars(
    values: Sequence[float], names: Sequence[str], role: str = "output", height: float = 46.0, bar: float = 14.0
) -> Bars:
    """Probabilities (or other numbers from 0 on) as bars above the names of what they belong to."""
    return Bars(values, names, role, height, bar)


# ------------------------------------------------------------------------------------------------------------ layouts


def row(*blocks: Block, gap: float = GAP, align: str = "axis") -> Grid:
    """Side by side, from left to right; `align` is axis, top, bottom, or stretch: groups become equally high."""
    return Grid([blocks], (gap, gap), align)


def column(*blocks: Block, gap: float = GAP, align: str = "axis") -> Grid:
    """One below the other, from the top; `align` is axis, left or right."""
    return Grid([[block] for block in blocks], (gap, gap), align)


def grid(
    rows: Sequence[Sequence[Block | None]],
    gap: float | tuple[float, float] = GAP,
    axis: int | None = None,
    align: str = "axis",
) -> Grid:
    """Rows whose columns line up; `None` leaves a place empty. `gap` may be (across, down).

    What stands above or below the grid is centred on its column `axis`, or on its middle.
    """
    return Grid(rows, gap if isinstance(gap, tuple) else (gap, gap), align, axis)


def beside(main: Block, extra: Block, side: str = "right", gap: float = 8.0) -> Attached:
    """`extra` at a side of `main`; for the row or column around them, only `main` counts when lining up."""
    return Attached(main, extra, side, gap)


def above(main: Block, extra: Block, gap: float = 4.0) -> Attached:
    """`extra` above `main`, which keeps its axes."""
    return Attached(main, extra, "top", gap)


def below(main: Block, extra: Block, gap: float = 4.0) -> Attached:
    """`extra` below `main`, which keeps its axes."""
    return Attached(main, extra, "bottom", gap)


def group(
    body: Block, label: str = "", role: str = "plain", pad: float = 14.0, corner: str = "left"
) -> Group:
    """A soft frame around a block, with a label in its upper left or right corner."""
    return Group(body, label, role, pad, corner)


def equal_widths(*boxes: Box) -> None:
    """Make boxes as wide as the widest of them."""
    width = max(b.width for b in boxes)
    for b in boxes:
        b._size(width, b.height)


@dataclass
class Tree:
    """A node of a tree: its box and the trees below it."""

    root: Box
    children: Sequence[Tree] = field(default_factory=tuple)
    label: str = ""

    def boxes(self) -> Iterator[Box]:
        yield self.root
        for child in self.children:
            yield from child.boxes()


def tree(top: Tree, gap: float = 14.0, level_gap: float = 30.0) -> Block:
    """A tree with its root at the top and all its leaves on one line at the bottom."""
    boxes = list(top.boxes())

    def places(spread: float) -> list[Point]:
        found: dict[int, Point] = {}
        step = max(b.height for b in boxes) + spread * level_gap

        def put(node: Tree, left: float) -> tuple[float, int]:
            """Place a subtree from `left` on; the width it takes and its height in levels."""
            x, level, centres = left, 0, []
            for child in node.children:
                width, height = put(child, x)
                centres.append(found[id(child.root)][0] + child.root.width / 2)
                x, level = x + width + gap * spread, max(level, height + 1)
            width = max(x - gap * spread - left if node.children else 0.0, node.root.width)
            middle = (centres[0] + centres[-1]) / 2 if centres else left + width / 2
            found[id(node.root)] = (middle - node.root.width / 2, level * step)
            return width, level

        put(top, 0.0)
        return [found[id(b)] for b in boxes]

    drawn = Fixed(boxes, places)

    def join(node: Tree) -> None:
        for child in node.children:
            drawn.arrows.append(Arrow(child.root, node.root, child.label, "top", "bottom", direct=True, head=False))
            join(child)

    join(top)
    return drawn


# ------------------------------------------------------------------------------------------------------------- arrows


@dataclass(eq=False)
class Arrow:
    """What flows from one block to another. `leave` and `enter` are sides; without them the shortest way is found."""

    start: Block
    end: Block
    label: str = ""
    leave: str | None = None
    enter: str | None = None
    role: str = "operation"
    width: float = 1.3
    head: bool = True
    direct: bool = False
    dashed: bool = False
    label_color: str = INK
    path: Callable[[], list[Point]] | None = None
    spot: Callable[[], Point] | None = None

    @property
    def color(self) -> str:
        return LINE if self.role == "operation" else role_color(self.role)

    @property
    def head_length(self) -> float:
        return HEAD + 1.6 * (self.width - 1.3) if self.head else 0.0

    def straight_path(self, shift: float = 0.0) -> list[Point]:
        """Its course if it needs no bend, else nothing."""
        if self.path is not None:
            return self.path()
        if self.direct:
            leave, enter = self.leave or "right", self.enter or OPPOSITE[self.leave or "right"]
            return [self.start.frame.side(leave), self.end.frame.side(enter)]
        return straight(self.start.frame, self.end.frame, self.leave, self.enter, shift)

    def paint(self, axes: Axes, path: list[Point], number: int) -> None:
        style = {"edgecolor": self.color, "linewidth": self.width, "zorder": 2}
        line = PathPatch(_rounded(_shortened(path, 0.7 * self.head_length)), facecolor="none", **style)
        line.set(capstyle="butt", joinstyle="round", gid=f"arrow {number}")
        if self.dashed:
            line.set_linestyle((0, (4, 2.5)))
        axes.add_patch(line)
        if self.head:
            head = Polygon(_head(path, self.head_length), closed=True)
            head.set(facecolor=self.color, edgecolor="none", zorder=2.5, gid=f"head {number}")
            axes.add_patch(head)


def _shortened(path: list[Point], by: float) -> list[Point]:
    (x0, y0), (x1, y1) = path[-2:]
    length = hypot(x1 - x0, y1 - y0) or 1.0
    share = max(0.0, 1 - by / length)
    return [*path[:-1], (x0 + share * (x1 - x0), y0 + share * (y1 - y0))]


def _head(path: list[Point], length: float) -> list[Point]:
    """A triangle whose tip is the end of the path; the tip comes first."""
    (x0, y0), (x1, y1) = path[-2:]
    distance = hypot(x1 - x0, y1 - y0) or 1.0
    dx, dy = (x1 - x0) / distance, (y1 - y0) / distance
    base, half = (x1 - length * dx, y1 - length * dy), 0.46 * length
    return [(x1, y1), (base[0] - half * dy, base[1] + half * dx), (base[0] + half * dy, base[1] - half * dx)]


def _rounded(path: list[Point], radius: float = 5.0) -> Path:
    """The path with its corners rounded."""
    vertices, codes = [path[0]], [Path.MOVETO]
    for before, corner, after in zip(path, path[1:], path[2:], strict=False):
        reach = min(radius, *(hypot(p[0] - corner[0], p[1] - corner[1]) / 2 for p in (before, after)))
        first, second = (_towards(corner, p, reach) for p in (before, after))
        vertices += [first, corner, second]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, path[-1]], [*codes, Path.LINETO])


def _towards(p: Point, q: Point, distance: float) -> Point:
    length = hypot(q[0] - p[0], q[1] - p[1]) or 1.0
    return p[0] + distance * (q[0] - p[0]) / length, p[1] + distance * (q[1] - p[1]) / length


# ------------------------------------------------------------------------------------------------------------ diagram


class Diagram:
    """A block, the arrows in it, a title above and a legend of the roles below."""

    def __init__(self, body: Block, title: str = "", legend: bool = True):
        self.body, self.title, self.legend = body, title, legend
        self.own_arrows: list[Arrow] = []

    @property
    def arrows(self) -> list[Arrow]:
        return [arrow for block in self.body.all() for arrow in block.arrows] + self.own_arrows

    def arrow(
        self,
        start: Block,
        end: Block,
        label: str = "",
        leave: str | None = None,
        enter: str | None = None,
        role: str = "operation",
        width: float = 1.3,
        head: bool = True,
        direct: bool = False,
        dashed: bool = False,
    ) -> None:
        """Something flows from `start` to `end`: straight if they face each other, else around the boxes.

        `leave` and `enter` choose the sides (left, right, top, bottom); `direct` draws a slanted line.
        """
        for side in (leave, enter):
            if side not in (None, *DIRECTIONS):
                raise ValueError(f"an arrow leaves and enters at left, right, top or bottom, got {side!r}")
        self.own_arrows.append(Arrow(start, end, label, leave, enter, role, width, head, direct, dashed))

    def flow(self, *blocks: Block, role: str = "operation", width: float = 1.3) -> None:
        """An arrow from each of the blocks to the next."""
        for start, end in pairwise(blocks):
            self.arrow(start, end, role=role, width=width)

    def figure(self) -> Figure:
        """Place everything and draw it. Gaps grow until each arrow finds a way and each label a free place."""
        for spread in (1.0, 1.2, 1.5, 2.0, 2.7, 3.6):
            self.body.measure(spread)
            self.body.place(0.0, 0.0)
            self._check_ends()
            paths = self._paths()
            spots = self._label_spots(paths) if paths is not None else None
            if paths is not None and spots is not None:
                return self._painted(paths, spots)
        raise ValueError(
            "no free way or place was found for an arrow or its label: put fewer arrows between these blocks"
        )

    def _check_ends(self) -> None:
        inside = {id(block) for block in self.body.all()}
        for arrow in self.arrows:
            for end in (arrow.start, arrow.end):
                members = end.members if isinstance(end, Region) else [end]
                if not all(id(member) in inside for member in members):
                    raise ValueError("an arrow joins a block that is not part of this diagram")

    def _obstacles(self) -> list[Rect]:
        """The frames of the outermost solid blocks, and nothing of what is in them."""
        found: list[Rect] = []

        def search(block: Block) -> None:
            if block.solid:
                found.append(block.frame)
                return
            for part in block.parts:
                search(part)

        search(self.body)
        return found

    def _paths(self) -> list[list[Point]] | None:
        arrows, obstacles = self.arrows, self._obstacles()
        paths: list[list[Point]] = [[] for _ in arrows]
        pairs = [frozenset((id(arrow.start), id(arrow.end))) for arrow in arrows]
        for i, arrow in enumerate(arrows):
            repeats = pairs.count(pairs[i])
            shift = 14.0 * (pairs[:i].count(pairs[i]) - (repeats - 1) / 2)
            path = arrow.straight_path(shift)
            taken = [p for p in paths if p]
            if arrow.path is not None or arrow.direct or (path and clear(path, obstacles, taken)):
                paths[i] = path
        for i, arrow in enumerate(arrows):
            if not paths[i]:
                starts = ports(arrow.start.frame, [arrow.leave] if arrow.leave else list(DIRECTIONS))
                ends = ports(arrow.end.frame, [arrow.enter] if arrow.enter else list(DIRECTIONS))
                # arrows from one block, or into one block, may share a piece of their way
                related = [p for j, p in enumerate(paths) if p and self._forks(arrow, arrows[j])]
                others = [p for j, p in enumerate(paths) if p and not self._forks(arrow, arrows[j])]
                paths[i] = route(starts, ends, obstacles, others, related)
                if not paths[i]:
                    return None
        return paths

    @staticmethod
    def _forks(one: Arrow, other: Arrow) -> bool:
        """Whether the two arrows have one end in common, and not the other."""
        same_start = one.start is other.start and one.leave == other.leave
        same_end = one.end is other.end and one.enter == other.enter
        return same_start != same_end and not one.label and not other.label

    def _label_spots(self, paths: list[list[Point]]) -> dict[int, Rect] | None:
        obstacles = self._obstacles()
        edges = [
            [(f.left, f.bottom), (f.left, f.top), (f.right, f.top), (f.right, f.bottom), (f.left, f.bottom)]
            for f in (block.frame for block in self.body.all() if isinstance(block, Group))
        ]
        spots: dict[int, Rect] = {}
        for i, arrow in enumerate(self.arrows):
            if not arrow.label:
                continue
            width, height = text_size(arrow.label, LABEL)
            if arrow.spot is not None:
                x, y = arrow.spot()
                spots[i] = Rect(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
                continue
            # the head is wider than the line
            gap = 3.0 + arrow.width / 2
            spot = label_spot(
                paths[i], (width + 2, height), [*obstacles, *spots.values()], [*paths, *edges], gap
            )
            if spot is None:
                return None
            spots[i] = spot
        return spots

    def _painted(self, paths: list[list[Point]], spots: dict[int, Rect]) -> Figure:
        points = [Rect(x, y, x, y).grown(5) for path in paths for x, y in path]
        whole = around([self.body.frame, *points, *spots.values()])
        extras = self._title_and_legend(whole)
        whole = around([whole, *(extra.frame for extra in extras)]).grown(12)
        figure = plt.figure(figsize=(whole.width / 72, whole.height / 72), facecolor=PAPER, layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(whole.left, whole.right), ylim=(whole.bottom, whole.top))
        axes.set_axis_off()
        # an own sheet of paper: a theme may give saved figures a dark face
        axes.add_patch(
            Rectangle(
                (whole.left - 1, whole.bottom - 1),
                whole.width + 2,
                whole.height + 2,
                facecolor=PAPER,
                edgecolor="none",
                zorder=0,
                gid="paper",
            )
        )
        blocks = [block for top in (self.body, *extras) for block in top.all()]
        for number, block in enumerate(blocks):
            block.paint(axes, number)
        for number, (arrow, path) in enumerate(zip(self.arrows, paths, strict=True)):
            arrow.paint(axes, path, number)
        for number, spot in spots.items():
            arrow = self.arrows[number]
            artist = _text(*spot.centre, arrow.label, LABEL, arrow.label_color)
            artist.set(zorder=5, gid=f"label {number}")
            axes.add_artist(artist)
        return figure

    def _title_and_legend(self, whole: Rect) -> list[Block]:
        """Both stand at the left: the title above the drawing, the legend below it."""
        extras: list[Block] = []
        if self.title:
            title = Note(_wrapped(self.title, TITLE, max(whole.width, 340.0)), TITLE)
            title.measure(1.0)
            title.place(whole.left, whole.top + 12)
            extras.append(title)
        used = {name for block in self.body.all() for name in block.role_names()}
        used |= {arrow.role for arrow in self.arrows if arrow.role != "operation"}
        entries = [_legend_entry(name) for name in ROLES if name in used and ROLES[name].meaning]
        if self.legend and entries:
            lines: list[list[Block]] = [[]]
            for entry in entries:
                entry.measure(1.0)
                if sum(e.width + 16 for e in lines[-1]) + entry.width > max(whole.width, 200.0):
                    lines.append([])
                lines[-1].append(entry)
            legend = column(*(row(*line, gap=16) for line in lines), gap=4, align="left")
            legend.measure(1.0)
            legend.place(whole.left, whole.bottom - 14 - legend.height)
            extras.append(legend)
        return extras


def _legend_entry(role: str) -> Block:
    swatch = Box([], role, pad=(0, 0), least=(13, 10))
    return row(swatch, Note(ROLES[role].meaning, Font(8.5)), gap=3)


def _wrapped(text: str, font: Font, width: float) -> str:
    """The text with line breaks, so that no line is wider than `width` unless a single word is."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_size(longer, font)[0] > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------- graphs


def layered_layout(n_nodes: int, edges: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
    """A place (column, row) for each node of an acyclic graph with `edges` (from, to), read from left to right.

    Every edge points to a later column, a node without predecessors stands just before its first user, and no two
    nodes share a place. Within a column nodes are sorted by the mean row of their neighbours (Sugiyama et al. 1981).
    """
    columns = _columns(n_nodes, edges)
    rows = _rows(columns, edges)
    return [(float(column), row) for column, row in zip(columns, rows, strict=True)]


def _columns(n_nodes: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path from a source to each node; sources then move up to their first user."""
    if any(not 0 <= node < n_nodes for edge in edges for node in edge):
        raise ValueError(f"edges join nodes 0..{n_nodes - 1}, got {list(edges)}")
    columns = [0] * n_nodes
    for _ in range(n_nodes + 1):
        backwards = [(a, b) for a, b in edges if columns[b] <= columns[a]]
        for a, b in backwards:
            columns[b] = max(columns[b], columns[a] + 1)
        if not backwards:
            break
    else:
        raise ValueError("the edges contain a cycle, so the graph cannot be drawn from left to right")
    targets = {b for _, b in edges}
    for node in set(range(n_nodes)) - targets:
        columns[node] = min((columns[b] - 1 for a, b in edges if a == node), default=columns[node])
    return columns


def _rows(columns: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[float]:
    """For each node its place in its column, counted from the column's middle."""
    members: dict[int, list[int]] = {}
    for node, column in enumerate(columns):
        members.setdefault(column, []).append(node)
    neighbours = _neighbours(len(columns), edges)
    rows = [0.0] * len(columns)
    for sweep in range(8):
        for column in sorted(members, reverse=sweep % 2 == 0):
            nodes = members[column]
            if sweep:
                near = {v: [rows[u] for u in neighbours[v]] or [rows[v]] for v in nodes}
                nodes.sort(key=lambda v, near=near: sum(near[v]) / len(near[v]))  # type: ignore[misc]
            for i, node in enumerate(nodes):
                rows[node] = i - (len(nodes) - 1) / 2
    return rows


def _neighbours(n_nodes: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    neighbours: list[list[int]] = [[] for _ in range(n_nodes)]
    for a, b in edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    return neighbours


def graph(
    labels: Sequence[str],
    edges: Sequence[tuple[int, int]],
    edge_labels: Sequence[str] | None = None,
    title: str = "",
    colors: Sequence[str] | None = None,
) -> Figure:
    """A computation graph as boxes joined by arrows, read from left to right.

    `labels` may run over several lines; `edges` are pairs (from, to) of positions in `labels`, and the same pair may
    come several times. The label of an edge stands over the last piece of its arrow. `colors` are faces of the boxes.
    """
    if edge_labels is not None and len(edge_labels) != len(edges):
        raise ValueError(f"each edge has one label, got {len(edge_labels)} labels for {len(edges)} edges")
    if colors is not None and len(colors) != len(labels):
        raise ValueError(f"each box has one colour, got {len(colors)} colours for {len(labels)} boxes")
    columns = _columns(len(labels), edges)
    texts = edge_labels or [""] * len(edges)
    n_in = [max(sum(b == node for _, b in edges), 1) for node in range(len(labels))]
    n_out = [max(sum(a == node for a, _ in edges), 1) for node in range(len(labels))]
    boxes = []
    for node, label in enumerate(labels):
        first, *rest = label.split("\n")
        lines = [(first, Font(9.5, "bold", SHAPE.family)), *((line, SHAPE) for line in rest)]
        least = (0.0, PORT * max(n_in[node], n_out[node], 2))
        face = to_hex(colors[node]) if colors is not None else None
        boxes.append(Box(lines, "hidden", face=face or tinted(ROLES["hidden"].color, 0.12), least=least))
    return Diagram(LayeredGraph(boxes, columns, edges, texts), title, legend=False).figure()


# points between two arrows that enter the same box: a label's height and a little air
PORT = 16.0


class LayeredGraph(Block):
    """Boxes in columns. A long edge runs through a gap of its own in each column that it passes."""

    def __init__(
        self,
        boxes: Sequence[Box],
        columns: Sequence[int],
        edges: Sequence[tuple[int, int]],
        labels: Sequence[str],
    ):
        super().__init__()
        self.parts = list(boxes)
        for column in set(columns):
            equal_widths(*(b for b, c in zip(boxes, columns, strict=True) if c == column))
        self.columns = list(columns)
        # each edge as a chain of nodes: its start, a stand-in in every column it passes, its end
        self.chains: list[list[int]] = []
        for a, b in edges:
            between = range(columns[a] + 1, columns[b])
            stand_ins = range(len(self.columns), len(self.columns) + len(between))
            self.columns += between
            self.chains.append([a, *stand_ins, b])
        self.links = [link for chain in self.chains for link in pairwise(chain)]
        self.label_widths = [text_size(label, LABEL)[0] if label else 0.0 for label in labels]
        self.centres: list[float] = []
        for i, (a, b) in enumerate(edges):
            arrow = Arrow(boxes[a], boxes[b], labels[i], label_color=SLOPE)
            arrow.path, arrow.spot = (lambda i=i: self._course(i)), (lambda i=i: self._spot(i))  # type: ignore[misc]
            self.arrows.append(arrow)

    def arrange(self, spread: float) -> list[Point]:
        n_columns = max(self.columns) + 1
        self.height_of = [b.height for b in self.parts] + [PORT] * (len(self.columns) - len(self.parts))
        centres = _heights(self.columns, self.links, self.height_of, 18.0 * spread)
        widths, leads = [0.0] * n_columns, [0.0] * n_columns
        for block, column in zip(self.parts, self.columns, strict=False):
            widths[column] = max(widths[column], block.width)
        for chain, width in zip(self.chains, self.label_widths, strict=True):
            leads[self.columns[chain[-1]]] = max(leads[self.columns[chain[-1]]], width)
        bends = [0.0] * n_columns
        for a, b in self.links:
            column = self.columns[b]
            bends[column] = max(bends[column], 22.0, min(0.33 * abs(centres[a] - centres[b]), 70.0))
        lefts = [0.0]
        for column in range(1, n_columns):
            lefts.append(lefts[-1] + widths[column - 1] + bends[column] * spread + leads[column] + HEAD + 8)
        self.lefts, self.widths, self.leads = lefts, widths, leads
        low = min(c - h / 2 for c, h in zip(centres, self.height_of, strict=True))
        high = max(c + h / 2 for c, h in zip(centres, self.height_of, strict=True))
        self._size(lefts[-1] + widths[-1], high - low)
        self.centres = [c - low for c in centres]
        return [
            (lefts[column] + (widths[column] - block.width) / 2, self.centres[node] - block.height / 2)
            for node, (block, column) in enumerate(zip(self.parts, self.columns, strict=False))
        ]

    def _port(self, edge: int, place: int) -> float:
        """The height at which the edge enters (place -1) or leaves (place 0) its box: in the order of the other ends."""
        node, side = self.chains[edge][place], 1 if place == 0 else -2
        same = [i for i, chain in enumerate(self.chains) if chain[place] == node]
        same.sort(key=lambda i: (-self.centres[self.chains[i][side]], i))
        step = min(PORT, self.height_of[node] / (len(same) + 0.5))
        if place == -1 and len(same) > 1:
            step = max(step, PORT)
        return self.centres[node] + step * ((len(same) - 1) / 2 - same.index(edge))

    def _course(self, edge: int) -> list[Point]:
        """From the right edge of its first box to the left edge of its last, level where it passes a column."""
        chain = self.chains[edge]
        first, last = self.parts[chain[0]], self.parts[chain[-1]]
        points = [(first.frame.right, self.y + self._port(edge, 0))]
        for node in chain[1:-1]:
            column, height = self.columns[node], self.y + self.centres[node]
            left = self.x + self.lefts[column] - self.leads[column] - HEAD - 6
            points += [*_swing(points[-1], (left, height)), (self.x + self.lefts[column] + self.widths[column], height)]
        column, height = self.columns[chain[-1]], self.y + self._port(edge, -1)
        lead = self.leads[column] + HEAD + 6
        points += [*_swing(points[-1], (self.x + self.lefts[column] - lead, height)), (last.frame.left, height)]
        return points

    def _spot(self, edge: int) -> Point:
        column = self.columns[self.chains[edge][-1]]
        left = self.x + self.lefts[column] - HEAD - 4 - self.leads[column] / 2
        return left, self.y + self._port(edge, -1) + 7.0


def _swing(p: Point, q: Point) -> list[Point]:
    """From p to q, level at both ends: a cubic curve as short pieces, without p."""
    level = [p] if p[1] == q[1] else []
    if level:
        return [q]
    t = np.linspace(0, 1, 25)[1:]
    middle = (p[0] + q[0]) / 2
    x = (1 - t) ** 3 * p[0] + 3 * t * (1 - t) * middle + t**3 * q[0]
    y = p[1] + (3 * t**2 - 2 * t**3) * (q[1] - p[1])
    return list(zip(x.tolist(), y.tolist(), strict=True))


def _heights(
    columns: Sequence[int], links: Sequence[tuple[int, int]], heights: Sequence[float], gap: float
) -> list[float]:
    """The centre of each node: as near to the mean of its neighbours as the other boxes of its column allow."""
    rows = _rows(columns, links)
    neighbours = _neighbours(len(columns), links)
    members = [
        sorted((node for node in range(len(columns)) if columns[node] == column), key=lambda v: -rows[v])
        for column in range(max(columns) + 1)
    ]
    centres = [0.0] * len(columns)
    for sweep in range(24):
        order = range(len(members)) if sweep % 2 else range(len(members) - 1, -1, -1)
        for column in order:
            nodes = members[column]
            wishes = [
                sum(centres[u] for u in neighbours[v]) / len(neighbours[v]) if neighbours[v] else centres[v]
                for v in nodes
            ]
            apart = [0.0, *((heights[a] + heights[b]) / 2 + gap for a, b in pairwise(nodes))]
            for node, centre in zip(nodes, _spaced(wishes, np.cumsum(apart)), strict=True):
                centres[node] = centre
    return centres


def _spaced(wishes: Sequence[float], offsets: np.ndarray) -> list[float]:
    """The numbers nearest to `wishes` (in squares) that rise by at least the steps of `offsets`.

    Isotonic regression by pooling neighbours that are out of order (Ayer et al. 1955).
    """
    pools: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        mean, count = wish - float(offset), 1
        while pools and pools[-1][0] > mean:
            other, n = pools.pop()
            mean, count = (mean * count + other * n) / (count + n), count + n
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [value + float(offset) for value, offset in zip(flat, offsets, strict=True)]
