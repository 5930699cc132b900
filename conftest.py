"""For every run of pytest in the project: notebooks compared within their bands, and the longest work begun first."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("", "notebooks", "tools")]

from collector import pytest_collect_file  # noqa: E402, F401  (pytest finds it here)

# About how many seconds a file takes, for those that take long and are no notebooks; `make bench` times the notebooks.
SECONDS = {"tests/test_readme.py": 60}
NOTEBOOK = r"\d\d_[a-z]+"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes a whole file, as with --dist loadfile; of the notebooks' tests it takes all of one notebook."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            notebook = re.search(NOTEBOOK, test)
            return f"{file} {notebook[0]}" if notebook and file.startswith("tests/notebooks/") else file

        def _assign_work_unit(self, node) -> None:
            longest = max(self.workqueue, key=lambda scope: seconds(scope, len(self.workqueue[scope])))
            self.workqueue.move_to_end(longest, last=False)
            super()._assign_work_unit(node)

    return LongestFirst(config, log)


def seconds(scope: str, n_tests: int) -> float:
    """About how long a file takes, or the part of a file that belongs to one notebook."""
    if scope.endswith(".ipynb"):
        return notebook_seconds().get(Path(scope).stem, 60.0)
    return SECONDS.get(scope, 0.1 * n_tests)


def notebook_seconds() -> dict[str, float]:
    rows = json.loads((ROOT / "data" / "bench.json").read_text(encoding="utf-8")).get("nbval", [])
    return {row["notebook"]: row["seconds"] for row in rows}
