import pytest

from msam_nn.reports.wording import listed, number, times, volume


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
