"""Figures are drawn without a display and hold what they were given."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

import matplotlib.pyplot as plt

from nnhelpers.course import plots


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
