"""An arrow: its course where that is straight, and its line and head on the paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Polygon
from matplotlib.path import Path

from .blocks import Block
from .routing import OPPOSITE, Point, straight
from .style import HEAD, INK, LINE, role_color


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
        margins = self.start.margin, self.end.margin
        return straight(self.start.frame, self.end.frame, self.leave, self.enter, shift, margins)

    def paint(self, axes: Axes, path: list[Point], number: int) -> None:
        style = {"edgecolor": self.color, "linewidth": self.width, "zorder": 2}
        line = PathPatch(_rounded(_shortened(path, 0.7 * self.head_length)), facecolor="none", **style)
        line.set(capstyle="butt", joinstyle="round", gid=f"arrow {number}")
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
