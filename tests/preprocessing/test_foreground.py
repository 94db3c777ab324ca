import numpy as np
import pytest
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.preprocessing.foreground import oversampling, rarest_fraction


def label_map(*values):
    return np.array(values).reshape(1, 1, -1)


def test_the_rarest_class_counts_where_it_occurs():
    labels = LabelManager({"background": 0, "organ": 1, "tumour": 2}, None)
    maps = [label_map(0, 1, 1, 1), label_map(1, 1, 1, 2), label_map(0, 0, 0, 0)]
    assert rarest_fraction(maps, labels) == 0.25
    assert rarest_fraction(maps[::2], labels) == 0.75


def test_no_foreground_is_zero():
    assert rarest_fraction([label_map(0, 0)], LabelManager({"background": 0, "tumour": 1}, None)) == 0.0


def test_regions_are_joined_and_the_ignore_label_is_none_of_them():
    labels = LabelManager({"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, [1, 2])
    assert rarest_fraction([label_map(1, 1, 2, 2, 3, 3, 3, 3)], labels) == 0.25
    assert rarest_fraction([label_map(1, 1, 1, 1, 3, 3, 0, 0)], labels) == 0.5


@pytest.mark.parametrize(
    ("patch", "fraction", "expected"),
    [
        ((64, 64, 64), 0.01, 0.5),  # the whole image: every patch meets the object
        ((32, 32, 32), 0.0, 0.71),  # an eighth by chance: 0.75 = 0.125 + 0.875 * 0.714
        ((32, 32, 32), 0.001, 0.68),  # (0.5 + 0.1)^3 = 0.216 by chance
        ((6, 6, 6), 0.0, 0.75),
    ],
)
def test_oversampling_fills_up_to_three_quarters(patch, fraction, expected):
    share, why = oversampling(patch, (64, 64, 64), fraction)
    assert share == expected and f"{share:.0%}" in why
