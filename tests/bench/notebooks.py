"""How long nbval takes for each notebook, alone on the machine, one thread."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

from execute import NOTEBOOKS, ROOT


def nbval() -> list[dict]:
    rows = []
    for path in NOTEBOOKS:
        options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300", "-p", "no:cacheprovider"]
        start = perf_counter()
        # tests/conftest.py brings the tolerance of one unit in the last decimal
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                *options,
                str(path),
                "--confcutdir",
                str(ROOT),
                "-p",
                "nbval_tolerance",
            ],
            cwd=ROOT,
            env=None,
            capture_output=True,
            text=True,
        )
        rows.append(
            {"notebook": path.stem, "seconds": round(perf_counter() - start, 1), "green": run.returncode == 0}
        )
    return rows
