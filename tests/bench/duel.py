"""Two things run in turn, several times, and the ratio of their times."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from time import perf_counter

RUNS = 5


def seconds(action: Callable[[], object]) -> float:
    gc.collect()  # what one leaves behind must not be cleared away in the other's time
    start = perf_counter()
    action()
    return perf_counter() - start


def duel(
    what: str,
    against: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    runs: int = RUNS,
    theirs_times: float = 1.0,
) -> dict:
    """A row of the table: how many times longer `theirs` takes; the median of `runs` ratios, the least, the largest.

    `theirs_times` is for a thing too long to be run five times: it is timed in part, and multiplied.
    """
    if theirs_times == 1.0:  # first calls load, compile and fill caches
        ours(), theirs()
    pairs = [(seconds(ours), theirs_times * seconds(theirs)) for _ in range(runs)]
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    return {
        "what": what,
        "against": against,
        "ours_seconds": round(statistics.median(ours for ours, _ in pairs), 4),
        "theirs_seconds": round(statistics.median(theirs for _, theirs in pairs), 4),
        "ratio": round(statistics.median(ratios), 2),
        "least": round(ratios[0], 2),
        "largest": round(ratios[-1], 2),
        "runs": runs,
    }
