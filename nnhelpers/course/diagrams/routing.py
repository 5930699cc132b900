"""Where an arrow runs and where its label stands: geometry alone, in points, with y upwards.

An arrow with bends is the cheapest path on a grid of lanes between the boxes, by Dijkstra's algorithm (1959); length,
bends, and crossings of earlier arrows cost.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

Point = tuple[float, float]
# column and row in the grid of lanes, and the direction of the last step
State = tuple[int, int, str]

# points: a bend keeps this far from its box, so that the head has a straight piece of line behind it
STUB = 12.0
# points: no line comes closer to a box it does not belong to
CLEARANCE = 5.0
# points: an arrow meets an edge no closer to its ends, where the corner is rounded
MARGIN = 5.0
# points: the distance of a lane beside a box, and of two arrows that run side by side
LANE = 12.0

COST_OF_BEND = 30.0
COST_OF_CROSSING = 60.0
COST_OF_SHARING = 400.0

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "bottom": (0, -1), "top": (0, 1)}
OPPOSITE = {"left": "right", "right": "left", "bottom": "top", "top": "bottom"}


class Rect(NamedTuple):
    """A rectangle with sides parallel to the axes."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.top - self.bottom

    @property
    def centre(self) -> Point:
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def grown(self, by: float) -> Rect:
        return Rect(self.left - by, self.bottom - by, self.right + by, self.top + by)

    def overlaps(self, other: Rect) -> bool:
        """Whether the two share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def meets(self, p: Point, q: Point) -> bool:
        """Whether the segment from p to q enters the inside (Liang and Barsky 1984)."""
        first, last = 0.0, 1.0
        for start, way, low, high in (
            (p[0], q[0] - p[0], self.left, self.right),
            (p[1], q[1] - p[1], self.bottom, self.top),
        ):
            if way == 0:
                if not low < start < high:
                    return False
                continue
            enter, leave = sorted(((low - start) / way, (high - start) / way))
            first, last = max(first, enter), min(last, leave)
        return first < last

    def side(self, name: str, along: float | None = None) -> Point:
        """The point on an edge: its middle, or the one at the coordinate `along` the edge."""
        x, y = self.centre
        if name in ("left", "right"):
            return getattr(self, name), y if along is None else along
        return x if along is None else along, getattr(self, name)


def around(rects: Sequence[Rect]) -> Rect:
    """The smallest rectangle that holds all of them."""
    lefts, bottoms, rights, tops = zip(*rects, strict=True)
    return Rect(min(lefts), min(bottoms), max(rights), max(tops))


class Port(NamedTuple):
    """A point on an edge where an arrow may begin or end; `side` is the edge's name."""

    point: Point
    side: str
    cost: float = 0.0

    @property
    def stub(self) -> Point:
        """The point in front of the edge where the first bend may be."""
        dx, dy = DIRECTIONS[self.side]
        return self.point[0] + STUB * dx, self.point[1] + STUB * dy


def ports(rect: Rect, sides: Sequence[str], margin: float = MARGIN) -> list[Port]:
    """The middle of each side and, where there is room, a point to either side of it.

    No point but a middle is closer than `margin` to an end of its side.
    """
    found = []
    for name in sides:
        x, y = rect.centre
        middle, length = (y, rect.height) if name in ("left", "right") else (x, rect.width)
        offset = min(LANE, length / 4, length / 2 - margin)
        found.append(Port(rect.side(name), name))
        if offset >= 5:
            found += [Port(rect.side(name, middle + o), name, 25.0 + offset) for o in (-offset, offset)]
    return found


def straight(
    start: Rect,
    end: Rect,
    leave: str | None,
    enter: str | None,
    shift: float,
    margins: tuple[float, float] = (MARGIN, MARGIN),
) -> list[Point]:
    """The ends of a straight line between facing edges, or nothing if no edges face each other.

    It runs through the middle of the smaller box where that can be; parallel lines lie `shift` from there. It meets
    the edges of the start and the end no closer than their `margins` to a corner.
    """
    for name, low, high, near, far in (
        ("right", "bottom", "top", start.right, end.left),
        ("left", "bottom", "top", end.right, start.left),
        ("top", "left", "right", start.top, end.bottom),
        ("bottom", "left", "right", end.top, start.bottom),
    ):
        if leave not in (None, name) or enter not in (None, OPPOSITE[name]) or near > far:
            continue
        spans = [(getattr(rect, low), getattr(rect, high)) for rect in (start, end)]
        # an edge too short to choose is met in its middle
        insets = [min(margin, (b - a) / 2) for margin, (a, b) in zip(margins, spans, strict=True)]
        bottom = max(a + inset for inset, (a, _) in zip(insets, spans, strict=True))
        top = min(b - inset for inset, (_, b) in zip(insets, spans, strict=True))
        if bottom > top + 1e-6:
            continue
        shorter, longer = sorted(spans, key=lambda span: span[1] - span[0])
        middle = sum(shorter) / 2
        if not bottom <= middle <= top:
            middle = sum(longer) / 2
        along = min(max(middle, bottom), top) + min(max(shift, bottom - middle), top - middle)
        along = min(max(along, bottom), top)
        return [start.side(name, along), end.side(OPPOSITE[name], along)]
    return []


def clear(path: Sequence[Point], obstacles: Sequence[Rect], taken: Sequence[Sequence[Point]]) -> bool:
    """Whether the path enters no obstacle and runs along no path that is taken."""
    inner = [rect.grown(-0.5) for rect in obstacles]
    if any(rect.meets(p, q) for p, q in pairwise(path) for rect in inner):
        return False
    segments = [around([Rect(*p, *p), Rect(*q, *q)]) for p, q in pairwise(path)]
    for other in taken:
        for p, q in pairwise(other):
            for segment in segments:
                parallel = (p[0] == q[0] and segment.width == 0) or (p[1] == q[1] and segment.height == 0)
                if parallel and segment.grown(3).meets(p, q):
                    return False
    return True


class Lanes:
    """The coordinates on one axis where an arrow may run: beside the boxes, between them, and through the ports."""

    def __init__(self, edges: Sequence[float], through: Sequence[float]):
        ordered = sorted(set(edges))
        middles = [(a + b) / 2 for a, b in pairwise(ordered) if b - a >= 2 * CLEARANCE]
        beside = [edge + way for edge in ordered for way in (-LANE, LANE, -2 * LANE, 2 * LANE)]
        chosen: list[float] = []
        # the ports must be lanes exactly; of the others, those in the middle of a gap come first
        for lane in (*through, *middles, *beside):
            if lane in through or all(abs(lane - other) >= 2 for other in chosen):
                chosen.append(lane)
        wanted = {*through, *middles}
        self.at = np.array(sorted(set(chosen)))
        # a lane that hugs a box costs a little more than one in the middle of a gap
        self.price = np.array([1.0 if lane in wanted else 1.04 for lane in self.at])
        self.index = {float(lane): i for i, lane in enumerate(self.at)}


def route(
    starts: Sequence[Port],
    ends: Sequence[Port],
    obstacles: Sequence[Rect],
    taken: Sequence[Sequence[Point]],
    shared: Sequence[Sequence[Point]] = (),
    frames: Sequence[Sequence[Point]] = (),
) -> list[Point]:
    """The cheapest right-angled path from one of `starts` to one of `ends`, or nothing if there is none.

    `taken` are the paths of earlier arrows: crossing one is dear, running along one dearer. The path may run along
    those that are `shared`, but not across them, and across `frames`, but not along them.
    """
    stubs = [port.stub for port in (*starts, *ends)]
    xs = Lanes([x for r in obstacles for x in (r.left, r.right)], [x for x, _ in stubs])
    ys = Lanes([y for r in obstacles for y in (r.bottom, r.top)], [y for _, y in stubs])
    costs = _costs(xs, ys, obstacles)
    _add_lines(costs, xs, ys, taken, COST_OF_CROSSING, COST_OF_SHARING, LANE - 1)
    _add_lines(costs, xs, ys, shared, COST_OF_CROSSING, 0.0, LANE - 1)
    _add_lines(costs, xs, ys, frames, 0.0, COST_OF_SHARING, CLEARANCE)
    goals: dict[tuple[int, int], list[Port]] = {}
    for port in ends:
        goals.setdefault((xs.index[port.stub[0]], ys.index[port.stub[1]]), []).append(port)
    origins: dict[State, Port] = {}
    for port in starts:
        state = xs.index[port.stub[0]], ys.index[port.stub[1]], port.side
        if state not in origins or port.cost < origins[state].cost:
            origins[state] = port
    states, arrival = _cheapest(origins, goals, costs)
    if arrival is None:
        return []
    bends = [(float(xs.at[i]), float(ys.at[j])) for i, j, _ in states]
    return _without_straight_points([origins[states[0]].point, *bends, arrival.point])


def _cheapest(
    origins: dict[State, Port], goals: dict[tuple[int, int], list[Port]], costs: dict[str, np.ndarray]
) -> tuple[list[State], Port | None]:
    """The states on the cheapest way from one of the origins to one of the goals, and the port where it arrives."""
    best = {state: port.cost for state, port in origins.items()}
    queue = [(cost, state) for state, cost in best.items()]
    heapq.heapify(queue)
    before: dict[State, State] = {}
    total = math.inf
    arrival: Port | None = None
    states: list[State] = []
    while queue:
        cost, state = heapq.heappop(queue)
        if cost >= total:
            break
        if cost > best[state]:
            continue
        for port in goals.get(state[:2], []):
            whole = cost + port.cost + COST_OF_BEND * (state[2] != OPPOSITE[port.side])
            # it may not come out of the box that it is to enter
            if state[2] != port.side and whole < total:
                total, arrival, states = whole, port, [state]
        for side, column, row, price in _moves(state, costs):
            following = column, row, side
            new = cost + price + COST_OF_BEND * (side != state[2])
            if new < best.get(following, math.inf):
                best[following], before[following] = new, state
                heapq.heappush(queue, (new, following))
    while states and states[-1] in before:
        states.append(before[states[-1]])
    return states[::-1], arrival


def _moves(state: State, costs: dict[str, np.ndarray]) -> Iterator[tuple[str, int, int, float]]:
    column, row, heading = state
    across, up = costs["across"], costs["up"]
    if heading != "left" and column < len(across):
        yield "right", column + 1, row, across[column, row]
    if heading != "right" and column > 0:
        yield "left", column - 1, row, across[column - 1, row]
    if heading != "bottom" and row < up.shape[1]:
        yield "top", column, row + 1, up[column, row]
    if heading != "top" and row > 0:
        yield "bottom", column, row - 1, up[column, row - 1]


def _costs(xs: Lanes, ys: Lanes, obstacles: Sequence[Rect]) -> dict[str, np.ndarray]:
    """The cost of each step to the right, (len(xs) - 1, len(ys)), and of each step up, (len(xs), len(ys) - 1)."""
    across = np.diff(xs.at)[:, None] * ys.price[None, :]
    up = np.diff(ys.at)[None, :] * xs.price[:, None]
    x0, x1, y0, y1 = xs.at[:-1], xs.at[1:], ys.at[:-1], ys.at[1:]
    for rect in obstacles:
        left, bottom, right, top = rect.grown(CLEARANCE)
        blocked = np.outer((x0 < right) & (x1 > left), (ys.at > bottom) & (ys.at < top))
        across[blocked] = np.inf
        blocked = np.outer((xs.at > left) & (xs.at < right), (y0 < top) & (y1 > bottom))
        up[blocked] = np.inf
    return {"across": across, "up": up}


def _add_lines(
    costs: dict[str, np.ndarray],
    xs: Lanes,
    ys: Lanes,
    lines: Sequence[Sequence[Point]],
    crossing: float,
    sharing: float,
    reach: float,
) -> None:
    """Add what it costs to cross the lines, and to run beside them at less than `reach`."""
    x0, x1, y0, y1 = xs.at[:-1], xs.at[1:], ys.at[:-1], ys.at[1:]
    for p, q in (piece for line in lines for piece in pairwise(line)):
        left, bottom, right, top = around([Rect(*p, *p), Rect(*q, *q)])
        if bottom == top:
            costs["across"] += sharing * np.outer((x0 < right) & (x1 > left), abs(ys.at - bottom) < reach)
            met = (xs.at >= left) & (xs.at <= right)
            costs["up"] += crossing * np.outer(met, _crossed(ys.at, bottom))
        else:
            costs["up"] += sharing * np.outer(abs(xs.at - left) < reach, (y0 < top) & (y1 > bottom))
            met = (ys.at >= bottom) & (ys.at <= top)
            costs["across"] += crossing * np.outer(_crossed(xs.at, left), met)


def _crossed(lanes: np.ndarray, line: float) -> np.ndarray:
    """For each step from lane to lane: 1 if it crosses the line, 1/2 if it ends or begins there, else 0."""
    first, last = lanes[:-1], lanes[1:]
    return 1.0 * ((first < line) & (line < last)) + 0.5 * (first == line) + 0.5 * (last == line)


def _without_straight_points(path: Sequence[Point]) -> list[Point]:
    """The path with its bends alone. Lanes may differ by a rounding error, so points that nearly agree are one."""

    def near(p: float, q: float) -> bool:
        return abs(p - q) < 1e-6

    points = [path[0]]
    for p in path[1:]:
        if not (near(p[0], points[-1][0]) and near(p[1], points[-1][1])):
            points.append(p)
    kept = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        straight_on = any(near(before[k], here[k]) and near(here[k], after[k]) for k in (0, 1))
        if not straight_on:
            kept.append(here)
    return [*kept, points[-1]]


def label_spot(
    path: Sequence[Point],
    size: tuple[float, float],
    obstacles: Sequence[Rect],
    lines: Sequence[Sequence[Point]],
    gap: float = 3.0,
) -> Rect | None:
    """A free place for a label of `size` beside the path: near the middle of its longest piece if that can be.

    It enters none of the obstacles and no line, its own included.
    """
    width, height = size
    pieces = sorted(
        pairwise(path), key=lambda piece: -abs(piece[1][0] - piece[0][0]) - abs(piece[1][1] - piece[0][1])
    )
    for p, q in pieces:
        level = abs(p[1] - q[1]) < abs(p[0] - q[0])
        away = (0.0, height / 2 + gap) if level else (width / 2 + gap + 1, 0.0)
        for share in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9):
            x, y = p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])
            for sign in (1, -1):
                cx, cy = x + sign * away[0], y + sign * away[1]
                spot = Rect(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
                free = not any(spot.grown(1.5).overlaps(rect) for rect in obstacles)
                if free and not any(spot.grown(1).meets(a, b) for line in lines for a, b in pairwise(line)):
                    return spot
    return None
