"""Progress is what the checks printed last: from saved notebooks, with nbformat as the oracle of their format."""

from __future__ import annotations

import doctest
import json
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


@pytest.mark.parametrize("before", ["", "✓ a: right\n", "… a: not attempted yet\n"])
def test_a_check_that_ended_in_an_error_is_not_right(tmp_path, before):
    cells = an_exercise("Exercise 1", before)
    cells[1].outputs.append(new_output("error", ename="NameError", evalue="✓", traceback=["✓ a: right"]))
    assert states(saved(tmp_path, *cells)) == ["✗"]


def test_an_error_in_the_stub_is_an_attempt(tmp_path):
    cells = an_exercise("Exercise 1", "… a: not attempted yet\n")
    cells[0].outputs.append(new_output("error", ename="SyntaxError", evalue="", traceback=[]))
    assert states(saved(tmp_path, *cells)) == ["✗"]


def test_a_reader_may_put_cells_between_the_stub_and_its_check(tmp_path):
    stub, check = an_exercise("Exercise 1", "✓ a: right\n")
    scratch = new_code_cell("print(3)", outputs=[new_output("stream", text="3\n")])
    cells = [stub, scratch, new_markdown_cell("a note"), check, *an_exercise("Exercise 2", "✗ b: wrong\n")]
    assert states(saved(tmp_path, *cells)) == ["✓", "✗"]


def test_the_check_of_the_next_exercise_is_not_taken_for_this_one(tmp_path):
    stub, _ = an_exercise("Exercise 1")
    assert states(saved(tmp_path, stub, *an_exercise("Exercise 2", "✓ b: right\n"))) == ["…", "✓"]


def test_what_an_answer_prints_is_no_verdict(tmp_path):
    assert states(saved(tmp_path, *an_exercise("Exercise 1", "…\n✗\n✗wrong\n✓ a: right\n"))) == ["✓"]


def test_a_stub_that_was_copied_counts_once(tmp_path):
    cells = [
        *an_exercise("Exercise 1", "✓ a: right\n"),
        *an_exercise("Exercise 1", "… a: not attempted yet\n"),
    ]
    assert states(saved(tmp_path, *cells)) == ["✓"]


def test_all_forms_in_which_outputs_are_stored_are_read(tmp_path):
    path = saved(tmp_path, *an_exercise("Exercise 1", "✓ a: right\n✓ b: right\n"))
    assert '"text": [' in path.read_text()  # nbformat writes lists of lines
    content = json.loads(path.read_text())
    content["cells"][0] |= {"outputs": None, "metadata": None}
    content["cells"][-1]["outputs"][0]["text"] = "✓ a: right\n✓ b: right\n"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert states(path) == ["✓"]


def test_of_copies_of_a_lecture_the_furthest_counts(tmp_path):
    saved(tmp_path, *an_exercise("Exercise 1", "… a: not attempted yet\n"))
    saved(tmp_path, *an_exercise("Exercise 1", "✓ a: right\n"), name="01_micrograd-Copy1")
    assert progress.report(tmp_path).splitlines()[-1] == "1 of 1 exercises solved"


def test_what_is_no_lecture_hides_no_other(tmp_path):
    saved(tmp_path, *an_exercise("Exercise 1", "✓ a: right\n"))
    (tmp_path / "Untitled.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )
    (tmp_path / "02_broken.ipynb").write_text("<<<<<<< HEAD")
    (tmp_path / "folder.ipynb").mkdir()
    lines = progress.report(tmp_path).splitlines()
    assert [line.split()[0] for line in lines if line] == ["01_micrograd", "02_broken.ipynb", "1"]


def test_a_lecture_in_which_all_is_wrong_is_not_one_that_is_untouched(tmp_path):
    path = saved(tmp_path, *an_exercise("Exercise 1", "✗ a: wrong\n"))
    assert progress.report(path).splitlines()[0].endswith("0 of  1   ✗ 1")


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
def test_every_exercise_of_the_lectures_is_found(path):
    cells = nbformat.read(path, as_version=4).cells
    stubs = [c.source.split("\n")[0].lstrip("# ") for c in cells if "exercise" in c.metadata.get("tags", [])]
    assert [exercise.title for exercise in progress.exercises(path)] == stubs
    assert len(stubs) >= 6


def test_the_command_says_where_to_go_on():
    command = [sys.executable, "-m", "nnhelpers.course.progress"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *lines, blank, last = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [path.stem for path in NOTEBOOKS]
    assert blank == ""
    assert re.match(r"\d+ of \d+ exercises solved", last)


@pytest.mark.parametrize("content", [None, "", "no JSON", "[]", '{"cells": 3}'])
def test_what_is_no_lecture_is_refused_in_one_sentence(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "01_x.ipynb").write_text(content)
    assert progress.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: no notebook with exercises in")
    assert ("left out" in printed.err) == (content is not None)


def test_a_place_that_does_not_exist_is_named(capsys):
    assert progress.main(["nosuch"]) == 2
    assert capsys.readouterr().err == "error: there is no folder or notebook nosuch\n"


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(progress).failed == 0
