"""One unit of tolerance in the last printed decimal, for strict nbval.

Other processors round the last bit otherwise, and a printed 2.4528 may become 2.4529 there. Integers, words, the
number of decimals and of outputs, and exceptions stay exact.
"""

from __future__ import annotations

import copy
import re
from decimal import Decimal

import sockets  # noqa: F401  (sets the transport)
from nbval.plugin import IPyNbCell

# a number with decimals, and the blanks before it, which give way when a sign or a digit is added
DECIMAL = re.compile(r"( *)(?<![\w.])(-?\d+\.\d+)(?![\w.])")


def settle(new: str, stored: str) -> str:
    """`stored` if `new` differs from it by at most one unit in the last place of each decimal number, else `new`."""
    if DECIMAL.sub("#", new) != DECIMAL.sub("#", stored):
        return new
    pairs = zip(DECIMAL.finditer(new), DECIMAL.finditer(stored), strict=True)
    return stored if all(_close(a, b) for a, b in pairs) else new


def _close(a: re.Match, b: re.Match) -> bool:
    x, y = Decimal(a[2]), Decimal(b[2])
    unit = Decimal(1).scaleb(y.as_tuple().exponent)
    same_decimals = x.as_tuple().exponent == y.as_tuple().exponent
    same_layout = len(a[1]) == len(b[1]) or len(a[0]) == len(b[0])
    return same_decimals and same_layout and abs(x - y) <= unit


def _settle_output(new: dict, stored: dict) -> None:
    if new.get("output_type") != stored.get("output_type"):
        return
    if "text" in new and "text" in stored:
        new["text"] = settle(new["text"], stored["text"])
    for kind in ("text/plain", "text/html"):
        if kind in new.get("data", {}) and kind in stored.get("data", {}):
            new["data"][kind] = settle(new["data"][kind], stored["data"][kind])


def install() -> None:
    """Wrap nbval's comparison, once."""
    strict = IPyNbCell.compare_outputs
    if getattr(strict, "settles", False):
        return

    def compare_outputs(self, test, ref, skip_compare=None):
        test = copy.deepcopy(test)
        for new, stored in zip(test, ref, strict=False):
            _settle_output(new, stored)
        return strict(self, test, ref, skip_compare)

    compare_outputs.settles = True
    IPyNbCell.compare_outputs = compare_outputs


install()
