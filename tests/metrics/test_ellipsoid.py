import math

import numpy as np
import pytest

from msam_nn.metrics.ellipsoid import BlindEllipsoid, blind_dice, fit_ellipsoid


def ball(shape, centre, radii):
    return BlindEllipsoid(np.divide(centre, shape), np.zeros(3), np.array(radii, float)).predict(shape)


def test_mask_by_hand():
    """Radius 1.5 around the centre of the middle voxel of 5: its neighbours at distance 1 and sqrt(2) are inside."""
    mask = BlindEllipsoid(np.full(3, 0.5), np.full(3, 0.3), np.zeros(3)).predict((5, 5, 5))
    assert mask.sum() == 1 + 6 + 12
    assert mask[2, 2, 3] and mask[2, 3, 3] and not mask[3, 3, 3] and not mask[2, 2, 4]


def test_radius_grows_with_each_axis_and_never_vanishes():
    ellipsoid = BlindEllipsoid(np.array([0.5, 0.5, 0.25]), np.full(3, 0.5), np.array([-1.0, -1.0, -20.0]))
    z, y, x = np.nonzero(ellipsoid.predict((8, 12, 18)))
    assert (np.ptp(z) + 1, np.ptp(y) + 1) == (6, 10)
    assert set(x) == {4}  # the centre is at 4.5; radius 0.5 instead of -11


def test_recovers_an_ellipsoid():
    masks = [ball((30, 40, 50), (15, 20, 10), (8, 12, 5))]
    assert blind_dice(masks * 2) == pytest.approx([1, 1], abs=0.03)
    assert fit_ellipsoid(masks).predict((60, 80, 100)).sum() == pytest.approx(8 * masks[0].sum(), rel=0.1)


def test_shape_gives_a_lesion_away_where_data_were_cropped_around_it():
    rng = np.random.default_rng(0)
    cropped, whole = [], []
    for _ in range(15):
        radii = rng.uniform(3, 12, 3)
        shape = np.ceil(2 * radii + 12).astype(int)  # a margin of 6 voxels
        cropped.append(ball(shape, shape / 2, radii))
        whole.append(ball((40, 40, 40), rng.uniform(10, 30, 3), radii))
    assert np.mean(blind_dice(cropped)) > 0.9
    assert np.mean(blind_dice(whole)) < 0.5


def test_empty_masks_are_left_out():
    mask = ball((9, 9, 9), (4.5, 4.5, 4.5), (3, 3, 3))
    scores = blind_dice([np.zeros((4, 4, 4), bool), mask, mask])
    assert math.isnan(scores[0]) and min(scores[1:]) > 0.8
    with pytest.raises(ValueError, match="at least one mask"):
        fit_ellipsoid([np.zeros((4, 4, 4), bool)])
    with pytest.raises(ValueError, match="at least two masks"):
        blind_dice([mask, np.zeros((4, 4, 4), bool)])


def test_held_out_masks_do_not_inform_their_own_guess():
    """Two lesions in opposite corners of equal arrays: each is guessed where the other lies."""
    masks = [ball((20, 20, 20), (c, c, c), (3, 3, 3)) for c in (4, 16)]
    assert blind_dice(masks).tolist() == [0, 0]
