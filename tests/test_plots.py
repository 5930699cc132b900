"""Layouts are computed and tested; figures are drawn without a display and hold what they were given."""

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

mpl.use("Agg")

import matplotlib.pyplot as plt
from nnhelpers.layout import layered_layout

from nnhelpers import plots


@st.composite
def acyclic_graphs(draw):
    n = draw(st.integers(1, 12))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda pair: pair[0] < pair[1])
    names = draw(st.permutations(range(n)))  # so that the order of the numbers says nothing
    edges = draw(st.lists(pairs, max_size=25)) if n > 1 else []
    return n, [(names[a], names[b]) for a, b in edges]


@given(acyclic_graphs())
def test_every_edge_points_to_the_right_and_no_two_nodes_share_a_place(graph):
    n, edges = graph
    places = layered_layout(n, edges)
    assert len(set(places)) == n
    assert all(places[a][0] < places[b][0] for a, b in edges)


@given(acyclic_graphs())
def test_a_node_without_predecessors_stands_just_before_its_first_user(graph):
    n, edges = graph
    places = layered_layout(n, edges)
    for node in set(range(n)) - {b for _, b in edges}:
        users = [places[b][0] for a, b in edges if a == node]
        assert not users or places[node][0] == min(users) - 1


def test_the_layout_of_a_chain_is_a_line():
    assert layered_layout(3, [(2, 0), (0, 1)]) == [(1.0, 0.0), (2.0, 0.0), (0.0, 0.0)]


def test_a_cycle_gets_a_sentence():
    with pytest.raises(ValueError, match="contain a cycle"):
        layered_layout(2, [(0, 1), (1, 0)])


@pytest.mark.parametrize("edge", [(0, 2), (0, -1)])
def test_an_edge_to_nowhere_gets_a_sentence(edge):
    with pytest.raises(ValueError, match=r"join nodes 0..1"):
        layered_layout(2, [edge])


def test_a_heat_map_of_another_shape_than_its_labels_gets_a_sentence():
    with pytest.raises(ValueError, match="do not fit 1 rows and 3 columns"):
        plots.heatmap(np.zeros((2, 3)), ["a"], ["x", "y", "z"], "title", ("row", "column", "unit"))


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@pytest.fixture(autouse=True)
def close_figures():
    plots.use_style()
    yield
    plt.close("all")


def test_a_graph_shows_every_label_and_every_edge():
    figure = plots.graph(["a\n1", "b\n2", "c\n3"], [(0, 2), (1, 2), (1, 2)], ["x", "y", "z"], "a title")
    (axes,) = figure.axes
    assert {"a\n1", "b\n2", "c\n3", "x", "y", "z"} <= set(texts(axes))
    assert sum(text.arrow_patch is not None for text in axes.texts if hasattr(text, "arrow_patch")) == 3
    assert axes.get_title(loc="left") == "a title"


def test_boxes_of_a_graph_do_not_overlap():
    labels = [f"v{i}\ndata -0.1234\ngrad -0.1234" for i in range(9)]
    figure = plots.graph(labels, [(i, 8) for i in range(4)] + [(i, i + 4) for i in range(4)])
    figure.canvas.draw()
    boxes = [
        text.get_bbox_patch().get_window_extent()
        for text in figure.axes[0].texts
        if text.get_text() in labels
    ]
    assert len(boxes) == 9
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_heat_map_shows_the_matrix_with_rows_down_and_columns_across():
    values = np.arange(6).reshape(2, 3)
    figure = plots.heatmap(
        values, ["a", "b"], ["x", "y", "z"], "title", ("row", "column", "unit"), annotate=True
    )
    axes = figure.axes[0]
    assert np.array_equal(axes.images[0].get_array(), values)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert texts(axes) == ["", "1", "2", "3", "4", "5"]
    assert figure.axes[1].get_ylabel() == "unit"


def test_curves_are_drawn_over_the_same_x_with_their_names_and_levels():
    figure = plots.curves(
        [1, 2], {"up": [1, 2], "down": [2, 1]}, "title", ("x", "y"), {"floor": 0.5}, log_x=True
    )
    (axes,) = figure.axes
    assert [line.get_ydata().tolist() for line in axes.lines[:2]] == [[1, 2], [2, 1]]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["up", "down"]
    assert texts(axes) == ["floor"]


def test_colours_stay_apart_also_in_grey():
    def luminance(color):
        return np.dot(mpl.colors.to_rgb(color), (0.2126, 0.7152, 0.0722))

    assert len(set(plots.COLORS)) == 8
    assert abs(luminance(plots.BLUE) - luminance(plots.ORANGE)) > 0.2


def test_histograms_draw_one_outline_for_each_layer_from_dark_to_light():
    parts = {"first": ([0, 1], [0.2, 0.8]), "last": ([0, 1, 2], [0.1, 0.2, 0.7])}
    (axes,) = plots.histograms(parts, "finding", ("value", "density")).axes
    assert [line.get_label() for line in axes.lines] == ["first", "last"]
    assert list(axes.lines[1].get_ydata()) == [0.1, 0.2, 0.7]
    assert sum(axes.lines[0].get_color()[:3]) < sum(axes.lines[1].get_color()[:3])
    figure, (left, right) = plots.plt.subplots(1, 2)
    assert plots.histograms(parts, "finding", ("value", "density"), axes=right) is figure
    assert not left.lines
    assert plots.histograms({"one": parts["first"]}, "t", ("x", "y")).axes[0].get_legend() is None
