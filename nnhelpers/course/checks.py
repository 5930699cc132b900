"""Checking a learner's answers. A check prints one line and never raises, so that Run All gets to the end.

The line begins with `…` (not attempted yet), `✓` (right) or `✗` (what came out, what was expected, and a hint).
"""

from __future__ import annotations

import copy
import math
import reprlib
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

_NOTHING = object()


def function(
    name: str,
    answer: Callable | None,
    cases: Sequence[tuple[tuple, Any]],
    hint: str = "",
    tolerance: float = 1e-6,
) -> None:
    """Call `answer(*arguments)` for each case `(arguments, expected)` and compare.

    Numbers, tensors and Values agree within `tolerance`, relative to the larger of 1 and the expected number.
    `expected` may be an exception class: then the call has to raise it. `tolerance=0` demands equality. An answer
    that returns nothing in all of the cases counts as not attempted; in some of them, as wrong.
    """
    outcomes = [_outcome(answer, arguments, expected, tolerance) for arguments, expected in cases]
    if all(outcome is _NOTHING for outcome in outcomes):
        return _not_attempted(name, "" if answer is None or answer is ... else " (nothing is returned)")
    for outcome, (arguments, expected) in zip(outcomes, cases, strict=True):
        if outcome is not None:
            got = "nothing (is a return missing on this path?)" if outcome is _NOTHING else outcome
            shown = ", ".join(repr(a) if isinstance(a, float) else _short(a) for a in arguments)
            return _wrong(name, got, expected, f" for ({shown})", hint)
    _say(f"✓ {name}: right in all {len(outcomes)} cases")


def _outcome(answer: Callable | None, arguments: tuple, expected: Any, tolerance: float) -> Any:
    """None if the answer is right, `_NOTHING` if there is none, else what came out, in words."""
    if answer is None or answer is ...:
        return _NOTHING
    must_raise = isinstance(expected, type) and issubclass(expected, BaseException)
    try:
        got = answer(*copy.deepcopy(arguments))
        if got is None or got is ...:
            return _NOTHING
        right = not must_raise and same(got, expected, tolerance)
        return None if right else _unlike(got, expected)
    except NotImplementedError:
        return _NOTHING
    except (Exception, SystemExit) as error:
        # whatever a learner's code does wrong is an answer to be talked about
        right = must_raise and isinstance(error, expected)
        return None if right else f"{type(error).__name__}: {error}"


def value(name: str, answer: Any, expected: Any, hint: str = "", tolerance: float = 1e-6) -> None:
    """Compare one answer (a number, a word, a tensor) with what is expected."""
    outcome = _outcome(lambda: answer, (), expected, tolerance)
    if outcome is _NOTHING:
        _not_attempted(name)
    elif outcome is not None:
        _wrong(name, outcome, expected, "", hint)
    else:
        _say(f"✓ {name}: right")


def holds(name: str, answer: Any, test: Callable[[Any], bool], expected: str, hint: str = "") -> None:
    """For an answer that many values would do: `test(answer)` decides, `expected` says in words what it wants."""
    outcome = _outcome(lambda: None if answer is None or answer is ... else bool(test(answer)), (), True, 0.0)
    if outcome is _NOTHING:
        _not_attempted(name)
    elif outcome is not None:
        got = _short(answer) if outcome == "False" else outcome
        _say(f"✗ {name}: got {got}, expected {expected}{_tail(hint)}")
    else:
        _say(f"✓ {name}: right")


def same(got: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two answers agree: numbers and tensors within the tolerance, all else exactly."""
    got, expected = _plain(got), _plain(expected)
    if isinstance(expected, list):
        if not isinstance(got, list) or len(got) != len(expected):
            return False
        return all(same(a, b, tolerance) for a, b in zip(got, expected, strict=True))
    if isinstance(expected, bool) or isinstance(got, bool):
        return got is expected
    if isinstance(expected, Real) and isinstance(got, Real):
        if math.isnan(expected):
            return math.isnan(got)
        close = math.isfinite(expected) and abs(got - expected) <= tolerance * max(1.0, abs(expected))
        return got == expected or close
    return type(got) is type(expected) and got == expected


def _plain(answer: Any) -> Any:
    """Tensors and arrays as nested lists, a tuple as a list, a `Value` as its number."""
    if hasattr(answer, "tolist") and not isinstance(answer, type):
        return answer.tolist()
    if isinstance(answer, tuple):
        return list(answer)
    return answer.data if isinstance(getattr(answer, "data", None), float) else answer


def _say(line: str) -> None:
    print(" ".join(line.split()))  # one line, whatever the answer looks like


def _not_attempted(name: str, why: str = "") -> None:
    _say(f"… {name}: not attempted yet{why}")


def _wrong(name: str, got: str, expected: Any, where: str, hint: str) -> None:
    wanted = f"a {expected.__name__}" if isinstance(expected, type) else _short(expected)
    _say(f"✗ {name}: got {got}, expected {wanted}{where}{_tail(hint)}")


def _unlike(got: Any, expected: Any) -> str:
    """The answer in a few words that differ from those for what is expected."""
    short = _short(got)
    return short if short != _short(expected) else repr(got)[:300]


def _tail(hint: str) -> str:
    return f" · hint: {hint}" if hint else ""


def _short(answer: Any) -> str:
    """A few words for any answer: floats to six digits, long lists cut."""
    if callable(answer):
        return getattr(answer, "__name__", type(answer).__name__)
    answer = _plain(answer)
    if isinstance(answer, float):
        return f"{answer:.6g}"
    if isinstance(answer, list):
        text = "[" + ", ".join([_short(a) for a in answer[:6]] + ["…"] * (len(answer) > 6)) + "]"
        return text if len(text) <= 150 else text[:149] + "…"
    return reprlib.repr(answer)
