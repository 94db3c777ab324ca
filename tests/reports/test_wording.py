from math import nan

import pytest

from msam_nn.reports.wording import listed, number, p_value, signed, times, volume, with_interval


@pytest.mark.parametrize(
    ("value", "text"), [(2339.4, "2339"), (27.88, "27.9"), (0.004123, "0.00412"), (1, "1"), (0, "0"), (260, "260")]
)
def test_numbers_have_three_digits_and_no_exponent(value, text):
    assert number(value) == text


def test_units_and_lists():
    assert (volume(99.9), volume(1500)) == ("99.9 mm³", "1.5 ml")
    assert times((4, 0.75)) == "4 × 0.75"
    assert listed("abcde") == "a, b, c, d, e"
    assert listed("abcdefg") == "a, b, c, d, e and 2 more"


def test_differences_and_p_values_show_what_there_is():
    assert with_interval(0.12, -0.003, 0.24) == "+0.120 [-0.003, +0.240]"
    assert with_interval(-0.5, nan, nan) == signed(-0.5) == "-0.500" and with_interval(nan, nan, nan) == "–"
    assert [p_value(p) for p in (5e-10, 0.0312, 1.0, nan)] == ["5e-10", "0.031", "1", "–"]
