"""Lecture 5: the learner's walk agrees with autograd when filled in; wrong lines are refused with the right remark."""

from __future__ import annotations

import contextlib
import io
import os

import exercises
import matplotlib.pyplot as plt
import nbformat
import pytest
from answers.lecture_05_backprop import REMARKS
from nbformat import NotebookNode
from stored import ROOT

NOTEBOOK = nbformat.read(ROOT / "notebooks" / "05_backprop.ipynb", as_version=4)


class Lecture:
    """The notebook's cells up to the short form of 5.9, in one namespace; figures are left out."""

    def __init__(self, notebook: NotebookNode) -> None:
        self.notebook = notebook
        self.names: dict = {"__name__": "__main__"}
        self.places = exercises.stubs(notebook)
        self.solutions = exercises.solutions(notebook)
        self.end = self.places["# Exercise 1, step 13"] + 2
        for cell in notebook.cells[: self.end]:
            if cell.cell_type == "code" and not cell.source.startswith("# plotting"):
                self.run(cell.source)

    def run(self, source: str) -> str:
        """What a cell prints."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(source, self.names)
        return said.getvalue()

    def check_after(self, answer: str, title: str) -> str:
        """What the check says of an answer; that of step 12 has a cell of its own names."""
        self.run(answer)
        return self.run(self.notebook.cells[self.places[title] + 1].source)


@pytest.fixture(scope="module")
def lecture():
    folder = os.getcwd()
    try:
        with plt.rc_context():
            yield Lecture(NOTEBOOK)
    finally:
        os.chdir(folder)


STEPS = [f"# Exercise 1, step {number}" for number in range(1, 14)]


def test_filled_in_with_the_solutions_every_tensor_agrees_with_autograd(lecture):
    assert list(REMARKS) == STEPS
    for title in STEPS:
        said = lecture.check_after(lecture.solutions[title], title)
        assert exercises.verdicts(said) == ["✓"], said
    after = lecture.notebook.cells[lecture.places[STEPS[11]] : lecture.end]
    said = [
        lecture.run(cell.source) for cell in after if cell.cell_type == "code" and "my_steps" in cell.source
    ]
    differences = [float(line.split()[-1]) for line in said[0].splitlines()]
    assert len(differences) == 26
    assert max(differences) < 1e-10
    losses = [float(line.split()[-1]) for line in said[1].splitlines()]
    assert losses[0] == pytest.approx(3.29, abs=0.03)
    assert losses[-1] < 2.8


@pytest.mark.parametrize("title", STEPS, ids=lambda title: title.removeprefix("# "))
def test_usual_wrong_lines_are_refused_with_the_right_remark(lecture, title):
    for answer, remark in REMARKS[title]:
        said = lecture.check_after(answer, title)
        assert exercises.verdicts(said) == ["✗"], f"{answer}\n{said}"
        assert remark in said, f"{answer}\n{said}"
    lecture.check_after(lecture.solutions[title], title)


def test_the_wrong_lines_are_many():
    assert sum(len(pairs) for pairs in REMARKS.values()) >= 60
