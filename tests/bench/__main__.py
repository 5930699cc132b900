"""`make bench`, or `make bench ONLY="encoding nbval"`: measures, and writes data/bench.json and the README.

Every ratio is of two things run in turn in this process, on one thread: median, least and largest of several. The file
says of each part on which machine it was measured, with which versions and when. All of it takes about forty minutes.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
from importlib.metadata import version

import front_door
import torch

from nnhelpers.files import read_json, write_json

from . import growth, libraries, notebooks, races

PATH = front_door.ROOT / "data" / "bench.json"
DUELS = [
    libraries.scalar_autograd,
    libraries.tokenizer_training,
    libraries.encoding,
    libraries.transformer_step,
    libraries.generation,
    races.by_hand,
    races.classic_mlp,
    races.classic_wavenet,
]
TABLES = {
    "bpe_growth": growth.bpe_growth,
    "without_a_split": growth.without_a_split,
    "nbval": notebooks.nbval,
}
PACKAGES = ("torch", "numpy", "regex", "micrograd", "tokenizers", "tiktoken", "transformers")


def machine() -> dict:
    """What the figures were measured on."""
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            models = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
        processor = models[0] if models else processor
    versions = {name: version(name) for name in PACKAGES}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def main(names: list[str]) -> None:
    if {os.environ.get(name) for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")} != {"1"}:
        raise SystemExit(
            "the figures are for one thread, which has to be said before torch is loaded: make bench"
        )
    torch.set_num_threads(1)
    known = {f.__name__: f for f in [*DUELS, *TABLES.values()]}
    if unknown := set(names) - known.keys():
        raise SystemExit(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    content = read_json(PATH) if PATH.is_file() else {}
    for measure in DUELS:
        if not names or measure.__name__ in names:
            rows = measure()
            content.setdefault("duels", {})[measure.__name__] = rows
            for row in rows:
                ratio = f"{row['ratio']:8.2f} ({row['least']} to {row['largest']})"
                print(ratio, row["what"], "/", row["against"], flush=True)
            content.setdefault("machines", {})[measure.__name__] = machine()
            write_json(PATH, content)
    for name, measure in TABLES.items():
        if not names or measure.__name__ in names:
            content[name] = measure()
            print(name, *content[name], sep="\n  ", flush=True)
            content.setdefault("machines", {})[name] = machine()
            write_json(PATH, content)
    front_door.write()


if __name__ == "__main__":
    main(sys.argv[1:])
