"""Makes strict nbval tolerate one unit in the last printed decimal."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import nbval_tolerance  # noqa: F401  (installs itself)
