"""Makes strict nbval tolerate one unit in the last printed decimal, and says which tests belong together."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import nbval_tolerance  # noqa: F401  (installs itself)

# each of these runs a kernel of its own for seconds, so that any worker may take any one of them
SPREAD = {"test_notebooks.py", "test_checker.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """With `--dist loadgroup` the cells of a notebook share a worker and its kernel; other files stay whole."""
    for item in items:
        if item.path.name not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
