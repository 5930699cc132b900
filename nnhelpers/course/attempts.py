"""One call of the learner's code, and what came of it: the answer, an error, nothing, or a changed argument."""

from __future__ import annotations

import contextlib
import copy
import dis
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnhelpers.course.differences import DEEPEST, Difference, difference, read
from nnhelpers.course.wording import attribute, cut, short
from nnhelpers.terminal import printable

MESSAGE = 100  # characters of an error's message


class NothingReturnedError(ValueError):
    """An answer that does something returns nothing."""


# One case


@dataclass(frozen=True)
class Trial:
    """What came of one case: a fault, or nothing at all, or what is right.

    unfinished: the answer raises NotImplementedError; in_place: an argument was changed into what is expected;
    fits: None is expected; fits_in_place: an argument is what is expected and had not to be changed.
    """

    fault: Difference | None = None
    is_nothing: bool = False
    unfinished: bool = False
    in_place: bool = False
    fits: bool = False
    fits_in_place: bool = False


def until_wrong(
    answer: Callable,
    cases: Sequence[tuple[tuple, Any]],
    tolerance: float,
    parts: Sequence[str],
    listener: _Listener,
) -> Iterator[Trial]:
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
) -> Trial:
    mine, listener.heard = _copies(arguments), False
    try:
        got = read(answer(*mine), expected)
    except CAUGHT as error:
        return _judge_error(error, answer, arguments, expected)
    if got is None or got is ...:
        return _judge_nothing(arguments, mine, expected, tolerance, listener.heard)
    if _is_exception_class(expected):
        return Trial(Difference(what=f"{_named(expected)} has to be raised", got=short(got)))
    return Trial(difference(got, expected, tolerance, parts))


def _judge_error(error: BaseException, answer: Callable, arguments: tuple, expected: Any) -> Trial:
    if _is_exception_class(expected) and isinstance(error, expected):
        return Trial()
    if isinstance(error, NotImplementedError):
        return Trial(is_nothing=True, unfinished=True)
    what = _about_the_call(error, answer, arguments) or about(error)
    wanted = _named(expected) if _is_exception_class(expected) else short(expected)
    return Trial(Difference(what=what, expected=wanted))


def _judge_nothing(
    before: tuple, after: Sequence, expected: Any, tolerance: float, has_printed: bool
) -> Trial:
    """Nothing is returned: is the answer in an argument, or was it printed?"""
    if expected is None:
        return Trial(is_nothing=True, fits=True)
    if _is_exception_class(expected):
        return Trial(is_nothing=True)
    changed = [mine for was, mine in zip(before, after, strict=True) if _trace(was) != _trace(mine)]
    if changed:
        return _judge_changed(changed, expected, tolerance)
    if has_printed:
        return Trial(Difference(what="it prints, but returns nothing: use `return`"))
    is_there = any(difference(argument, expected, tolerance) is None for argument in before)
    return Trial(is_nothing=True, fits_in_place=is_there)


def _judge_changed(changed: list[Any], expected: Any, tolerance: float) -> Trial:
    """One of the changed arguments, or all of them as the parts of a tuple, may be what is expected."""
    candidates = [*changed, changed] if len(changed) > 1 else changed
    found = [difference(argument, expected, tolerance) for argument in candidates]
    if None in found or found[-1] is None:
        return Trial(in_place=True)
    what = "nothing is returned, and its argument is changed into something else: " + found[-1].summary()
    return Trial(Difference(what=what, got=found[-1].got, expected=found[-1].expected))


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
        clone = attribute(argument, "clone")
        return clone() if callable(clone) else argument


def _trace(argument: Any) -> str:
    """A text that changes when the data in lists, dicts, arrays and Values change; other objects are left out."""
    try:
        return repr(_data(argument, 0))
    except Exception:
        return ""


def _data(argument: Any, depth: int) -> Any:
    if depth > DEEPEST or isinstance(argument, type):
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
    number = attribute(argument, "data")
    return number if isinstance(number, float) else None


# Not attempted


def is_blank(answer: Any) -> bool:
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


_EMPTY = {"RESUME", "NOP", "COPY_FREE_VARS", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


def is_stub(answer: Callable) -> bool:
    """Whether a function's body is empty: `...`, `pass`, a docstring, `return None`."""
    code = _code(answer)
    return code is not None and all(step.opname in _EMPTY for step in dis.get_instructions(code))


def never_returns_a_value(answer: Callable) -> bool:
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
    code = attribute(answer, "__code__")
    return code if inspect.iscode(code) else None


# Errors in the learner's code

# whatever a learner's code raises is an answer to be talked about, but Ctrl-C stops
CAUGHT = (Exception, SystemExit, GeneratorExit)


def _is_exception_class(expected: Any) -> bool:
    return isinstance(expected, type) and issubclass(expected, BaseException)


def _named(error: type) -> str:
    return ("an " if error.__name__[0] in "AEIOU" else "a ") + error.__name__


def about(error: BaseException) -> str:
    """Type, message and place of an error in one line."""
    if isinstance(error, NothingReturnedError):
        return str(error)
    text = _type_and_message(error) + _place(error)
    if isinstance(error, (TypeError, AttributeError)) and "NoneType" in text:
        text += "; something before it returned nothing (None)"
    return text


def _type_and_message(error: BaseException) -> str:
    try:
        message = cut(str(error), MESSAGE)
    except Exception:
        message = ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _place(error: BaseException) -> str:
    """The line in which an error arose: in the first cell outside the check's, or else in the check's own."""
    steps = [step for step in traceback.extract_tb(error.__traceback__) if not _in_a_library(step.filename)]
    mine = [step for step in steps if step.filename != _file_of_the_check()]
    if not steps or (not mine and (steps[-1].line or "").startswith("raise ")):
        # a check that raises on purpose has said why
        return ""
    in_the_cell = [step for step in mine if step.filename == mine[0].filename]
    step, cell = (in_the_cell[-1], "") if mine else (steps[-1], " of this cell")
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


# What the answer prints


class _Listener:
    """Standard output that passes everything on, and knows whether something was printed."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.heard, self.in_a_line = stream, False, False

    def write(self, text: str) -> int:
        if text:
            self.heard, self.in_a_line = True, not text.endswith("\n")
        return self.stream.write(printable(text, self.stream))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def listening() -> Iterator[_Listener]:
    """Listen to what is printed, and end a line that was begun, so that the verdict starts a new one."""
    listener = _Listener(sys.stdout)
    try:
        with contextlib.redirect_stdout(listener):
            yield listener
    finally:
        if listener.in_a_line:
            print()
