"""Run notebooks from top to bottom and store their outputs: `python tests/tools/execute.py [NOTEBOOK ...]`.

This is the only way outputs are made. A notebook is written only when all of it has run, and in one piece.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import front_door
import nbformat
import sockets  # noqa: F401  (sets the transport)
from nbclient import NotebookClient
from nbformat import NotebookNode
from stored import NOTEBOOKS as NOTEBOOKS
from stored import ROOT, SKIPPED, chosen, tags
from stored import text_of as text_of

from nnhelpers.course import scoreboard


def client(notebook: NotebookNode, timeout: int = 300) -> NotebookClient:
    """A client that runs `notebook` in a fresh kernel, in the folder of the notebooks."""
    return NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # a stream arrives in pieces, cut by the clock
        skip_cells_with_tag=SKIPPED,
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
    )


def tidy(notebook: NotebookNode) -> None:
    """Drop what differs from machine to machine, and leave skipped cells without outputs."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {"tags": tags(cell)} if tags(cell) else {}
        if SKIPPED in tags(cell):
            cell.outputs, cell.execution_count = [], None


def write(notebook: NotebookNode, path: Path) -> None:
    """Replace the file at `path` in one step."""
    nbformat.validate(notebook)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(nbformat.writes(notebook) + "\n")
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def main(names: list[str]) -> None:
    os.environ[scoreboard.WRITE_TO] = str(
        ROOT / "data" / scoreboard.NAME
    )  # the kernels record their scores there
    for path in chosen(names):
        started = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        client(notebook).execute()
        tidy(notebook)
        write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - started:.1f} s")
    front_door.write()


if __name__ == "__main__":
    main(sys.argv[1:])
