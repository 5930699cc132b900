"""`make kernels`: every notebook under the kernels of other processors, and with two threads; `NOTEBOOKS="03 06"` some.

The libraries choose their code by what the processor can do, and other code rounds otherwise. Here they are told to
choose what an older processor would have. A cell that fails under one of them prints what is not stable: let it print
less, or give it the band that these runs show it to need.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from stored import ROOT, chosen

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
KERNELS = {
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "SSE4": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
    "two threads": dict.fromkeys(THREADS, "2"),
}
# the cells alone: the exercises are no matter of the last digits
COMMAND = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
COMMAND += ["--nbval-cell-timeout", "600", "--color=no", "-k", "Cell"]


def is_green(path: Path, settings: dict[str, str]) -> bool:
    """Run one notebook in an environment with these settings, and say what is wrong if something is."""
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "TQDM_DISABLE": "1", **settings}
    run = subprocess.run(
        [*COMMAND, path], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if run.returncode:
        print(run.stdout, run.stderr, sep="\n", flush=True)
    return not run.returncode


def main(names: list[str]) -> int:
    """Run the notebooks under each setting; 1 if a cell failed, else 0."""
    all_green = True
    for path in chosen(names):
        for name, settings in KERNELS.items():
            start = time.perf_counter()
            green = is_green(path, settings)
            word = "green" if green else "FAILED"
            print(f"{path.stem}, {name}: {word} ({time.perf_counter() - start:.0f} s)", flush=True)
            all_green = all_green and green
    return 0 if all_green else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
