"""Colours by role, fonts, and texts measured by the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

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


def tinted(color: str, share: float) -> str:
    """`share` of the colour, the rest white."""
    red, green, blue = (1 - share * (1 - channel) for channel in to_rgb(color))
    return to_hex((red, green, blue))


def luminance(color: str) -> float:
    """Relative luminance, 0 (black) to 1 (white), as in WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The ratio of two luminances, 1 to 21 (WCAG 2); text is legible from 4.5 on."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ink_on(face: str) -> str:
    """A text colour that is legible on `face`; on any face, white or black is."""
    return next(ink for ink in (INK, PAPER, "#000000") if contrast(ink, face) >= 4.5)


def role_color(role: str) -> str:
    if role not in ROLES:
        raise ValueError(f"a role is one of {', '.join(ROLES)}, got {role!r}")
    return ROLES[role].color


def text_artist(x: float, y: float, text: str, font: Font, color: str) -> Text:
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
        multialignment="left" if font == TITLE else "center",
        va="baseline" if single else "center",
    )


@cache
def _canvas(dpi: int) -> FigureCanvasAgg:
    """A small sheet to measure texts on."""
    return FigureCanvasAgg(Figure(figsize=(1, 1), dpi=dpi))


@cache
def text_size(text: str, font: Font = NAME) -> tuple[float, float]:
    """Width and height in points, measured by the renderer.

    Hinting moves letters to whole pixels, so the same text is up to 4% wider at one resolution than at another: the
    largest size over the usual resolutions counts.
    """
    sizes = []
    for dpi in (72, 100, 144, 200):
        canvas = _canvas(dpi)
        artist = text_artist(0, 0, text, font, INK)
        artist.set_figure(canvas.figure)
        extent = artist.get_window_extent(canvas.get_renderer())
        sizes.append((extent.width * 72 / dpi, max(extent.height * 72 / dpi, 1.2 * font.size)))
    return float(max(width for width, _ in sizes)), float(max(height for _, height in sizes))


def shape_text(shape: Shape) -> str:
    """(32, 3, 10) as "(32, 3, 10)"; a string stays as it is."""
    if isinstance(shape, str):
        return shape
    return f"({', '.join(str(n) for n in shape)}{',' if len(shape) == 1 else ''})"
