"""How far a printed number may lie from the stored one, and everything else exactly.

Other processors and other versions of torch round the last bit otherwise, and a printed 2.4528 may become 2.4529 there.
So a decimal may differ by one unit in its last printed place. Where training makes more of such a difference, a tag of
the cell widens that for its decimals and its percentages:

    band-2%, band-10%, band-30%    by so much of the stored number (or one unit in the last place, if that is more)
    band-2x                        from half of the stored number to twice it

Integers that are not percentages, words, the number of decimals, and the layout stay exact under every tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple


class Band(NamedTuple):
    """The least and the largest share of the stored number that a new one may be."""

    least: Decimal
    largest: Decimal


UNIT_ONLY = Band(Decimal(1), Decimal(1))
BANDS = {
    "band-2%": Band(Decimal("0.98"), Decimal("1.02")),
    "band-10%": Band(Decimal("0.90"), Decimal("1.10")),
    "band-30%": Band(Decimal("0.70"), Decimal("1.30")),
    "band-2x": Band(Decimal("0.5"), Decimal(2)),
}

# The blanks before a number give way when a sign or a digit is added.
BLANKS = r"( *)(?<![\w.])"
# 2.4528, -0.5, 1,234.50
DECIMAL = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)\.\d+"
# 12% and 12 %, without the sign
PERCENTAGE = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?= ?%)"
# no further digit, letter or part of a version
END = r"(?!\w|\.\d)"
STRICT_NUMBER = rf"{BLANKS}({DECIMAL}){END}"
# with a band, an exponent may follow: 1.5e-05
BANDED_NUMBER = rf"{BLANKS}({DECIMAL}(?:e[-+]\d+)?{END}|{PERCENTAGE})"


def band_of(tags: Iterable[str]) -> Band:
    """The band that a cell's tags ask for; a tag that looks like a band and is none raises `ValueError`."""
    asked = [tag for tag in tags if tag.lower().startswith("band")]
    unknown = [tag for tag in asked if tag not in BANDS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no band; the tags of bands are {', '.join(BANDS)}")
    if len(asked) > 1:
        raise ValueError(f"a cell has one band, not {' and '.join(asked)}")
    return BANDS[asked[0]] if asked else UNIT_ONLY


def within(new: Decimal, stored: Decimal, band: Band) -> bool:
    """Whether `new` lies within the band around `stored`; the ends belong to it."""
    low, high = sorted((stored * band.least, stored * band.largest))
    return low <= new <= high


def agrees(new: str, stored: Sequence[tuple[str, Band | None]]) -> bool:
    """Whether a text is the stored parts, one after the other, but for numbers within the band of their part.

    A part without a band (None) may be anything.
    """
    expected = []
    pattern = ""
    for text, band in stored:
        if band is None:
            pattern += r"(?s:.*?)"
            continue
        number = STRICT_NUMBER if band == UNIT_ONLY else BANDED_NUMBER
        end = 0
        for match in re.finditer(number, text):
            pattern += re.escape(text[end : match.start()]) + number
            expected.append((match, band))
            end = match.end()
        pattern += re.escape(text[end:])
    found = re.fullmatch(pattern, new)
    if found is None:
        return False
    # two groups for each number: the blanks and the number
    groups = found.groups()
    pairs = zip(groups[::2], groups[1::2], expected, strict=True)
    return all(_close(blanks, number, *stored_number) for blanks, number, stored_number in pairs)


def settle(new: str, stored: str, band: Band = UNIT_ONLY) -> str:
    """`stored` if `new` agrees with it, else `new`: what a strict comparison can then be given."""
    return stored if agrees(new, [(stored, band)]) else new


def _close(blanks: str, number: str, stored: re.Match[str], band: Band) -> bool:
    """Whether a number, with the blanks before it, may stand for the stored one."""
    old = stored[2]
    same_width = len(blanks) + len(number) == len(stored[0])
    same_layout = len(blanks) == len(stored[1]) or same_width
    # where a plus is printed, a minus may take its place
    same_signs = number[0] in "+-" if old[0] == "+" else number[0] != "+" or old[0] == "-"
    if not (same_layout and same_signs and _decimals(number) == _decimals(old)):
        return False
    x, y = Decimal(number.replace(",", "")), Decimal(old.replace(",", ""))
    # "1.50" counts in hundredths, "12" (per cent) in ones
    unit = Decimal(1).scaleb(int(y.as_tuple().exponent))
    return abs(x - y) <= unit or within(x, y, band)


def _decimals(number: str) -> int:
    """How many digits stand after the point."""
    return len(number.partition("e")[0].partition(".")[2])
