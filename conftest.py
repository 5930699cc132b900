"""For every run of pytest in the project: notebooks compared within their bands, and the longest work begun first."""

import sys
from pathlib import Path

TESTS = Path(__file__).parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "notebooks"), str(TESTS / "tools")]

# pytest finds its hooks here
from collector import pytest_collect_file  # noqa: E402, F401
from longest_first import pytest_xdist_make_scheduler  # noqa: E402, F401
