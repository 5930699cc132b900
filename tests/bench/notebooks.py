"""How long nbval takes for each notebook, alone on the machine, one thread."""

from __future__ import annotations

import subprocess
import sys
from time import perf_counter

from stored import NOTEBOOKS, ROOT

OPTIONS = ["-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300"]


def nbval() -> list[dict]:
    """The seconds of each notebook, its exercises included; one that is not green raises `RuntimeError`."""
    rows = []
    for path in NOTEBOOKS:
        command = [sys.executable, "-m", "pytest", *OPTIONS, str(path)]
        start = perf_counter()
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"{path.name} is not green, so its time says nothing:\n{run.stdout[-3000:]}")
        rows.append({"notebook": path.stem, "seconds": round(perf_counter() - start, 1)})
    return rows
