"""A whole drawing: it places blocks, finds ways for arrows and room for labels, and paints."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .arrows import Arrow
from .blocks import Block, Box, Group, Note, Region
from .layouts import column, row
from .routing import DIRECTIONS, Point, Rect, around, clear, label_spot, ports, route
from .style import LABEL, PAPER, ROLES, TITLE, Font, role_color, text_artist, text_size

# how many times as wide the gaps may become
SPREADS = (1.0, 1.2, 1.5, 2.0, 2.7, 3.6, 5.0)


class NoRoomError(ValueError):
    """An arrow finds no way, or a label no place."""


class Diagram:
    """A block, the arrows in it, a title above and a legend of the roles below."""

    def __init__(self, body: Block, title: str = "", legend: bool = True):
        self.body, self.title, self.legend = body, title, legend
        self.own_arrows: list[Arrow] = []
        self.meanings = {name: role.meaning for name, role in ROLES.items()}
        self.samples: list[tuple[Box, str]] = []

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
    ) -> None:
        """Something flows from `start` to `end`: straight if they face each other, else around the boxes.

        `leave` and `enter` choose the sides (left, right, top, bottom); `direct` draws a slanted line.
        """
        for side in (leave, enter):
            if side not in (None, *DIRECTIONS):
                raise ValueError(f"an arrow leaves and enters at left, right, top or bottom, got {side!r}")
        self.own_arrows.append(Arrow(start, end, label, leave, enter, role, width, head, direct))

    def flow(self, *blocks: Block, role: str = "operation", width: float = 1.3) -> None:
        """An arrow from each of the blocks to the next."""
        for start, end in pairwise(blocks):
            self.arrow(start, end, role=role, width=width)

    def explain(self, what: str | Box, meaning: str) -> None:
        """Say in the legend what a role means in this drawing, or what boxes like the given one mean."""
        if isinstance(what, Box):
            self.samples.append((what, meaning))
            return
        # an unknown role gets its sentence
        role_color(what)
        self.meanings[what] = meaning

    def figure(self) -> Figure:
        """Place everything and draw it. Gaps grow until each arrow finds a way and each label a free place."""
        self._check_ends()
        for spread in SPREADS:
            self.body.measure(spread)
            self.body.place(0.0, 0.0)
            try:
                paths = self._paths()
                return self._painted(paths, self._label_spots(paths))
            except NoRoomError as error:
                trouble = error
        raise trouble

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

    def _frame_lines(self) -> list[list[Point]]:
        """The outlines of the groups."""
        frames = [block.frame for block in self.body.all() if isinstance(block, Group)]
        corners = [
            [(f.left, f.bottom), (f.left, f.top), (f.right, f.top), (f.right, f.bottom)] for f in frames
        ]
        return [[*four, four[0]] for four in corners]

    def _paths(self) -> list[list[Point]]:
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
                leave = [arrow.leave] if arrow.leave else list(DIRECTIONS)
                enter = [arrow.enter] if arrow.enter else list(DIRECTIONS)
                starts = ports(arrow.start.frame, leave, arrow.start.margin)
                ends = ports(arrow.end.frame, enter, arrow.end.margin)
                # arrows from one block, or into one block, may share a piece of their way
                related = [p for j, p in enumerate(paths) if p and self._forks(arrow, arrows[j])]
                others = [p for j, p in enumerate(paths) if p and not self._forks(arrow, arrows[j])]
                paths[i] = route(starts, ends, obstacles, others, related, self._frame_lines())
                if not paths[i]:
                    raise NoRoomError(
                        f"arrow {i} of {len(arrows)} finds no way around the boxes; choose other sides for it"
                    )
        return paths

    @staticmethod
    def _forks(one: Arrow, other: Arrow) -> bool:
        """Whether the two arrows have one end in common, and not the other."""
        same_start = one.start is other.start and one.leave == other.leave
        same_end = one.end is other.end and one.enter == other.enter
        return same_start != same_end and not one.label and not other.label

    def _label_spots(self, paths: list[list[Point]]) -> dict[int, Rect]:
        obstacles = self._obstacles()
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
                paths[i],
                (width + 2, height),
                [*obstacles, *spots.values()],
                [*paths, *self._frame_lines()],
                gap,
            )
            if spot is None:
                raise NoRoomError(
                    f"the label {arrow.label!r} finds no free place beside its arrow; make it shorter or the gap wider"
                )
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
                gid="paper 0",
            )
        )
        blocks = [block for top in (self.body, *extras) for block in top.all()]
        for number, block in enumerate(blocks):
            block.paint(axes, number)
        for number, (arrow, path) in enumerate(zip(self.arrows, paths, strict=True)):
            arrow.paint(axes, path, number)
        for number, spot in spots.items():
            arrow = self.arrows[number]
            artist = text_artist(*spot.centre, arrow.label, LABEL, arrow.label_color)
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
        named = [name for name in ROLES if name in used and self.meanings[name]]
        entries = [_legend_entry(Box([], name), self.meanings[name]) for name in named]
        entries += [_legend_entry(sample, meaning) for sample, meaning in self.samples]
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


def _legend_entry(sample: Box, meaning: str) -> Block:
    swatch = Box([], sample.role, sample.face, (0, 0), least=(13, 10), border=sample.border)
    return row(swatch, Note(meaning, Font(8.5)), gap=3)


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
