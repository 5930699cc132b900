"""What stands beside, above, around or below what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from .arrows import Arrow
from .blocks import Attached, Block, Box, Brace, Fixed, Grid, Group
from .routing import Point
from .style import GAP


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


def beside(main: Block, extra: Block, side: str = "right", gap: float = 8.0, align: str = "axis") -> Attached:
    """`extra` at a side of `main`; for the row or column around them, only `main` counts when lining up.

    `align` puts `extra` at the middle (axis), or at an end of that side: top, bottom, or left, right.
    """
    return Attached(main, extra, side, gap, align)


def above(main: Block, extra: Block, gap: float = 4.0, align: str = "axis") -> Attached:
    """`extra` above `main`, which keeps its axes; `align` is axis, left or right."""
    return Attached(main, extra, "top", gap, align)


def below(main: Block, extra: Block, gap: float = 4.0, align: str = "axis") -> Attached:
    """`extra` below `main`, which keeps its axes; `align` is axis, left or right."""
    return Attached(main, extra, "bottom", gap, align)


def brace(over: Block) -> Brace:
    """A brace to stand `below` a block and as wide as it is: an arrow out of it comes from the whole block."""
    return Brace(over)


def group(
    body: Block, label: str = "", role: str = "plain", pad: float = 14.0, corner: str = "left"
) -> Group:
    """A soft frame around a block, with a label in its upper left or right corner."""
    return Group(body, label, role, pad, corner)


def equal_widths(*boxes: Box) -> None:
    """Make boxes as wide as the widest of them."""
    width = max(b.width for b in boxes)
    for b in boxes:
        b.set_size(width, b.height)


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
    """A tree with its root at the top and all its leaves on one line at the bottom.

    Arrows run from the children up to their parent, which is made of them.
    """
    boxes = list(top.boxes())

    def places(spread: float) -> list[Point]:
        found: dict[int, Point] = {}
        step = max(b.height for b in boxes) + spread * level_gap

        def put(node: Tree, left: float) -> tuple[float, int]:
            """Place a subtree from `left` on; the width it takes and its height in levels."""
            x, level = left, 0
            centres: list[float] = []
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
        for i, child in enumerate(node.children):
            share = (i + 1) / (len(node.children) + 1)
            path = partial(_upwards, child.root, node.root, share)
            drawn.arrows.append(Arrow(child.root, node.root, child.label, "top", "bottom", path=path))
            join(child)

    join(top)
    return drawn


def _upwards(child: Block, parent: Block, share: float) -> list[Point]:
    """A slanted line from the top of a child to a point of its parent's lower edge, `share` of the way along it."""
    frame = parent.frame
    return [child.frame.side("top"), frame.side("bottom", frame.left + share * frame.width)]
