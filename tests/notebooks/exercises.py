"""The exercises of a notebook: stubs, their checks, the folded solutions, and what the checks say."""

from __future__ import annotations

import re

from nbformat import NotebookNode
from stored import tags


def stubs(notebook: NotebookNode) -> dict[str, int]:
    """The place of each stub by its title, which is its first line; its check is the next cell."""
    places = enumerate(notebook.cells)
    return {cell.source.split("\n")[0]: i for i, cell in places if "exercise" in tags(cell)}


def solutions(notebook: NotebookNode) -> dict[str, str]:
    """The code of each folded solution by its title."""
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    blocks = [block for text in prose for block in re.findall(r"```python\n(.*?)```", text, re.S)]
    return {block.split("\n")[0]: block for block in blocks if block.startswith("# Exercise")}


def verdicts(text: str) -> list[str]:
    """The first sign of each line that a check has printed: … not attempted, ✓ right, ✗ wrong."""
    return [line[0] for line in text.split("\n") if line and line[0] in "…✓✗"]
