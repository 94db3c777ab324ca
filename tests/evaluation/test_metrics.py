import math

import numpy as np

from msam_nn.evaluation.metrics import dice


def mask(*indices):
    array = np.zeros(6, bool)
    array[list(indices)] = True
    return array


def test_hand_worked():
    assert dice(mask(0, 1, 2), mask(1, 2, 3)) == 2 * 2 / 6


def test_perfect_and_disjoint():
    assert dice(mask(4), mask(4)) == 1
    assert dice(mask(0), mask(1)) == 0


def test_one_empty_is_zero_and_both_empty_undefined():
    assert dice(mask(), mask(1)) == 0
    assert math.isnan(dice(mask(), mask()))
