"""Checking a learner's answers. A check prints a verdict and never raises, so that Run All gets to the end.

The verdict is one line that begins with `…` (not attempted yet), `✓` (right) or `✗` (wrong). After `✗` come which
part is wrong, a hint, and the digits, on a second, indented line if the first would be too long:

    ✗ linear_backward: 'dW' is wrong: shape (3, 2), expected (2, 3); right after transposing, for (…) · hint: …

- **Graded hints.** `hints=["a nudge", "more", "the formula"]`: each failure of an exercise, counted by its name in
  the kernel's memory, shows the next one, and the last one stays; `hint="…"` is `hints=["…"]`. With hints, what is
  expected is shown from the second failure on. Running the same wrong answer again counts as a failure, for who runs
  it again wants more. What is right or not attempted does not count.
- **Right is right.** The kind of container, the precision and int or float do not matter (see `differences`). But a
  truth value is not a number: 1 is refused where True is asked, and a table of 0 and 1 where a mask is.
- **Nothing is returned.** A stub is not attempted. An answer that changes its argument into what is expected is
  right, with a remark; one that prints, or has no `return` with a value, is told so.
- **Prints.** What an answer prints comes before the verdict, as it is printed. The first case that fails is the last
  that is run.
"""

from __future__ import annotations

import contextlib
import copy
import dis
import inspect
import sys
import sysconfig
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnhelpers.course import differences
from nnhelpers.course.differences import Difference, cut, short

__all__ = ["NothingReturned", "function", "holds", "result_of", "same", "value"]

LINE = 200  # characters in a line, where hint and name allow it
MESSAGE = 150  # characters of an error's message

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
    if _is_blank(answer):
        return _not_attempted(name)
    with _listening() as listener:
        trials = list(_until_wrong(answer, cases, tolerance, parts, listener))
    hints = _all_hints(hint, hints)
    if trials and trials[-1].fault:
        return _wrong(name, trials[-1].fault, hints, _case(cases, len(trials) - 1))
    if all(trial.is_nothing for trial in trials):
        return _nothing_in_all_cases(name, answer, trials, hints)
    missing = next((i for i, trial in enumerate(trials) if trial.is_nothing and not trial.fits), None)
    if missing is not None:
        return _wrong(name, _nothing_here(trials[missing]), hints, _case(cases, missing))
    remark = _IN_PLACE if any(trial.in_place for trial in trials) else ""
    _say(f"✓ {name}: right in all {len(cases)} cases{remark}")


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
    if _is_blank(answer):
        return _not_attempted(name)
    fault = differences.difference(answer, expected, tolerance, parts)
    if fault:
        return _wrong(name, fault, _all_hints(hint, hints))
    _say(f"✓ {name}: right")


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
    ✗ even: an even number is expected · got 3
    """
    if _is_blank(answer):
        return _not_attempted(name)
    try:
        with _listening():
            fault = _refusal(test(answer), answer, expected)
    except NotImplementedError:
        return _not_attempted(name)
    except _CAUGHT as error:
        fault = Difference(what=f"{_about(error)}; expected: {expected}")
    if fault:
        return _wrong(name, fault, _all_hints(hint, hints))
    _say(f"✓ {name}: right")


def same(got: Any, expected: Any, tolerance: float = 1e-6) -> bool:
    """Whether two answers agree, as the checks see it.

    >>> same((1, 2.0), [1.0, 2])
    True
    """
    return differences.difference(got, expected, tolerance) is None


class NothingReturned(ValueError):
    """An answer that does something returns nothing."""


def result_of(answer: Callable, *arguments: Any) -> Any:
    """`answer(*arguments)`, for a check that calls an exercise's function within another one.

    Raises NotImplementedError if the answer is a stub, and NothingReturned if it is none, but returns nothing: so that
    the check can tell the one from the other.

    >>> result_of(abs, -1)
    1
    """
    result = answer(*arguments)
    if not _is_blank(result):
        return result
    if _is_stub(answer) or result is ...:
        raise NotImplementedError
    raise NothingReturned(f"{getattr(answer, '__name__', 'the answer')} returns nothing: add `return`")


# One case


@dataclass(frozen=True)
class _Trial:
    """What came of one case: a fault, or nothing at all, or what is right.

    unfinished: the answer raises NotImplementedError; fits: nothing had to be returned or changed here; in_place: an
    argument was changed into what is expected.
    """

    fault: Difference | None = None
    is_nothing: bool = False
    unfinished: bool = False
    fits: bool = False
    in_place: bool = False


def _until_wrong(
    answer: Callable,
    cases: Sequence[tuple[tuple, Any]],
    tolerance: float,
    parts: Sequence[str],
    listener: _Listener,
) -> Iterator[_Trial]:
    """One trial after the other, up to the first that is wrong."""
    for arguments, expected in cases:
        trial = _try(answer, arguments, expected, tolerance, parts, listener)
        yield trial
        if trial.fault:
            return


def _try(
    answer: Callable,
    arguments: tuple,
    expected: Any,
    tolerance: float,
    parts: Sequence[str],
    listener: _Listener,
) -> _Trial:
    mine, listener.heard = _copies(arguments), False
    try:
        got = differences.read(answer(*mine), expected)
    except _CAUGHT as error:
        return _judge_error(error, answer, arguments, expected)
    if got is None or got is ...:
        return _judge_nothing(arguments, mine, expected, tolerance, listener.heard)
    if _is_exception_class(expected):
        return _Trial(Difference(what=f"{_named(expected)} has to be raised", got=short(got)))
    return _Trial(differences.difference(got, expected, tolerance, parts))


def _judge_error(error: BaseException, answer: Callable, arguments: tuple, expected: Any) -> _Trial:
    if _is_exception_class(expected) and isinstance(error, expected):
        return _Trial()
    if isinstance(error, NotImplementedError):
        return _Trial(is_nothing=True, unfinished=True)
    about = _about_the_call(error, answer, arguments) or _about(error)
    wanted = _named(expected) if _is_exception_class(expected) else short(expected)
    return _Trial(Difference(what=about, expected=wanted))


def _judge_nothing(
    before: tuple, after: Sequence, expected: Any, tolerance: float, has_printed: bool
) -> _Trial:
    """Nothing is returned: is the answer in an argument, or was it printed?"""
    if expected is None:
        return _Trial(is_nothing=True, fits=True)
    if _is_exception_class(expected):
        return _Trial(is_nothing=True)
    changed = [mine for was, mine in zip(before, after, strict=True) if _trace(was) != _trace(mine)]
    candidates = [*changed, changed] if len(changed) > 1 else changed
    if any(same(argument, expected, tolerance) for argument in candidates):
        return _Trial(in_place=True)
    if changed:
        found = differences.difference(changed[0], expected, tolerance)
        assert found is not None
        what = (
            "nothing is returned, and what became of its argument is not what is expected: " + found.summary()
        )
        return _Trial(Difference(what=what, got=found.got, expected=found.expected))
    if has_printed:
        return _Trial(Difference(what="it prints, but returns nothing: use `return`"))
    return _Trial(is_nothing=True, fits=any(same(argument, expected, tolerance) for argument in before))


def _copies(arguments: tuple) -> Sequence[Any]:
    """Copies of the arguments, so that no case changes the next; what cannot be copied is passed itself."""
    try:
        return copy.deepcopy(arguments)
    except Exception:
        return [_copy_if_possible(argument) for argument in arguments]


def _copy_if_possible(argument: Any) -> Any:
    try:
        return copy.deepcopy(argument)
    except Exception:
        # a tensor that is a result of other tensors cannot be copied deeply
        clone = getattr(argument, "clone", None)
        return clone() if callable(clone) else argument


def _trace(argument: Any) -> str:
    """A text that changes when the data in lists, dicts, arrays and Values change; other objects are left out."""
    try:
        return repr(_data(argument, 0))
    except Exception:
        return ""


def _data(argument: Any, depth: int) -> Any:
    if depth > differences.DEEPEST or isinstance(argument, type):
        return None
    if callable(getattr(argument, "tolist", None)):
        return argument.tolist()
    if isinstance(argument, (str, bytes, int, float, complex, bytearray)):
        return argument
    if isinstance(argument, dict):
        return [(_data(key, depth + 1), _data(item, depth + 1)) for key, item in argument.items()]
    if isinstance(argument, (list, tuple)):
        return [_data(item, depth + 1) for item in argument]
    if isinstance(argument, (set, frozenset)):
        return sorted(repr(item) for item in argument)
    number = getattr(argument, "data", None)
    return number if isinstance(number, float) else None


# Not attempted


def _is_blank(answer: Any) -> bool:
    """Whether nothing was filled in yet: None, `...`, or a list, tuple or dict of nothing else."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, Mapping):
        return _all_open(answer.values())
    return isinstance(answer, (list, tuple)) and _all_open(answer)


def _all_open(items: Iterable) -> bool:
    try:
        items = list(items)
        return bool(items) and all(item is ... for item in items)
    except Exception:
        return False


def _nothing_here(trial: _Trial) -> Difference:
    if trial.unfinished:
        return Difference(what="NotImplementedError is raised")
    return Difference(what="nothing is returned: is a `return` missing on this path?")


def _nothing_in_all_cases(
    name: str, answer: Callable, trials: Sequence[_Trial], hints: Sequence[str]
) -> None:
    finished = not any(trial.unfinished for trial in trials)
    if finished and not _is_stub(answer) and _never_returns_a_value(answer):
        return _wrong(name, Difference(what="nothing is returned: add `return`"), hints)
    _not_attempted(name, " (nothing is returned)")


_EMPTY = {"RESUME", "NOP", "COPY_FREE_VARS", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


def _is_stub(answer: Callable) -> bool:
    """Whether a function's body is empty: `...`, `pass`, a docstring, `return None`."""
    code = _code(answer)
    return code is not None and all(step.opname in _EMPTY for step in dis.get_instructions(code))


def _never_returns_a_value(answer: Callable) -> bool:
    """Whether every `return` of a function, the one at its end included, returns None."""
    code = _code(answer)
    if code is None:
        return False
    steps = list(dis.get_instructions(code))
    for before, step in zip([None, *steps], steps, strict=False):
        returns_name = step.opname == "RETURN_VALUE" and not _loads_none(before)
        if returns_name or (step.opname == "RETURN_CONST" and step.argval is not None):
            return False
    return True


def _loads_none(step: dis.Instruction | None) -> bool:
    return step is not None and step.opname == "LOAD_CONST" and step.argval is None


def _code(answer: Callable) -> Any:
    """The byte code of a function or method written in Python, else None."""
    code = getattr(answer, "__code__", None)
    return code if inspect.iscode(code) else None


# Errors in the learner's code

# whatever a learner's code raises is an answer to be talked about, but Ctrl-C stops
_CAUGHT = (Exception, SystemExit, GeneratorExit)
_IN_PLACE = " (it changes its argument in place and returns nothing)"


def _is_exception_class(expected: Any) -> bool:
    return isinstance(expected, type) and issubclass(expected, BaseException)


def _named(error: type) -> str:
    return ("an " if error.__name__[0] in "AEIOU" else "a ") + error.__name__


def _about(error: BaseException) -> str:
    """Type, message and place of an error in one line."""
    if isinstance(error, NothingReturned):
        return str(error)
    about = _type_and_message(error)
    if isinstance(error, (TypeError, AttributeError)) and "NoneType" in about:
        about += "; something before it returned nothing (None)"
    return about + _place(error)


def _type_and_message(error: BaseException) -> str:
    try:
        message = cut(str(error), MESSAGE)
    except Exception:
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _place(error: BaseException) -> str:
    """The line in which an error arose: the innermost of the learner's, or else of the check's own cell."""
    steps = [step for step in traceback.extract_tb(error.__traceback__) if not _in_a_library(step.filename)]
    mine = [step for step in steps if step.filename != _file_of_the_check()]
    if not steps or (not mine and (steps[-1].line or "").startswith("raise ")):
        # a check that raises on purpose has said why
        return ""
    step, cell = (mine[-1], "") if mine else (steps[-1], " of this cell")
    line = cut(step.line or "", 60)
    return f" (line {step.lineno}{cell}: {line})" if line else f" (line {step.lineno}{cell})"


def _file_of_the_check() -> str:
    """The file, or the cell, that has called the check."""
    frame = inspect.currentframe()
    while frame is not None and _in_a_library(frame.f_code.co_filename):
        frame = frame.f_back
    return frame.f_code.co_filename if frame is not None else ""


def _in_a_library(filename: str) -> bool:
    """Whether a file is part of Python, of an installed package or of this one."""
    folders = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders.append(str(Path(__file__).resolve().parent.parent))
    return filename.startswith(("<frozen", *folders))


def _about_the_call(error: BaseException, answer: Callable, arguments: tuple) -> str:
    """A remark if the answer takes another number of arguments, or is no function at all."""
    called = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    if called or not isinstance(error, TypeError):
        return ""
    if not callable(answer):
        return f"a function is expected, this is {short(answer)}"
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*arguments)
    except TypeError:
        return f"it is called with {_count(arguments)}, but its parameters are {signature}"
    return ""


def _count(arguments: tuple) -> str:
    return f"{len(arguments)} argument{'s' * (len(arguments) != 1)}"


# What is said


def _refusal(verdict: Any, answer: Any, expected: str) -> Difference | None:
    if isinstance(verdict, str):
        return Difference(what=f"{verdict}; expected: {expected}")
    return None if verdict else Difference(what=f"{expected} is expected", got=short(answer))


def _all_hints(hint: str, hints: Sequence[str]) -> Sequence[str]:
    return list(hints) or ([hint] if hint else [])


def _case(cases: Sequence[tuple[tuple, Any]], i: int) -> str:
    """Which case it is: its arguments if they are short, else its number."""
    arguments = cases[i][0]
    shown = ", ".join(repr(a) if isinstance(a, float) else short(a) for a in arguments)
    return f" for ({shown})" if len(shown) <= 60 else f" in case {i + 1} of {len(cases)}"


def _wrong(name: str, fault: Difference, hints: Sequence[str], case: str = "") -> None:
    """Count the failure, and say which part is wrong, the hint and the digits, in this order."""
    _failures[name] += 1
    n_failures = _failures[name]
    expected = fault.expected if not hints or n_failures > 1 else ""
    pieces = [f"✗ {name}: {cut(fault.summary(), 2 * LINE)}{case}"]
    if hints:
        pieces.append(f"hint: {hints[min(n_failures, len(hints)) - 1]}")
    digits = ", ".join(
        f"{word} {text}" for word, text in (("got", fault.got), ("expected", expected)) if text
    )
    line = " · ".join([*pieces, digits]) if digits else " · ".join(pieces)
    if len(line) <= LINE or not digits:
        return _say(line)
    _say(" · ".join(pieces))
    _say(digits, indent="  ")


def _not_attempted(name: str, why: str = "") -> None:
    _say(f"… {name}: not attempted yet{why}")


def _say(line: str, indent: str = "") -> None:
    """Print one line, whatever is in it; half a character of UTF-16 cannot be printed and is escaped."""
    text = indent + " ".join(line.split())
    print(text.encode("utf-8", "backslashreplace").decode("utf-8"))


# What the answer prints


class _Listener:
    """Standard output that passes everything on, and knows whether something was printed."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.heard, self.in_a_line = stream, False, False

    def write(self, text: str) -> int:
        if text:
            self.heard, self.in_a_line = True, not text.endswith("\n")
        return self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def _listening() -> Iterator[_Listener]:
    """Listen to what is printed, and end a line that was begun, so that the verdict starts a new one."""
    listener = _Listener(sys.stdout)
    try:
        with contextlib.redirect_stdout(listener):  # type: ignore[type-var]
            yield listener
    finally:
        if listener.in_a_line:
            print()
