"""The cells to copy of every notebook are a program, and one that is none is found."""

from __future__ import annotations

import subprocess
import sys

import cells
import copied
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from stored import NOTEBOOKS, ROOT

WITH_CELLS_TO_COPY = [path for path in NOTEBOOKS if cells.copy_cells(nbformat.read(path, as_version=4))]


@pytest.mark.parametrize("path", WITH_CELLS_TO_COPY, ids=lambda path: path.stem)
def test_the_cells_to_copy_are_a_program(path, tmp_path):
    assert copied.fault(nbformat.read(path, as_version=4), tmp_path) == ""


def notebook(*parts: tuple[str, str], band: str = "") -> nbformat.NotebookNode:
    """A notebook of cells to copy: the source of each and what it has printed."""
    tags = ["copy", band] if band else ["copy"]
    made = [
        new_code_cell(
            source, outputs=[new_output("stream", text=text)] if text else [], metadata={"tags": tags}
        )
        for source, text in parts
    ]
    return new_notebook(cells=[new_code_cell("from nnhelpers import data"), *made])


COUNT = (
    "# needs: names.txt\nwith open('names.txt', encoding='utf-8') as file:\n    words = file.read().split()",
    "",
)
NUMBER = (
    "share = sum(word[0] == 'a' for word in words) / len(words)\nprint(f'share {share:.3f}')",
    "share 0.131\n",
)


def test_a_program_that_does_as_its_cells_did_is_right(tmp_path):
    share = subprocess.run(
        [sys.executable, "-c", f"{COUNT[0]}\n{NUMBER[0]}"],
        cwd=ROOT / "data",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    right = notebook(COUNT, (NUMBER[0], share), ("print('the end')", "the end\n"))
    assert copied.fault(right, tmp_path) == ""


FAULTS = {
    "imports nnhelpers": (("# needs: nothing\nfrom nnhelpers import data", ""), "do without nnhelpers"),
    "imports a module of it": (("# needs: nothing\nimport nnhelpers.data", ""), "do without nnhelpers"),
    "imports it by its name": (
        ("# needs: nothing\nimport importlib\nimportlib.import_module('nnhelpers.data')", ""),
        "do without nnhelpers",
    ),
    "imports it in another process": (
        (
            "# needs: nothing\nimport subprocess, sys\n"
            "subprocess.run([sys.executable, '-c', 'import nnhelpers'], check=True)",
            "",
        ),
        "do without nnhelpers",
    ),
    "imports a package that it does not name": (
        ("# needs: names.txt\nimport torch", ""),
        "torch is not named in the program's first line",
    ),
    "reads a text that it does not name": (("# needs: nothing\nopen('names.txt')", ""), "FileNotFoundError"),
    "names a text that there is not": (("# needs: nothing.txt", ""), "no such file in data/"),
    "does not say what it needs": (("print(1)", "1\n"), "it has to say what they need"),
    "prints another number": (("# needs: nothing\nprint('loss', 2.46)", "loss 2.43\n"), "the program prints"),
    "prints less": (("# needs: nothing\nprint('loss')", "loss\nmore\n"), "the program prints"),
    "warns": (("# needs: nothing\nimport warnings\nwarnings.warn('old')", ""), "UserWarning: old"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_program_with_a_fault_is_found(name, tmp_path):
    cell, message = FAULTS[name]
    assert message in copied.fault(notebook(cell), tmp_path)


def test_cells_to_copy_print_within_their_band(tmp_path):
    cell = ("# needs: nothing\nprint('loss', 2.46)", "loss 2.40\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert copied.fault(notebook(cell, band="band-10%"), tmp_path / "a") == ""
    assert "the program prints" in copied.fault(notebook(cell, band="band-2%"), tmp_path / "b")


def test_a_value_that_is_shown_but_not_printed_is_refused(tmp_path):
    cell = new_code_cell("# needs: nothing\n1.5", metadata={"tags": ["copy"]})
    cell.outputs = [new_output("execute_result", data={"text/plain": "1.5"}, execution_count=1)]
    assert "not printed" in copied.fault(new_notebook(cells=[cell]), tmp_path)


def test_torch_works_in_a_program_that_names_it(tmp_path):
    source = "# needs: torch\nimport torch\n\nprint(torch.arange(3).sum().item())"
    assert copied.fault(notebook((source, "3\n")), tmp_path) == ""


def test_a_cell_whose_output_is_not_compared_may_print_anything(tmp_path):
    cell = ("print('a sample')", "another\n")
    free = notebook(("# needs: nothing\nprint(1)", "1\n"), cell, ("print(2)", "2\n"))
    free.cells[2].metadata["tags"] = ["copy", "nbval-ignore-output"]
    assert copied.fault(free, tmp_path) == ""


def test_the_cells_are_written_in_order_and_the_path_is_printed(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "03_made.ipynb"
    nbformat.write(notebook(COUNT, NUMBER), path)
    monkeypatch.setattr(cells, "ROOT", tmp_path)
    monkeypatch.setattr(cells, "FOLDER", tmp_path / "build" / "cells")
    monkeypatch.setattr(cells, "chosen", lambda names: [path])
    cells.main(["03"])
    assert capsys.readouterr().out == "build/cells/03_made.py\n"
    assert (tmp_path / "build" / "cells" / "03_made.py").read_text() == f"{COUNT[0]}\n\n{NUMBER[0]}\n"


def test_a_notebook_that_there_is_not_gets_a_sentence():
    command = [sys.executable, str(ROOT / "tests" / "tools" / "cells.py"), "99"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("there is no notebook '99'")
