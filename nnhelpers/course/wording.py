"""Answers of any kind in a few words: what they are, and what they hold."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Set
from itertools import islice
from numbers import Number
from typing import Any

SHOWN = 8  # an answer with more numbers than this is not shown whole
WIDTH = 80  # characters of an answer that is shown


def short(answer: Any) -> str:
    """A few words for any answer: floats to six digits, long lists cut, a large table as its shape.

    >>> short([1 / 3, (2, "a")])
    "[0.333333, (2, 'a')]"
    """
    try:
        return cut(_short(answer, 0), WIDTH)
    except Exception as error:
        if is_array(answer):
            return kind(answer)
        return f"an object of the class {type(answer).__name__} (shown it raises {type(error).__name__})"


def cut(text: str, width: int) -> str:
    """`text` in one line of at most `width` characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def plain(answer: Any) -> Any:
    """An array without axes as its number, a `Value` as its number, all else as it is."""
    if isinstance(answer, type):
        return answer
    if is_array(answer) and answer.shape == ():
        return answer.tolist()
    number = attribute(answer, "data")
    return number if isinstance(number, float) else answer


def is_array(answer: Any) -> bool:
    """Whether it is a tensor or an array of numpy."""
    has_both = None not in (attribute(answer, "tolist"), attribute(answer, "shape"))
    return has_both and not isinstance(answer, type)


def attribute(answer: Any, name: str) -> Any:
    """An attribute of any object, None if there is none or reading it fails."""
    try:
        return getattr(answer, name, None)
    except Exception:
        return None


# Kinds, in words


def unlike_kinds(got: Any, expected: Any) -> str:
    """The two kinds in words, "a string, expected a number"; nothing if they are one."""
    kinds = kind(got), kind(expected)
    return f"{kinds[0]}, expected {kinds[1]}" if kinds[0] != kinds[1] else ""


def kind(answer: Any) -> str:
    """What an answer is, in words: "a number", "a list of 3", "a Tensor of shape (2, 3)"."""
    answer = _plain_or_itself(answer)
    words: list[tuple[type | tuple[type, ...], str]] = [
        (type(None), "nothing (None)"),
        (bool, "a truth value (True or False)"),
        (Number, "a number"),
        (str, "a string"),
        ((bytes, bytearray), "bytes"),
        (Mapping, "a dict"),
        (Set, "a set"),
        (type, "a class"),
    ]
    for kinds, word in words:
        if isinstance(answer, kinds):
            return word
    if isinstance(answer, tuple):
        return f"a tuple of {len(answer)}"
    if isinstance(answer, list):
        return f"a list of {len(answer)}"
    if is_array(answer):
        return f"{_article(type(answer).__name__)} of shape {tuple(answer.shape)}"
    return "a function" if callable(answer) else f"an object of the class {type(answer).__name__}"


def _article(noun: str) -> str:
    return ("an " if noun[:1].lower() in "aeiou" else "a ") + noun


def _plain_or_itself(answer: Any) -> Any:
    try:
        return plain(answer)
    except Exception:
        return answer


# Short texts


def _short(answer: Any, depth: int) -> str:
    if isinstance(answer, type) or _is_function(answer):
        return answer.__name__
    answer = plain(answer)
    if isinstance(answer, float):
        return f"{answer:.6g}"
    if is_array(answer) and math.prod(answer.shape) > SHOWN:
        return kind(answer)
    if isinstance(answer, (list, tuple)) or is_array(answer):
        return _short_sequence(answer, depth)
    if isinstance(answer, dict):
        return _short_dict(answer, depth)
    return reprlib.repr(answer) if isinstance(answer, (str, int)) else _short_object(answer)


def _is_function(answer: Any) -> bool:
    return callable(answer) and isinstance(getattr(answer, "__name__", None), str)


def _short_sequence(answer: Any, depth: int) -> str:
    items = answer.tolist() if is_array(answer) else answer
    if depth > 3:
        return "[…]"
    texts = [_short(item, depth + 1) for item in items[:6]] + ["…"] * (len(items) > 6)
    if isinstance(answer, tuple):
        return "(" + ", ".join(texts) + ("," if len(answer) == 1 else "") + ")"
    return "[" + ", ".join(texts) + "]"


def _short_dict(answer: dict, depth: int) -> str:
    if depth > 3:
        return "{…}"
    pairs = islice(answer.items(), 6)
    texts = [f"{_short(key, depth + 1)}: {_short(value, depth + 1)}" for key, value in pairs]
    return "{" + ", ".join(texts + ["…"] * (len(answer) > 6)) + "}"


def _short_object(answer: Any) -> str:
    """An object's own text, unless it is the one with an address that says nothing."""
    text = reprlib.repr(answer)
    return kind(answer) if " at 0x" in text or text.startswith("<") else text
