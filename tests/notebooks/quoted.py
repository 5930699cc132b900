"""Numbers quoted in the prose of a notebook, and the outputs that they are tied to.

A number with two decimals or more is a measurement or a setting. It has to be printed by a cell of its own section
(from one `## ` heading to the next) or stand in its code. If it comes from elsewhere, an invisible comment right behind
it says where: `<!-- 3.12 -->` a section of the same notebook, `<!-- lecture 3 -->` the outputs of another notebook,
`<!-- 2.1331 - 2.0128 -->` the difference of two numbers that this notebook prints, `<!-- source -->` a publication that
the text names, or a trial that no cell repeats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from execute import text_of
from nbformat import NotebookNode

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


def numbers_of(cells: list[NotebookNode]) -> set[str]:
    """What the cells print, and the numbers in their code."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    text = "\n".join([text_of(cell) for cell in code] + [cell.source for cell in code])
    return set(re.findall(r"\d+\.\d+", text.replace(",", "")))


def rounds_to(printed: str, number: str) -> bool:
    """Whether a printed number, which has as many decimals or more, is `number` when it is rounded."""
    decimals = len(number.split(".")[1])
    return (
        len(printed.split(".")[1]) >= decimals
        and abs(float(printed) - float(number)) <= 0.500001 * 10**-decimals
    )


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
                if not any(rounds_to(printed, number) for printed in _supply(name, source, parts, others)):
                    around = prose[max(0, match.start() - 60) : match.end() + 30]
                    yield f"{number} ({source or 'section ' + name}): …{around}…"


def _supply(name, source, parts, others) -> set[str]:
    """The numbers among which a quoted one has to be found; a section or lecture that does not exist supplies none."""
    if terms := re.fullmatch(r"([\d.]+) - ([\d.]+)", source or ""):
        printed = numbers_of([cell for cells in parts.values() for cell in cells])
        known = all(any(rounds_to(p, term) for p in printed) for term in terms.groups())
        return {f"{float(terms[1]) - float(terms[2]):.6f}"} if known else set()
    if lecture := re.fullmatch(r"lecture (\d)", source or ""):
        other = others.get(int(lecture[1]))
        return numbers_of(other.cells) if other else set()
    return numbers_of(parts.get(source or name, []))
