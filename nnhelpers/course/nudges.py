"""A nudge for wrong numbers: how all of them would become right at once, if there is such a way.

Tables are given as flat lists of their numbers, with their shapes.
"""

from __future__ import annotations

from typing import Any

Numbers = list[Any]
Shape = tuple[int, ...]


def nudge_for(got: Numbers, expected: Numbers, shape: Shape) -> str:
    """The nudge for wrong numbers of the right shape, or the empty string.

    >>> nudge_for([2.0, -4.0], [1.0, -2.0], (2,))
    'every number is 2 times the expected one'
    """
    if not _can_be_counted_with(got, expected):
        return ""
    if len(expected) == 1:
        return _nearness_in_words(got, expected) or _factor_in_words(got, expected)
    return (
        _nearness_in_words(got, expected)
        or _factor_in_words(got, expected)
        or _signs_in_words(got, expected)
        or _summand_in_words(got, expected)
        or _order_in_words(got, expected, shape)
    )


def right_but_for_the_shape(got: Numbers, expected: Numbers, got_shape: Shape, shape: Shape) -> str:
    """The nudge for two tables with as many numbers, but other shapes, or the empty string."""
    if not _can_be_counted_with(got, expected) or not any(expected):
        return ""
    swapped = shape[:-2] + shape[:-3:-1]
    if len(shape) >= 2 and got_shape == swapped and _agree(_transposed(got, got_shape), expected):
        return "right after transposing"
    return "the numbers are right, only the shape is not" if _agree(got, expected) else ""


def _can_be_counted_with(got: Numbers, expected: Numbers) -> bool:
    return all(not isinstance(x, (bool, complex)) and abs(x) < 1e300 for x in got + expected)


def _agree(got: Numbers, expected: Numbers, rounding: float = 1e-5) -> bool:
    """Whether all numbers agree but for rounding, the small ones as well as the large; integers exactly."""
    whole = all(isinstance(x, int) for x in got)
    relative, absolute = (1e-12, 0.0) if whole else (rounding, 1e-8)
    floor = absolute * max((abs(x) for x in expected), default=0.0)
    return all(abs(x - y) <= relative * abs(y) + floor for x, y in zip(got, expected, strict=True))


def _nearness_in_words(got: Numbers, expected: Numbers) -> str:
    if not _agree(got, expected, rounding=1e-4):
        return ""
    largest = max(abs(x - y) for x, y in zip(got, expected, strict=True))
    return f"nearly right, off by {largest:.1g} at most"


def _factor_in_words(got: Numbers, expected: Numbers) -> str:
    factor = _factor(got, expected)
    if factor is None:
        return ""
    if factor == -1:
        return "the sign is reversed" if len(got) == 1 else "the sign of every number is reversed"
    return f"{'it' if len(got) == 1 else 'every number'} is {factor:.6g} times the expected one"


def _factor(got: Numbers, expected: Numbers) -> float | None:
    """The constant by which every expected number was multiplied; for a single one only -1, 2 and 1/2 count."""
    largest = max(range(len(expected)), key=lambda i: abs(expected[i]))
    if not got[largest] or not expected[largest]:
        return None
    candidates = [-1.0, 2.0, 0.5]
    if sum(x != 0 for x in expected) > 1:
        candidates.append(got[largest] / expected[largest])
    return next((c for c in candidates if _agree(got, [c * x for x in expected])), None)


def _signs_in_words(got: Numbers, expected: Numbers) -> str:
    agree = _agree([abs(x) for x in got], [abs(x) for x in expected])
    return "right but for the signs of some numbers" if agree else ""


def _summand_in_words(got: Numbers, expected: Numbers) -> str:
    differences = [x - y for x, y in zip(got, expected, strict=True)]
    summand = differences[0]
    if not all(abs(difference - summand) <= 1e-4 * abs(summand) for difference in differences):
        return ""
    return f"every number is {abs(summand):.6g} too {'large' if summand > 0 else 'small'}"


def _order_in_words(got: Numbers, expected: Numbers, shape: Shape) -> str:
    """Whether the right numbers stand in other places."""
    if len(shape) == 1 and _agree(got[::-1], expected):
        return "the right numbers in the reverse order"
    if len(shape) >= 2 and shape[-1] == shape[-2] and _agree(_transposed(got, shape), expected):
        return "right after transposing"
    return ""


def _transposed(numbers: Numbers, shape: Shape) -> Numbers:
    """A flat table with its last two axes exchanged, again flat."""
    n_rows, n_columns = shape[-2:]
    size = n_rows * n_columns
    tables = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    return [x for table in tables for column in range(n_columns) for x in table[column::n_columns]]
