"""The checker checked: faults planted in notebooks are found, each at its cell, and nothing else is."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from stored import NOTEBOOKS, ROOT
from test_bands import ENDS

FIGURE = "import matplotlib.pyplot as plt\n\nplt.plot([1, 2])\nplt.show()"


class Case(NamedTuple):
    """A cell, what its stored output is made to say instead, its tag, and the source that is run in its place."""

    source: str
    printed: str = ""
    stored: str = ""
    tag: str = ""
    run: str = ""


HARMLESS = {
    "nothing at all": Case("print('loss 2.4528 after 12 steps')"),
    "one unit less": Case("print('loss 2.4528 after 12 steps')", "2.4528", "2.4527"),
    "one unit more": Case("print('loss 2.4528 after 12 steps')", "2.4528", "2.4529"),
    "zero without its sign": Case("print('   0.1234  -0.0001')", "-0.0001", " 0.0000"),
    "a value one unit away": Case("0.25", "0.25", "0.26"),
    "a figure": Case(FIGURE),
}
FAULTS = {
    "two units": Case("print('loss 2.4528 after 12 steps')", "2.4528", "2.4526"),
    "fewer decimals": Case("print('loss 2.4528 after 12 steps')", "2.4528", "2.453"),
    "a wrong integer": Case("print('loss 2.4528 after 12 steps')", "12", "13"),
    "a wrong word": Case("print('loss 2.4528 after 12 steps')", "loss", "Loss"),
    "a wrong value": Case("2 + 2", "4", "5"),
    "another layout": Case("print('   0.1234  -0.0001')", "  -0.0001", " -0.0001"),
    "a missing figure": Case(FIGURE, run="import matplotlib.pyplot as plt"),
    "an exception": Case("3 + 3", run="3 + 3\nraise ValueError('planted')"),
    "an output too many": Case("print('loss 2.45')", run="print('loss 2.45')\n7"),
    "a wrong percentage": Case("print('12% right')", "12%", "13%"),
    "an integer under a band": Case("print('loss 2.45 after 100 steps')", "100", "101", "band-2x"),
    "a word under a band": Case("print('loss 2.45')", "loss", "Loss", "band-2x"),
}
for tag, (stored, least, largest, below, above) in ENDS.items():
    for inside in (least, largest):
        HARMLESS[f"{tag}: {inside}"] = Case(f"print('loss {inside} end')", inside, stored, tag)
    for outside in (below, above):
        FAULTS[f"{tag}: {outside}"] = Case(f"print('loss {outside} end')", outside, stored, tag)


def planted(cases: dict[str, Case]) -> list[nbformat.NotebookNode]:
    """The cells with what they give, changed as the cases say."""
    cells = []
    for count, case in enumerate(cases.values(), start=1):
        tags = {"tags": [case.tag]} if case.tag else {}
        output = output_of(case.source)
        if case.stored:
            plant(output, case.printed, case.stored)
        cells.append(
            new_code_cell(case.run or case.source, execution_count=count, outputs=[output], metadata=tags)
        )
    return cells


def output_of(source: str) -> nbformat.NotebookNode:
    """What a kernel would make of one of the cells above: a figure, a printed line or a value."""
    if source == FIGURE:
        shown = {"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": "AAAA"}
        return new_output("display_data", data=shown)
    if source.startswith("print"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(source)
        return new_output("stream", text=printed.getvalue())
    return new_output("execute_result", data={"text/plain": repr(eval(source))}, execution_count=1)


def plant(output: nbformat.NotebookNode, printed: str, stored: str) -> None:
    where, key = (output, "text") if "text" in output else (output.data, "text/plain")
    assert printed in where[key]
    where[key] = where[key].replace(printed, stored, 1)


def lecture_with_a_wrong_number() -> list[nbformat.NotebookNode]:
    """A real lecture up to the first decimal that it prints, which is stored three units too large."""
    code = [cell for cell in nbformat.read(NOTEBOOKS[0], as_version=4).cells if cell.cell_type == "code"]
    for i, cell in enumerate(code):
        for output in cell.outputs if not cell.metadata else []:
            if found := re.search(r"(?<![\w.])\d+\.(\d+)(?![\w.])", output.get("text", "")):
                wrong = float(found[0]) + 3 * 10 ** -len(found[1])
                plant(output, found[0], f"{wrong:.{len(found[1])}f}")
                return code[: i + 1]
    raise AssertionError(f"{NOTEBOOKS[0].name} prints no decimal")


# what the check of each exercise accepts, then the solution, another right answer, and a wrong one
EXERCISES = {
    "Exercise 1": ("answer == 7", "answer = 7", "answer = 3 + 4", "answer = 8"),
    "Exercise 2": ("answer == 7", "answer = 8", "answer = 7", "answer = 9"),
    "Exercise 3": ("answer in (7, 8)", "answer = 7", "answer = 7", "answer = 8"),
    "Exercise 4": ("answer == 7", "answer = 7", "answer = 7.5", "answer = 8"),
    "Exercise 5": ("answer == 7", "answer = 7", "answer = 7", "answer = 1 / 0"),
}
FAULTY_ANSWERS = {
    "Exercise 2: right",  # the solution is refused
    "Exercise 3: wrong",  # a wrong answer is accepted
    "Exercise 4: right",  # another right answer is refused
    "Exercise 5: wrong",  # an answer ends the check
}


def exercise_cells() -> list[nbformat.NotebookNode]:
    cells = []
    for title, (accepted, solution, _, _) in EXERCISES.items():
        stub = new_code_cell(f"# {title}\nanswer = ...", metadata={"tags": ["exercise"]})
        check = f"print('… not attempted' if answer is ... else '✓' if {accepted} else '✗ wrong')"
        cells += [stub, new_code_cell(check), new_markdown_cell(f"```python\n# {title}\n{solution}\n```")]
    return cells


def answers_file() -> str:
    right = {f"# {title}": [other] for title, (_, _, other, _) in EXERCISES.items()}
    wrong = {f"# {title}": [wrong] for title, (_, _, _, wrong) in EXERCISES.items()}
    return f"WRONG = {wrong!r}\nRIGHT = {right!r}\n"


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a stranger types: no plugin, no path and no tests are named."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project like this one, with the same settings of pytest and checker, and one notebook, full of faults."""
    root = tmp_path_factory.mktemp("project")
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for name in ("notebooks", "tools"):
        shutil.copytree(ROOT / "tests" / name, root / "tests" / name)
    (root / "tests" / "notebooks" / "answers" / "lecture_planted.py").write_text(answers_file())
    cells = planted(HARMLESS | FAULTS) + lecture_with_a_wrong_number() + exercise_cells()
    (root / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), root / "notebooks" / "planted.ipynb")
    return root


@pytest.fixture(scope="module")
def failed(project) -> set[str]:
    """The names of what failed in `pytest --nbval notebooks`; the cells by the case that they stand for."""
    run = run_pytest(project, "--junitxml=report.xml", "notebooks")
    assert run.returncode == 1, run.stdout + run.stderr  # 1: tests ran and some failed, as they should
    cases = list(ET.parse(project / "report.xml").iter("testcase"))
    names = dict(enumerate(HARMLESS | FAULTS))
    wrong = [case.get("name", "") for case in cases if case.find("failure") is not None]
    assert not [case for case in cases if case.find("error") is not None]
    return {
        names.get(int(name.removeprefix("Cell ")), "lecture") if "Cell" in name else name for name in wrong
    }


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_right_within_its_band_passes(failed, name):
    assert name not in failed


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(failed, name):
    assert name in failed


def test_a_wrong_number_in_a_real_lecture_is_found_and_only_that_cell_fails(failed, project):
    assert "lecture" in failed
    report = (project / "report.xml").read_text(encoding="utf-8")
    n_faults = len(FAULTS) + 1 + len(FAULTY_ANSWERS)
    assert f'failures="{n_faults}"' in report


def test_answers_that_a_check_judges_wrongly_are_found(failed):
    assert {name for name in failed if name.startswith("Exercise")} == FAULTY_ANSWERS


@pytest.fixture(scope="module")
def said_inside(project) -> str:
    """What pytest says in the folder of the notebooks of three cells, of one exercise and of an unknown band."""
    cells = [new_code_cell("seven = 7"), *exercise_cells()[:2]]
    cells.append(new_markdown_cell("```python\n# Exercise 1\nanswer = seven\n```"))
    nbformat.write(new_notebook(cells=cells), project / "notebooks" / "small.ipynb")
    unknown = new_code_cell("1.5", metadata={"tags": ["band-3%"]})
    nbformat.write(new_notebook(cells=[unknown]), project / "notebooks" / "unknown.ipynb")
    names = ("one unit less", "band-10%: 110.00", "band-10%: 110.01")
    chosen = [f"planted.ipynb::{cell_of(name)}" for name in names]
    chosen += ["small.ipynb::Exercise 1: right", "unknown.ipynb"]
    run = run_pytest(project / "notebooks", *chosen, "--continue-on-collection-errors")
    return run.stdout + run.stderr


def cell_of(name: str) -> str:
    """The name that nbval gives to the cell of a case."""
    return f"Cell {list(HARMLESS | FAULTS).index(name)}"


def test_the_bands_hold_inside_the_folder_of_the_notebooks_too(said_inside):
    failed = [line for line in said_inside.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1, said_inside
    assert f"::{cell_of('band-10%: 110.01')} " in failed[0]


def test_one_exercise_can_be_chosen_and_the_cells_before_it_are_run(said_inside):
    assert "1 failed, 3 passed, 1 error" in said_inside


def test_an_unknown_band_is_an_error_with_a_sentence(said_inside):
    assert "unknown.ipynb, cell 0: 'band-3%' is no band" in said_inside
