"""`make cells NOTEBOOK=03`: the cells to copy, in order, as one program; prints its path, build/cells/03_mlp.py.

They are the cells tagged `copy`. The first line of the first one says what the program needs beside Python:

    # needs: torch, names.txt

Packages by name, and texts of data/ by their file names: the program reads them from the folder that it is run in. A
program that needs neither says `# needs: nothing`. In the notebook the same line works when a cell before, which is not
copied, has made the folder with the texts the working folder.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from stored import ROOT, chosen, tags

FOLDER = ROOT / "build" / "cells"
FIRST_LINE = r"# needs: ([\w.-]+(?:, [\w.-]+)*)$"


class Needs(NamedTuple):
    """What a program needs beside Python."""

    packages: set[str]
    texts: set[str]


def copy_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code" and "copy" in tags(cell)]


def program(notebook: NotebookNode) -> str:
    """The cells to copy, one after the other, as a learner would paste them."""
    return "\n\n".join(cell.source for cell in copy_cells(notebook)) + "\n"


def needs(source: str) -> Needs:
    """What the first line of a program says that it needs; no such line, or no such text, raises `ValueError`."""
    first = source.split("\n")[0]
    match = re.match(FIRST_LINE, first)
    if match is None:
        raise ValueError(
            f"the first line of the cells to copy is {first!r}; it has to say what they need, "
            "such as '# needs: torch, names.txt' or '# needs: nothing'"
        )
    words = set(match[1].split(", ")) - {"nothing"}
    texts = {word for word in words if "." in word}
    for text in sorted(texts):
        if not (ROOT / "data" / text).is_file():
            raise ValueError(f"the cells to copy need {text}, and there is no such file in data/")
    return Needs(words - texts, texts)


def main(names: list[str]) -> None:
    """Write the program of each notebook that is named, or of all that have cells to copy."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in chosen(names):
        notebook = nbformat.read(path, as_version=4)
        if copy_cells(notebook):
            file = FOLDER / f"{path.stem}.py"
            file.write_text(program(notebook), encoding="utf-8")
            print(file.relative_to(ROOT))
        elif names:
            raise SystemExit(f"{path.name} has no cell tagged copy")


if __name__ == "__main__":
    main(sys.argv[1:])
