"""Numbers quoted in the prose of a notebook, and the outputs that they are tied to.

A number with two decimals or more is a measurement or a setting. It has to be printed by a cell of its own section
(from one `## ` heading to the next) or stand in its code. If it comes from elsewhere, an invisible comment right behind
it says where: `<!-- 3.12 -->` a section of the same notebook, `<!-- lecture 3 -->` the outputs of another notebook,
`<!-- 2.1331 - 2.0128 -->` the difference of two numbers that this notebook prints, `<!-- source -->` a publication that
the text names, or a trial that no cell repeats.

A quoted number is a printed one rounded. Where a tag widens the band of the cell that prints it, the quoted number may
lie in that band.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from bands import UNIT_ONLY, Band, band_of, within
from nbformat import NotebookNode
from stored import tags, text_of

NUMBER = re.compile(r"(?<![\d.,:])(\d+\.\d{2,})(?!\d|\.\d)(?:\**)(?:\s?<!-- ([^>]*?) -->)?")
NOT_PROSE = re.compile(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)", re.S)


def sections(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    """The cells of each section by its number, "3.12", or by its title where it has none; "" before the first."""
    found: dict[str, list[NotebookNode]] = {"": []}
    current = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            # a cell may end one section and begin the next: its text counts where each part stands
            for part in re.split(r"^(?=## )", cell.source, flags=re.M):
                if heading := re.match(r"## (?:(\d\.\d+) )?(.*)", part):
                    current = heading[1] or heading[2]
                    found.setdefault(current, [])
                found[current].append(NotebookNode(cell_type="markdown", source=part))
        else:
            found[current].append(cell)
    return found


class Printed(NamedTuple):
    """A number as a cell prints it, and the band of the cell; a number of the code has none."""

    number: str
    band: Band


def numbers_of(cells: list[NotebookNode]) -> set[Printed]:
    """What the cells print, and the numbers in their code."""
    found = set()
    for cell in cells:
        if cell.cell_type == "code":
            band = band_of(tags(cell))
            found |= {Printed(number, band) for number in _decimals(text_of(cell))}
            found |= {Printed(number, UNIT_ONLY) for number in _decimals(cell.source)}
    return found


def _decimals(text: str) -> list[str]:
    return re.findall(r"\d+\.\d+", text.replace(",", ""))


def supports(printed: Printed, number: str) -> bool:
    """Whether a printed number is `number` when it is rounded, or lies so near that its band holds both.

    A number with more decimals than were printed is never supported.
    """
    decimals = len(number.split(".")[1])
    if len(printed.number.split(".")[1]) < decimals:
        return False
    rounded = abs(float(printed.number) - float(number)) <= 0.500001 * 10**-decimals
    return rounded or within(Decimal(number), Decimal(printed.number), printed.band)


def untied(notebook: NotebookNode, others: dict[int, NotebookNode]) -> Iterator[str]:
    """Each quoted number that no output supports, with what stands around it; `others` are the notebooks by lecture."""
    parts = sections(notebook)
    for name, cells in parts.items():
        for cell in (cell for cell in cells if cell.cell_type == "markdown"):
            prose = NOT_PROSE.sub(" ", cell.source)
            for match in NUMBER.finditer(prose):
                number, source = match.groups()
                if source == "source" or (number in parts and not source):  # or the number of a section
                    continue
                if not any(supports(printed, number) for printed in _supply(name, source, parts, others)):
                    around = prose[max(0, match.start() - 60) : match.end() + 30]
                    yield f"{number} ({source or 'section ' + name}): …{around}…"


def _supply(
    name: str, source: str | None, parts: dict[str, list[NotebookNode]], others: dict[int, NotebookNode]
) -> set[Printed]:
    """The numbers among which a quoted one has to be found; a section or lecture that does not exist supplies none."""
    if terms := re.fullmatch(r"([\d.]+) - ([\d.]+)", source or ""):
        printed = numbers_of([cell for cells in parts.values() for cell in cells])
        known = all(any(supports(p, term) for p in printed) for term in terms.groups())
        return {Printed(f"{float(terms[1]) - float(terms[2]):.6f}", UNIT_ONLY)} if known else set()
    if lecture := re.fullmatch(r"lecture (\d)", source or ""):
        other = others.get(int(lecture[1]))
        return numbers_of(other.cells) if other else set()
    return numbers_of(parts.get(source or name, []))
