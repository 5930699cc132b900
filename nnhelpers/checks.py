"""Checking a learner's answers. A check prints one line and never raises, so that Run All gets to the end.

The line begins with `…` (not attempted yet), `✓` (right) or `✗` (what came out, what was expected, and a hint).
"""

from __future__ import annotations

import copy
import math
import reprlib
from collections.abc import Callable, Iterable
from typing import Any


def function(
    name: str,
    answer: Callable | None,
    cases: Iterable[tuple[tuple, Any]],
    hint: str = "",
    tolerance: float = 1e-6,
) -> None:
    """Call `answer(*arguments)` for each case `(arguments, expected)` and compare.

    Numbers, tensors and Values agree within `tolerance`, relative to the larger of 1 and the expected number.
    `expected` may be an exception class: then the call has to raise it. `tolerance=0` demands equality.
    """
    if answer is None or answer is ...:
        return _not_attempted(name)
    n_cases = 0
    for arguments, expected in cases:
        shown = ", ".join(map(_short, arguments))
        must_raise = isinstance(expected, type) and issubclass(expected, BaseException)
        try:
            got = answer(*copy.deepcopy(arguments))
        except NotImplementedError:
            return _not_attempted(name)
        except Exception as error:  # whatever a learner's code does wrong is an answer to be talked about
            if must_raise and isinstance(error, expected):
                n_cases += 1
                continue
            return _wrong(name, f"{type(error).__name__}: {error}", expected, f" for ({shown})", hint)
        if got is None or got is ...:
            return _not_attempted(name)
        if must_raise or not same(got, expected, tolerance):
            return _wrong(name, _short(got), expected, f" for ({shown})", hint)
        n_cases += 1
    print(f"✓ {name}: right in all {n_cases} cases")


def value(name: str, answer: Any, expected: Any, hint: str = "", tolerance: float = 1e-6) -> None:
    """Compare one answer (a number, a word, a tensor) with what is expected."""
    if answer is None or answer is ...:
        return _not_attempted(name)
    if not same(answer, expected, tolerance):
        return _wrong(name, _short(answer), expected, "", hint)
    print(f"✓ {name}: right")


def holds(name: str, answer: Any, test: Callable[[Any], bool], expected: str, hint: str = "") -> None:
    """For an answer that many values would do: `test(answer)` decides, `expected` says in words what it wants."""
    if answer is None or answer is ...:
        return _not_attempted(name)
    try:
        right = bool(test(answer))
    except NotImplementedError:
        return _not_attempted(name)
    except Exception as error:  # as in `function`
        return print(f"✗ {name}: {type(error).__name__}: {error}; expected {expected}{_tail(hint)}")
    if right:
        print(f"✓ {name}: right")
    else:
        print(f"✗ {name}: got {_short(answer)}, expected {expected}{_tail(hint)}")


def same(got: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two answers agree: numbers and tensors within the tolerance, all else exactly."""
    got, expected = _plain(got), _plain(expected)
    if isinstance(expected, list):
        if not isinstance(got, list) or len(got) != len(expected):
            return False
        return all(same(a, b, tolerance) for a, b in zip(got, expected, strict=True))
    if isinstance(expected, bool) or isinstance(got, bool):
        return got is expected
    if isinstance(expected, int | float) and isinstance(got, int | float):
        if math.isnan(expected):
            return math.isnan(got)
        close = math.isfinite(expected) and abs(got - expected) <= tolerance * max(1.0, abs(expected))
        return got == expected or close
    return type(got) is type(expected) and got == expected


def _plain(answer: Any) -> Any:
    """Tensors and arrays as nested lists, a tuple as a list, a `Value` as its number."""
    if hasattr(answer, "tolist"):
        return answer.tolist()
    if isinstance(answer, tuple):
        return list(answer)
    return answer.data if isinstance(getattr(answer, "data", None), float) else answer


def _not_attempted(name: str) -> None:
    print(f"… {name}: not attempted yet")


def _wrong(name: str, got: str, expected: Any, where: str, hint: str) -> None:
    wanted = f"a {expected.__name__}" if isinstance(expected, type) else _short(expected)
    print(f"✗ {name}: got {got}, expected {wanted}{where}{_tail(hint)}")


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
        return "[" + ", ".join([_short(a) for a in answer[:6]] + ["…"] * (len(answer) > 6)) + "]"
    return reprlib.repr(answer)
