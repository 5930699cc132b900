"""How an answer differs from what is expected: which part, in which way, and a nudge. It never raises.

Answers of any kind are compared: numbers, tables of numbers (tensors, arrays, nested lists), tuples of parts,
dicts, strings. Neither torch nor numpy is imported; their arrays are known by `shape` and `tolist`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from numbers import Number
from typing import Any

from nnhelpers.course.nudges import nudge_for, right_but_for_the_shape
from nnhelpers.course.wording import SHOWN, WIDTH, attribute, cut, is_array, kind, plain, short, unlike_kinds

DEEPEST = 16  # a list that is nested deeper is no table of numbers
SPARE = 1000  # how much further than expected an iterator is read, which may have no end


@dataclass(frozen=True)
class Difference:
    """How an answer differs; a text is empty where there is nothing to say.

    where: the part that is wrong, "part 2 of 3" or "'db'"; what: what can be said of it without the expected
    numbers, "shape (3, 2), expected (2, 3)"; nudge: "the sign is reversed"; got, expected: both, short.
    """

    where: str = ""
    what: str = ""
    nudge: str = ""
    got: str = ""
    expected: str = ""

    def summary(self) -> str:
        """All that can be said without the digits: "part 2 of 3 is wrong: the sign is reversed"."""
        about = "; ".join(text for text in (self.what, self.nudge) if text)
        head = f"{self.where} is wrong" if self.where else "" if self.what else "wrong"
        return ": ".join(text for text in (head, about) if text)


def difference(
    got: Any, expected: Any, tolerance: float = 1e-6, parts: Sequence[str] = ()
) -> Difference | None:
    """The first difference between an answer and what is expected, or None if they agree.

    Numbers agree within `tolerance`, relative to the larger of 1 and the expected number; NaN agrees with NaN.
    The container does not matter (list, tuple, tensor, array, range, generator), nor do int against float or the
    precision; shapes do, and a truth value is not a number. `parts` names the parts of a tuple.

    >>> difference((2.0, -1.0), (2.0, 1.0)).summary()
    'part 2 of 2 is wrong: the sign is reversed'
    """
    try:
        return _difference(got, expected, tolerance, parts)
    except Exception as error:
        return _unreadable(got, expected, error)


def read(answer: Any, expected: Any) -> Any:
    """The answer; an iterator (a generator, `map`, `zip`) is read into a list, a little past what is expected."""
    if not isinstance(answer, Iterator):
        return answer
    length = len(expected) if _is_sequence(expected) else 0
    return list(islice(answer, length + SPARE))


# What is compared with what


def _difference(got: Any, expected: Any, tolerance: float, parts: Sequence[str] = ()) -> Difference | None:
    got, expected = plain(read(got, expected)), plain(expected)
    if got is ... and expected is not ...:
        return Difference(what="it is still `...`")
    if isinstance(expected, Mapping):
        return _between_mappings(got, expected, tolerance)
    if _is_sequence(expected):
        return _between_sequences(got, expected, tolerance, parts)
    if isinstance(expected, Number):
        return _between_numbers(got, expected, tolerance)
    if isinstance(expected, str) and isinstance(got, str):
        return _between_texts(got, expected)
    return None if _equal(got, expected) else _other_difference(got, expected)


def _is_sequence(answer: Any) -> bool:
    """Whether it has parts in an order: a list, tuple, array with axes, range, deque, view of a dict."""
    if is_array(answer):
        return len(answer.shape) > 0
    if isinstance(answer, (str, bytes, bytearray, type, Mapping)):
        return False
    ordered = not isinstance(answer, Set) or isinstance(answer, (KeysView, ItemsView))
    return ordered and hasattr(answer, "__len__") and hasattr(answer, "__iter__")


def _equal(got: Any, expected: Any) -> bool:
    alike = isinstance(got, type(expected)) or isinstance(expected, type(got))
    sets = isinstance(got, Set) and isinstance(expected, Set)
    raw = isinstance(got, (bytes, bytearray)) and isinstance(expected, (bytes, bytearray))
    return (alike or sets or raw) and bool(got == expected)


def _other_difference(got: Any, expected: Any) -> Difference:
    return _shown(got, expected, what=unlike_kinds(got, expected))


def _unreadable(got: Any, expected: Any, error: Exception) -> Difference:
    what = f"{kind(got)} that cannot be compared ({type(error).__name__})"
    return Difference(what=what, got=short(got), expected=short(expected))


def _shown(got: Any, expected: Any, where: str = "", what: str = "", nudge: str = "") -> Difference:
    """A difference that shows both, with more digits where six do not tell them apart."""
    texts = short(got), short(expected)
    if texts[0] == texts[1]:
        texts = cut(reprlib.repr(got), WIDTH), cut(reprlib.repr(expected), WIDTH)
    return Difference(where, what, nudge, *texts)


# Numbers


def _between_numbers(got: Any, expected: Any, tolerance: float) -> Difference | None:
    if not isinstance(got, Number) or isinstance(got, bool) != isinstance(expected, bool):
        return _shown(got, expected, what=unlike_kinds(got, expected))
    if _close(got, expected, tolerance):
        return None
    return _shown(got, expected, nudge=nudge_for([got], [expected], ()))


def _close(got: Any, expected: Any, tolerance: float) -> bool:
    """Whether two numbers agree; a truth value agrees with itself alone."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if got == expected or (got != got and expected != expected):
        return True
    try:
        return _finite(expected) and abs(got - expected) <= tolerance * max(1.0, abs(expected))
    except (OverflowError, TypeError):
        return False


def _finite(number: Any) -> bool:
    return number == number and abs(number) != math.inf


# Sequences: tables of numbers, and parts


class _NotATableError(Exception):
    """Rows of different lengths, or something among them that is no number."""


@dataclass(frozen=True)
class _Table:
    """A tensor, an array or nested lists, as given; its shape; and all its numbers in a flat list."""

    given: Any
    shape: tuple[int, ...]
    numbers: list[Any]


def _between_sequences(got: Any, expected: Any, tolerance: float, parts: Sequence[str]) -> Difference | None:
    if not _is_sequence(got):
        return _shown(got, expected, what=f"{kind(got)}, expected {_kind_of_sequence(expected)}")
    if _has_parts(expected):
        return _between_parts(got, expected, tolerance, parts)
    try:
        shape = _shape(expected)
        table = _Table(expected, shape, _numbers(expected, shape))
    except _NotATableError:
        return _between_parts(got, expected, tolerance, parts)
    return _between_tables(_settled(got, shape), table, tolerance)


def _has_parts(expected: Any) -> bool:
    """Whether it is judged part by part: a tuple, or a list that holds arrays."""
    if isinstance(expected, tuple):
        return True
    return isinstance(expected, list) and any(is_array(part) and part.shape for part in expected)


def _kind_of_sequence(expected: Any) -> str:
    if isinstance(expected, tuple):
        return f"{len(expected)} parts"
    if is_array(expected):
        return f"the shape {tuple(expected.shape)}"
    return f"a list of {len(expected)}"


def _between_tables(given: Any, expected: _Table, tolerance: float) -> Difference | None:
    try:
        shape = _shape(given)
        if not _same_shape(shape, expected.shape, exact=is_array(given) and is_array(expected.given)):
            return _unlike_shapes(given, shape, expected, tolerance)
        got = _Table(given, expected.shape, _numbers(given, expected.shape))
    except _NotATableError:
        what = "its rows have different lengths, or not all in it are numbers"
        return _shown(given, expected.given, what=what)
    if _all_truths(got) != _all_truths(expected):
        return _shown(given, expected.given, what=_unlike_types(got, expected))
    pairs = enumerate(zip(got.numbers, expected.numbers, strict=True))
    wrong = [i for i, pair in pairs if not _close(*pair, tolerance)]
    return _wrong_numbers(got, expected, wrong) if wrong else None


def _wrong_numbers(got: _Table, expected: _Table, wrong: list[int]) -> Difference:
    """Tables of one shape with wrong numbers at the places `wrong`; of a large one, the first of them is shown."""
    nudge = nudge_for(got.numbers, expected.numbers, got.shape)
    what = _places(got, expected, wrong)
    if len(got.numbers) <= SHOWN:
        return _shown(got.given, expected.given, what=what, nudge=nudge)
    first = wrong[0]
    there = _shown(got.numbers[first], expected.numbers[first])
    return replace(there, what=what, nudge=nudge, got=f"{there.got} at {_index(first, got.shape)}")


def _shape(table: Any) -> tuple[int, ...]:
    """The shape of nested sequences, read along the first elements; () for a number."""
    shape: tuple[int, ...] = ()
    for _ in range(DEEPEST):
        table = plain(table)
        if isinstance(table, Number):
            return shape
        if is_array(table):
            return shape + tuple(table.shape)
        if not _is_sequence(table):
            raise _NotATableError
        shape += (len(table),)
        if not len(table):
            return shape
        table = next(iter(table))
    raise _NotATableError


def _numbers(table: Any, shape: tuple[int, ...]) -> list[Any]:
    """All numbers of a table in a flat list; it must have this shape throughout."""
    table = plain(table)
    if not shape:
        if not isinstance(table, Number):
            raise _NotATableError
        return [table]
    if not _is_sequence(table) or len(table) != shape[0]:
        raise _NotATableError
    rows = table.tolist() if is_array(table) else islice(table, shape[0])
    return [number for row in rows for number in _numbers(row, shape[1:])]


def _settled(table: Any, shape: tuple[int, ...]) -> Any:
    """The table with the iterators among its rows read, as far as `shape` reaches."""
    if not shape or is_array(table) or not isinstance(table, (list, tuple)):
        return table
    rows = [
        _settled(read(row, range(shape[1])) if shape[1:] else row, shape[1:]) for row in table[: shape[0]]
    ]
    return rows + list(table[shape[0] :])


def _same_shape(got: tuple[int, ...], expected: tuple[int, ...], exact: bool) -> bool:
    """Whether shapes agree; lists do not tell what comes after an axis of length 0."""
    return got == expected or (not exact and _until_zero(got) == _until_zero(expected))


def _until_zero(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[: shape.index(0) + 1] if 0 in shape else shape


def _unlike_shapes(given: Any, shape: tuple[int, ...], expected: _Table, tolerance: float) -> Difference:
    if len(shape) == len(expected.shape) == 1:
        return _unlike_lengths(given, expected.given, tolerance)
    nudge = ""
    if math.prod(shape) == len(expected.numbers):
        numbers = _numbers(given, shape)
        nudge = right_but_for_the_shape(numbers, expected.numbers, shape, expected.shape)
    what = f"shape {shape}, expected {expected.shape}"
    return _shown(given, expected.given, what=what, nudge=nudge)


def _unlike_lengths(got: Any, expected: Any, tolerance: float) -> Difference:
    """Two lists of other lengths, shown from where they begin to differ."""
    # an iterator without end was not read to its end
    length = f"over {SPARE}" if len(got) >= len(expected) + SPARE else len(got)
    what = f"length {length}, expected {len(expected)}"
    pairs = enumerate(zip(got, expected, strict=False))
    shorter = min(len(got), len(expected))
    start = next((i for i, pair in pairs if difference(*pair, tolerance) is not None), shorter)
    if start < SHOWN // 2:
        return _shown(got, expected, what=what)
    mine, wanted = (list(islice(items, start, start + SHOWN)) for items in (got, expected))
    return _shown(mine, wanted, what=f"{what}; they differ from [{start}] on, shown from there")


def _all_truths(table: _Table) -> bool:
    return bool(table.numbers) and all(isinstance(number, bool) for number in table.numbers)


def _unlike_types(got: _Table, expected: _Table) -> str:
    """The difference between truth values and numbers, by the names of the types where both have one."""
    types = attribute(got.given, "dtype"), attribute(expected.given, "dtype")
    if None not in types:
        return f"dtype {types[0]}, expected {types[1]}"
    truths, numbers = "truth values (True or False)", "numbers"
    return f"{numbers}, expected {truths}" if _all_truths(expected) else f"{truths}, expected {numbers}"


def _places(got: _Table, expected: _Table, wrong: list[int]) -> str:
    """How many numbers are wrong, and where the first stands."""
    n = len(expected.numbers)
    broken = [i for i in wrong if not _finite(got.numbers[i]) and _finite(expected.numbers[i])]
    if broken:
        return f"{len(broken)} of {n} numbers {_are(broken)} nan or inf, {_at(broken, got.shape)}"
    if len(wrong) == n:
        few = {1: "the one number is wrong", 2: "both numbers are wrong"}
        return few.get(n, f"all {n} numbers are wrong")
    return f"{len(wrong)} of {n} numbers {_are(wrong)} wrong, {_at(wrong, got.shape)}"


def _are(places: list[int]) -> str:
    return "is" if len(places) == 1 else "are"


def _at(places: list[int], shape: tuple[int, ...]) -> str:
    return ("the first at " if len(places) > 1 else "at ") + _index(places[0], shape)


def _index(flat: int, shape: tuple[int, ...]) -> str:
    """The place in a table as one would write it: "[1, 0]"."""
    place = []
    for length in reversed(shape):
        flat, i = divmod(flat, length)
        place.append(i)
    return str(place[::-1])


def _between_parts(got: Any, expected: Any, tolerance: float, names: Sequence[str]) -> Difference | None:
    n = len(expected)
    if len(got) != n and _has_parts(expected):
        return _shown(got, expected, what=f"{len(got)} part{'s' * (len(got) != 1)}, expected {n}")
    if len(got) != n:
        return _unlike_lengths(got, expected, tolerance)
    pairs = zip(islice(got, n), expected, strict=True)
    each = [difference(mine, wanted, tolerance) for mine, wanted in pairs]
    wrong = [i for i, found in enumerate(each) if found is not None]
    if not wrong:
        return None
    labels = [_label(i, expected, names) for i in wrong]
    whole = (got, expected) if n <= SHOWN and not _has_parts(expected) else None
    return _inside(each[wrong[0]], labels, whole)


def _label(i: int, expected: Any, names: Sequence[str]) -> str:
    """The name of a part: its own, or "part 2 of 3" in a tuple, or "element [4]" in a list."""
    names = names or getattr(expected, "_fields", ())
    if i < len(names):
        return repr(names[i])
    return f"part {i + 1} of {len(expected)}" if _has_parts(expected) else f"element [{i}]"


def _inside(found: Difference | None, labels: list[str], whole: tuple[Any, Any] | None = None) -> Difference:
    """A difference inside the first of the parts that are wrong, as one of the whole."""
    assert found is not None
    others = len(labels) - 1
    also = f" (and {others} other{'s' * (others > 1)})" if others else ""
    where = ", ".join(text for text in (labels[0] + also, found.where) if text)
    if whole is None:
        return replace(found, where=where)
    return _shown(*whole, where=where, what=found.what, nudge=found.nudge)


# Dicts and strings


def _between_mappings(got: Any, expected: Mapping, tolerance: float) -> Difference | None:
    if not isinstance(got, Mapping):
        return _shown(got, expected, what=f"{kind(got)}, expected a dict")
    missing = [key for key in expected if key not in got]
    if missing:
        return _shown(got, expected, what=f"the key {short(missing[0])} is missing")
    extra = [key for key in islice(got, len(expected) + 1) if key not in expected]
    if extra:
        return _shown(got, expected, what=f"the key {short(extra[0])} is not expected")
    each = {key: difference(got[key], expected[key], tolerance) for key in expected}
    wrong = [key for key in expected if each[key] is not None]
    return _inside(each[wrong[0]], [short(key) for key in wrong]) if wrong else None


def _between_texts(got: str, expected: str) -> Difference | None:
    if str.__eq__(got, expected):
        return None
    start = _first_difference(got, expected)
    nudge = _nudge_for_texts(str(got), str(expected), start)
    if start < 30:
        return _shown(str(got), str(expected), nudge=nudge)
    return _shown("…" + got[start - 10 :], "…" + expected[start - 10 :], nudge=nudge)


def _first_difference(got: str, expected: str) -> int:
    """The place of the first character that differs: where the shorter one ends, if it is the beginning."""
    pairs = enumerate(zip(got, expected, strict=False))
    return next((i for i, (mine, wanted) in pairs if mine != wanted), min(len(got), len(expected)))


def _nudge_for_texts(got: str, expected: str, start: int) -> str:
    if got.lower() == expected.lower():
        return "only capital and small letters differ"
    if got.split() == expected.split():
        return "only the spaces differ"
    if start == min(len(got), len(expected)):
        return f"length {len(got)}, expected {len(expected)}"
    return f"they differ from character [{start}] on" if start > 0 else ""
