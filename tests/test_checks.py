"""A check says … or ✓ or ✗, and never raises."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnhelpers import checks
from nnhelpers.micrograd import Value


def said(capsys) -> str:
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    return lines[0]


SQUARES = [((2.0,), 4.0), ((-3.0,), 9.0)]


def stub(x): ...


def not_implemented(x):
    raise NotImplementedError


@pytest.mark.parametrize("answer", [stub, not_implemented, None, ..., lambda x: ...])
def test_a_stub_is_not_attempted_yet(capsys, answer):
    checks.function("square", answer, SQUARES)
    assert said(capsys).startswith("… square: not attempted yet")


def test_an_answer_that_returns_nothing_on_one_path_is_wrong(capsys):
    checks.function("square", lambda x: x * x if x > 0 else None, SQUARES, "mind the sign")
    assert said(capsys).startswith(
        "✗ square: got nothing (is a return missing on this path?), expected 9 for (-3.0)"
    )


@pytest.mark.parametrize(
    "odd",
    [10**400, torch.Tensor, [[1.0]], {"a": torch.ones(2)}, torch.eye(2).to_sparse(), lambda: 1, object()],
)
def test_no_answer_however_odd_makes_a_check_raise(capsys, odd):
    loop = []
    loop.append(loop)
    for answer in (odd, loop):
        checks.value("x", answer, 1.0)
        assert said(capsys).startswith("✗ x: got ")
        checks.function("x", lambda answer=answer: answer, [((), 1.0)])
        assert said(capsys).startswith("✗ x: got ")


def test_an_answer_that_leaves_the_program_is_wrong_and_the_message_stays_on_one_line(capsys):
    def leave(x):
        raise SystemExit("a\nb")

    checks.function("square", leave, SQUARES)
    assert said(capsys) == "✗ square: got SystemExit: a b, expected 4 for (2.0)"


def test_an_answer_that_differs_in_a_late_digit_is_shown_with_it(capsys):
    checks.value("x", 1.0000015, 1.0)
    assert said(capsys) == "✗ x: got 1.0000015, expected 1"


@pytest.mark.parametrize(
    "answer",
    [lambda x: x * x, lambda x: torch.tensor(x) ** 2, lambda x: np.float32(x * x), lambda x: Value(x) ** 2],
)
def test_a_right_answer_of_any_numeric_kind_passes(capsys, answer):
    checks.function("square", answer, SQUARES)
    assert said(capsys) == "✓ square: right in all 2 cases"


def test_a_wrong_answer_shows_what_came_what_was_expected_where_and_a_hint(capsys):
    checks.function("square", lambda x: 2 * x, SQUARES, "multiply x by itself")
    assert said(capsys) == "✗ square: got -6, expected 9 for (-3.0) · hint: multiply x by itself"


def test_an_exception_in_the_answer_is_shown_and_not_raised(capsys):
    checks.function("square", lambda x: 1 / 0, SQUARES)
    assert said(capsys) == "✗ square: got ZeroDivisionError: division by zero, expected 4 for (2.0)"


def test_an_expected_exception_has_to_be_raised(capsys):
    def root(x):
        return math.sqrt(x)

    checks.function("root", root, [((4.0,), 2.0), ((-1.0,), ValueError)])
    assert said(capsys) == "✓ root: right in all 2 cases"
    checks.function("root", lambda x: abs(x) ** 0.5, [((-1.0,), ValueError)])
    assert said(capsys) == "✗ root: got 1, expected a ValueError for (-1.0)"


def test_an_answer_cannot_change_the_next_case_through_its_arguments(capsys):
    shared = [3, 1, 2]

    def sort_in_place(items):
        items.sort()
        return items[0]

    checks.function("smallest", sort_in_place, [((shared,), 1), ((shared,), 1)])
    assert said(capsys).startswith("✓")
    assert shared == [3, 1, 2]


def test_values_and_properties(capsys):
    checks.value("pi", ..., math.pi)
    assert said(capsys).startswith("…")
    checks.value("pi", 3.14159265, math.pi)
    assert said(capsys) == "✓ pi: right"
    checks.value("pi", 3.14, math.pi, "more digits")
    assert said(capsys) == "✗ pi: got 3.14, expected 3.14159 · hint: more digits"
    checks.holds("even", 4, lambda n: n % 2 == 0, "an even number")
    assert said(capsys) == "✓ even: right"
    checks.holds("even", 3, lambda n: n % 2 == 0, "an even number")
    assert said(capsys) == "✗ even: got 3, expected an even number"
    checks.holds("even", "x", lambda n: n % 2 == 0, "an even number")
    assert said(capsys).startswith("✗ even: got TypeError")
    checks.holds("even", None, lambda n: n % 2 == 0, "an even number")
    assert said(capsys).startswith("…")
    checks.holds("even", stub, lambda f: not_implemented(f), "anything")
    assert said(capsys).startswith("…")


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 1.0 + 1e-9),
        (1e9, 1e9 + 1),
        (math.nan, math.nan),
        (math.inf, math.inf),
        ([1, 2], (1, 2)),
        (torch.tensor([1.0, 2.0]), [1, 2]),
        (np.array([[1, 2]]), torch.tensor([[1, 2]])),
        ("ab", "ab"),
        (True, True),
        (2, 2.0),
        (Fraction(1, 4), 0.25),
    ],
)
def test_what_agrees(got, expected):
    assert checks.same(got, expected)
    assert checks.same(expected, got)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 1.001),
        (math.nan, 1.0),
        (math.inf, -math.inf),
        (1.0, math.inf),
        ([1], [1, 1]),
        ([1, 2], 1),
        (torch.zeros(2, 1), torch.zeros(2)),
        ("1", 1),
        (1, True),
        (None, 0),
        ({1: 2}, {1: 3}),
    ],
)
def test_what_does_not_agree(got, expected):
    assert not checks.same(got, expected)
    assert not checks.same(expected, got)


@given(st.recursive(st.floats(allow_nan=False) | st.text() | st.integers(), st.lists))
def test_everything_agrees_with_itself(answer):
    assert checks.same(answer, answer)


def test_a_large_answer_is_shown_in_a_line_that_can_be_read(capsys):
    large = [[[[0.123456] * 9] * 9] * 9] * 9
    checks.function("f", lambda: large, [((), [[[[0.5] * 9] * 9] * 9] * 9)], "the hint")
    line = capsys.readouterr().out
    assert line.startswith("✗ f: got [[[[0.123456, 0.123456")
    assert line.endswith("hint: the hint\n")
    assert len(line) < 400
