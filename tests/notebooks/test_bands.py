"""How far a printed number may lie from the stored one: every tag, from both sides of its ends."""

from __future__ import annotations

from decimal import Decimal

import pytest
from bands import BANDS, UNIT_ONLY, agrees, band_of, settle
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("new", "stored"),
    [
        ("a 1.25 b", "a 1.26 b"),
        ("It ends with 1.25.", "It ends with 1.26."),
        ("9.9999", "10.0000"),
        (" 9.9999", "10.0000"),
        ("999.9", "1,000.0"),
        ("1,234.5", "1,234.6"),
        ("-0.00", "0.00"),
        ("gain -0.00", "gain +0.00"),
        ("gain +0.00", "gain -0.00"),
        ("1.0, 2.5", "1.1, 2.4"),
        ("12.4%", "12.5%"),
    ],
)
def test_numbers_one_unit_apart_are_taken_for_equal(new, stored):
    assert settle(new, stored) == stored


@pytest.mark.parametrize(
    ("new", "stored"),
    [
        ("1.25", "1.27"),
        ("1.25", "1.2"),
        ("12", "13"),
        ("12%", "13%"),
        ("1.2.3", "1.2.4"),  # a version
        ("v1.25", "v1.26"),  # part of a word
        ("1.25x", "1.26x"),
        ("1.25 x", "1.26 y"),
        ("1.25", "1.25 1.25"),
        ("1.25", "+1.25"),
        ("+1.25", "1.25"),
        ("nan", "1.25"),
        ("1.5e-05", "1.6e-05"),
        ("  1.25", " 1.26"),
    ],
)
def test_anything_else_stays_different(new, stored):
    assert settle(new, stored) == new


# the stored number, the least and the largest that may come, and the ones just outside
ENDS = {
    "band-2%": ("100.00", "98.00", "102.00", "97.99", "102.01"),
    "band-10%": ("100.00", "90.00", "110.00", "89.99", "110.01"),
    "band-30%": ("100.00", "70.00", "130.00", "69.99", "130.01"),
    "band-2x": ("100.00", "50.00", "200.00", "49.99", "200.01"),
}


def test_every_band_has_its_ends_tested():
    assert ENDS.keys() == BANDS.keys()


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("tag", ENDS)
def test_a_number_within_its_band_passes_and_one_just_outside_does_not(tag, sign):
    stored, least, largest, below, above = (sign + number for number in ENDS[tag])
    for inside in (least, largest):
        assert agrees(inside, [(stored, BANDS[tag])])
    for outside in (below, above):
        assert not agrees(outside, [(stored, BANDS[tag])])


@pytest.mark.parametrize("tag", ENDS)
def test_percentages_take_part_and_other_integers_do_not(tag):
    whole = [number.removesuffix(".00") for number in ENDS[tag][:3]]
    stored, least, largest = whole
    for blank in ("", " "):
        for inside in (least, largest):
            assert settle(f"{inside}{blank}%", f"{stored}{blank}%", BANDS[tag]) == f"{stored}{blank}%"
        assert settle(f"1000{blank}%", f"{stored}{blank}%", BANDS[tag]) == f"1000{blank}%"
    assert settle(f"{least} steps", f"{stored} steps", BANDS[tag]) == f"{least} steps"


def test_a_band_never_gives_less_than_one_unit():
    assert settle("0.02", "0.01", BANDS["band-2%"]) == "0.01"
    assert settle("2%", "1%", BANDS["band-2%"]) == "1%"
    assert settle("3%", "1%", BANDS["band-2%"]) == "3%"


def test_a_band_leaves_decimals_layout_and_signs_exact():
    wide = BANDS["band-2x"]
    assert settle("9.5  x", "10.5  x", wide) == "10.5  x"
    assert settle(" 9.5", "10.5", wide) == "10.5"
    assert settle("   9.5", "10.5", wide) == "   9.5"
    assert settle("1.2", "1.25", wide) == "1.2"
    assert settle("-1.5", "1.5", wide) == "-1.5"
    assert settle("+1.4", "1.5", wide) == "+1.4"


def test_a_band_reaches_numbers_with_an_exponent():
    assert settle("1.5e-05", "1.6e-05", BANDS["band-10%"]) == "1.6e-05"
    assert settle("9.9e-06", "1.0e-05", BANDS["band-10%"]) == "1.0e-05"
    assert settle("1.5e-04", "1.6e-05", BANDS["band-2x"]) == "1.5e-04"


def test_parts_keep_their_own_bands():
    stored = [("loss 1.00\n", UNIT_ONLY), ("loss 1.00, 50%\n", BANDS["band-30%"])]
    assert agrees("loss 1.01\nloss 1.30, 65%\n", stored)
    assert not agrees("loss 1.30\nloss 1.00, 50%\n", stored)
    assert not agrees("loss 1.00\n", stored)
    assert not agrees("loss 1.00\nloss 1.00, 50%\nmore\n", stored)


@pytest.mark.parametrize(
    "tag", ["band", "band-3%", "band-10", "bands-10%", "Band-10%", "band10%", "band-2x "]
)
def test_a_tag_that_is_almost_a_band_is_refused(tag):
    with pytest.raises(ValueError, match="is no band"):
        band_of(["copy", tag])


def test_a_cell_has_one_band_at_most():
    assert band_of(["copy"]) == UNIT_ONLY
    assert band_of(["copy", "band-2x"]) == BANDS["band-2x"]
    with pytest.raises(ValueError, match="one band"):
        band_of(["band-2%", "band-10%"])


NUMBERS = st.decimals(min_value=-1000, max_value=1000, places=2)


@given(NUMBERS, NUMBERS, st.sampled_from([UNIT_ONLY, *BANDS.values()]))
def test_two_numbers_agree_when_the_definition_says_so(new, stored, band):
    low, high = sorted([stored * band.least, stored * band.largest])
    expected = low <= new <= high or abs(new - stored) <= Decimal("0.01")
    # a width that holds every number, as in a table
    assert agrees(f"{new:9.2f}", [(f"{stored:9.2f}", band)]) == expected
