import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from trials import CarefulUser, mean_dice, window_around_foreground


class TwoClasses(torch.nn.Linear):
    num_classes, background, click_reach = 2, True, (0.5, 0.5, 0.5)

    @staticmethod
    def add_background(masks):
        return torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)


def test_window_has_the_foreground_in_its_centre_and_zeros_beyond_the_image():
    truth = np.zeros((4, 6, 6), int)
    truth[0, 2:5, 1] = 1
    image = torch.arange(1.0, 145.0).reshape(1, 4, 6, 6)
    window, cut = window_around_foreground(image, truth, (4, 2, 4))
    assert window.shape == (1, 4, 2, 4) and cut.shape == (4, 2, 4)
    assert not window[0, :2].any() and not window[0, :, :, 0].any()
    assert torch.equal(window[0, 2:, :, 1:], image[0, :2, 2:4, :3]) and cut[2, :, 2].tolist() == [1, 1]


@pytest.mark.parametrize(("corrected", "dices"), [(False, [0.0, 0.0]), (True, [0.0, 1.0])])
def test_a_user_sees_the_corrections_only_where_asked(corrected, dices):
    """Each class is one voxel that the network never finds."""
    truth = np.zeros((3, 3, 3), int)
    truth[0, 0, 0], truth[2, 2, 2] = 1, 2
    user, masks = CarefulUser(TwoClasses(1, 1), truth, corrected, n_auto_stages=1), torch.full((1, 2, 3, 3, 3), -3.0)
    assert user(0, None) is None
    points, labels = user(1, masks)
    assert points[0, :, 0].tolist() == [[0, 0, 0], [2, 2, 2]] and labels.flatten().tolist() == [1, 1]
    user.see(masks)
    assert user.scores == dices


def test_without_automatic_stages_the_first_click_falls_on_an_empty_mask():
    truth = np.zeros((3, 3, 3), int)
    truth[1, 1, 1] = 2
    user = CarefulUser(TwoClasses(1, 1), truth, corrected=False, n_auto_stages=0)
    points, labels = user(0, None)
    assert labels.flatten().tolist() == [-1, 1] and points[0, 1, 0].tolist() == [1, 1, 1]
    assert user.scores == [0.0]


def test_mean_dice_is_over_classes():
    assert mean_dice(np.array([1, 1, 2, 0]), np.array([1, 0, 2, 0]), 2) == pytest.approx((2 / 3 + 1) / 2)
