"""A pen for structure: boxes, tensors, table look-ups, trees and graphs, joined by arrows. Plain matplotlib.

A drawing says what stands beside or above what and what flows where; places follow from the sizes of the texts::

    x, layer = box("x", (32, 30), role="embedding"), box("linear", role="operation")
    drawing = Diagram(row(x, layer, box("h", (32, 200), role="hidden")))
    drawing.flow(x, layer)
    drawing.figure()

The same thing has the same colour in every lecture (Okabe and Ito 2008, safe for colour-blind readers), and a legend
names the roles that a drawing uses:

    token       orange            letters, tokens and their ids
    embedding   sky blue          rows of a look-up table, vectors that stand for tokens
    hidden      blue              what layers compute in between
    output      green             logits and probabilities
    parameter   reddish purple    what training changes
    operation   white, dark edge  what is done with the numbers
    residual    vermilion         the residual stream; also local derivatives on the arrows of a graph
    plain       grey              everything else

A matrix shows numbers, the larger the darker; its rows, columns and cells can be ends of arrows. `beside`, `above` and
`below` attach a remark that does not move what it belongs to; an arrow from a `brace` comes from the whole of a block.
Arrows run straight where two blocks face each other, else around the boxes with right angles; `leave` and `enter`
choose sides.

All lengths are in points (1/72 inch), y upwards. Each figure brings its own faces and text colours, so it looks the
same under every theme of matplotlib.
"""

from .arrows import Arrow
from .blocks import Block, Box
from .diagram import Diagram
from .graphs import graph, layered_layout
from .layouts import Tree, above, below, beside, brace, column, equal_widths, grid, group, row, tree
from .lookup import lookup
from .style import ROLES
from .things import (
    Matrix,
    bars,
    box,
    dot,
    matrix,
    note,
    operation,
    shape_note,
    tensor,
    token,
    tokens,
    vector,
)

__all__ = [
    "ROLES",
    "Arrow",
    "Block",
    "Box",
    "Diagram",
    "Matrix",
    "Tree",
    "above",
    "bars",
    "below",
    "beside",
    "box",
    "brace",
    "column",
    "dot",
    "equal_widths",
    "graph",
    "grid",
    "group",
    "layered_layout",
    "lookup",
    "matrix",
    "note",
    "operation",
    "row",
    "shape_note",
    "tensor",
    "token",
    "tokens",
    "tree",
    "vector",
]
