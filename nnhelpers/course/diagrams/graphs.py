"""Graphs without cycles, in columns from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from .arrows import Arrow
from .blocks import Block, Box
from .diagram import Diagram
from .layouts import equal_widths
from .routing import Point
from .style import HEAD, LABEL, ROLES, SHAPE, SLOPE, Font, text_size, tinted


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
                means = {v: sum(near[v]) / len(near[v]) for v in nodes}
                nodes.sort(key=means.__getitem__)
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
            arrow.path, arrow.spot = partial(self._course, i), partial(self._spot, i)
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
        self.set_size(lefts[-1] + widths[-1], high - low)
        self.centres = [c - low for c in centres]
        return [
            (lefts[column] + (widths[column] - block.width) / 2, self.centres[node] - block.height / 2)
            for node, (block, column) in enumerate(zip(self.parts, self.columns, strict=False))
        ]

    def _port(self, edge: int, place: int) -> float:
        """The height at which the edge enters (place -1) or leaves (place 0) its box, sorted by the other ends."""
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
            points += [
                *_swing(points[-1], (left, height)),
                (self.x + self.lefts[column] + self.widths[column], height),
            ]
        column, height = self.columns[chain[-1]], self.y + self._port(edge, -1)
        lead = self.leads[column] + HEAD + 6
        points += [
            *_swing(points[-1], (self.x + self.lefts[column] - lead, height)),
            (last.frame.left, height),
        ]
        return points

    def _spot(self, edge: int) -> Point:
        column = self.columns[self.chains[edge][-1]]
        left = self.x + self.lefts[column] - HEAD - 4 - self.leads[column] / 2
        return left, self.y + self._port(edge, -1) + 7.0


def _swing(p: Point, q: Point) -> list[Point]:
    """From p to q, level at both ends: a cubic curve as short pieces, without p."""
    if p[1] == q[1]:
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
