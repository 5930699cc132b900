"""What is true of every drawing, read off the lines, faces and texts that stand on the paper."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from math import hypot
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

mpl.use("Agg")

import gallery
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from nnhelpers.course import diagrams as dg

THEMES = ("default", "dark_background")
drawings = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# ------------------------------------------------------------------------------------------- reading a drawing


class Line(NamedTuple):
    """An arrow as it is seen: points along it, from its beginning to the tip of its head."""

    points: np.ndarray

    @property
    def ends(self):
        return self.points[0], self.points[-1]


class Drawing:
    """The artists of a figure by what they are, in points (1/72 inch)."""

    def __init__(self, figure: Figure):
        self.figure = figure
        figure.canvas.draw()
        (self.axes,) = figure.axes
        self.scale = 72 / figure.dpi
        shapes = self._by_kind(self.axes.patches)
        self.boxes = {number: self.outline(patch) for kind, number, patch in shapes if kind == "box"}
        self.others = [
            self.outline(patch) for kind, _, patch in shapes if kind in ("sheet", "frame", "brace")
        ]
        filled = [
            patch
            for kind, _, patch in shapes
            if kind in ("box", "sheet", "frame", "paper") and patch.get_facecolor()[3] == 1
        ]
        self.faces = filled, [self.outline(patch) for patch in filled]
        self.written = self._by_kind(self.axes.texts)
        self.words = {(kind, number): text.get_text() for kind, number, text in self.written}
        self.labels = {number: self.extent(text) for kind, number, text in self.written if kind == "label"}
        self.notes = {number: self.extent(text) for kind, number, text in self.written if kind == "note"}
        self.arrows = self._arrows(shapes)

    @staticmethod
    def _by_kind(artists) -> list:
        """The artists with what they are and their numbers."""
        named = [(*(artist.get_gid() or "none 0").split(), artist) for artist in artists]
        return [(kind, int(number), artist) for kind, number, artist in named]

    def extent(self, artist) -> Bbox:
        return Bbox(artist.get_window_extent().get_points() * self.scale)

    def outline(self, patch) -> Bbox:
        """Without the width of its line."""
        outline = patch.get_transform().transform_path(patch.get_path()).get_extents()
        return Bbox(outline.get_points() * self.scale)

    def _arrows(self, shapes) -> dict[int, Line]:
        arrows = {}
        for kind, number, patch in shapes:
            if kind == "arrow":
                path = patch.get_transform().transform_path(patch.get_path())
                (points,) = path.to_polygons(closed_only=False)
                arrows[number] = points * self.scale
        for kind, number, head in shapes:
            if kind == "head":
                tip = head.get_transform().transform(head.get_xy()[:1]) * self.scale
                arrows[number] = np.vstack([arrows[number], tip])
        return {number: Line(points) for number, points in arrows.items()}

    def box_of(self, text: str) -> Bbox:
        """The box in which a text stands."""
        (number,) = (
            number for kind, number, artist in self.written if kind == "text" and artist.get_text() == text
        )
        return self.boxes[number]

    def numbers(self) -> np.ndarray:
        """All numbers in boxes with a digit after the point, in the order in which they are drawn."""
        texts = [text.get_text().replace("−", "-").replace("∞", "inf") for _, _, text in self.written]
        return np.array([float(text) for text in texts if re.fullmatch(r"-?(\d+\.\d+|inf)", text)])

    def ends_of(self) -> list[Bbox]:
        """All that an arrow may begin or end at."""
        # a note keeps its arrows two points from its text
        notes = [note.padded(2) for note in self.notes.values()]
        return [*self.boxes.values(), *self.others, *notes]


def distance_to_edge(point, box: Bbox) -> float:
    """From a point to the outline of a box; for a round box the middles of its sides lie on it as well."""
    dx = max(box.x0 - point[0], point[0] - box.x1)
    dy = max(box.y0 - point[1], point[1] - box.y1)
    return hypot(max(dx, 0), max(dy, 0)) if max(dx, dy) > 0 else -max(dx, dy)


def along(line: Line) -> np.ndarray:
    """Points at most a point apart along a line."""
    pieces = []
    for a, b in zip(line.points, line.points[1:], strict=False):
        n = int(np.ceil(hypot(*(b - a)))) + 1
        pieces.append(a + np.linspace(0, 1, n)[:, None] * (b - a))
    return np.vstack(pieces)


def array(boxes) -> np.ndarray:
    """Rectangles as rows x0, y0, x1, y1."""
    return np.array([box.extents for box in boxes]).reshape(-1, 4)


def inside(points: np.ndarray, boxes, by: float) -> bool:
    """Whether any of the points lies in any of the boxes, at least `by` from its edge."""
    x, y = points.T[:, :, None]
    x0, y0, x1, y1 = array(boxes).T
    return bool(((x0 + by < x) & (x < x1 - by) & (y0 + by < y) & (y < y1 - by)).any())


def holds(outer: Bbox, inner: Bbox, tolerance: float = 0.5) -> bool:
    return (
        outer.x0 - tolerance <= inner.x0
        and outer.y0 - tolerance <= inner.y0
        and inner.x1 <= outer.x1 + tolerance
        and inner.y1 <= outer.y1 + tolerance
    )


def overlaps(some, others, tolerance: float = 0.5) -> np.ndarray:
    """Which rectangles share more than a strip of `tolerance`: (len(some), len(others))."""
    a, b = array(some)[:, None], array(others)[None]
    shared = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return (shared > tolerance).all(axis=-1)


def overlap_each_other(boxes) -> bool:
    return bool(np.triu(overlaps(boxes, boxes), 1).any())


def contrast(one, other) -> float:
    """The ratio of luminances, 1 to 21 (WCAG 2)."""

    def luminance(color):
        channels = np.array(to_rgb(color))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722) + 0.05

    low, high = sorted((luminance(one), luminance(other)))
    return high / low


def face_behind(drawing: Drawing, text: Text):
    """The colour of the topmost face at the middle of a text."""
    x, y = drawing.extent(text).corners().mean(axis=0)
    x0, y0, x1, y1 = array(drawing.faces[1]).T
    behind = (x0 < x) & (x < x1) & (y0 < y) & (y < y1)
    patch = max((drawing.faces[0][i] for i in np.flatnonzero(behind)), key=lambda patch: patch.get_zorder())
    return patch.get_facecolor()


def check(figure: Figure) -> Drawing:
    """All that must be true of a drawing."""
    drawing = Drawing(figure)
    boxes, free = list(drawing.boxes.values()), [*drawing.labels.values(), *drawing.notes.values()]
    for line in drawing.arrows.values():
        for end in line.ends:
            assert min(abs(distance_to_edge(end, box)) for box in drawing.ends_of()) <= 1
        assert not inside(along(line), boxes, 1)
        for number, label in drawing.labels.items():
            assert not inside(along(line), [label], 0.5), drawing.words["label", number]
    assert not overlap_each_other(boxes)
    assert not overlap_each_other(free)
    assert not overlaps(free, boxes).any()
    page = Bbox.from_bounds(0, 0, *figure.get_size_inches() * 72)
    assert len(drawing.written) == len(drawing.axes.texts)
    for kind, number, text in drawing.written:
        extent = drawing.extent(text)
        assert holds(page, extent)
        assert kind != "text" or holds(drawing.boxes[number], extent), text.get_text()
        assert text.get_fontsize() >= 8.5
        assert contrast(text.get_color(), face_behind(drawing, text)) >= 4.5, text.get_text()
    assert all(holds(page, box) for box in [*boxes, *drawing.others])
    assert all(page.contains(*point) for line in drawing.arrows.values() for point in line.points)
    plt.close(figure)
    return drawing


def own_arrow_is_nearest(drawing: Drawing) -> bool:
    """Whether each label stands nearer to its own arrow than to any other."""
    for number, extent in drawing.labels.items():
        near = {
            k: min(distance_to_edge(p, extent) for p in along(line)) for k, line in drawing.arrows.items()
        }
        if min(near, key=lambda k: near[k]) != number:
            return False
    return True


# ---------------------------------------------------------------------------------------------------- the gallery


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", gallery.DRAWINGS)
def test_the_drawings_of_the_gallery_are_right_and_are_written(name, theme):
    with plt.style.context(theme):
        figure = gallery.DRAWINGS[name]().figure()
        drawing = check(figure)
        path = gallery.save(figure, name, theme)
    assert own_arrow_is_nearest(drawing)
    assert figure.get_size_inches()[0] <= 10
    assert path.parent.parts[-2:] == ("build", "gallery")
    assert plt.imread(path).std() > 0.05


def test_a_drawing_looks_the_same_under_every_theme(tmp_path: Path):
    pictures = []
    for theme in THEMES:
        with plt.style.context(theme):
            gallery.DRAWINGS["merges_of_a_word"]().figure().savefig(tmp_path / "a.png", dpi=100)
        pictures.append(plt.imread(tmp_path / "a.png"))
    assert np.array_equal(pictures[0], pictures[1])


def test_the_printed_attention_weights_are_the_softmax_of_the_printed_scores():
    drawing = check(gallery.attention_head().figure())
    scores, masked, weights = drawing.numbers().reshape(3, 4, 4)
    earlier = np.tri(4, dtype=bool)
    assert np.array_equal(masked, np.where(earlier, scores, -np.inf))
    powers = np.exp(masked)
    assert np.abs(powers / powers.sum(axis=1, keepdims=True) - weights).max() <= 0.01
    # in hundredths: what is printed adds to exactly 1
    assert (np.rint(100 * weights).sum(axis=1) == 100).all()


def test_the_first_token_sees_itself_alone_so_it_brings_back_its_own_value_in_the_same_shades():
    drawing = check(gallery.attention_head().figure())
    cells = [
        face.get_facecolor()
        for face, outline in zip(*drawing.faces, strict=True)
        if outline.size == pytest.approx((13, 18))
    ]
    # x has 4 rows of 8 cells; q, k, v and out have 4 rows of 3
    _, _, v, out = np.array(cells)[4 * 8 :].reshape(4, 4, 3, 4)
    assert np.array_equal(out[0], v[0])
    assert len(np.unique(out.reshape(12, 4), axis=0)) > 3


def test_the_printed_numbers_of_batch_normalisation_follow_from_each_other():
    numbers = check(gallery.batch_normalisation().figure()).numbers().reshape(-1, 3)
    x, of_x, x_hat, of_x_hat, (gamma, beta), y, of_y = np.split(numbers, [4, 6, 10, 12, 14, 18])
    for values, statistics in ((x, of_x), (x_hat, of_x_hat), (y, of_y)):
        assert np.allclose([values.mean(axis=0), values.std(axis=0)], statistics)
    assert np.allclose((x - of_x[0]) / of_x[1], x_hat)
    assert np.allclose(gamma * x_hat + beta, y)
    assert np.allclose([beta, gamma], of_y)


def test_each_logit_stands_above_its_probability_and_is_the_darker_the_larger_that_is():
    drawing = check(gallery.mlp_of_lecture_3().figure())
    bars = [patch for patch in drawing.axes.patches if (patch.get_gid() or "").startswith("bar")]
    middles = [(bar.x0 + bar.x1) / 2 for bar in map(drawing.outline, bars)]
    rows: dict[float, list] = {}
    for face, outline in zip(*drawing.faces, strict=True):
        rows.setdefault(round(outline.y0), []).append(((outline.x0 + outline.x1) / 2, face.get_facecolor()))
    aligned = [row for row in rows.values() if len(row) == 27]
    logits, letters = sorted(aligned, key=lambda row: len({face for _, face in row}), reverse=True)
    assert np.allclose([x for x, _ in logits], middles)
    assert np.allclose([x for x, _ in letters], middles)
    order = np.argsort([bar.get_height() for bar in bars])
    darkness = np.array([contrast(face, "white") for _, face in logits])[order]
    assert (np.diff(darkness) >= 0).all()


# -------------------------------------------------------------------------------------------------- random drawings

WORDS = st.text("abgjpqyMW∑1., ", min_size=1, max_size=12).map(str.strip).filter(bool)


@st.composite
def compositions(draw):
    """Boxes nested in rows, columns and groups, with up to five arrows between different pairs of them."""
    boxes = []

    def block(depth):
        kind = draw(
            st.sampled_from(["box", "tensor", "sign", "row", "column", "group"] if depth else ["box", "sign"])
        )
        if kind in ("row", "column"):
            parts = [block(depth - 1) for _ in range(draw(st.integers(1, 3)))]
            return dg.row(*parts) if kind == "row" else dg.column(*parts)
        if kind == "group":
            return dg.group(block(depth - 1), draw(st.sampled_from(["", "a frame"])))
        made = {"box": dg.box, "tensor": dg.tensor, "sign": lambda _, __: dg.operation("+")}[kind]
        boxes.append(made(draw(WORDS), draw(st.sampled_from(["(2, 3)", (32, 3, 10)]))))
        return boxes[-1]

    body = dg.row(block(2), block(2)) if draw(st.booleans()) else dg.column(block(2), block(2))
    diagram = dg.Diagram(body, draw(st.sampled_from(["", "A title that runs over the drawing, " * 3])))
    pairs = draw(st.lists(st.sampled_from(list(combinations(range(len(boxes)), 2))), max_size=5, unique=True))
    for a, b in pairs:
        start, end = draw(st.sampled_from([(a, b), (b, a)]))
        diagram.arrow(boxes[start], boxes[end], draw(st.sampled_from(["", "", "skip"])))
    return diagram


@drawings
@given(compositions())
def test_every_composition_is_right(diagram):
    drawing = check(diagram.figure())
    for number, arrow in enumerate(diagram.arrows):
        # the library's own idea of where a block stands is tied to the picture by its edges
        for end, block in zip(drawing.arrows[number].ends, (arrow.start, arrow.end), strict=True):
            origin = diagram_origin(drawing)
            frame = Bbox(np.array(block.frame).reshape(2, 2) - origin)
            assert abs(distance_to_edge(end, frame)) <= 1


def diagram_origin(drawing: Drawing) -> np.ndarray:
    return np.array([drawing.axes.get_xlim()[0], drawing.axes.get_ylim()[0]])


@st.composite
def acyclic_graphs(draw, most_edges=25):
    n = draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1])
    names = draw(st.permutations(range(n)))  # so that the order of the numbers says nothing
    edges = draw(st.lists(pairs, max_size=most_edges)) if n > 1 else []
    return n, [(names[a], names[b]) for a, b in edges]


@drawings
@given(acyclic_graphs(), st.data())
def test_every_graph_is_right_and_its_arrows_join_the_boxes_they_name(graph, data):
    n, edges = graph
    labels = [
        f"v{i}" + data.draw(st.sampled_from(["", "\ndata −0.12", "\ndata 1.5\ngrad −0.1234"]))
        for i in range(n)
    ]
    slopes = data.draw(
        st.lists(st.sampled_from(["1", "−3", "0.0158"]), min_size=len(edges), max_size=len(edges))
    )
    drawing = check(dg.graph(labels, edges, slopes, "a title"))
    assert len(drawing.arrows) == len(edges)
    for number, (a, b) in enumerate(edges):
        start, end = drawing.arrows[number].ends
        assert abs(distance_to_edge(start, drawing.box_of(f"v{a}"))) <= 1
        assert abs(distance_to_edge(end, drawing.box_of(f"v{b}"))) <= 1
    assert {number: drawing.words["label", number] for number in drawing.labels} == dict(enumerate(slopes))
    assert own_arrow_is_nearest(drawing)


# ------------------------------------------------------------------------------------------------------- graphs


@given(acyclic_graphs())
def test_every_edge_points_to_the_right_and_no_two_nodes_share_a_place(graph):
    n, edges = graph
    places = dg.layered_layout(n, edges)
    assert len(set(places)) == n
    assert all(places[a][0] < places[b][0] for a, b in edges)


@given(acyclic_graphs())
def test_a_node_without_predecessors_stands_just_before_its_first_user(graph):
    n, edges = graph
    places = dg.layered_layout(n, edges)
    for node in set(range(n)) - {b for _, b in edges}:
        users = [places[b][0] for a, b in edges if a == node]
        assert not users or places[node][0] == min(users) - 1


def test_the_layout_of_a_chain_is_a_line():
    assert dg.layered_layout(3, [(2, 0), (0, 1)]) == [(1.0, 0.0), (2.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize("call", [dg.layered_layout, lambda n, edges: dg.graph(["a", "b"], edges)])
def test_a_cycle_gets_a_sentence(call):
    with pytest.raises(ValueError, match="contain a cycle"):
        call(2, [(0, 1), (1, 0)])


@pytest.mark.parametrize("edge", [(0, 2), (0, -1)])
def test_an_edge_to_nowhere_gets_a_sentence(edge):
    with pytest.raises(ValueError, match=r"join nodes 0..1"):
        dg.layered_layout(2, [edge])


def test_a_graph_shows_every_label_and_every_edge():
    figure = dg.graph(["a\n1", "b\n2", "c\n3"], [(0, 2), (1, 2), (1, 2)], ["x", "y", "z"], "a title")
    drawing = check(figure)
    assert {text.get_text() for text in drawing.axes.texts} == {*"abc123xyz", "a title"}
    assert len(drawing.arrows) == 3


def test_parallel_arrows_carry_their_own_labels_in_the_order_of_the_edges():
    drawing = check(dg.graph(["a", "b"], [(0, 1), (0, 1), (0, 1)], ["first", "second", "third"]))
    heights = [drawing.arrows[number].points[-1][1] for number in range(3)]
    assert heights == sorted(heights, reverse=True)
    assert own_arrow_is_nearest(drawing)


def test_a_graph_takes_faces_from_the_caller_and_writes_on_them_legibly():
    drawing = check(dg.graph(["a", "b", "c"], [(0, 1), (1, 2)], colors=["black", "#FFFF00", "0.5"]))
    faces = [patch.get_facecolor() for patch in drawing.faces[0]][1:]
    assert [mpl.colors.to_hex(face) for face in faces] == ["#000000", "#ffff00", "#808080"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"edge_labels": ["x", "y"]}, "got 2 labels for 1 edges"),
        ({"colors": ["red"]}, "got 1 colours for 2 boxes"),
    ],
)
def test_a_list_of_another_length_gets_a_sentence(lists, message):
    with pytest.raises(ValueError, match=message):
        dg.graph(["a", "b"], [(0, 1)], **lists)


# ------------------------------------------------------------------------------------------------------- parts


def test_an_arrow_between_neighbours_is_one_straight_line():
    a, b = dg.box("a"), dg.box("a much longer name", (32, 3))
    diagram = dg.Diagram(dg.row(a, b))
    diagram.flow(a, b)
    (line,) = check(diagram.figure()).arrows.values()
    assert np.ptp(line.points[:, 1]) < 1e-6


def test_a_skip_arrow_runs_around_what_stands_between():
    a, b, c = dg.box("a"), dg.box("b"), dg.operation("+")
    diagram = dg.Diagram(dg.row(a, b, c))
    diagram.flow(a, b, c)
    diagram.arrow(a, c, "skip")
    drawing = check(diagram.figure())
    box = drawing.box_of("b")
    heights = along(drawing.arrows[2])[:, 1]
    assert heights.max() > box.y1 or heights.min() < box.y0


@pytest.mark.parametrize("pad", range(12, 26, 2))
@pytest.mark.parametrize(("stand", "align"), [(dg.row, "top"), (dg.column, "left")])
def test_an_arrow_meets_a_sheet_of_a_pile_and_not_the_empty_corner_beside_it(stand, align, pad):
    pile, box = dg.tensor("a", ""), dg.box("b")
    # the frame's padding moves the box along the edge of the pile
    diagram = dg.Diagram(stand(pile, dg.group(box, pad=pad), align=align))
    diagram.arrow(pile, box)
    check(diagram.figure())


def test_an_arrow_does_not_run_along_a_frame():
    a, b = dg.box("the widest of the boxes"), dg.box("b as wide as the others")
    diagram = dg.Diagram(dg.column(dg.group(dg.column(a, dg.box("between"))), b))
    diagram.arrow(a, b, leave="left", enter="left")
    drawing = check(diagram.figure())
    (frame,) = drawing.others
    points = along(drawing.arrows[0])
    beside = (abs(points[:, 0] - frame.x0) < 4) & (frame.y0 < points[:, 1]) & (points[:, 1] < frame.y1)
    # it crosses the frame once, from right to left
    assert beside.sum() <= 12


def test_two_arrows_between_the_same_boxes_are_two_lines():
    a, b = dg.box("a\nof three\nlines"), dg.box("b\nof three\nlines")
    diagram = dg.Diagram(dg.row(a, b))
    diagram.arrow(a, b, "to")
    diagram.arrow(b, a, "fro")
    drawing = check(diagram.figure())
    first, second = (line.points[0][1] for line in drawing.arrows.values())
    assert abs(first - second) >= 10
    assert own_arrow_is_nearest(drawing)


def test_what_is_attached_does_not_move_the_line():
    a, b = dg.box("a"), dg.box("b")
    diagram = dg.Diagram(dg.column(dg.beside(a, dg.note("a long remark at one side")), b))
    diagram.flow(a, b)
    drawing = check(diagram.figure())
    first, second = drawing.box_of("a"), drawing.box_of("b")
    assert (first.x0 + first.x1) / 2 == pytest.approx((second.x0 + second.x1) / 2)


def test_a_matrix_shows_its_numbers_in_rows_and_columns():
    body = dg.matrix([[1.0, -0.5], [float("-inf"), None]], rows="ab", columns="xy")
    drawing = check(dg.Diagram(body, legend=False).figure())
    texts = {text.get_text(): drawing.boxes[number] for _, number, text in drawing.written}
    assert set(texts) == {"1.00", "−0.50", "−∞", *"abxy"}
    assert texts["1.00"].y0 == pytest.approx(texts["a"].y0)
    assert texts["−0.50"].x0 == pytest.approx(texts["y"].x0)
    assert texts["1.00"].y0 == pytest.approx(texts["−∞"].y1)


def test_the_larger_a_number_the_darker_its_cell():
    drawing = check(dg.Diagram(dg.matrix([[0.1, -2.0, 1.0, float("-inf")]], "parameter")).figure())
    faces = {text.get_text(): face_behind(drawing, text) for _, _, text in drawing.written}
    steps = [contrast(faces[name], "white") for name in ("−∞", "−2.00", "0.10", "1.00")]
    assert steps[0] == 1
    assert all(b > 1.05 * a for a, b in pairwise(steps))


FLOATS = st.one_of(st.floats(-3, 3), st.floats(allow_nan=False), st.just(float("-inf")))


@given(st.lists(FLOATS, min_size=1, max_size=8), st.sampled_from(sorted(dg.ROLES)))
def test_a_larger_number_is_never_lighter_in_one_matrix(numbers, role):
    strip = dg.vector(numbers, role)
    darkness = [contrast(strip.cell(0, j).face, "white") for j in range(len(numbers))]
    ordered = [darkness[j] for j in np.argsort(numbers)]
    # a colour has 256 steps a channel, so equal shades may be one step apart
    assert all(b >= a - 0.02 for a, b in pairwise(ordered))


def test_matrices_with_the_same_limits_give_a_number_the_same_colour():
    one, other = (dg.vector(numbers, limits=(-1, 4)) for numbers in ([0.0, 1.0], [1.0, 4.0]))
    assert one.cell(0, 1).face == other.cell(0, 0).face
    assert dg.vector([0.0, 1.0]).cell(0, 1).face == other.cell(0, 1).face


def test_cells_without_shades_have_one_colour():
    cells = dg.matrix([[-1.0, 0.0], [5.0, 2.0]], shade=False).body
    assert len({cell.face for row in cells for cell in row}) == 1


def test_a_brace_is_as_wide_as_what_it_takes_together_and_its_arrow_leaves_from_the_middle():
    body, after = dg.matrix([[1.0] * 6] * 2, rows="ab"), dg.box("after")
    brace = dg.brace(body)
    diagram = dg.Diagram(dg.column(dg.below(body, brace), after))
    diagram.flow(brace, after)
    drawing = check(diagram.figure())
    (outline,) = drawing.others
    cells = [box for number, box in drawing.boxes.items() if box.y0 > outline.y0]
    assert (outline.x0, outline.x1) == pytest.approx((min(b.x0 for b in cells), max(b.x1 for b in cells)))
    assert drawing.arrows[0].points[0] == pytest.approx([(outline.x0 + outline.x1) / 2, outline.y0])


def test_a_matrix_lines_up_by_its_numbers_and_not_by_the_names_of_its_columns():
    table, box = dg.matrix([[1.0], [2.0]], columns=["a"]), dg.box("after")
    diagram = dg.Diagram(dg.row(table, box))
    diagram.flow(table, box)
    drawing = check(diagram.figure())
    assert drawing.arrows[0].points[-1][1] == pytest.approx(drawing.box_of("1.00").y0)


def test_wide_names_of_columns_widen_the_cells():
    drawing = check(
        dg.Diagram(dg.matrix([[1.0, 2.0]], columns=["a long name", "b"], header_role="plain")).figure()
    )
    assert drawing.box_of("1.00").x1 == pytest.approx(drawing.box_of("2.00").x0)


@pytest.mark.parametrize(
    ("attach", "align", "edge"),
    [
        (dg.above, "left", "x0"),
        (dg.above, "right", "x1"),
        (dg.below, "right", "x1"),
        (dg.beside, "top", "y1"),
    ],
)
def test_what_is_attached_can_stand_at_an_end_of_its_side(attach, align, edge):
    body = attach(dg.box("a wide box\nof two lines"), dg.box("small"), align=align)
    drawing = check(dg.Diagram(body).figure())
    small, wide = sorted(drawing.boxes.values(), key=lambda box: box.width)[-2:]
    assert getattr(small, edge) == pytest.approx(getattr(wide, edge))


def test_bars_are_as_high_as_their_numbers():
    figure = dg.Diagram(dg.bars([0.5, 0.25, 0.0], "abc")).figure()
    check(figure)
    heights = [
        patch.get_height() for patch in figure.axes[0].patches if (patch.get_gid() or "").startswith("bar")
    ]
    assert heights[0] == pytest.approx(2 * heights[1])
    assert heights[2] == 0


def test_a_look_up_joins_each_token_with_its_row_and_its_vector():
    table = np.arange(54.0).reshape(27, 2)
    look_up = dg.lookup("emm", [5, 13, 13], table, gallery.LETTERS)
    drawing = check(dg.Diagram(look_up).figure())
    assert len(drawing.arrows) == 9
    shown = [text.get_text() for kind, _, text in drawing.written if kind == "text"]
    assert shown == [*"emm", "5", "13", "13", " 0 .", " 1 a", "⋮", " 5 e", "⋮", "13 m", "⋮", "26 z", *"emm"]


def test_all_leaves_of_a_tree_stand_on_one_line_below_their_parents():
    leaves = [dg.token(letter) for letter in "abc"]
    inner, root = dg.token("ab"), dg.token("abc")
    top = dg.Tree(root, [dg.Tree(inner, [dg.Tree(leaves[0]), dg.Tree(leaves[1])]), dg.Tree(leaves[2])])
    drawing = check(dg.Diagram(dg.tree(top)).figure())
    bottoms = [drawing.box_of(letter).y0 for letter in "abc" if letter != "abc"]
    assert np.ptp(bottoms) < 1e-6
    assert drawing.box_of("ab").y0 > drawing.box_of("a").y1
    assert drawing.box_of("abc").y0 > drawing.box_of("ab").y1
    assert all(line.ends[0][1] < line.ends[1][1] for line in drawing.arrows.values())
    assert len(drawing.arrows) == 4


def test_the_legend_names_the_roles_that_are_used():
    body = dg.row(dg.token("a"), dg.box("W", role="parameter"))
    drawing = check(dg.Diagram(body).figure())
    assert {drawing.words["note", number] for number in drawing.notes} == {"tokens, ids", "parameters"}
    assert not check(dg.Diagram(body, legend=False).figure()).notes


def test_a_drawing_can_say_in_its_legend_what_it_means():
    strong = dg.token("a", strong=True)
    diagram = dg.Diagram(dg.row(strong, dg.box("layer", role="parameter")))
    diagram.explain("parameter", "layers with parameters")
    diagram.explain(strong, "just merged")
    drawing = check(diagram.figure())
    said = {drawing.words["note", number] for number in drawing.notes}
    assert said == {"tokens, ids", "layers with parameters", "just merged"}
    faces = [mpl.colors.to_hex(patch.get_facecolor()) for patch in drawing.faces[0]]
    assert faces.count(mpl.colors.to_hex(strong.face)) == 2


def test_roles_have_colours_of_their_own():
    colors = [role.color for role in dg.ROLES.values()]
    assert len(set(colors)) == len(colors)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: dg.box("a", role="hiden"), "a role is one of token, .* got 'hiden'"),
        (lambda: dg.row(dg.box("a"), align="centre"), "got 'centre'"),
        (lambda: dg.beside(dg.box("a"), dg.box("b"), "above"), "got 'above'"),
        (lambda: dg.above(dg.box("a"), dg.box("b"), align="top"), "left or right, got 'top'"),
        (lambda: dg.Diagram(dg.box("a")).explain("hiden", "b"), "a role is one of"),
        (lambda: dg.group(dg.box("a"), "b", corner="top"), "got 'top'"),
        (lambda: dg.matrix([[1, 2], [3]]), "the same number of cells"),
        (lambda: dg.matrix([[1, 2]], rows="ab"), "got 2 and 0 names for 1 rows of 2 cells"),
        (lambda: dg.bars([1, 2], "abc"), "got 2 values and 3 names"),
        (lambda: dg.bars([1, -2], "ab"), "from 0 on"),
        (lambda: dg.lookup("ab", [0, 9], np.zeros((3, 2)), "xyz"), r"ids from 0 to 2; got .* \[0, 9\]"),
        (lambda: dg.Diagram(dg.box("a")).arrow(dg.box("a"), dg.box("b"), leave="up"), "got 'up'"),
    ],
)
def test_a_mistake_gets_a_sentence(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_an_arrow_to_a_block_that_is_not_drawn_gets_a_sentence():
    a, b = dg.box("a"), dg.box("b")
    diagram = dg.Diagram(a)
    diagram.flow(a, b)
    with pytest.raises(ValueError, match="not part of this diagram"):
        diagram.figure()
