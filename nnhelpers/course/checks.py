"""Checking a learner's answers. A check prints a verdict and never raises, so that Run All gets to the end.

The verdict is one line that begins with `…` (not attempted yet), `✓` (right) or `✗` (wrong). After `✗` come which
part is wrong, a hint, and the digits, on a second, indented line if the first would be too long:

    ✗ step: for (0.1, 0.9): part 2 of 3 is wrong: shape (3, 2), expected (2, 3); right after transposing · hint: …

- **Graded hints.** `hints=["a nudge", "more", "the formula"]`: each failure of an exercise, counted by its name in
  the kernel's memory, shows the next one, and the last one stays; `hint="…"` is `hints=["…"]`. With hints, what is
  expected is shown from the second failure on. Running the same wrong answer again counts as a failure, for who runs
  it again wants more. What is right or not attempted does not count.
- **Right is right.** The kind of container, the precision and int or float do not matter. But a truth value is not a
  number: 1 is refused where True is asked, and a table of 0 and 1 where a mask is.
- **Nothing is returned.** A stub is not attempted. An answer that changes its argument into what is expected is
  right, with a remark; one that prints, or has no `return` with a value, is told so.
- **Prints.** What an answer prints comes before the verdict, as it is printed. The first case that fails is the last
  that is run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from nnhelpers.course.attempts import (
    CAUGHT,
    NothingReturnedError,
    Trial,
    about,
    is_blank,
    is_stub,
    listening,
    never_returns_a_value,
    until_wrong,
)
from nnhelpers.course.differences import Difference, difference
from nnhelpers.course.wording import cut, short
from nnhelpers.terminal import say

__all__ = ["NothingReturnedError", "function", "holds", "result_of", "same", "value"]

LINE = 200  # characters in a line, where hint and name allow it
_IN_PLACE = " (it changes its argument in place and returns nothing)"

_failures: Counter[str] = Counter()


def function(
    name: str,
    answer: Callable | None,
    cases: Sequence[tuple[tuple, Any]],
    hint: str = "",
    tolerance: float = 1e-6,
    *,
    hints: Sequence[str] = (),
    parts: Sequence[str] = (),
) -> None:
    """Call `answer(*arguments)` for each case `(arguments, expected)`, with copies of the arguments, and compare.

    Numbers, tensors and Values agree within `tolerance`, relative to the larger of 1 and the expected number;
    `tolerance=0` demands equality. `expected` may be an exception class: then the call has to raise it. `parts` names
    the parts of a tuple that is expected. An answer that returns nothing in all of the cases counts as not attempted,
    unless it has done something else; in some of them, as wrong.

    >>> function("square", lambda x: x * x, [((2.0,), 4.0), ((-3.0,), 9.0)])
    ✓ square: right in all 2 cases
    >>> function("square", lambda x: 2 * x, [((2.0,), 4.0), ((-3.0,), 9.0)])
    ✗ square: wrong for (-3.0) · got -6, expected 9
    """
    if answer is None or is_blank(answer):
        return _not_attempted(name)
    with listening() as listener:
        trials = list(until_wrong(answer, cases, tolerance, parts, listener))
    hints = _all_hints(hint, hints)
    if trials and trials[-1].fault:
        return _wrong(name, trials[-1].fault, hints, _case(cases, len(trials) - 1))
    if all(trial.is_nothing for trial in trials):
        return _nothing_in_all_cases(name, answer, trials, hints)
    in_place = any(trial.in_place for trial in trials)
    for i, trial in enumerate(trials):
        if trial.is_nothing and not trial.fits and not (in_place and trial.fits_in_place):
            return _wrong(name, _nothing_here(trial), hints, _case(cases, i))
    _right(name, f" in all {len(cases)} cases" * (len(cases) > 1) + _IN_PLACE * in_place)


def value(
    name: str,
    answer: Any,
    expected: Any,
    hint: str = "",
    tolerance: float = 1e-6,
    *,
    hints: Sequence[str] = (),
    parts: Sequence[str] = (),
) -> None:
    """Compare one answer (a number, a word, a tensor, a tuple of parts) with what is expected.

    An iterator is used up by it: give a list.

    >>> value("pi", 3.0, 3.0)
    ✓ pi: right
    """
    if is_blank(answer):
        return _not_attempted(name)
    fault = difference(answer, expected, tolerance, parts)
    if fault:
        return _wrong(name, fault, _all_hints(hint, hints))
    _right(name)


def holds(
    name: str,
    answer: Any,
    test: Callable[[Any], bool | str],
    expected: str,
    hint: str = "",
    *,
    hints: Sequence[str] = (),
) -> None:
    """For an answer that many values would do: `test(answer)` decides, `expected` says in words what it wants.

    `test` may return words instead of False, which say what is wrong. It raises NotImplementedError for an answer
    that is not attempted yet.

    >>> holds("even", 3, lambda n: n % 2 == 0, "an even number")
    ✗ even: expected an even number · got 3
    """
    if is_blank(answer):
        return _not_attempted(name)
    try:
        with listening():
            fault = _refusal(test(answer), answer, expected)
    except NotImplementedError:
        return _not_attempted(name)
    except CAUGHT as error:
        fault = Difference(what=f"{about(error)}; expected {expected}")
    if fault:
        return _wrong(name, fault, _all_hints(hint, hints))
    _right(name)


def same(got: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two answers agree, as the checks see it.

    >>> same((1, 2.0), [1.0, 2])
    True
    """
    return difference(got, expected, tolerance) is None


def result_of(answer: Callable, *arguments: Any) -> Any:
    """`answer(*arguments)`, for a check that calls an exercise's function within another one.

    If nothing is returned, a stub raises NotImplementedError, which a check takes for "not attempted", and any other
    answer NothingReturnedError, which it takes for wrong.

    >>> result_of(abs, -1)
    1
    """
    result = answer(*arguments)
    if not is_blank(result):
        return result
    if is_stub(answer) or result is ...:
        raise NotImplementedError
    raise NothingReturnedError(f"{getattr(answer, '__name__', 'the answer')} returns nothing: add `return`")


# What is said


def _nothing_here(trial: Trial) -> Difference:
    if trial.unfinished:
        return Difference(what="NotImplementedError is raised")
    return Difference(what="nothing is returned: is a `return` missing on this path?")


def _nothing_in_all_cases(name: str, answer: Callable, trials: Sequence[Trial], hints: Sequence[str]) -> None:
    finished = not any(trial.unfinished for trial in trials)
    if finished and not is_stub(answer) and never_returns_a_value(answer):
        return _wrong(name, Difference(what="nothing is returned: add `return`"), hints)
    _not_attempted(name, " (nothing is returned)")


def _refusal(verdict: Any, answer: Any, expected: str) -> Difference | None:
    if verdict and not isinstance(verdict, str):
        return None
    what = f"{verdict}; expected {expected}" if verdict else f"expected {expected}"
    return Difference(what=what, got="" if callable(answer) else short(answer))


def _all_hints(hint: str, hints: Sequence[str]) -> Sequence[str]:
    return list(hints) or ([hint] if hint else [])


def _case(cases: Sequence[tuple[tuple, Any]], i: int) -> str:
    """Which case it is: its arguments if they are short, else its number."""
    arguments = cases[i][0]
    shown = ", ".join(repr(a) if isinstance(a, float) else short(a) for a in arguments)
    return f"for ({shown})" if len(shown) <= 60 else f"in case {i + 1} of {len(cases)}"


def _wrong(name: str, fault: Difference, hints: Sequence[str], case: str = "") -> None:
    """Count the failure, and say which part is wrong, the hint and the digits, in this order."""
    _failures[name] += 1
    n_failures = _failures[name]
    expected = fault.expected if not hints or n_failures > 1 else ""
    verdict = f"✗ {name}: {_at(case, cut(fault.summary(), 2 * LINE))}"
    if hints:
        verdict += f" · hint: {hints[min(n_failures, len(hints)) - 1]}"
    named = {"got": fault.got, "expected": expected}
    digits = ", ".join(f"{word} {text}" for word, text in named.items() if text)
    if not digits:
        _say(verdict)
    elif len(verdict) + len(digits) <= LINE:
        _say(f"{verdict} · {digits}")
    else:
        _say(verdict)
        _say(digits, indent="  ")


def _at(case: str, summary: str) -> str:
    if not case:
        return summary
    return f"wrong {case}" if summary == "wrong" else f"{case}: {summary}"


def _right(name: str, remark: str = "") -> None:
    _say(f"✓ {name}: right{remark}")


def _not_attempted(name: str, why: str = "") -> None:
    _say(f"… {name}: not attempted yet{why}")


def _say(line: str, indent: str = "") -> None:
    """Print one line, whatever is in it."""
    say(indent + " ".join(line.split()))
