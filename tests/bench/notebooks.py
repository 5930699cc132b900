"""How long nbval takes for each notebook, alone on the machine, one thread."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

from execute import NOTEBOOKS, ROOT

# the plugin, which pytest finds on PYTHONPATH, brings the tolerance of one unit in the last decimal
PLUGINS = ["-p", "nbval_tolerance", "-p", "no:cacheprovider"]
OPTIONS = [*PLUGINS, "--nbval", "--nbval-current-env", "--nbval-cell-timeout", "300"]


def nbval() -> list[dict]:
    rows = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for path in NOTEBOOKS:
        command = [sys.executable, "-m", "pytest", *OPTIONS, str(path)]
        start = perf_counter()
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if run.returncode:
            raise RuntimeError(f"{path.name} is not green, so its time says nothing:\n{run.stdout[-3000:]}")
        rows.append({"notebook": path.stem, "seconds": round(perf_counter() - start, 1)})
    return rows
