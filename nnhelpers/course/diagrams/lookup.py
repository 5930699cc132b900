"""A table look-up: token, id, row of the table, vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .arrows import Arrow
from .blocks import Grid
from .layouts import above, below, brace
from .things import Matrix, matrix, note, tokens


class Lookup(Grid):
    """Tokens, their ids, the table with the rows they pick, and `vectors`, a matrix of the rows (len(ids), C).

    `whole` is the brace below the vectors: arrows that take all of them begin there.
    """

    def __init__(
        self, texts: Sequence[str], ids: Sequence[int], table: np.ndarray, names: Sequence[str], name: str
    ):
        n_rows = len(table)
        if len(texts) != len(ids) or len(names) != n_rows or not all(0 <= i < n_rows for i in ids):
            raise ValueError(
                f"a look-up needs one id for each token and one name for each row, ids from 0 to {n_rows - 1}; "
                f"got {len(texts)} tokens, the ids {list(ids)} and {len(names)} names"
            )
        shown = _with_gaps(sorted({0, 1, n_rows - 1, *ids} & set(range(n_rows))))
        letters, numbers = tokens(texts, 16, upright=True), tokens([str(i) for i in ids], 16, upright=True)
        lines = [[""] * table.shape[1] if i is None else list(table[i]) for i in shown]
        digits = len(str(n_rows - 1))
        heads = ["⋮" if i is None else f"{i:>{digits}} {names[i]}" for i in shown]
        picked = [place for place, i in enumerate(shown) if i in ids]
        limits = float(table.min()), float(table.max())
        self.table: Matrix = matrix(
            lines, "parameter", heads, format="", cell=(11, 14), picked=picked, limits=limits
        )
        self.vectors: Matrix = matrix(
            table[list(ids)], "embedding", texts, format="", cell=(11, 24), limits=limits
        )
        self.whole = brace(self.vectors)
        columns = [
            above(letters, note("tokens")),
            above(numbers, note("ids")),
            above(self.table, note(f"{name} {table.shape}")),
            above(below(self.vectors, self.whole), note(f"{name}[ids] {(len(ids), table.shape[1])}")),
        ]
        super().__init__([columns], (40.0, 40.0))
        for i, place in enumerate(ids):
            row = self.table.row(shown.index(place))
            self.arrows += [
                Arrow(letters.parts[i], numbers.parts[i]),
                Arrow(numbers.parts[i], row, leave="right", enter="left"),
                # slanted, so that the arrows of a row that is picked twice part at once
                Arrow(row, self.vectors.row(i), leave="right", enter="left", direct=True),
            ]


def lookup(
    texts: Sequence[str], ids: Sequence[int], table: np.ndarray, names: Sequence[str], name: str = "table"
) -> Lookup:
    """How tokens become vectors: `ids` pick rows of the table (V, C), whose rows have `names`.

    Of the table the first two rows, the last one and those that are picked are drawn, with their numbers and names.
    """
    return Lookup(texts, ids, table, names, name)


def _with_gaps(rows: Sequence[int]) -> list[int | None]:
    """The rows with None wherever some are left out."""
    shown: list[int | None] = []
    for row in rows:
        last = shown[-1] if shown else -1
        if last is not None and row > last + 1:
            shown.append(None)
        shown.append(row)
    return shown
