import pytest
import torch

from msam_nn.inference.prompting.clicks import MARGIN, Click, honour_clicks

SIGMA = (2, 2, 2)


def honour(masks, *clicks, exclusive=True):
    return honour_clicks(masks.clone(), clicks, sigma=SIGMA, exclusive=exclusive)


@pytest.mark.parametrize("logit", [3.0, 0.1])
def test_a_click_that_holds_changes_nothing(logit):
    masks = torch.full((1, 5, 5, 5), logit)
    assert torch.equal(honour(masks, Click(0, (1, 2, 3), True, held=True)), masks)
    assert torch.equal(honour(-masks, Click(0, (1, 2, 3), False, held=True)), -masks)
    assert honour(-masks, Click(0, (1, 2, 3), True, held=True))[0, 1, 2, 3] == pytest.approx(MARGIN)
    assert honour(masks, Click(0, (1, 2, 3), True))[0, 1, 2, 3] == max(logit, MARGIN)


def test_a_negative_click_where_another_class_wins_holds():
    masks = torch.full((2, 5, 5, 5), 2.0)
    masks[1] = 3.0
    click = Click(0, (1, 2, 3), False, held=True)
    assert torch.equal(honour(masks, click), masks)
    assert honour(masks, click, exclusive=False)[0, 1, 2, 3] == -MARGIN


def test_an_overlooked_positive_click_is_added_as_a_bump():
    masks = torch.full((1, 9, 9, 9), -3.0)
    honoured = honour(masks, Click(0, (4, 4, 4), True))
    assert honoured[0, 4, 4, 4] == pytest.approx(MARGIN)
    # 4 logits were lacking; one voxel away they are worth exp(-1/8).
    assert honoured[0, 4, 4, 5].item() == pytest.approx(-3 + 4 * 0.8824969)
    assert honoured[0, 0, 0, 0].item() == pytest.approx(-3 + 4 * 0.0024788, abs=1e-5)


def test_confident_surroundings_keep_their_label():
    masks = torch.full((1, 9, 9, 9), -3.0)
    masks[0, 4, 4, 5] = -30.0
    assert honour(masks, Click(0, (4, 4, 4), True))[0, 4, 4, 5] < 0


def test_a_negative_click_lowers():
    masks = torch.full((1, 5, 5, 5), 2.0)
    assert honour(masks, Click(0, (0, 0, 0), False))[0, 0, 0, 0] == -MARGIN


def test_every_click_holds_however_close_they_are():
    clicks = [
        Click(0, (2, 2, 2), True),
        Click(0, (2, 2, 3), False),
        Click(0, (2, 3, 2), False),
        Click(0, (1, 2, 2), True),
    ]
    honoured = honour(torch.zeros(1, 5, 5, 5), *clicks)
    assert [bool(honoured[(0, *c.voxel)] > 0) for c in clicks] == [True, False, False, True]


def test_the_newest_click_on_a_voxel_wins():
    clicks = [Click(0, (2, 2, 2), True), Click(0, (2, 2, 2), False)]
    assert honour(torch.full((1, 5, 5, 5), 0.5), *clicks)[0, 2, 2, 2] < 0


def test_what_held_because_another_class_won_holds_when_that_is_lowered():
    masks = torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].expand(3, 3, 3, 3)
    voxel = (1, 1, 1)
    clicks = [Click(0, voxel, False, held=True), Click(1, voxel, False, held=True), Click(2, voxel, False)]
    assert (honour(masks, *clicks)[(slice(None), *voxel)] <= 0).all()


def test_a_click_that_a_newer_one_contradicts_takes_nothing_away():
    """The mask follows the newer one already: the older one's correction would only spoil its surroundings."""
    masks = torch.full((2, 9, 9, 9), -4.0)
    masks[0] = 2.0
    older, newer = Click(0, (4, 4, 4), False), Click(0, (4, 4, 4), True)
    assert torch.equal(honour(masks, older, newer), masks)
    assert (honour(masks, newer, older)[0] < 0).sum() > 1
    given_away = honour(masks, Click(1, (4, 4, 4), True), newer)
    assert torch.equal(given_away, masks)
    both = honour(masks, Click(1, (4, 4, 4), True), newer, exclusive=False)
    assert both[1, 4, 4, 4] == MARGIN and torch.equal(both[0], masks[0])


def test_exclusive_classes_are_beaten_and_regions_left_alone():
    masks = torch.zeros(2, 3, 3, 3)
    masks[1] = 6.0
    click = Click(0, (1, 1, 1), True)
    assert honour(masks, click)[0, 1, 1, 1] == 6 + MARGIN
    assert honour(masks, click, exclusive=False)[0, 1, 1, 1] == MARGIN
    assert torch.equal(honour(masks, click)[1], masks[1])
