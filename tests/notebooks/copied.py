"""Cells to copy are a program: run as a learner would run it, without anything of ours.

The program runs in a folder that holds the texts it names and nothing else. Packages that it does not name cannot be
imported, `nnhelpers` never, in processes that it starts neither. It has to print what its cells have printed in the
notebook, each within its band; in the place of a cell that is not compared there it may print anything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bands import Band, agrees, band_of
from cells import copy_cells, needs, program
from nbformat import NotebookNode
from stored import ROOT, tags

# what is installed for the course and may be used by a program only if its first line says so
PACKAGES = {
    *(
        "torch",
        "numpy",
        "matplotlib",
        "regex",
        "safetensors",
        "tqdm",
        "tiktoken",
        "tokenizers",
        "transformers",
    ),
    *("ipywidgets", "IPython", "micrograd"),
}
BROUGHT_BY = {"torch": {"numpy"}, "matplotlib": {"numpy"}, "transformers": PACKAGES}


def fault(notebook: NotebookNode, folder: Path) -> str:
    """What is wrong with the notebook's cells to copy, in words; nothing if they are the program they should be."""
    for cell in copy_cells(notebook):
        if any(output.output_type == "execute_result" for output in cell.outputs):
            return f"a program shows nothing of a value that is not printed:\n{cell.source}"
    try:
        done = run(program(notebook), folder)
    except ValueError as error:
        return str(error)
    if done.returncode or done.stderr:
        return f"the program ends with {done.returncode} and says\n{done.stdout}{done.stderr}"
    stored = printed(notebook)
    if not agrees(done.stdout, stored):
        return f"the program prints\n{done.stdout}\nand its cells\n{''.join(text for text, _ in stored)}"
    return ""


def printed(notebook: NotebookNode) -> list[tuple[str, Band | None]]:
    """What each cell to copy has printed, and the band of its numbers; None where nothing is compared."""
    parts: list[tuple[str, Band | None]] = []
    for cell in copy_cells(notebook):
        text = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
        parts.append((text, None if "nbval-ignore-output" in tags(cell) else band_of(tags(cell))))
    return parts


def run(source: str, folder: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a program in `folder`, which has to be empty, with the texts and the packages that it names."""
    packages, texts = needs(source)
    place, forbidden = folder / "program", folder / "forbidden"
    place.mkdir()
    (place / "program.py").write_text(source, encoding="utf-8")
    for text in texts:
        shutil.copy(ROOT / "data" / text, place)
    allowed = packages.union(*(BROUGHT_BY.get(package, set()) for package in packages))
    for package in (PACKAGES - allowed) | {"nnhelpers"}:
        forbid(package, forbidden)
    # PYTHONPATH comes before everything installed, and child processes inherit it
    environment = {
        **os.environ,
        "PYTHONPATH": str(forbidden),
        "PYTHONIOENCODING": "utf-8",
        "MPLBACKEND": "agg",
    }
    command = [sys.executable, "program.py"]
    return subprocess.run(
        command,
        cwd=place,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )


def forbid(package: str, folder: Path) -> None:
    """Lay a package of this name into `folder` that cannot be imported."""
    message = f"{package} is not named in the program's first line"
    if package == "nnhelpers":
        message = "cells to copy do without nnhelpers"
    (folder / package).mkdir(parents=True)
    code = f"raise ModuleNotFoundError({message!r}, name={package!r})\n"
    (folder / package / "__init__.py").write_text(code, encoding="utf-8")
