"""Run standalone cells, each after the first cell of its notebook alone: `python standalone.py NOTEBOOK PLACE ...`.

The first cell, which imports, runs once. Then each cell at one of the places (counted among the code cells) runs in a
process that is split off, so that none sees what another has done. Written to stdout as JSON, by place: what the cell
printed, what it wrote to stderr, the values and figures it showed, and its error.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
from IPython.utils.capture import capture_output
from traitlets.config import Config


class ShownValue(DisplayHook):
    """The value of a cell's last line is shown as a figure is, not written after `Out[1]:`."""

    def __call__(self, result: object = None) -> None:
        if result is not None:
            display(result)


class Shell(InteractiveShell):
    """IPython without a terminal and without windows."""

    displayhook_class = ShownValue

    def enable_gui(self, gui: str | None = None) -> None:
        """Figures are shown inline, so there is no loop of a window to start."""


def execute(shell: InteractiveShell, source: str) -> dict:
    """Run one cell as a notebook does; what came of it."""
    with capture_output() as captured:
        result = shell.run_cell(source)
    error = result.error_before_exec or result.error_in_exec
    return {
        "stdout": captured.stdout,
        "stderr": captured.stderr,
        "shown": [output.data.get("text/plain", "") for output in captured.outputs],
        "error": f"{type(error).__name__}: {error}" if error else "",
    }


def execute_apart(shell: InteractiveShell, source: str, file: Path) -> dict:
    """The same in a process that is split off here and ends after it; `file` carries what came of it."""
    child = os.fork()
    if child == 0:
        try:
            file.write_text(json.dumps(execute(shell, source)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    died = {"stdout": "", "stderr": "", "shown": [], "error": "the process died"}
    return json.loads(file.read_text()) if file.is_file() else died


def main(path: str, places: list[int]) -> None:
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    # figures are shown as in a notebook
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.chdir(Path(path).parent)
    settings = Config()
    # nothing of this belongs into a person's history of commands
    settings.HistoryManager.enabled = False
    shell = Shell.instance(config=settings, colors="NoColor")
    shell.enable_matplotlib("inline")
    with tempfile.TemporaryDirectory() as folder:
        found = {"first": execute(shell, code[0])}
        for place in places:
            found[str(place)] = execute_apart(shell, code[place], Path(folder) / str(place))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], [int(place) for place in sys.argv[2:]])
