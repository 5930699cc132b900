"""Which exercises of the course are solved: read from the saved notebooks, without a network or an account.

    python -m nnhelpers.course.progress            # the notebooks in the folder `notebooks`, or in this one
    python -m nnhelpers.course.progress my_copies  # notebooks of another folder

An exercise is a cell tagged `exercise`; the cell after it checks the answer and prints lines that begin with `✓`
(right), `✗` (wrong) or `…` (not attempted yet). What counts is what was last printed and saved: after an answer is
changed, its check has to be run and the notebook saved.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts import StrPath
from ..files import read_json
from ..terminal import say

SOLVED, WRONG, OPEN = "✓", "✗", "…"
BAR = 20


@dataclass(frozen=True)
class Exercise:
    """One exercise of a saved notebook: its title, such as "Exercise 3", and how far it is."""

    title: str
    state: str  # SOLVED, WRONG or OPEN


def exercises(notebook: StrPath) -> list[Exercise]:
    """The exercises of a saved notebook, in its order.

    Solved: each line of the check says `✓`. Wrong: something was tried and is not all right. Open: the rest, a check
    that was not run included. A file that is no notebook raises `ValueError`.
    """
    content = read_json(notebook)
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise ValueError(f"{notebook} is not a notebook: it has no list of cells")
    cells = content["cells"]
    found = []
    for stub, check in zip(cells, [*cells[1:], {}], strict=True):
        if "exercise" in stub.get("metadata", {}).get("tags", []):
            title = _text(stub.get("source", "")).split("\n")[0].lstrip("# ")
            found.append(Exercise(title, _state(_printed(check))))
    return found


def _text(lines: str | list[str]) -> str:
    """A notebook's text, which is stored as one string or as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def _printed(cell: dict[str, Any]) -> str:
    outputs = cell.get("outputs", [])
    return "".join(_text(output.get("text", "")) for output in outputs if output.get("name") == "stdout")


def _state(printed: str) -> str:
    verdicts = {line[0] for line in printed.splitlines() if line[:1] in (SOLVED, WRONG, OPEN)}
    if verdicts == {SOLVED}:
        return SOLVED
    return OPEN if verdicts <= {OPEN} else WRONG


def line(name: str, found: Sequence[Exercise]) -> str:
    """One lecture's progress: a bar, how many are solved, and which are not.

    >>> line("03_mlp", [Exercise("Exercise 1", "✓"), Exercise("Exercise 2", "✗"), Exercise("Exercise 3", "…")])
    '03_mlp         ███████·············   1 of  3   ✗ 2   … 3'
    """
    n_solved = sum(exercise.state == SOLVED for exercise in found)
    filled = round(BAR * n_solved / max(1, len(found)))
    parts = [f"{name:14} {'█' * filled}{'·' * (BAR - filled)}  {n_solved:2} of {len(found):2}"]
    for state in (WRONG, OPEN):
        titles = [exercise.title.removeprefix("Exercise ") for exercise in found if exercise.state == state]
        if titles and len(titles) < len(found):
            parts.append(f"{state} {' · '.join(_shortened(titles))}")
    return "   ".join(parts)


def _shortened(titles: Sequence[str]) -> list[str]:
    """ "1, step 2" after "1, step 1" becomes "step 2"."""
    short, before = [], ""
    for title in titles:
        number, _, step = title.partition(", ")
        short.append(step if step and number == before else title)
        before = number
    return short


def report(folder: StrPath) -> str:
    """The progress in all lectures of a folder of notebooks; `ValueError` if it holds none with exercises."""
    found = {}
    for path in sorted(Path(folder).glob("*.ipynb")):
        if listed := exercises(path):
            found[path.stem] = listed
    if not found:
        raise ValueError(f"{folder} holds no notebook with exercises; name the folder of the lectures")
    lines = [line(name, listed) for name, listed in found.items()]
    n_solved = sum(exercise.state == SOLVED for listed in found.values() for exercise in listed)
    n_all = sum(map(len, found.values()))
    lines += ["", f"{n_solved} of {n_all} exercises solved"]
    if n_solved < n_all:
        lines[-1] += f", next: {_next(found)}"
    return "\n".join(lines)


def _next(found: dict[str, list[Exercise]]) -> str:
    name, exercise = next((n, e) for n, listed in found.items() for e in listed if e.state != SOLVED)
    number = re.match(r"\d*", name)
    lecture = f"lecture {int(number[0])}" if number and number[0] else name
    return f"{lecture}, {exercise.title[:1].lower()}{exercise.title[1:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 2 and one sentence on stderr for a folder without lectures."""
    parser = argparse.ArgumentParser(
        prog="python -m nnhelpers.course.progress",
        description="Which exercises are solved, from the saved notebooks. "
        "✓ solved, ✗ tried and not yet right, … open.",
    )
    parser.add_argument("folder", nargs="?", help="the folder of the notebooks (notebooks, or this one)")
    options = parser.parse_args(arguments)
    folder = options.folder or ("notebooks" if Path("notebooks").is_dir() else ".")
    try:
        say(report(folder))
    except (OSError, ValueError) as error:
        say(f"error: {error}", stream=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
