from math import log

import pytest
import torch

from msam_nn.networks import Points
from msam_nn.trainers.click_loss import click_loss

UNIT = (1, 1, 1)


def click(voxel, label=1, classes=1):
    labels = torch.full((1, classes, 1), -1)
    labels[0, 0, 0] = label
    return Points(torch.tensor(voxel).expand(1, classes, 1, 3), labels)


def box(*bounds, size=20):
    mask = torch.zeros(1, 1, size, size, size, dtype=torch.bool)
    mask[(..., *(slice(*b) for b in bounds))] = True
    return mask


def logits(mask, height=20.0):
    return torch.where(mask, height, -height)


TRUTH = box((5, 15), (5, 15), (5, 15))
BEFORE = logits(box((5, 15), (5, 15), (5, 11)), 2.0)
CLICK = click((10, 10, 12))


def test_by_hand_from_no_mask():
    """Eight voxels, two of them inside, all undecided: ln 2, and 1 - (2 x 0.5 x 2 + 1) / (0.5 x 8 + 2 + 1)."""
    truth = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool)
    truth[0, 0, 0, 0] = True
    loss = click_loss(torch.zeros(1, 1, 2, 2, 2), None, click((0, 0, 0)), truth, unit=UNIT)
    assert loss.item() == pytest.approx(log(2) + 4 / 7)


def test_a_perfect_mask_costs_nothing():
    assert click_loss(logits(TRUTH), BEFORE, CLICK, TRUTH, unit=UNIT).item() == pytest.approx(0, abs=1e-6)


def test_what_is_far_from_the_click_does_not_count():
    masks = logits(TRUTH).requires_grad_()
    click_loss(masks, BEFORE, CLICK, ~TRUTH, unit=UNIT).backward()
    assert masks.grad[0, 0, 10, 10, 12].abs() > 1e3 * masks.grad[0, 0, 0, 0, 0].abs()


def test_spoiling_costs_more_than_leaving_wrong():
    """A voxel of the error left, against one as far from the click that was right and is wrong now."""
    left, spoiled = logits(TRUTH), logits(TRUTH)
    left[0, 0, 10, 10, 14] = -20.0
    spoiled[0, 0, 10, 10, 10] = -20.0
    costs = [click_loss(masks, BEFORE, CLICK, TRUTH, unit=UNIT).item() for masks in (left, spoiled)]
    assert 1.5 * costs[0] < costs[1]


def test_ignored_voxels_do_not_count():
    wrong = logits(TRUTH)
    wrong[0, 0, 10, 10, 13] = -20.0
    valid = torch.ones_like(TRUTH)
    valid[0, 0, 10, 10, 13] = False
    assert click_loss(wrong, BEFORE, CLICK, TRUTH, valid, unit=UNIT).item() == pytest.approx(0, abs=1e-6)
    assert click_loss(wrong, BEFORE, CLICK, TRUTH, unit=UNIT).item() > 0.005


def test_only_clicked_classes_count():
    masks = torch.cat([logits(TRUTH), logits(~TRUTH)], dim=1)
    before, truth = BEFORE.repeat(1, 2, 1, 1, 1), TRUTH.repeat(1, 2, 1, 1, 1)
    for start in (before, None):
        loss = click_loss(masks, start, click((10, 10, 12), classes=2), truth, unit=UNIT)
        assert loss.item() == pytest.approx(0, abs=1e-6)


def test_no_click_at_all_is_no_loss():
    masks = logits(~TRUTH).requires_grad_()
    for start in (BEFORE, None):
        loss = click_loss(masks, start, click((0, 0, 0), label=-1), TRUTH, unit=UNIT)
        loss.backward()
        assert loss.item() == 0 and not masks.grad.any()
