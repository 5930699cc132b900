"""The notebooks as they are stored: where they lie, their tags, and the text of their outputs."""

from __future__ import annotations

from pathlib import Path

from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SKIPPED = "nbval-skip"  # cells that want a person: run by no command and no test


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def text_of(cell: NotebookNode) -> str:
    """All text that a cell has printed or shown."""
    return "\n".join(
        o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", [])
    )


def chosen(names: list[str]) -> list[Path]:
    """All notebooks, or those meant by 03, 03_mlp or notebooks/03_mlp.ipynb; an unknown name ends the command."""
    paths = []
    for name in names:
        found = [path for path in NOTEBOOKS if path.stem.startswith(Path(name).stem)]
        if not found:
            known = ", ".join(path.stem for path in NOTEBOOKS)
            raise SystemExit(f"there is no notebook {name!r}; there are {known}")
        paths += found
    return paths or NOTEBOOKS
