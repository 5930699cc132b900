"""The scoreboard of the whole course, data/scoreboard.json: the lectures' own results, and nothing typed in by hand."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..contracts import NO_TARGET, LanguageModel, StrPath
from ..data import data_folder
from ..evaluation import bootstrap_se, token_nll, word_index
from ..files import read_json, write_json

FORMAT = "nnhelpers.scoreboard 2"
FIRST_FORMAT = "nnhelpers.scoreboard 1"  # said `how` for `method`
NAME = "scoreboard.json"
WRITE_TO = "NNHELPERS_SCOREBOARD"  # the file that results go into; `make execute` sets it
Corpus = Literal["names", "shakespeare"]


@dataclass(frozen=True)
class Score:
    """How good a model is, in nats per token with its standard error, and what it costs."""

    model: str
    nats: float
    standard_error: float
    n_parameters: int
    seconds: float
    method: str = ""  # how it was obtained: "counted", "AdamW, 2,500 steps of 512 windows"


@dataclass(frozen=True)
class ScoreRow(Score):
    """A row of the scoreboard, and where it comes from: on another machine `nats` may differ by `tolerance`."""

    lecture: int = 0
    corpus: Corpus = "names"
    tolerance: float = 0.0


def score_words(
    name: str,
    model: LanguageModel,
    x: Tensor,
    y: Tensor,
    *,
    n_parameters: int,
    seconds: float,
    method: str = "",
) -> Score:
    """Evaluate a model of words, each ended by token 0.

    On windows x (N, block) and targets y (N,), or on whole words (W, T), as `batches.context_windows` and
    `batches.whole_words` make them. The standard error is over words.
    """
    there = torch.as_tensor(y) != NO_TARGET
    losses = token_nll(model, x, y)[there]  # (N,)
    error = bootstrap_se(losses, word_index(torch.as_tensor(y)[there]))
    return Score(name, losses.mean().item(), error, n_parameters, seconds, method)


def table(rows: Sequence[Score], decimals: int = 4, bound: int = 60) -> str:
    """The rows as a text table; seconds as an upper bound, `bound` or ten times that or ..., which machines share.

    A trained network's third decimal depends on the processor's rounding: give such a table two `decimals`.
    """
    width = max([len("model"), *(len(row.model) for row in rows)])
    lines = [f"{'model':<{width}}  nats/char  ± s.e.  bits/char  parameters  seconds"]
    for row in rows:
        nats = f"{row.nats:9.{decimals}f}"
        error = f"{row.standard_error:6.{decimals}f}"
        bits = f"{row.nats / math.log(2):9.{decimals}f}"
        seconds = f"< {_bound_above(row.seconds, bound)}"
        lines.append(f"{row.model:<{width}}  {nats}  {error}  {bits}  {row.n_parameters:10,}  {seconds:>7}")
    return "\n".join(lines)


def _bound_above(seconds: float, bound: int) -> int:
    """The first of `bound`, 10 `bound`, 100 `bound`, ... that is above the seconds."""
    while bound <= seconds:
        bound *= 10
    return bound


def load_scoreboard(corpus: Corpus, before: int | None = None, path: StrPath | None = None) -> list[ScoreRow]:
    """The rows for one corpus, "names" (test split) or "shakespeare" (validation), of the lectures `before` one.

    The default `path` is the scoreboard in the folder of the corpora. A folder with other corpora has none, as its
    losses would not compare: then there are no rows. A damaged file raises `ValueError`.
    """
    _check(corpus)
    path = data_folder() / NAME if path is None else Path(path)
    rows = [row for row in _read(path) if row.corpus == corpus] if path.is_file() else []
    return rows if before is None else [row for row in rows if row.lecture < before]


def record(lecture: int, corpus: Corpus, scores: Sequence[Score], tolerance: float) -> list[ScoreRow]:
    """A lecture's scores for one corpus as rows of the scoreboard, where they take the place of its earlier ones.

    They are written under `make execute` alone, which names the file in the environment variable NNHELPERS_SCOREBOARD;
    whoever runs a notebook to learn changes nothing. Every score has to say its `method`.
    """
    _check(corpus)
    silent = [score.model for score in scores if not score.method]
    if silent or not scores or not tolerance >= 0:
        raise ValueError(
            "a scoreboard takes at least one score, each with the `method` that gave it, and a tolerance of 0 or more; "
            f"without `method`: {silent}"
        )
    mine = [
        ScoreRow(**asdict(score), lecture=lecture, corpus=corpus, tolerance=tolerance) for score in scores
    ]
    if path := os.environ.get(WRITE_TO):
        others = _read(Path(path)) if Path(path).is_file() else []
        others = [row for row in others if (row.lecture, row.corpus) != (lecture, corpus)]
        _write(Path(path), [*others, *mine])
    return mine


def _write(path: Path, rows: list[ScoreRow]) -> None:
    corpora = get_args(Corpus)
    rows = sorted(rows, key=lambda row: (corpora.index(row.corpus), row.lecture))
    content = [{name: _rounded(value) for name, value in asdict(row).items()} for row in rows]
    write_json(path, {"format": FORMAT, "rows": content})


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


def _read(path: Path) -> list[ScoreRow]:
    content = read_json(path)
    try:
        if content["format"] not in (FORMAT, FIRST_FORMAT):
            raise ValueError(f"its format is {content['format']!r}")
        rows = content["rows"]
        if content["format"] == FIRST_FORMAT:
            rows = [{("method" if name == "how" else name): row[name] for name in row} for row in rows]
        return [ScoreRow(**row) for row in rows]
    except (TypeError, LookupError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path.name} is no scoreboard, or is damaged: {error}; write it again with make execute"
        ) from None


def _check(corpus: str) -> None:
    if corpus not in get_args(Corpus):
        raise ValueError(f"the scoreboard has the corpora {', '.join(get_args(Corpus))}, not {corpus!r}")
