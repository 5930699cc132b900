"""The usual wrong answers, by notebook and exercise: a test puts each into its stub, and its check must refuse it."""

from importlib import import_module
from pathlib import Path

STEMS = sorted(path.stem.removeprefix("lecture_") for path in Path(__file__).parent.glob("lecture_*.py"))
WRONG: dict[str, dict[str, list[str]]] = {
    stem: import_module(f".lecture_{stem}", __name__).WRONG for stem in STEMS
}
