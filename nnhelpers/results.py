"""The scoreboard of the whole course, data/scoreboard.json: the lectures' own results, and nothing typed in by hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from .data import data_folder
from .evaluation import Score
from .files import StrPath, read_json, write_json

FORMAT = "nnhelpers.scoreboard 1"
NAME = "scoreboard.json"
WRITE_TO = "NNHELPERS_SCOREBOARD"  # the file that results go into; `make execute` sets it
CORPORA = ("names", "shakespeare")


@dataclass(frozen=True)
class Result(Score):
    """A row of the scoreboard, and where it comes from: on another machine `nats` may differ by `tolerance`."""

    lecture: int = 0
    corpus: str = "names"
    tolerance: float = 0.0


def load(corpus: str, before: int | None = None, path: StrPath | None = None) -> list[Result]:
    """The rows for one corpus, "names" (test split) or "shakespeare" (validation), of the lectures `before` one.

    The default `path` is the scoreboard in the folder of the corpora. A folder with other corpora has none, as its
    losses would not compare: then there are no rows. A damaged file raises `ValueError`.
    """
    _check(corpus)
    path = data_folder() / NAME if path is None else Path(path)
    rows = [row for row in _read(path) if row.corpus == corpus] if path.is_file() else []
    return rows if before is None else [row for row in rows if row.lecture < before]


def record(lecture: int, corpus: str, scores: Sequence[Score], tolerance: float) -> list[Result]:
    """A lecture's scores for one corpus as rows of the scoreboard, where they take the place of its earlier ones.

    They are written under `make execute` alone, which names the file in the environment variable NNHELPERS_SCOREBOARD;
    whoever runs a notebook to learn changes nothing. Every score has to say `how` it was obtained.
    """
    _check(corpus)
    silent = [score.model for score in scores if not score.how]
    if silent or not scores or not tolerance >= 0:
        wanted = "at least one score, each with `how` it was obtained, and a tolerance of 0 or more"
        raise ValueError(f"a scoreboard takes {wanted}; without `how`: {silent}")
    mine = [Result(*astuple(score), lecture, corpus, tolerance) for score in scores]
    if path := os.environ.get(WRITE_TO):
        rows = _read(Path(path)) if Path(path).is_file() else []
        rows = [row for row in rows if (row.lecture, row.corpus) != (lecture, corpus)]
        rows = sorted([*rows, *mine], key=lambda row: (CORPORA.index(row.corpus), row.lecture))
        content = [
            {k: round(v, 6) if isinstance(v, float) else v for k, v in asdict(r).items()} for r in rows
        ]
        write_json(path, {"format": FORMAT, "rows": content})
    return mine


def _read(path: Path) -> list[Result]:
    content = read_json(path)
    try:
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        return [Result(**row) for row in content["rows"]]
    except (TypeError, LookupError, ValueError) as error:
        raise ValueError(
            f"{path.name} is no scoreboard, or is damaged: {error}; write it again with make execute"
        ) from None


def _check(corpus: str) -> None:
    if corpus not in CORPORA:
        raise ValueError(f"the scoreboard has the corpora {', '.join(CORPORA)}, not {corpus!r}")
