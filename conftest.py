"""Makes strict nbval tolerate one unit in the last printed decimal, and spreads the tests of notebooks over workers."""

import re
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "notebooks"), str(TESTS / "tools")]

import nbval_tolerance  # noqa: E402, F401  (installs itself)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A worker takes a whole file, as with --dist loadfile; of test_notebooks.py it takes all tests of one notebook."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LoadNotebookScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            stem = re.search(r"\d\d_[a-z]+", test)
            return f"{file} {stem[0]}" if stem and file.endswith("test_notebooks.py") else file

    return LoadNotebookScheduling(config, log)
