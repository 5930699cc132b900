"""Which exercises of the course are solved: read from the saved notebooks, without a network or an account.

    python -m nnhelpers.course.progress            # the notebooks in the folder `notebooks`, or in this one
    python -m nnhelpers.course.progress my_copies  # notebooks of another folder, or single notebooks

An exercise is a cell tagged `exercise`. The check that follows it prints lines that begin with `✓` (right), `✗` (wrong)
or `…` (not attempted yet). What counts is what was last printed and saved: after an answer is changed, its check has to
be run and the notebook saved. Of copies of one lecture the furthest counts.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts import StrPath
from ..files import read_json
from ..terminal import say

SOLVED, WRONG, OPEN = "✓", "✗", "…"
VERDICT = re.compile(rf"^([{SOLVED}{WRONG}{OPEN}]) .+", re.MULTILINE)
# JupyterLab's and a file manager's names for a copy
COPY = re.compile(r"(-Copy\d+| \(\d+\)| copy)$", re.IGNORECASE)
BAR = 20


@dataclass(frozen=True)
class Exercise:
    """One exercise of a saved notebook: its title, such as "Exercise 3", and how far it is."""

    title: str
    state: str  # SOLVED, WRONG or OPEN


def exercises(notebook: StrPath) -> list[Exercise]:
    """The exercises of a saved notebook, in its order.

    Solved: each line of the check says `✓`. Wrong: something was tried and is not all right, an error included. Open:
    nothing was tried, or the check was not run. A file that is no notebook raises `ValueError`.
    """
    found: dict[str, str] = {}
    for title, outputs in _stubs(_cells(notebook)):
        # a stub that was copied counts once, by the better of the two
        found[title] = max(found.get(title, OPEN), _state(outputs), key=(OPEN + WRONG + SOLVED).index)
    return [Exercise(title, state) for title, state in found.items()]


def _cells(notebook: StrPath) -> list[dict[str, Any]]:
    content = read_json(notebook)
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ValueError(f"{notebook} is not a notebook: it has no list of cells")
    return cells


def _stubs(cells: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each stub's title, with what it and its check have put out.

    The check is the next cell that printed a verdict, before the next stub: a reader may have put cells between.
    """
    places = [i for i, cell in enumerate(cells) if "exercise" in _tags(cell)]
    for i, place in enumerate(places):
        end = places[i + 1] if i + 1 < len(places) else len(cells)
        title = _text(cells[place].get("source")).split("\n")[0].lstrip("# ")
        checks = [outputs for cell in cells[place + 1 : end] if _verdicts(outputs := _outputs(cell))]
        yield title, [*_outputs(cells[place]), *(checks[0] if checks else _next_outputs(cells, place))]


def _next_outputs(cells: Sequence[dict[str, Any]], place: int) -> list[dict[str, Any]]:
    return _outputs(cells[place + 1]) if place + 1 < len(cells) else []


def _tags(cell: dict[str, Any]) -> Sequence[str]:
    return (cell.get("metadata") or {}).get("tags") or ()


def _outputs(cell: dict[str, Any]) -> list[dict[str, Any]]:
    return cell.get("outputs") or []


def _text(lines: str | list[str] | None) -> str:
    """A notebook's text, which is stored as one string or as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines or ())


def _verdicts(outputs: Sequence[dict[str, Any]]) -> set[str]:
    printed = "".join(_text(output.get("text")) for output in outputs if output.get("name") == "stdout")
    return set(VERDICT.findall(printed))


def _state(outputs: Sequence[dict[str, Any]]) -> str:
    if any(output.get("output_type") == "error" for output in outputs):
        return WRONG
    verdicts = _verdicts(outputs)
    if verdicts == {SOLVED}:
        return SOLVED
    return OPEN if verdicts <= {OPEN} else WRONG


def line(name: str, found: Sequence[Exercise], width: int = 14) -> str:
    """One lecture's progress: a bar, how many are solved, and which are not.

    >>> line("03_mlp", [Exercise("Exercise 1", "✓"), Exercise("Exercise 2", "✗"), Exercise("Exercise 3", "…")])
    '03_mlp         ██████··············   1 of  3   ✗ 2   … 3'
    """
    n_solved = sum(exercise.state == SOLVED for exercise in found)
    filled = BAR * n_solved // max(1, len(found))
    parts = [f"{name:{width}} {'█' * filled}{'·' * (BAR - filled)}  {n_solved:2} of {len(found):2}"]
    for state in (WRONG, OPEN):
        titles = [exercise.title.removeprefix("Exercise ") for exercise in found if exercise.state == state]
        # of a lecture that is not begun the list would say nothing
        if titles and (state == WRONG or len(titles) < len(found)):
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


def report(*places: StrPath) -> str:
    """The progress in all lectures of folders and notebooks; `ValueError` if they hold none with exercises.

    A file that is no notebook gets a line that says so, among the others.
    """
    found: dict[str, list[Exercise]] = {}
    unread = []
    for path in _notebooks(places):
        try:
            listed = exercises(path)
        except (OSError, ValueError) as error:
            unread.append(f"{path.name} was left out: {error}")
            continue
        name = COPY.sub("", path.stem)
        if listed and _n_solved(listed) >= _n_solved(found.get(name, [])):
            found[name] = listed
    if not found:
        where = ", ".join(map(str, places))
        raise ValueError(
            "\n".join([f"no notebook with exercises in {where}: name the lectures' folder", *unread])
        )
    width = max(14, *(len(name) for name in found))
    lines = [line(name, listed, width) for name, listed in sorted(found.items())]
    n_solved, n_all = sum(map(_n_solved, found.values())), sum(map(len, found.values()))
    end = f"{n_solved} of {n_all} exercises solved"
    if n_solved < n_all:
        end += f", next: {_next(dict(sorted(found.items())))}"
    return "\n".join([*lines, *unread, "", end])


def _notebooks(places: Sequence[StrPath]) -> Iterator[Path]:
    for place in map(Path, places):
        if not place.exists():
            raise ValueError(f"there is no folder or notebook {place}")
        yield from [place] if place.is_file() else sorted(p for p in place.glob("*.ipynb") if p.is_file())


def _n_solved(listed: Sequence[Exercise]) -> int:
    return sum(exercise.state == SOLVED for exercise in listed)


def _next(found: dict[str, list[Exercise]]) -> str:
    name, exercise = next((n, e) for n, listed in found.items() for e in listed if e.state != SOLVED)
    number = re.match(r"(\d\d?)(?!\d)", name)
    lecture = f"lecture {int(number[1])}" if number else name
    return f"{lecture}, {exercise.title[:1].lower()}{exercise.title[1:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; 2 and a sentence on stderr where there is nothing to report."""
    parser = argparse.ArgumentParser(
        prog="python -m nnhelpers.course.progress",
        description="Which exercises are solved, from the saved notebooks. "
        "✓ solved, ✗ tried and not yet right, … open.",
    )
    parser.add_argument(
        "places", nargs="*", help="folders or notebooks (the folder notebooks, if there is one, or this one)"
    )
    places = parser.parse_args(arguments).places
    try:
        say(report(*(places or ["notebooks" if Path("notebooks").is_dir() else "."])))
    except (OSError, ValueError) as error:
        say(f"error: {error}", stream=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
