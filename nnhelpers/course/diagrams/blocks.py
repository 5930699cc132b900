"""What has a size and gets a place: a box, words, and what lines other blocks up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import hypot
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path

from .routing import DIRECTIONS, MARGIN, Point, Rect, around
from .style import (
    CORNER,
    INK,
    LABEL,
    LINE,
    PAPER,
    TINT,
    Font,
    ink_on,
    role_color,
    text_artist,
    text_size,
    tinted,
)

if TYPE_CHECKING:
    from .arrows import Arrow


class Block:
    """Something with a size that gets its place when the diagram is drawn.

    Rows and columns line their blocks up by the axes: `axis_x` and `axis_y`, from the lower left corner.
    """

    # no arrow runs through a solid block
    solid = False

    def __init__(self) -> None:
        self.width = self.height = self.axis_x = self.axis_y = 0.0
        self.x = self.y = 0.0
        self.parts: list[Block] = []
        self.offsets: list[Point] = []
        self.arrows: list[Arrow] = []

    @property
    def frame(self) -> Rect:
        """Where it stands, once the diagram was drawn."""
        return Rect(self.x, self.y, self.x + self.width, self.y + self.height)

    @property
    def margin(self) -> float:
        """How close to a corner of the frame an arrow may begin or end."""
        return MARGIN

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

    def set_size(self, width: float, height: float) -> None:
        self.width, self.height, self.axis_x, self.axis_y = width, height, width / 2, height / 2


class Box(Block):
    """Lines of text in a rectangle, a circle, or on a pile of sheets, which stand for the batch."""

    solid = True
    # points from one sheet to the next
    SHEET = 3.5

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
        self.set_size(width + self.SHEET * sheets, height + self.SHEET * sheets)

    @property
    def margin(self) -> float:
        """Two corners of a pile are empty: no sheet reaches into them."""
        return max(MARGIN, self.SHEET * self.sheets + CORNER)

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
            artist = text_artist(self.x + w / 2, top - height / 2, text, font, ink_on(self.face))
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
        self.set_size(width + 4, height + 2)

    def paint(self, axes: Axes, number: int) -> None:
        artist = text_artist(*self.frame.centre, self.text, self.font, self.color)
        artist.set(zorder=4, gid=f"note {number}")
        axes.add_artist(artist)


class Region(Block):
    """Some blocks of the drawing taken together, as one end of an arrow: a row of a table, say."""

    def __init__(self, members: Sequence[Block]):
        super().__init__()
        self.members = list(members)

    @property
    def frame(self) -> Rect:
        return around([member.frame for member in self.members])

    @property
    def margin(self) -> float:
        return max(member.margin for member in self.members)


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

    def __init__(self, main: Block, extra: Block, side: str, gap: float, align: str = "axis"):
        super().__init__()
        if side not in DIRECTIONS:
            raise ValueError(f"side is left, right, top or bottom, got {side!r}")
        edges = ("top", "bottom") if side in ("left", "right") else ("left", "right")
        if align not in ("axis", *edges):
            raise ValueError(f"at the {side}, align is axis, {edges[0]} or {edges[1]}, got {align!r}")
        self.parts, self.side, self.gap, self.align = [main, extra], side, gap, align

    def arrange(self, spread: float) -> list[Point]:
        main, extra = self.parts
        gap = self.gap * spread
        x, y = main.axis_x - extra.axis_x, main.axis_y - extra.axis_y
        if self.side in ("left", "right"):
            x = main.width + gap if self.side == "right" else -gap - extra.width
            y = {"top": main.height - extra.height, "bottom": 0.0}.get(self.align, y)
        else:
            y = main.height + gap if self.side == "top" else -gap - extra.height
            x = {"right": main.width - extra.width, "left": 0.0}.get(self.align, x)
        left, bottom = min(0.0, x), min(0.0, y)
        self.width = max(main.width, x + extra.width) - left
        self.height = max(main.height, y + extra.height) - bottom
        self.axis_x, self.axis_y = main.axis_x - left, main.axis_y - bottom
        return [(-left, -bottom), (x - left, y - bottom)]


class Brace(Block):
    """A brace under a block, as wide as the block: an arrow from its tip comes from the whole of it."""

    solid = True
    HEIGHT = 9.0

    def __init__(self, over: Block):
        super().__init__()
        self.over = over

    def arrange(self, spread: float) -> list[Point]:
        self.set_size(self.over.width, self.HEIGHT)
        self.axis_x = self.over.width / 2
        return []

    def paint(self, axes: Axes, number: int) -> None:
        left, bottom, right, top = self.frame
        (middle, level), bend = self.frame.centre, self.HEIGHT / 2
        vertices = [(left, top), (left, level), (left + bend, level), (middle - bend, level), (middle, level)]
        vertices += [(middle, bottom), (middle, level), (middle + bend, level)]
        vertices += [(right - bend, level), (right, level), (right, top)]
        curve = [Path.CURVE3, Path.CURVE3]
        codes = [Path.MOVETO, *curve, Path.LINETO, *curve, *curve, Path.LINETO, *curve]
        line = PathPatch(Path(vertices, codes), facecolor="none", edgecolor=LINE, linewidth=1.1, zorder=2)
        line.set(joinstyle="round", gid=f"brace {number}")
        axes.add_patch(line)


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
        pad, head = self.pad * spread, sum(label.height + 2 for label in labels)
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
        frame.set(
            facecolor=tinted(self.color, 0.07), edgecolor=tinted(self.color, 0.55), linewidth=1, zorder=1
        )
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
        self.set_size(whole.width, whole.height)
        return [(x - whole.left, y - whole.bottom) for x, y in places]
