"""What pytest does with a notebook under --nbval: every cell within its band, then the answers to the exercises.

The root's conftest.py brings this to every run of pytest in the project, `pytest --nbval notebooks` included. The
answers run in the kernel that has just run the notebook. For each exercise the check must accept the solution and the
answers that are right in another way; then it must refuse the usual wrong ones.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Iterable, Iterator
from queue import Empty

import answers
import exercises
import pytest
import sockets  # noqa: F401  (sets the transport)
from bands import Band, band_of, settle
from nbformat import NotebookNode
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile
from stored import SKIPPED, tags


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    parent: pytest.Collector,
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Put a collector of ours into the place of each of nbval's."""
    found = yield
    return [
        Notebook.from_parent(parent, path=each.path) if type(each) is IPyNbFile else each for each in found
    ]


class CellError(Exception):
    """A cell raised an error, or took too long."""


class Notebook(IPyNbFile):
    """The cells of a notebook, then its exercises with answers."""

    def collect(self) -> Iterator[pytest.Item]:
        self.ran: set[int] = set()
        for cell in super().collect():
            try:
                band = band_of(tags(cell.cell))
            except ValueError as error:
                raise self.CollectError(f"{self.path.name}, cell {cell.cell_num}: {error}") from error
            yield Cell.from_parent(self, band=band, nbval=cell)
        yield from self._answers()

    def _answers(self) -> Iterator[pytest.Item]:
        places = exercises.stubs(self.nb)
        right = exercises.solutions(self.nb)
        for title, place in places.items():
            others = answers.RIGHT.get(self.path.stem, {}).get(title, [])
            # the solution comes last, so that it is what the next exercise finds
            tried = [*others, right.get(title, "")]
            yield Answers.from_parent(self, name=f"{title}: right", place=place, tried=tried, verdict="✓")
        # from the last to the first: an exercise builds on the ones before it, whose solutions still stand
        for title, place in reversed(places.items()):
            wrong = answers.WRONG.get(self.path.stem, {}).get(title, [])
            yield Answers.from_parent(self, name=f"{title}: wrong", place=place, tried=wrong, verdict="✗")

    def run(self, source: str) -> str:
        """What a cell of this source prints and shows in the notebook's kernel; an error raises `CellError`."""
        return run(self.kernel, source, self.config.option.nbval_cell_timeout)

    def run_what_was_not_chosen(self) -> None:
        """Run the cells that no test of this run has run, so that one exercise can be chosen with -k."""
        code = [cell for cell in self.nb.cells if cell.cell_type == "code"]
        for number, cell in enumerate(code):
            if number not in self.ran and SKIPPED not in tags(cell):
                self.ran.add(number)
                self.run(cell.source)


class Cell(IPyNbCell):
    """A cell whose numbers may differ within its band."""

    def __init__(self, parent: Notebook, band: Band, nbval: IPyNbCell) -> None:
        super().__init__(nbval.name, parent, nbval.cell_num, nbval.cell, nbval.options)
        self.band = band

    def runtest(self) -> None:
        self.parent.ran.add(self.cell_num)
        super().runtest()

    def compare_outputs(self, test: list, ref: list, skip_compare: Iterable[str] | None = None) -> bool:
        test = copy.deepcopy(test)
        for new, stored in zip(test, ref, strict=False):
            settle_output(new, stored, self.band)
        return super().compare_outputs(test, ref, skip_compare)


class Answers(pytest.Item):
    """Several answers to one exercise, each put into its stub, and what the check has to say of all of them."""

    def __init__(self, name: str, parent: Notebook, place: int, tried: list[str], verdict: str) -> None:
        super().__init__(name.removeprefix("# "), parent)
        self.notebook = parent
        self.check = parent.nb.cells[place + 1].source
        self.tried, self.verdict = tried, verdict

    def runtest(self) -> None:
        if self.notebook.timed_out:
            pytest.fail("a cell of the notebook took too long, so the answers cannot be tried", pytrace=False)
        self.notebook.run_what_was_not_chosen()
        complaints = [complaint for answer in self.tried for complaint in self._complaints(answer)]
        if complaints:
            pytest.fail("\n\n".join(complaints), pytrace=False)

    def _complaints(self, answer: str) -> Iterator[str]:
        """Why the check's words on an answer are not those wanted; a right answer gets nothing but ✓."""
        try:
            self.notebook.run(answer)
            said = self.notebook.run(self.check)
        except CellError as error:
            yield f"{error}\nin or after the answer\n{answer}"
            return
        found = exercises.verdicts(said)
        fits = set(found) == {"✓"} if self.verdict == "✓" else "✗" in found
        if not fits:
            yield f"the check says\n{said}\ninstead of {self.verdict} to the answer\n{answer}"

    def reportinfo(self) -> tuple:
        return self.path, 0, f"{self.notebook.path.name}: {self.name}"


def settle_output(new: NotebookNode, stored: NotebookNode, band: Band) -> None:
    """Give a new output the stored text where the two agree within the band; exceptions are left as they are."""
    if new.get("output_type") != stored.get("output_type"):
        return
    if "text" in new and "text" in stored:
        new["text"] = settle(new["text"], stored["text"], band)
    for kind in ("text/plain", "text/html"):
        if kind in new.get("data", {}) and kind in stored.get("data", {}):
            new["data"][kind] = settle(new["data"][kind], stored["data"][kind], band)


def run(kernel: RunningKernel, source: str, timeout: float) -> str:
    """Run one cell; what it prints and shows, as text. An error, or more than `timeout` seconds, raise `CellError`."""
    sent = kernel.execute_cell_input(source, allow_stdin=False)
    try:
        kernel.await_reply(sent, timeout=timeout)
    except Empty:
        kernel.interrupt()
        raise CellError(f"not done within {timeout:g} seconds") from None
    texts = []
    while True:
        message = kernel.get_message("iopub", timeout=30)
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            texts.append(content["text"])
        elif kind in ("display_data", "execute_result"):
            texts.append(content["data"].get("text/plain", "") + "\n")
        elif kind == "error":
            raise CellError(f"{content['ename']}: {content['evalue']}")
        elif kind == "status" and content["execution_state"] == "idle":
            return "".join(texts)
