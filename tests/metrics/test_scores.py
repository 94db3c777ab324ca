import math
import warnings

import numpy as np
import pytest
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn, region_or_label_to_mask

from msam_nn.metrics.scores import class_masks, dice, iou, lesion_counts, score, surface_metrics

ANISOTROPIC = (3.0, 1.0, 2.0)


def mask(*indices):
    array = np.zeros(6, bool)
    array[list(indices)] = True
    return array


def box(*bounds, shape=(12, 14, 16)):
    """A mask with boxes, each given as three (start, stop)."""
    array = np.zeros(shape, bool)
    for bound in bounds:
        array[tuple(slice(*b) for b in bound)] = True
    return array


EMPTY = box()
VOXEL = box([(5, 6), (6, 7), (7, 8)])
CUBE = box([(3, 9), (4, 10), (5, 11)])


def test_hand_worked():
    assert dice(mask(0, 1, 2), mask(1, 2, 3)) == 2 * 2 / 6
    assert iou(mask(0, 1, 2), mask(1, 2, 3)) == 2 / 4


@pytest.mark.parametrize("overlap", [dice, iou])
def test_perfect_and_disjoint(overlap):
    assert overlap(mask(4), mask(4)) == 1
    assert overlap(mask(0), mask(1)) == 0


@pytest.mark.parametrize("overlap", [dice, iou])
def test_one_empty_is_zero_and_both_empty_undefined(overlap):
    assert overlap(mask(), mask(1)) == overlap(mask(1), mask()) == 0
    assert math.isnan(overlap(mask(), mask()))


@pytest.mark.parametrize("region", [1, (1, 2), (2,)])
@pytest.mark.parametrize("ignore_label", [None, 3])
def test_class_masks_count_as_nnunet_does(region, ignore_label):
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (6, 7, 8)), rng.integers(0, 3, (6, 7, 8))
    ours = class_masks(prediction, truth, region, ignore_label)
    reference = [region_or_label_to_mask(m, region) for m in (truth, prediction)]
    tp, fp, fn, _ = compute_tp_fp_fn_tn(*reference, None if ignore_label is None else truth == ignore_label)
    assert dice(*ours) == 2 * tp / (2 * tp + fp + fn)
    assert iou(*ours) == tp / (tp + fp + fn)


@pytest.mark.parametrize("shape", [VOXEL, CUBE], ids=["voxel", "cube"])
def test_perfect_surface(shape):
    assert surface_metrics(shape, shape, ANISOTROPIC, 0) == (1, 0)


@pytest.mark.parametrize(("axis", "distance"), [(0, 3), (1, 1), (2, 2)])
def test_a_voxel_moved_by_one_is_one_spacing_away(axis, distance):
    """The voxel's surface points are its eight corners: four are shared, four are one spacing away."""
    nsd, hd95 = surface_metrics(np.roll(VOXEL, 1, axis), VOXEL, ANISOTROPIC, distance - 0.01)
    assert (nsd, hd95) == (pytest.approx(0.5), distance)
    assert surface_metrics(np.roll(VOXEL, 1, axis), VOXEL, ANISOTROPIC, distance) == (1, distance)


def test_cubes_far_apart():
    nsd, hd95 = surface_metrics(box([(0, 3), (0, 3), (0, 3)]), box([(0, 3), (0, 3), (10, 13)]), (1, 1, 1), 1)
    assert nsd == 0
    assert hd95 == 10  # the far faces; at least 5 % of the area is there


def test_masks_at_the_border_measure_like_masks_inside():
    """surface-distance crops to the masks; neither the crop nor the border of the image may change anything."""
    rng = np.random.default_rng(1)
    prediction, truth = rng.random((2, 5, 6, 7)) > 0.6
    prediction[0], truth[-1] = True, True
    inside = surface_metrics(np.pad(prediction, 4), np.pad(truth, 4), ANISOTROPIC, 1.5)
    assert surface_metrics(prediction, truth, ANISOTROPIC, 1.5) == pytest.approx(inside)
    whole = np.ones((5, 6, 7), bool)
    assert surface_metrics(whole, whole, ANISOTROPIC) == (1, 0)


def test_surface_is_symmetric_and_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        there = surface_metrics(CUBE, VOXEL, ANISOTROPIC)
    assert there == pytest.approx(surface_metrics(VOXEL, CUBE, ANISOTROPIC))


def test_empty_surfaces():
    assert surface_metrics(EMPTY, CUBE, ANISOTROPIC) == surface_metrics(CUBE, EMPTY, ANISOTROPIC) == (0, math.inf)
    assert all(math.isnan(v) for v in surface_metrics(EMPTY, EMPTY, ANISOTROPIC))


LEFT, RIGHT = [(0, 4), (0, 4), (0, 4)], [(0, 4), (0, 4), (8, 12)]


def test_lesions_by_hand():
    truth = box(LEFT, RIGHT)
    counts = lesion_counts(box(LEFT, [(8, 9), (8, 9), (14, 15)]), truth)
    assert (counts.true, counts.predicted, counts.matched, counts.false_positives) == (2, 2, 1, 1)
    assert counts.sensitivity == counts.f1 == 0.5
    perfect = lesion_counts(truth, truth)
    assert (perfect.sensitivity, perfect.false_positives, perfect.f1) == (1, 0, 1)


def test_diagonal_neighbours_are_one_lesion():
    diagonal = box([(1, 2), (1, 2), (1, 2)], [(2, 3), (2, 3), (2, 3)])
    assert lesion_counts(diagonal, diagonal).true == 1


def test_iou_threshold_is_inclusive():
    truth, prediction = box([(0, 1), (0, 1), (0, 10)]), box([(0, 1), (0, 1), (0, 1)])
    assert lesion_counts(prediction, truth, 0.1).matched == 1
    assert lesion_counts(prediction, truth, 0.11).matched == 0


def test_lesions_match_one_to_one():
    merged = box([(0, 4), (0, 4), (0, 12)])
    assert lesion_counts(merged, box(LEFT, RIGHT)).matched == 1
    assert lesion_counts(box(LEFT, RIGHT), merged).matched == 1


def test_as_many_matches_as_possible():
    """The first prediction overlaps both lesions, best the left one, which alone the second can match."""
    truth = box([(0, 1), (0, 1), (0, 6)], [(0, 1), (0, 1), (8, 10)])
    prediction = box([(0, 1), (0, 1), (2, 10)], [(0, 1), (0, 1), (0, 1)])
    assert lesion_counts(prediction, truth).matched == 2


def test_more_than_255_lesions():
    truth = np.zeros((14, 14, 14), bool)
    truth[::2, ::2, ::2] = True
    assert lesion_counts(truth, truth).matched == 343


def test_empty_lesions():
    nothing = lesion_counts(EMPTY, EMPTY)
    assert math.isnan(nothing.sensitivity) and math.isnan(nothing.f1) and nothing.false_positives == 0
    false_alarm = lesion_counts(CUBE, EMPTY)
    assert math.isnan(false_alarm.sensitivity) and (false_alarm.f1, false_alarm.false_positives) == (0, 1)
    missed = lesion_counts(EMPTY, CUBE)
    assert (missed.sensitivity, missed.f1, missed.false_positives) == (0, 0, 0)


def test_a_single_slice_is_measured_along_its_contours():
    """nnU-Net reads 2D images as one slice 999 mm thick. Moved by 5 of 40 pixels, of the contour of a square the sides
    along the motion stay, but for their ends: about half of it is within 1 mm."""
    truth = np.zeros((1, 80, 80), bool)
    truth[0, 20:60, 20:60] = True
    measured = score(np.roll(truth, 5, 2), truth, (999, 1, 1))
    assert measured.nsd == pytest.approx(0.475, abs=0.001) and measured.hd95 == 5
    assert np.isnan([measured.true_ml, measured.volume_error_ml]).all() and measured.relative_volume_error == 0


def test_volumes_in_ml():
    half = CUBE & box([(3, 6), (0, 14), (0, 16)])
    small = score(half, CUBE, ANISOTROPIC)
    assert small.true_ml == pytest.approx(216 * 6 / 1000)
    assert small.volume_error_ml == pytest.approx(-0.648)
    assert small.relative_volume_error == pytest.approx(0.5)
    assert score(CUBE, half, ANISOTROPIC).relative_volume_error == pytest.approx(1)
    assert math.isnan(score(CUBE, EMPTY, ANISOTROPIC).relative_volume_error)


def test_perfect_score():
    result = score(CUBE, CUBE, ANISOTROPIC)
    assert (result.dice, result.iou, result.nsd, result.hd95) == (1, 1, 1, 0)
    assert (result.lesion_sensitivity, result.lesion_false_positives, result.lesion_f1) == (1, 0, 1)
    assert result.volume_error_ml == result.relative_volume_error == 0
