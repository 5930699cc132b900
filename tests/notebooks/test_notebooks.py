"""What is promised of every notebook, beyond its outputs, which nbval compares."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import answers
import exercises
import nbformat
import pytest
import quoted
from bands import band_of
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from stored import NOTEBOOKS, ROOT, SKIPPED, tags, text_of

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


# Hygiene


@notebooks
def test_outputs_are_those_of_one_run_from_top_to_bottom(path):
    notebook = read(path)
    nbformat.validate(notebook)
    run = [cell for cell in code_cells(notebook) if SKIPPED not in tags(cell)]
    assert [cell.execution_count for cell in run] == list(range(1, len(run) + 1))
    for cell in code_cells(notebook):
        if SKIPPED in tags(cell):
            assert cell.execution_count is None
            assert not cell.outputs


TAGS = {
    *("band-2%", "band-10%", "band-30%", "band-2x"),
    *("copy", "exercise", "diagram", "front", "sample", "scoreboard-figure"),
    *("nbval-skip", "nbval-ignore-output", "raises-exception"),
}


@notebooks
def test_every_tag_is_one_that_something_reads_and_stands_at_code(path):
    for cell in read(path).cells:
        assert set(tags(cell)) <= TAGS, cell.source
        assert not tags(cell) or cell.cell_type == "code", cell.source
        band_of(tags(cell))


# an object's address, or a path of the machine; a traceback holds both, so an error is caught and printed
ADDRESS_OR_PATH = r"0x[0-9a-f]{6,}|C:\\|(?<![\w.>])/(home|root|tmp|usr|opt|var|work|Users)/"


@notebooks
def test_outputs_hold_no_stderr_no_error_no_svg_no_widget_and_no_address(path):
    notebook = read(path)
    assert "widgets" not in notebook.metadata
    for cell in code_cells(notebook):
        for output in cell.outputs:
            assert output.get("name") != "stderr", cell.source
            assert output.output_type != "error" or "raises-exception" in tags(cell), cell.source
            kinds = set(output.get("data", {}))
            assert not kinds & {"image/svg+xml", "application/vnd.jupyter.widget-view+json"}, cell.source
            everything = json.dumps({**output, "data": {**output.get("data", {}), "image/png": None}})
            assert str(ROOT) not in everything, cell.source
            assert not re.search(ADDRESS_OR_PATH, everything), cell.source


@notebooks
def test_cells_can_be_read_because_they_are_short(path):
    for cell in code_cells(read(path)):
        # a cell to copy may hold a whole class whose parts have been read before
        longest = 120 if "copy" in tags(cell) else 40
        assert cell.source.count("\n") <= longest, cell.source
    kinds = [tag for cell in code_cells(read(path)) for tag in tags(cell)]
    assert "copy" in kinds


@notebooks
def test_numbers_in_the_prose_stand_in_an_output(path):
    """A number with two decimals or more is printed by a cell of its section, or says where it comes from."""
    others = {int(other.stem[:2]): read(other) for other in NOTEBOOKS}
    assert list(quoted.untied(read(path), others)) == []


def test_a_number_without_an_output_behind_it_is_found():
    cells = [
        new_markdown_cell("# 9 · Title\n\nBefore: 0.11."),
        new_markdown_cell(
            "## 9.1 First\n\nRight 1.23, wrong 1.24; 1.23<!-- 9.2 --> stands elsewhere. In 9.10 more."
        ),
        new_code_cell("x = 0.05", outputs=[new_output("stream", text="loss 1.2345\nother 0.9")]),
        new_markdown_cell(
            "A setting: 0.05, a gain of 0.33<!-- 1.2345 - 0.9 -->, of 0.35<!-- 1.2345 - 0.9 -->. `5.55` $6.66$"
        ),
        new_markdown_cell(
            "## 9.10 Last\n\n1.23 is far away, 1.23<!-- 9.1 -->; known 7.77<!-- source -->, 2.00<!-- lecture 8 -->."
        ),
    ]
    found = list(quoted.untied(new_notebook(cells=cells), {8: new_notebook()}))
    assert [line.split(":")[0] for line in found] == [
        "0.11 (section )",
        "1.24 (section 9.1)",
        "1.23 (9.2)",
        "0.35 (1.2345 - 0.9)",
        "1.23 (section 9.10)",
        "2.00 (lecture 8)",
    ]


def quoting(number: str, tag: str) -> list[str]:
    """What is untied when a text quotes a number and the cell above it, with a tag, prints 1.2345."""
    cell = new_code_cell("", outputs=[new_output("stream", text="loss 1.2345")], metadata={"tags": [tag]})
    return list(quoted.untied(new_notebook(cells=[cell, new_markdown_cell(f"A loss of {number}.")]), {}))


@pytest.mark.parametrize(
    ("tag", "inside", "outside"),
    [
        ("front", ["1.23", "1.2345"], ["1.24", "1.22"]),
        ("band-2%", ["1.25", "1.21"], ["1.27", "1.20"]),
        ("band-10%", ["1.35", "1.12"], ["1.36", "1.11"]),
        ("band-30%", ["1.60", "0.87"], ["1.61", "0.86"]),
        ("band-2x", ["2.46", "0.62"], ["2.47", "0.61"]),
    ],
)
def test_a_quoted_number_has_the_band_of_the_output_behind_it(tag, inside, outside):
    for number in inside:
        assert quoting(number, tag) == []
    for number in [*outside, "1.23451"]:
        assert len(quoting(number, tag)) == 1


def test_a_number_of_the_code_has_no_band():
    cell = new_code_cell("rate = 0.50", metadata={"tags": ["band-2x"]})
    notebook = new_notebook(cells=[cell, new_markdown_cell("Rates of 0.50 and 0.60.")])
    assert [line.split(" ")[0] for line in quoted.untied(notebook, {})] == ["0.60"]


def modules() -> dict[str, list[str]]:
    """The dotted names of the package's modules and folders, by their last part; subfolders included."""
    found: dict[str, list[str]] = {}
    for path in (ROOT / "nnhelpers").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.setdefault(parts[-1], []).append(".".join(parts))
    return found


def missing_names(text: str) -> list[str]:
    """What a text mentions as `module.name` of the package, or as `nnhelpers.…`, and is not there."""
    known = modules()
    missing = []
    for whole, folders, module, name in re.findall(r"`(((?:\w+\.)*?)(\w+)\.(\w+))(?:\(.*?\))?`", text):
        # `torch.optim.SGD` speaks of another package
        if folders and folders.split(".")[0] not in known:
            continue
        if module in known:
            found = any(hasattr(importlib.import_module(dotted), name) for dotted in known[module])
            found = found or any(f"{dotted}.{name}" in known.get(name, []) for dotted in known[module])
            if not found:
                missing.append(whole)
        elif whole.startswith("nnhelpers."):
            missing.append(whole)
    return missing


@notebooks
def test_files_and_names_of_the_package_that_the_prose_mentions_exist(path):
    for cell in prose(read(path)):
        assert missing_names(cell.source) == []
        for file in re.findall(r"`((?:data|tests|notebooks|nnhelpers)/[^`]+)`", cell.source):
            assert (ROOT / file).exists(), file
        for target in re.findall(r"\]\(([^)#:]+)\)", cell.source):
            assert (path.parent / target).exists(), target


def test_a_name_that_the_package_does_not_have_is_found():
    text = "`torch.nothing`, `torch.optim.SGD`, `model.fit(x)`, `nnhelpers.data`, `nnhelpers.data.load_names`"
    assert missing_names(text) == []
    text = "`data.nothing`, `nnhelpers.data.nothing()`, `nnhelpers.nothing.fit`, `nnhelpers.nothing`"
    assert len(missing_names(text)) == 4


# Exercises


@notebooks
def test_exercises_have_stubs_checks_and_folded_solutions(path):
    """That the solutions pass and the wrong answers do not is tested where the notebook itself is run, with --nbval."""
    notebook = read(path)
    stubs = exercises.stubs(notebook)
    assert len(stubs) >= 5
    assert stubs.keys() == exercises.solutions(notebook).keys()
    assert stubs.keys() == answers.WRONG[path.stem].keys()
    assert answers.RIGHT[path.stem].keys() <= stubs.keys()
    for title, place in stubs.items():
        assert answers.WRONG[path.stem][title], title
        check = notebook.cells[place + 1]
        assert set(exercises.verdicts(text_of(check))) == {"…"}, check.source
    folded = "\n".join(cell.source for cell in prose(notebook))
    assert folded.count("<details>") == folded.count("</details>") == len(stubs)
