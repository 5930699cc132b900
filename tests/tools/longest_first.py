"""How xdist shares out the tests: whole files, the notebooks' tests by notebook, and what takes longest first.

Two workers that begin with the longest are done at about the same time; a long file that comes last keeps one waiting.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# About how many seconds a file takes, or one notebook's part of it; any other counts a tenth of a second a test.
SECONDS = {
    "tests/test_readme.py": 60.0,
    "tests/test_bpe.py": 50.0,
    "tests/test_train.py": 25.0,
    "tests/test_trained.py": 45.0,
    "tests/notebooks/test_checker.py": 15.0,
    "tests/notebooks/test_notebooks.py": 12.0,
}


def scope_of(test: str) -> str:
    """What one worker takes as a whole: the file of a test, or a file and a notebook, "…/test_copied.py 03_mlp"."""
    file, _, name = test.partition("::")
    notebook = re.search(r"\d\d_[a-z]+", name)
    return f"{file} {notebook[0]}" if notebook and file.startswith("tests/notebooks/") else file


def seconds(scope: str, n_tests: int) -> float:
    """About how long a scope takes; `make bench` times the notebooks, and one that it has not timed may be long."""
    file, _, notebook = scope.partition(" ")
    if file.endswith(".ipynb") or file.endswith("test_copied.py"):
        return notebook_seconds().get(notebook or Path(file).stem, 60.0)
    return SECONDS.get(file, 0.1 * n_tests)


def notebook_seconds() -> dict[str, float]:
    rows = json.loads((ROOT / "data" / "bench.json").read_text(encoding="utf-8")).get("nbval", [])
    return {row["notebook"]: row["seconds"] for row in rows}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler for --dist loadfile; xdist's own for any other."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            longest = max(self.workqueue, key=lambda scope: seconds(scope, len(self.workqueue[scope])))
            self.workqueue.move_to_end(longest, last=False)
            super()._assign_work_unit(node)

    return LongestFirst(config, log)
