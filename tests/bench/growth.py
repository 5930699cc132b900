"""How training a tokenizer grows with the text, from 1 to 100 MB; each size in a process of its own."""

from __future__ import annotations

import json
import site
import subprocess
import sys
import tempfile
from pathlib import Path

SIZES = (1, 3, 10, 30, 100)  # megabytes
CHILD = """
import json, os, resource, sys, time
from pathlib import Path
from nnhelpers.bpe import BPETokenizer
start = time.perf_counter()
BPETokenizer.train(Path(sys.argv[1]), 4096)
seconds = time.perf_counter() - start
if os.path.exists("/proc/self/status"):  # Linux: ru_maxrss would count the process that started this one, too
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    gigabytes = int(line.split()[1]) / 2**20
else:
    unit = 2**30 if sys.platform == "darwin" else 2**20
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
print(json.dumps([seconds, gigabytes]))
"""


def sources(n_bytes: int) -> str:
    """The beginning of all Python sources among the installed packages, in the order of their paths."""
    parts, size = [], 0
    for path in sorted(Path(site.getsitepackages()[0]).rglob("*.py")):
        parts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(parts[-1].encode())
        if size >= n_bytes:
            return "".join(parts).encode()[:n_bytes].decode(errors="ignore")
    raise ValueError(
        f"the installed packages have {size / 1e6:.0f} MB of sources, {n_bytes / 1e6:.0f} are needed"
    )


def bpe_growth() -> list[dict]:
    rows, everything = [], sources(SIZES[-1] * 10**6).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sources.txt"
        for size in SIZES:
            path.write_text(everything[: size * 10**6].decode(errors="ignore"), encoding="utf-8")
            run = subprocess.run(
                [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True
            )
            seconds, gigabytes = json.loads(run.stdout)
            rows.append({"megabytes": size, "seconds": round(seconds, 2), "gigabytes": round(gigabytes, 3)})
    return rows


def without_a_split() -> list[dict]:
    """Long runs in which the pattern finds nowhere to cut: seconds to encode, and how much twice the text takes."""
    from nnhelpers.bpe import BPETokenizer

    from .duel import seconds

    tokenizer, rows = BPETokenizer.from_tiktoken("cl100k_base"), []
    cases = {
        "'_' x 50,000": "_" * 50_000,
        "' ' x 50,000": " " * 50_000,
        "'a' x 1,000,000": "a" * 1_000_000,
        "1 MB of letters": "etaoinshrdlu" * 83_334,
    }
    for name, text in cases.items():
        single, double = (
            min(seconds(lambda t=t: tokenizer.encode(t)) for _ in range(3)) for t in (text, text * 2)
        )
        rows.append({"text": name, "seconds": round(single, 3), "twice_the_text": round(double / single, 2)})
    return rows
