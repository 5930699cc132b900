"""Progress is what the checks printed last: from saved notebooks, with nbformat as the oracle of their format."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from nnhelpers.course import checks, progress

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
STATES = {"✓": "solved", "✗": "tried", "…": "open"}


def an_exercise(title: str, *printed: str):
    """A stub and its check; each text is one output."""
    stub = new_code_cell(f"# {title}\nanswer = ...", metadata={"tags": ["exercise"]})
    return [stub, new_code_cell("check()", outputs=[new_output("stream", text=text) for text in printed])]


def saved(folder: Path, *cells, name: str = "01_micrograd") -> Path:
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# A lecture"), *cells]), path)
    return path


def states(path: Path) -> list[str]:
    return [exercise.state for exercise in progress.exercises(path)]


@pytest.mark.parametrize(
    ("printed", "state"),
    [
        (["✓ a: right\n"], "✓"),
        (["✓ a: right\n✓ b: right\n"], "✓"),
        (["✓ a: right\n", "✓ b: right\n"], "✓"),
        (["what the answer prints\n✓ a: right\n"], "✓"),
        (["✓ a: right\n… b: not attempted yet\n"], "✗"),
        (["✓ a: right\n✗ b: wrong\n"], "✗"),
        (["✗ a: wrong\n  got 3 · hint: more\n"], "✗"),
        (["… a: not attempted yet\n"], "…"),
        ([""], "…"),
        ([], "…"),
    ],
)
def test_an_exercise_is_solved_when_every_line_of_its_check_says_so(tmp_path, printed, state):
    assert states(saved(tmp_path, *an_exercise("Exercise 1", *printed))) == [state]


def test_what_the_checks_really_print_is_understood(tmp_path, capsys):
    for answer, state in ((9.0, "✓"), (8.0, "✗"), (..., "…")):
        checks.value("nine", answer, 9.0, hint="three times three")
        assert states(saved(tmp_path, *an_exercise("Exercise 1", capsys.readouterr().out))) == [state]


def test_a_check_that_raised_counts_as_open(tmp_path):
    cells = an_exercise("Exercise 1")
    cells[1].outputs = [new_output("error", ename="NameError", evalue="✓", traceback=["✓ a: right"])]
    assert states(saved(tmp_path, *cells)) == ["…"]


def test_a_stub_at_the_very_end_has_no_check_and_is_open(tmp_path):
    assert states(saved(tmp_path, an_exercise("Exercise 1")[0])) == ["…"]


@given(st.lists(st.sampled_from("✓✗…"), min_size=1, max_size=25))
def test_the_counts_are_those_of_the_states(tmp_path_factory, marks):
    cells = [cell for i, mark in enumerate(marks) for cell in an_exercise(f"Exercise {i + 1}", f"{mark} x\n")]
    folder = tmp_path_factory.mktemp("course")
    assert states(saved(folder, *cells)) == marks
    first, _, last = progress.report(folder).splitlines()
    assert int(re.search(r"(\d+) of", first)[1]) == marks.count("✓")
    assert last.startswith(f"{marks.count('✓')} of {len(marks)} exercises solved")
    unsolved = [i for i, mark in enumerate(marks) if mark != "✓"]
    assert ("next" in last) == bool(unsolved)
    if unsolved:
        assert last.endswith(f"next: lecture 1, exercise {unsolved[0] + 1}")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_lectures_come_with_all_exercises_open(path):
    cells = nbformat.read(path, as_version=4).cells
    n_stubs = sum("exercise" in cell.metadata.get("tags", []) for cell in cells)
    assert n_stubs >= 6
    assert states(path) == ["…"] * n_stubs


def test_the_command_says_where_to_go_on():
    command = [sys.executable, "-m", "nnhelpers.course.progress"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *lines, blank, last = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [path.stem for path in NOTEBOOKS]
    assert blank == ""
    assert re.fullmatch(r"0 of \d+ exercises solved, next: lecture 1, exercise 1", last)


@pytest.mark.parametrize("content", [None, "", "no JSON", "[]", '{"cells": 3}'])
def test_what_is_no_lecture_is_refused_in_one_sentence(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "01_x.ipynb").write_text(content)
    assert progress.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: .+\n", printed.err)
