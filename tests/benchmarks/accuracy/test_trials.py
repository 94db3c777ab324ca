import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks" / "accuracy"))

from trials import N_CLICKS, ScoredUser, class_masks, click_curve, mean_dice, validation_cases, window_around_foreground

TWO_VOXELS = np.zeros((3, 3, 3), int)
TWO_VOXELS[0, 0, 0], TWO_VOXELS[2, 2, 2] = 1, 2


class FindsNothing(torch.nn.Linear):
    """Two classes; asks for clicks and does not heed them."""

    num_classes, patch_size, click_reach, n_auto_stages = 2, (3, 3, 3), (0.2, 0.2, 0.2), 1

    def forward(self, image, source, n_stages):
        masks = torch.full((1, 2, 3, 3, 3), -3.0)
        for stage in range(n_stages):
            source(stage, masks if stage else None)
        return [torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)]


def test_window_has_the_foreground_in_its_centre_and_zeros_beyond_the_image():
    truth = np.zeros((4, 6, 6), int)
    truth[0, 2:5, 1] = 1
    image = torch.arange(1.0, 145.0).reshape(1, 4, 6, 6)
    window, cut = window_around_foreground(image, truth, (4, 2, 4))
    assert window.shape == (1, 4, 2, 4) and cut.shape == (4, 2, 4)
    assert not window[0, :2].any() and not window[0, :, :, 0].any()
    assert torch.equal(window[0, 2:, :, 1:], image[0, :2, 2:4, :3]) and cut[2, :, 2].tolist() == [1, 1]


@pytest.mark.parametrize(("reach", "dices"), [(None, [0.0, 0.0]), ((0.2, 0.2, 0.2), [0.0, 1.0])])
def test_a_user_notes_the_dice_of_what_it_sees(reach, dices):
    """Each class is one voxel that the network never finds."""
    masks = torch.full((1, 2, 3, 3, 3), -3.0)
    user = ScoredUser(torch.from_numpy(class_masks(TWO_VOXELS, 2))[None], first_click=1, reach=reach)
    assert user(0, None) is None
    points, labels = user(1, masks)
    assert points[0, :, 0].tolist() == [[0, 0, 0], [2, 2, 2]] and labels.flatten().tolist() == [1, 1]
    user.error(masks)
    assert user.scores == dices


def test_without_automatic_stages_the_first_click_falls_on_an_empty_mask():
    truth = np.zeros((3, 3, 3), int)
    truth[1, 1, 1] = 2
    user = ScoredUser(torch.from_numpy(class_masks(truth, 2))[None])
    points, labels = user(0, None)
    assert labels.flatten().tolist() == [-1, 1] and points[0, 1, 0].tolist() == [1, 1, 1]
    assert user.scores == [0.0]


@pytest.mark.parametrize("n_auto_stages", [None, 0])
@pytest.mark.parametrize(("corrected", "after_a_click"), [(False, 0.0), (True, 1.0)])
def test_a_curve_sees_the_corrections_only_where_asked(n_auto_stages, corrected, after_a_click):
    curve = click_curve(FindsNothing(1, 1), [(torch.zeros(1, 3, 3, 3), TWO_VOXELS)], corrected, n_auto_stages)
    assert curve == {0: 0.0, 1: after_a_click, 3: after_a_click, 5: after_a_click, N_CLICKS: after_a_click}


def test_a_window_that_holds_none_of_the_foreground_does_not_count():
    """It lies between two voxels that are seven apart."""
    apart = np.zeros((3, 3, 8), int)
    apart[1, 1, [0, 7]] = 1
    cases = [(torch.zeros(1, 3, 3, 8), apart), (torch.zeros(1, 3, 3, 3), TWO_VOXELS)]
    assert click_curve(FindsNothing(1, 1), cases, corrected=True)[1] == 1.0


def test_mean_dice_is_over_the_classes_that_are_there():
    found, truth = np.array([1, 1, 2, 0]), np.array([1, 0, 2, 0])
    assert mean_dice(class_masks(found, 2), class_masks(truth, 2)) == pytest.approx((2 / 3 + 1) / 2)
    assert mean_dice(class_masks(found, 2), class_masks(np.array([1, 0, 0, 0]), 2)) == pytest.approx(2 / 3)
    assert np.isnan(mean_dice(class_masks(found, 2), class_masks(np.zeros(4, int), 2)))


def test_cases_without_foreground_are_not_scored():
    truths = {"a": 0 * TWO_VOXELS, "b": TWO_VOXELS, "c": 0 * TWO_VOXELS - 1, "d": 2 * TWO_VOXELS, "e": TWO_VOXELS}
    validation = SimpleNamespace(
        identifiers=list(truths), load_case=lambda name: (np.zeros((1, 3, 3, 3)), truths[name][None], None, {})
    )
    trainer = SimpleNamespace(get_tr_and_val_datasets=lambda: (None, validation))
    assert [truth.max() for _, truth in validation_cases(trainer, 2)] == [2, 4]
    assert len(validation_cases(trainer, 9)) == 3
