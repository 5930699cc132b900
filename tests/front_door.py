"""What the README shows of the results: tables between markers and a figure, made from data/*.json alone."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat

from nnhelpers import results
from nnhelpers.files import write_bytes

ROOT = Path(__file__).resolve().parent.parent
README, FIGURE = ROOT / "README.md", ROOT / "data" / "scoreboard.png"
SOURCE = ROOT / "notebooks" / "08_bpe.ipynb"


def scoreboard(rows: Sequence[results.Result]) -> str:
    """The rows as a Markdown table; a trained network's third decimal depends on the processor and is left out."""
    lines = [
        "| | lecture | model | nats/char | ± s.e. | bits/char | parameters | seconds | how |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---|",
    ]
    for number, row in enumerate(rows, start=1):
        lines.append(
            f"| {number} | {row.lecture} | {row.model} | {row.nats:.2f} | {row.standard_error:.2f} | "
            f"{row.nats / math.log(2):.2f} | {row.n_parameters:,} | {row.seconds:.1f} | {row.how} |"
        )
    return "\n".join(lines)


def blocks() -> dict[str, str]:
    """What stands between `<!-- name -->` and `<!-- end -->` in the README, by name."""
    return {f"scoreboard {corpus}": scoreboard(results.load(corpus)) for corpus in results.CORPORA}


def with_blocks(readme: str) -> str:
    """The README with its blocks made anew; a marker that is missing raises `ValueError`."""
    for name, block in blocks().items():
        pattern = rf"(<!-- {re.escape(name)} -->\n).*?(\n<!-- end -->)"
        readme, n_found = re.subn(pattern, lambda m, block=block: m[1] + block + m[2], readme, flags=re.S)
        if n_found != 1:
            raise ValueError(
                f"README.md needs one block between <!-- {name} --> and <!-- end -->, found {n_found}"
            )
    return readme


def picture() -> bytes:
    """The scoreboard as a figure: what lecture 8 has drawn in its cell tagged `scoreboard-figure`."""
    cells = nbformat.read(SOURCE, as_version=4).cells
    (cell,) = (cell for cell in cells if "scoreboard-figure" in cell.metadata.get("tags", []))
    (image,) = (o["data"]["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
    return base64.b64decode(image)


def write() -> None:
    """Bring the README and its figure up to date."""
    write_bytes(FIGURE, picture())
    text = with_blocks(README.read_text(encoding="utf-8"))
    write_bytes(README, text.encode())


if __name__ == "__main__":
    write()
