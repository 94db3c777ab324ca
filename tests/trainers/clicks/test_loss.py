from math import log

import pytest
import torch

from msam_nn.networks import Points
from msam_nn.trainers.clicks.loss import click_loss as loss_of

UNIT = (1, 1, 1)


def click_loss(masks, *arguments, exclusive=True, **options):
    if exclusive:
        masks = torch.cat([torch.zeros_like(masks[:, :1]), masks], dim=1)
    return loss_of(masks, *arguments, exclusive=exclusive, **options)


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


@pytest.mark.parametrize("exclusive", [True, False])
def test_by_hand_from_no_mask(exclusive):
    """Eight voxels, two of them inside, all undecided: ln 2, and 1 - (2 x 0.5 x 2 + 1) / (0.5 x 8 + 2 + 1)."""
    truth = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool)
    truth[0, 0, 0, 0] = True
    loss = click_loss(torch.zeros(1, 1, 2, 2, 2), None, click((0, 0, 0)), truth, unit=UNIT, exclusive=exclusive)
    assert loss.item() == pytest.approx(log(2) + 4 / 7)


def test_classes_that_exclude_each_other_compete():
    """Two classes, both certain of the one voxel: softmax knows that one is wrong, and a sigmoid of the first does
    not."""
    truth = torch.tensor([True, False]).view(1, 2, 1, 1, 1)
    masks = torch.full((1, 2, 1, 1, 1), 20.0)
    softmax, sigmoid = (
        click_loss(masks, None, click((0, 0, 0), classes=2), truth, unit=UNIT, exclusive=exclusive).item()
        for exclusive in (True, False)
    )
    assert softmax == pytest.approx(log(2) + 1 - (2 * 0.5 + 1) / (0.5 + 1 + 1))
    assert sigmoid == pytest.approx(0, abs=1e-6)


def test_a_class_that_loses_to_another_can_be_mended_as_cheaply_as_any_error():
    """Where class 1 has a logit above 0 but class 2 a higher one, class 1 was not right before."""
    truth = torch.cat([TRUTH, ~TRUTH], dim=1)
    before = torch.cat([torch.full_like(BEFORE, 1.0), logits(~TRUTH, 3.0)], dim=1)
    before[:, 1, 10, 10, 12] = 5.0
    lost = torch.cat([logits(TRUTH), logits(~TRUTH)], dim=1)
    lost[:, 0, 10, 10, 12], lost[:, 1, 10, 10, 12] = -20.0, 20.0
    beside = torch.cat([logits(TRUTH), logits(~TRUTH)], dim=1)
    beside[:, 0, 10, 10, 10], beside[:, 1, 10, 10, 10] = -20.0, 20.0
    at_click, next_to_it = (
        click_loss(masks, before, click((10, 10, 12), classes=2), truth, unit=UNIT).item() for masks in (lost, beside)
    )
    assert at_click < 0.7 * next_to_it


def test_on_an_empty_mask_there_is_nothing_to_spoil():
    empty = torch.full_like(BEFORE, -3.0)
    missed, nothing = (click_loss(logits(~TRUTH), start, CLICK, TRUTH, unit=UNIT) for start in (empty, None))
    assert missed.item() == pytest.approx(nothing.item())


def test_a_perfect_mask_costs_nothing():
    assert click_loss(logits(TRUTH), BEFORE, CLICK, TRUTH, unit=UNIT).item() == pytest.approx(0, abs=1e-6)


def test_what_is_far_from_the_click_does_not_count():
    masks = logits(TRUTH).requires_grad_()
    click_loss(masks, BEFORE, click((10, 10, 11)), ~TRUTH, unit=UNIT).backward()
    assert masks.grad[0, 0, 10, 10, 11].abs() > 1e3 * masks.grad[0, 0, 0, 0, 0].abs()


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
    near = click((10, 10, 11))
    assert click_loss(wrong, BEFORE, near, TRUTH, valid, unit=UNIT).item() == pytest.approx(0, abs=1e-6)
    assert click_loss(wrong, BEFORE, near, TRUTH, unit=UNIT).item() > 0.005


def test_only_clicked_classes_count():
    masks = torch.cat([logits(TRUTH), logits(~TRUTH)], dim=1)
    before, truth = BEFORE.repeat(1, 2, 1, 1, 1), TRUTH.repeat(1, 2, 1, 1, 1)
    for start in (before, None):
        loss = click_loss(masks, start, click((10, 10, 12), classes=2), truth, unit=UNIT, exclusive=False)
        assert loss.item() == pytest.approx(0, abs=1e-6)


def test_no_click_at_all_is_no_loss():
    masks = logits(~TRUTH).requires_grad_()
    for start in (BEFORE, None):
        loss = click_loss(masks, start, click((0, 0, 0), label=-1), TRUTH, unit=UNIT)
        loss.backward()
        assert loss.item() == 0 and not masks.grad.any()
