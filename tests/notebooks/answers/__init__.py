"""Answers to the exercises, by notebook and title, which are put into the stubs when the notebook is tested.

`WRONG` holds the usual wrong ones, which a check must refuse; `RIGHT` those that are right in another way than the
solution of the notebook, which it must accept.
"""

from importlib import import_module
from pathlib import Path

Table = dict[str, dict[str, list[str]]]

STEMS = sorted(path.stem.removeprefix("lecture_") for path in Path(__file__).parent.glob("lecture_*.py"))
WRONG: Table = {stem: import_module(f".lecture_{stem}", __name__).WRONG for stem in STEMS}
RIGHT: Table = {stem: import_module(f".lecture_{stem}", __name__).RIGHT for stem in STEMS}
