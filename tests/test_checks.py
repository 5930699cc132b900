"""A check says … or ✓ or ✗, and never raises."""

import collections
import doctest
import itertools
import math
import subprocess
import sys
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nnhelpers.course import attempts, checks, differences, nudges, wording
from nnhelpers.course.differences import difference
from nnhelpers.micrograd import Value

SQUARES = [((2.0,), 4.0), ((-3.0,), 9.0)]


def said(capsys) -> str:
    """The verdict, which is one line."""
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.fixture(autouse=True)
def _no_failures_before(monkeypatch):
    """Every test starts as a fresh kernel does."""
    monkeypatch.setattr(checks, "_failures", collections.Counter())


# Not attempted, or nothing returned


def stub(x): ...


def explained_stub(x):
    """What is to be done."""
    return None


def not_implemented(x):
    raise NotImplementedError


@pytest.mark.parametrize(
    "answer", [stub, explained_stub, not_implemented, None, ..., lambda x: ..., lambda x: None]
)
def test_a_stub_is_not_attempted_yet(capsys, answer):
    checks.function("square", answer, SQUARES)
    assert said(capsys).startswith("… square: not attempted yet")


@pytest.mark.parametrize("answer", [None, ..., {"A": ..., "B": ...}, (..., ...), [...]])
def test_a_value_in_which_nothing_is_filled_in_is_not_attempted_yet(capsys, answer):
    checks.value("x", answer, 1.0)
    assert said(capsys) == "… x: not attempted yet"
    checks.holds("x", answer, lambda _: False, "anything")
    assert said(capsys) == "… x: not attempted yet"


def test_a_check_that_calls_the_stub_itself_may_return_nothing_or_raise_not_implemented(capsys):
    def doubled(x):
        out = stub(x)
        return None if out is None else 2 * out

    checks.function("square", doubled, SQUARES)
    assert said(capsys).startswith("…")
    checks.holds("square", stub, not_implemented, "anything")
    assert said(capsys).startswith("…")


def test_an_answer_filled_in_partly_is_wrong(capsys):
    checks.value("pair", (1, ...), (1, 2))
    assert said(capsys) == "✗ pair: part 2 of 2 is wrong: it is still `...`"


def test_an_answer_that_returns_nothing_on_one_path_is_wrong(capsys):
    checks.function("square", lambda x: x * x if x > 0 else None, SQUARES)
    assert said(capsys) == "✗ square: for (-3.0): nothing is returned: is a `return` missing on this path?"


def test_an_argument_that_happens_to_be_the_answer_does_not_excuse_a_missing_return(capsys):
    checks.function("square", lambda x: x * x if x else None, [((2.0,), 4.0), ((0.0,), 0.0)])
    assert said(capsys).startswith("✗ square: for (0.0): nothing is returned")


def test_a_finished_answer_without_return_is_told_so(capsys):
    def square(x):
        result = x * x  # noqa: F841

    checks.function("square", square, SQUARES)
    assert said(capsys) == "✗ square: nothing is returned: add `return`"


def test_an_answer_that_prints_instead_of_returning_is_told_so_below_what_it_prints(capsys):
    checks.function("square", lambda x: print(x * x, end=""), SQUARES)
    assert capsys.readouterr().out.splitlines() == [
        "4.0",
        "✗ square: for (2.0): it prints, but returns nothing: use `return`",
    ]


def test_what_a_right_answer_prints_comes_before_the_verdict(capsys):
    def square(x):
        print("x is", x, end="")
        return x * x

    checks.function("square", square, SQUARES)
    assert capsys.readouterr().out == "x is 2.0x is -3.0\n✓ square: right in all 2 cases\n"


def test_none_is_right_where_it_is_expected(capsys):
    cases = [(({"a": 1}, "a"), 1), (({"a": 1}, "b"), None)]
    checks.function("find", lambda table, key: table.get(key), cases)
    assert said(capsys).startswith("✓")
    checks.function("find", lambda table, key: table.get(key, 0), cases)
    assert said(capsys).startswith("✗")


# In place


SORTED = [(([3, 1, 2],), [1, 2, 3]), (([1, 2],), [1, 2])]


def test_a_right_answer_that_changes_its_argument_in_place_is_right_with_a_remark(capsys):
    def in_place(items):
        items.sort()

    checks.function("sort", in_place, SORTED)
    assert (
        said(capsys) == "✓ sort: right in all 2 cases (it changes its argument in place and returns nothing)"
    )
    assert SORTED[0][0] == ([3, 1, 2],)


@pytest.mark.parametrize("kind", [torch.tensor, np.array])
def test_a_table_changed_in_place_is_right(capsys, kind):
    def scale(x):
        x *= 2

    checks.function("scale", scale, [((kind([1.0, math.nan]),), [2.0, math.nan])])
    assert said(capsys).startswith("✓")


def test_several_arguments_changed_in_place_are_the_parts_of_a_tuple(capsys):
    def step(parameters, velocities):
        for i, p in enumerate(parameters):
            velocities[i] += 1.0
            p.data -= velocities[i]

    checks.function("step", step, [(([Value(1.0)], [0.5]), ([-0.5], [1.5]))])
    assert said(capsys).startswith("✓")


def test_a_wrong_answer_in_place_is_wrong_and_not_unattempted(capsys):
    checks.function("sort", lambda items: items.sort(reverse=True), SORTED)
    line = capsys.readouterr().out.splitlines()
    assert line == [
        "✗ sort: for ([3, 1, 2]): nothing is returned, and its argument is changed into something else: "
        "2 of 3 numbers are wrong, the first at [0]; the right numbers in the reverse order",
        "  got [3, 2, 1], expected [1, 2, 3]",
    ]


def test_result_of_tells_a_stub_from_an_answer_without_return(capsys):
    def update(items):
        items.append(1)

    def length_after(answer, items):
        checks.result_of(answer, items)
        return len(items)

    checks.function("update", lambda items: length_after(stub, items), [(([],), 1)])
    assert said(capsys).startswith("…")
    checks.function("update", lambda items: length_after(update, items), [(([],), 1)])
    assert said(capsys) == "✗ update: for ([]): update returns nothing: add `return` · expected 1"
    assert checks.result_of(lambda x: x + 1, 1) == 2


def test_an_answer_cannot_change_the_next_case_through_its_arguments(capsys):
    shared = [3, 1, 2]

    def sort_in_place(items):
        items.sort()
        return items[0]

    checks.function("smallest", sort_in_place, [((shared,), 1), ((shared,), 1)])
    assert said(capsys).startswith("✓")
    assert shared == [3, 1, 2]


def test_arguments_that_cannot_be_copied_deeply_are_no_fault_of_the_answer(capsys):
    of_others = torch.ones(2, requires_grad=True) * 3
    numbers = iter([1, 2])
    checks.function("add", lambda t, n: t.sum().item() + sum(n), [((of_others, numbers), 9.0)])
    assert said(capsys).startswith("✓")


# What is wrong, and where


def test_a_wrong_answer_shows_what_came_what_was_expected_and_where(capsys):
    checks.function("square", lambda x: 2 * x, SQUARES)
    assert said(capsys) == "✗ square: wrong for (-3.0) · got -6, expected 9"


def test_an_answer_that_differs_in_a_late_digit_is_shown_with_it(capsys):
    checks.value("x", 1.0000015, 1.0)
    assert said(capsys) == "✗ x: wrong: nearly right, off by 1e-06 at most · got 1.0000015, expected 1.0"


class Moments(NamedTuple):
    mean: float
    var: float


@pytest.mark.parametrize(
    ("got", "expected", "summary"),
    [
        ((1, 2, 3), (1, 5, 3), "part 2 of 3 is wrong"),
        ((1, 7, 8), (1, 5, 3), "part 2 of 3 (and 1 other) is wrong"),
        ((1, 2), (1, 2, 3), "2 parts, expected 3"),
        ("ab", ("a", "b"), "a string, expected 2 parts"),
        ((1.0, 3.0), Moments(1.0, 5.0), "'var' is wrong"),
        ({"db": 1, "dw": 7}, {"db": 1, "dw": 3}, "'dw' is wrong"),
        ({"db": 1}, {"db": 1, "dw": 3}, "the key 'dw' is missing"),
        ({"db": 1, "dx": 3}, {"db": 1}, "the key 'dx' is not expected"),
        ([["a"], ["b", "x"]], [["a"], ["b", "c"]], "element [1], element [1] is wrong"),
        ([1, 2, 7, 4], [1, 2, 3, 4], "1 of 4 numbers is wrong, at [2]"),
        ([[1, 2], [7, 9]], [[1, 2], [3, 4]], "2 of 4 numbers are wrong, the first at [1, 0]"),
        (
            (1, [[1, 2], [7, 4]]),
            (1, [[1, 2], [3, 4]]),
            "part 2 of 2 is wrong: 1 of 4 numbers is wrong, at [1, 0]",
        ),
        ([1, 2], [1, 2, 3], "length 2, expected 3"),
        ((1,), (1, 2), "1 part, expected 2"),
        (["a"], ["b", "c"], "length 1, expected 2"),
        (
            list("abcdefxhi"),
            list("abcdefgh"),
            "length 9, expected 8; they differ from [6] on, shown from there",
        ),
        ([0] * 9, [0] * 7, "length 9, expected 7; they differ from [7] on, shown from there"),
        ([[1, 2], [3]], [[1, 2], [3, 4]], "its rows have different lengths, or not all in it are numbers"),
        (np.zeros((3, 2)), torch.ones(2, 4), "shape (3, 2), expected (2, 4)"),
        (3.0, torch.ones(2, 4), "a number, expected the shape (2, 4)"),
        (torch.ones(2), 1.0, "a Tensor of shape (2,), expected a number"),
        ([1.0, math.nan], [1.0, 2.0], "1 of 2 numbers is nan or inf, at [1]"),
        (1, True, "a number, expected a truth value (True or False)"),
        (True, 1, "a truth value (True or False), expected a number"),
        (torch.ones(2), torch.ones(2).bool(), "dtype torch.float32, expected torch.bool"),
        ([1, 0], [True, False], "numbers, expected truth values (True or False)"),
        ("loss", 1.0, "a string, expected a number"),
        ("Loss", "loss", "wrong: only capital and small letters differ"),
        ("a  b", "a b", "wrong: only the spaces differ"),
        ("abcd", "abxy", "wrong: they differ from character [2] on"),
        (itertools.count(), [0, 1, 2], "length over 1000, expected 3"),
    ],
)
def test_what_is_wrong_is_said_without_the_digits(got, expected, summary):
    assert difference(got, expected).summary() == summary


def test_parts_can_be_given_names(capsys):
    checks.value("backward", ([1.0], [9.0, 7.0]), ([1.0], [2.0, 3.0]), parts=("dx", "dw"))
    assert said(capsys).startswith("✗ backward: 'dw' is wrong: both numbers are wrong")
    checks.function("backward", lambda: (1.0, 7.0), [((), (1.0, 3.0))], parts=("dx", "dw"))
    assert said(capsys).startswith("✗ backward: for (): 'dw' is wrong")


TABLES = arrays.arrays(
    np.float64,
    arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4),
    elements=st.floats(-100, 100).map(lambda x: round(x, 3)),
)


@given(TABLES, st.data())
def test_any_number_that_is_off_is_found_and_its_place_named(table, data):
    place = data.draw(st.tuples(*(st.integers(0, n - 1) for n in table.shape)))
    wrong = table.copy()
    wrong[place] += data.draw(st.floats(0.01, 10.0)) * max(1.0, abs(table[place]))
    found = difference(torch.tensor(wrong), table.tolist())
    assert found is not None
    if table.size > 1:
        assert found.what == f"1 of {table.size} numbers is wrong, at {list(map(int, place))}"


@given(st.lists(TABLES, min_size=1, max_size=4), st.data())
def test_the_part_that_is_off_is_named(tables, data):
    i = data.draw(st.integers(0, len(tables) - 1))
    wrong = [table + (10.0 if k == i else 0.0) for k, table in enumerate(tables)]
    found = difference(wrong, tuple(tables))
    assert found.where == f"part {i + 1} of {len(tables)}"


# Nudges


@given(TABLES, st.floats(0.1, 9.0).map(lambda x: round(x, 2)), st.booleans())
def test_a_factor_is_told_with_its_size(table, factor, negative):
    factor = -factor if negative else factor
    assume(np.unique(np.abs(table)).size > 2 and np.abs(table).max() > 1 and abs(factor - 1) > 0.01)
    nudge = difference(factor * table, table).nudge
    if factor == -1:
        assert nudge == "the sign of every number is reversed"
    else:
        assert nudge == f"every number is {factor:.6g} times the expected one"


@given(TABLES, st.integers(-5, 5).filter(bool))
def test_a_summand_is_told_with_its_size(table, summand):
    assume(np.unique(np.abs(table)).size > 3)
    nudge = difference(table + summand, table).nudge
    assert nudge == f"every number is {abs(summand)} too {'large' if summand > 0 else 'small'}"


@pytest.mark.parametrize(
    ("got", "expected", "nudge"),
    [
        (
            torch.tensor([[1, 3, 5], [2, 4, 6]]),
            torch.tensor([[1, 2], [3, 4], [5, 6]]),
            "right after transposing",
        ),
        ([[1, 3], [2, 4]], [[1, 2], [3, 4]], "right after transposing"),
        ([[[1, 3], [2, 4]]], [[[1, 2], [3, 4]]], "right after transposing"),
        ([[1], [2]], [1, 2], "the numbers are right, only the shape is not"),
        ([1, -2, 3], [1, 2, 3], "right but for the signs of some numbers"),
        ([3, 2, 1], [1, 2, 3], "the right numbers in the reverse order"),
        ([1.0001, 2.0], [1.0, 2.0], "nearly right, off by 0.0001 at most"),
        (-2.0, 2.0, "the sign is reversed"),
        (4.0, 2.0, "it is 2 times the expected one"),
        (1.5, 3.0, "it is 0.5 times the expected one"),
    ],
)
def test_what_is_right_about_wrong_numbers_is_said(got, expected, nudge):
    assert difference(got, expected).nudge == nudge


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 0.0),
        (0.0, 1.0),
        (6.0, 2.0),  # any number is some multiple of another
        ([0.0, 0.0], [1.0, 2.0]),
        ([1e6, 0.2], [1e6, 0.1]),  # the large number must not hide the small one
        ([1e6 + 900, 2e6], [1e6, 2e6]),
        ([1e-7, 2e-8, 1e-8], [1.0, 2.0, 3.0]),
        ([100_000, 100_002], [100_001, 100_000]),
        ([math.nan, 2.0], [1.0, 1.0]),
        ([math.inf, 2.0], [1.0, 1.0]),
        ([1j, 2j], [1.0, 3.0]),
    ],
)
def test_no_nudge_is_given_that_is_not_true(got, expected):
    assert difference(got, expected).nudge == ""


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=2, max_size=4))
def test_a_factor_is_never_told_where_there_is_none(pairs):
    got, expected = np.array(pairs).T
    found = difference(got, expected)
    if found and found.nudge.endswith("times the expected one"):
        factor = float(found.nudge.split()[3])
        np.testing.assert_allclose(got, factor * expected, rtol=1e-4, atol=1e-5)


# Hints


def test_each_failure_shows_the_next_hint_and_the_last_one_stays(capsys):
    for hint in ("a nudge", "more", "the formula", "the formula"):
        checks.value("x", 1.0, 3.0, hints=["a nudge", "more", "the formula"])
        assert f"· hint: {hint} · got 1" in said(capsys)


def test_with_a_hint_the_expected_digits_wait_for_the_second_failure_and_stand_behind_it(capsys):
    checks.function("square", lambda x: 2 * x, SQUARES, "multiply x by itself")
    assert said(capsys) == "✗ square: wrong for (-3.0) · hint: multiply x by itself · got -6"
    checks.function("square", lambda x: 2 * x, SQUARES, "multiply x by itself")
    assert said(capsys) == "✗ square: wrong for (-3.0) · hint: multiply x by itself · got -6, expected 9"


def test_neither_success_nor_a_stub_nor_another_exercise_moves_the_hints_on(capsys):
    hints = ["first", "second", "third"]
    checks.value("x", 1.0, 2.5, hints=hints)
    checks.value("x", 2.5, 2.5, hints=hints)
    checks.value("x", ..., 2.5, hints=hints)
    checks.value("y", 1.0, 2.5, hints=hints)
    capsys.readouterr()
    checks.holds("x", 1.0, lambda _: False, "something else", hints=hints)
    assert "hint: second" in said(capsys)


# Right in another way


@pytest.mark.parametrize(
    "answer",
    [lambda x: x * x, lambda x: torch.tensor(x) ** 2, lambda x: np.float32(x * x), lambda x: Value(x) ** 2],
)
def test_a_right_answer_of_any_numeric_kind_passes(capsys, answer):
    checks.function("square", answer, SQUARES)
    assert said(capsys) == "✓ square: right in all 2 cases"


class Word(str):
    pass


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (1.0, 1.0 + 1e-9),
        (1e9, 1e9 + 1),
        (math.nan, math.nan),
        (math.inf, math.inf),
        ([1, 2], (1, 2)),
        (range(3), [0, 1, 2]),
        ({"a": 1, "b": 2}.keys(), ["a", "b"]),
        ({"a": 1, "b": 2}.values(), torch.tensor([1, 2])),
        ({"a": 1}.items(), [("a", 1)]),
        (collections.deque([1, 2]), [1, 2]),
        (torch.tensor([1.0, 2.0]), [1, 2]),
        (np.array([[1, 2]]), torch.tensor([[1, 2]])),
        (np.array(["a", "b"]), ["a", "b"]),
        ([torch.tensor(1.0), np.float32(2.0)], [1.0, 2.0]),
        ([torch.ones(2), torch.zeros(3)], (np.ones(2), np.zeros(3))),
        (torch.ones(2, requires_grad=True), [1.0, 1.0]),
        (torch.ones(2, dtype=torch.bfloat16), [1.0, 1.0]),
        (torch.zeros(0, 3), []),
        (np.float32(0.1), 0.1),
        (Value(2.0), 2),
        ([Value(2.0), Value(3.0)], [2.0, 3.0]),
        ("ab", "ab"),
        (Word("ab"), "ab"),
        (np.str_("ab"), "ab"),
        (bytearray(b"ab"), b"ab"),
        (True, True),
        (np.bool_(True), True),
        (torch.tensor(False), False),
        (2, 2.0),
        (2 + 0j, 2),
        (Fraction(1, 4), 0.25),
        ({"a": [1, 2]}, collections.OrderedDict(a=(1, 2))),
        ({1, 2}, frozenset({1, 2})),
        (None, None),
        (torch.float32, torch.float32),
        (torch.Size([1, 2]), (1, 2)),
    ],
)
def test_what_agrees(got, expected):
    assert checks.same(got, expected)
    assert checks.same(expected, got)


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: (2 * i for i in range(n)),
        lambda n: map(int.__add__, range(n), range(n)),
        lambda n: iter(range(0, 2 * n, 2)),
        lambda n: np.arange(n) * 2,
    ],
)
def test_an_iterator_is_as_good_as_a_list(capsys, answer):
    checks.function("evens", answer, [((3,), [0, 2, 4]), ((0,), [])])
    assert said(capsys).startswith("✓")


def test_iterators_inside_an_answer_are_read_too():
    assert checks.same([map(int, "12"), iter([3, 4])], [[1, 2], [3, 4]])
    assert checks.same((zip("ab", "cd", strict=True), iter("x")), ([("a", "c"), ("b", "d")], ["x"]))


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
        (torch.zeros(0, 3), torch.zeros(0, 4)),
        (torch.zeros(2, 0), torch.zeros(0)),
        ("1", 1),
        ("ab", ["a", "b"]),
        ("ab", b"ab"),
        (1, True),
        ([1, 0], [True, False]),
        (None, 0),
        ({1: 2}, {1: 3}),
        ({1, 2}, [1, 2]),
        (int, 1),
        (..., 1),
        (1 + 1j, 1),
    ],
)
def test_what_does_not_agree(got, expected):
    assert not checks.same(got, expected)
    assert not checks.same(expected, got)


LEAVES = st.floats() | st.text() | st.integers() | st.booleans() | st.none() | st.binary()
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def in_lists(answer):
    """The same answer with lists for its tuples and generators for its lists."""
    if isinstance(answer, dict):
        return {key: in_lists(item) for key, item in answer.items()}
    if isinstance(answer, tuple):
        return [in_lists(item) for item in answer]
    return (in_lists(item) for item in answer) if isinstance(answer, list) else answer


@given(NESTED)
def test_everything_agrees_with_itself_whatever_the_containers(answer):
    assert checks.same(answer, answer)
    assert checks.same(in_lists(answer), answer)


@given(TABLES)
def test_float32_agrees_with_float64(table):
    assert checks.same(torch.tensor(table).float(), table)


def test_tolerance_zero_demands_equality():
    assert checks.same([0.1 + 0.2], [0.1 + 0.2], tolerance=0)
    assert not checks.same([0.1 + 0.2], [0.3], tolerance=0)


# Errors


def test_an_error_is_shown_with_the_line_and_not_raised(capsys):
    def square(x):
        return x / 0

    checks.function("square", square, SQUARES)
    first = square.__code__.co_firstlineno
    assert said(capsys) == (
        f"✗ square: for (2.0): ZeroDivisionError: float division by zero (line {first + 1} of this cell: "
        "return x / 0) · expected 4"
    )


def test_the_line_is_the_learners_not_that_of_the_library_or_the_check(capsys):
    cell = "def apply(f):\n    y = 2\n    return f(y)\n"
    space: dict = {}
    exec(compile(cell, "<the learner's cell>", "exec"), space)
    checks.function("apply", space["apply"], [((lambda y: math.sqrt(-y),), 1.0)])
    assert "ValueError: math domain error (line 3)" in said(capsys)
    checks.function("apply", space["apply"], [((torch.linalg.inv,), 1.0)])
    assert "(line 3)" in said(capsys)
    helper: dict = {}
    exec(compile("def invert(y):\n    y / 0\n", "<a cell of the lecture>", "exec"), helper)
    checks.function("apply", space["apply"], [((helper["invert"],), 1.0)])
    assert "(line 3)" in said(capsys)


def test_an_error_that_the_check_raises_on_purpose_comes_without_a_line(capsys):
    def refuses(x):
        raise ValueError("an argument was changed")

    checks.holds("x", 1, refuses, "an argument left alone")
    assert said(capsys) == "✗ x: ValueError: an argument was changed; expected an argument left alone"


def test_a_wrong_number_of_arguments_is_said_clearly(capsys):
    checks.function("square", lambda: 4.0, SQUARES)
    assert said(capsys).startswith(
        "✗ square: for (2.0): it is called with 1 argument, but its parameters are ()"
    )
    checks.function("square", 5, SQUARES)
    assert said(capsys).startswith("✗ square: for (2.0): a function is expected, this is 5")


def test_an_error_about_none_says_where_none_comes_from(capsys):
    checks.function("square", lambda x: stub(x) * x, SQUARES)
    assert "; something before it returned nothing (None)" in capsys.readouterr().out.splitlines()[0]


def test_an_answer_that_leaves_the_program_is_wrong_and_the_message_stays_on_one_line(capsys):
    def leave(x):
        raise SystemExit("a\nb")

    checks.function("square", leave, SQUARES)
    assert said(capsys).startswith("✗ square: for (2.0): SystemExit: a b")


def test_a_generator_that_fails_is_an_error_like_any_other(capsys):
    checks.function("halves", lambda n: (1 / i for i in range(n)), [((2,), [1.0, 1.0])])
    assert "ZeroDivisionError: division by zero" in said(capsys)


def test_ctrl_c_stops_the_check():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checks.function("square", interrupted, SQUARES)


def test_an_expected_exception_has_to_be_raised(capsys):
    checks.function("root", lambda x: math.sqrt(x), [((4.0,), 2.0), ((-1.0,), ValueError)])
    assert said(capsys) == "✓ root: right in all 2 cases"
    checks.function("root", lambda x: abs(x) ** 0.5, [((-1.0,), ValueError)])
    assert said(capsys) == "✗ root: for (-1.0): a ValueError has to be raised · got 1"
    checks.function("root", lambda x: [][0], [((-1.0,), ValueError)])
    assert said(capsys).endswith("· expected a ValueError")


# A property instead of a value


def test_values_and_properties(capsys):
    checks.value("pi", 3.14159265, math.pi)
    assert said(capsys) == "✓ pi: right"
    checks.holds("even", 4, lambda n: n % 2 == 0, "an even number")
    assert said(capsys) == "✓ even: right"
    checks.holds("even", 3, lambda n: n % 2 == 0, "an even number", "divide")
    assert said(capsys) == "✗ even: expected an even number · hint: divide · got 3"
    checks.holds("even", "x", lambda n: n % 2 == 0, "an even number")
    assert said(capsys).startswith("✗ even: TypeError")


def test_a_test_may_say_which_condition_failed(capsys):
    checks.holds("even", 3, lambda n: n % 2 == 0 or "3 is odd", "an even number")
    assert said(capsys) == "✗ even: 3 is odd; expected an even number · got 3"


def test_what_a_test_prints_comes_before_the_verdict(capsys):
    checks.holds("even", 4, lambda n: print("tried", end="") is None, "an even number")
    assert capsys.readouterr().out == "tried\n✓ even: right\n"


# Odd answers


class Hostile:
    """Nothing can be done with it."""

    def _refuse(self, *_):
        raise RuntimeError("no\nno")

    __eq__ = __repr__ = __str__ = __len__ = __iter__ = __bool__ = __getattr__ = _refuse
    __hash__ = None


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError


def raising(error):
    raise error


recursive: list = []
recursive += [recursive, recursive]
doubled: list = [1.0]
for _ in range(60):
    doubled = [doubled, doubled]

ODD = [
    10**400,
    10**5000,
    -math.inf,
    math.nan,
    recursive,
    doubled,
    [1.0] * 10**6,
    [[[[0.123456] * 9] * 9] * 9] * 9,
    range(10**15),
    itertools.count(),
    torch.Tensor,
    torch.empty(2, device="meta"),
    torch.empty((), device="meta"),
    torch.eye(2).to_sparse(),
    np.array([object()]),
    np.array("a"),
    {"a": torch.ones(2)},
    {Hostile: Hostile()},
    Hostile(),
    [Hostile()],
    "many\nlines\r\u2028and half a character \ud800",
    "\n" * 100,
    lambda: 1,
    object(),
    NotImplemented,
]
EXPECTED = [7.5, "word", True, [1.0, 2.0], (1.0, "a"), {"a": 1}, torch.eye(2), [["a"], ["b", "c"]], {1}, []]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_no_answer_however_odd_makes_a_check_raise_or_print_more_than_two_short_lines(capsys, odd):
    for expected in EXPECTED:
        if type(odd) is range and expected == []:
            continue
        checks.value("x", odd, expected)
        checks.function("x", lambda: odd, [((), expected)])
        checks.function("x", lambda same: same, [((odd,), expected)])
        checks.holds("x", odd, lambda _: False, "something else")
        lines = capsys.readouterr().out.splitlines()
        starts = [line for line in lines if not line.startswith("  ")]
        assert [line[:5] for line in starts] == ["✗ x: "] * 4
        assert len(lines) <= 8
        assert max(map(len, lines)) <= checks.LINE + 30


@given(NESTED, NESTED)
def test_any_two_answers_give_a_verdict_of_at_most_two_lines(got, expected):
    found = difference(got, expected)
    assert (found is None) == checks.same(got, expected)
    if found is not None:
        texts = [found.summary(), found.got, found.expected]
        assert texts[0]
        assert not any("\n" in text or len(text) > checks.LINE for text in texts)


def test_an_error_that_cannot_be_shown_is_named(capsys):
    checks.function("x", lambda: raising(HostileError()), [((), 1.0)])
    assert said(capsys).startswith("✗ x: for (): HostileError ·")


def test_a_large_answer_is_shown_by_its_first_wrong_number(capsys):
    large = torch.zeros(20, 30)
    large[3, 4] = 0.25
    checks.function("f", lambda: large, [((), torch.zeros(20, 30))], "the hint")
    assert (
        said(capsys)
        == "✗ f: for (): 1 of 600 numbers is wrong, at [3, 4] · hint: the hint · got 0.25 at [3, 4]"
    )


def test_a_line_too_long_puts_the_digits_on_a_second_one(capsys):
    checks.value("x", [0.1] * 8, [0.2] * 8, "look again at the line of the lecture " * 4)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "✗ x: all 8 numbers are wrong; every number is 0.5 times the expected one · hint: look"
    )
    assert second == "  got [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, …]"


# The module


def test_the_examples_in_the_docstrings_are_true():
    for module in (checks, attempts, differences, nudges, wording):
        assert doctest.testmod(module).failed == 0


def test_neither_torch_nor_numpy_is_imported():
    code = (
        "import sys; from nnhelpers.course import checks; checks.value('x', 1.0, [1.0]);"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
