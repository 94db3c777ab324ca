import pytest
import torch

from msam_nn.inference.prompting.clicks import Click, honour_clicks
from msam_nn.networks import Points
from msam_nn.networks.decoding.corrections import equal_lengths, follow_points, honour_points

SIGMA = (1.0, 1.5, 2.0)


def one_click(voxel, label, k=1):
    labels = torch.full((1, k, 1), -1)
    labels[0, 0, 0] = label
    return Points(torch.tensor(voxel).expand(1, k, 1, 3), labels)


def test_as_many_voxels_as_make_the_same_length():
    assert equal_lengths((6.0, 1.5, 2.0)) == (1, 4, 3)


def test_an_overlooked_click_raises_its_surroundings():
    """The voxel lacks 3 + 1 logits; one standard deviation away it gets exp(-1/2) of them."""
    masks = honour_points(torch.full((1, 1, 3, 3, 5), -3.0), one_click((1, 1, 1), 1), sigma=SIGMA, exclusive=True)
    assert masks[0, 0, 1, 1, 1].item() == pytest.approx(1)
    assert masks[0, 0, 2, 1, 1].item() == pytest.approx(-3 + 4 * 0.6065307)
    assert masks[0, 0, 1, 1, 3].item() == pytest.approx(-3 + 4 * 0.6065307)


@pytest.mark.parametrize(("value", "label"), [(1.5, 1), (-2.0, 0), (-3.0, -1)])
def test_a_click_that_holds_and_padding_change_nothing(value, label):
    masks = torch.full((1, 1, 3, 3, 3), value)
    assert torch.equal(honour_points(masks, one_click((1, 1, 1), label), sigma=SIGMA, exclusive=True), masks)


@pytest.mark.parametrize(("exclusive", "expected"), [(True, 6.0), (False, 1.0)])
def test_an_exclusive_class_has_to_beat_the_others(exclusive, expected):
    masks = torch.full((1, 2, 3, 3, 3), -3.0)
    masks[0, 1] = 5.0
    honoured = honour_points(masks, one_click((1, 1, 1), 1, k=2), sigma=SIGMA, exclusive=exclusive)
    assert honoured[0, 0, 1, 1, 1].item() == pytest.approx(expected)
    assert torch.equal(honoured[0, 1], masks[0, 1])


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_is_what_prediction_does(exclusive):
    """Clicks one after the other on two samples of two classes, near enough to each other to interfere."""
    generator = torch.Generator().manual_seed(0)
    masks = 4 * torch.randn(2, 2, 6, 7, 8, generator=generator)
    points = torch.stack([torch.randint(0, n, (2, 2, 5), generator=generator) for n in masks.shape[2:]], dim=-1)
    labels = torch.randint(0, 2, (2, 2, 5), generator=generator)
    labels[:, 1, ::2] = labels[:, 0, 1::2][..., :1] = -1
    labels[:, 0, 3] = -1
    ours = honour_points(masks, Points(points, labels), sigma=SIGMA, exclusive=exclusive)
    for b in range(2):
        clicks = [
            Click(k, tuple(points[b, k, p].tolist()), bool(labels[b, k, p]))
            for p in range(5)
            for k in range(2)
            if labels[b, k, p] >= 0
        ]
        expected = honour_clicks(masks[b].clone(), clicks, sigma=SIGMA, exclusive=exclusive)
        torch.testing.assert_close(ours[b], expected, rtol=1e-4, atol=1e-4)


def test_every_click_holds_whatever_the_memory_order():
    """Two clicks beside each other: the second one takes the first one along, which then is put right alone."""
    masks = torch.full((1, 2, 4, 5, 6), -3.0)
    clicks = Points(torch.tensor([[1, 1, 1], [1, 1, 2]]).expand(1, 2, 2, 3), torch.tensor([1, 0]).expand(1, 2, 2))
    expected = honour_points(masks, clicks, sigma=SIGMA, exclusive=False)
    assert (expected[0, :, 1, 1, 1] > 0.99).all() and (expected[0, :, 1, 1, 2] < -0.99).all()
    other = masks.transpose(2, 4).contiguous().transpose(2, 4)
    assert torch.equal(honour_points(other, clicks, sigma=SIGMA, exclusive=False), expected)


def test_it_leaves_its_argument_alone():
    masks = torch.full((1, 1, 3, 3, 3), -3.0)
    honour_points(masks, one_click((1, 1, 1), 1), sigma=SIGMA, exclusive=True)
    assert (masks == -3).all()


def test_a_newest_click_reaches_as_far_as_its_error():
    """A ball's centre is three voxels inside a mask of logit 2: 2 + 1 are taken away, and at the border, three voxels
    on, where half a standard deviation is, exp(-1/8) of them."""
    masks = torch.full((1, 1, 49, 49, 49), -2.0)
    masks[..., 22:27, 22:27, 22:27] = 2.0
    followed = follow_points(masks, one_click((24, 24, 24), 0), unit=(1, 1, 1)).masks
    assert followed[0, 0, 24, 24, 24].item() == pytest.approx(-1)
    assert followed[0, 0, 24, 24, 27].item() == pytest.approx(-2 - 3 * 0.8824969)
    assert (followed < 0).all()


def test_distances_are_counted_in_units_of_each_axis():
    """Two slices off the mask's border; four voxels in plane are as far."""
    masks = torch.full((1, 1, 40, 80, 80), -2.0)
    masks[:, :, :18] = 2.0
    followed = follow_points(masks, one_click((19, 40, 40), 1), unit=(1, 2, 2)).masks
    added = followed - masks
    assert added[0, 0, 19, 40, 40].item() == pytest.approx(3)
    assert added[0, 0, 23, 40, 40].item() == pytest.approx(3 * 0.6065307, rel=1e-4)
    assert added[0, 0, 19, 48, 40].item() == pytest.approx(3 * 0.6065307, rel=1e-4)


@pytest.mark.parametrize(("label", "farthest"), [(1, 8), (0, 5)])
def test_far_from_any_border_a_click_reaches_a_share_of_the_patch(label, farthest):
    """Of 40 voxels; less far where it takes away."""
    sign = 1 if label else -1
    masks = torch.full((1, 1, 40, 40, 40), -2.0 * sign)
    following = follow_points(masks, one_click((20, 20, 20), label), unit=(1, 1, 1))
    assert following.widths[0, 0, 0].tolist() == [farthest] * 3
    assert following.masks[0, 0, 20, 20, 20 + farthest].item() == pytest.approx(sign * (-2 + 3 * 0.6065307))


@pytest.mark.parametrize(("value", "label"), [(1.5, 1), (-2.0, 0), (-3.0, -1)])
def test_a_newest_click_that_holds_and_padding_change_nothing(value, label):
    masks = torch.full((1, 1, 3, 3, 3), value)
    assert torch.equal(follow_points(masks, one_click((1, 1, 1), label), unit=(1, 1, 1)).masks, masks)


def test_several_newest_clicks_are_followed_one_after_the_other():
    masks = torch.full((1, 1, 20, 20, 20), -2.0)
    both = Points(torch.tensor([[[[5, 5, 5], [6, 6, 6]]]]), torch.tensor([[[1, 1]]]))
    followed = follow_points(masks, both, unit=(1, 1, 1)).masks
    first = follow_points(masks, one_click((5, 5, 5), 1), unit=(1, 1, 1)).masks
    assert torch.equal(followed, follow_points(first, one_click((6, 6, 6), 1), unit=(1, 1, 1)).masks)


def test_a_correction_is_wanted_where_the_click_acts():
    """The nearest voxel inside the mask is two slices away: the standard deviation is four voxels."""
    masks = torch.full((1, 1, 40, 40, 40), -2.0)
    masks[:, :, :18] = 2.0
    reach, unbounded = follow_points(masks, one_click((19, 20, 20), 1), unit=(1, 1, 1))[1:3]
    assert not unbounded.any()
    assert reach[0, 0, 19, 20, 20].item() == 1
    assert reach[0, 0, 23, 20, 20].item() == pytest.approx(0.6065307)
    assert reach[0, 0, 39, 20, 20].item() < 1e-5


@pytest.mark.parametrize(("value", "label", "expected"), [(-2.0, 1, 1), (2.0, 1, 1), (-2.0, 0, 1), (-2.0, -1, 0)])
def test_a_click_that_tells_no_size_acts_everywhere(value, label, expected):
    """No border in the patch; padding asks for nothing."""
    following = follow_points(torch.full((1, 1, 5, 5, 5), value), one_click((1, 1, 1), label), unit=(1, 1, 1))
    assert torch.equal(following.reach, torch.full((1, 1, 5, 5, 5), float(expected)))
    assert following.unbounded.tolist() == [[bool(expected)]]


def test_a_click_that_holds_acts_around_itself():
    """Exclusive classes: its own mask may hold where another one wins."""
    masks = torch.full((1, 1, 40, 5, 5), 2.0)
    masks[:, :, 20:] = -2.0
    reach = follow_points(masks, one_click((18, 2, 2), 1), unit=(1, 1, 1)).reach
    assert reach[0, 0, 18, 2, 2].item() == 1
    assert reach[0, 0, 39, 2, 2].item() < 1e-4


def test_the_widest_of_several_newest_clicks_decides():
    masks = torch.full((1, 1, 30, 30, 30), -2.0)
    masks[:, :, :10] = 2.0
    near, far = [11, 5, 5], [13, 20, 20]
    both = Points(torch.tensor([[[near, far]]]), torch.tensor([[[1, 1]]]))
    reach = follow_points(masks, both, unit=(1, 1, 1)).reach
    alone = follow_points(masks, one_click(near, 1), unit=(1, 1, 1)).reach
    assert reach[0, 0, 11, 5, 5].item() == reach[0, 0, 13, 20, 20].item() == 1
    assert (reach >= alone).all()
    assert not torch.equal(reach, alone)


def test_certainty_beyond_a_limit_counts_for_nothing_where_a_click_acts():
    """A voxel that several clicks have pushed down to -20 is lifted from -6, and its surroundings by 7 instead of 21:
    four voxels from the border a standard deviation is eight, and that is how far the second voxel is."""
    masks = torch.full((1, 1, 40, 40, 40), -5.0)
    masks[0, 0, 20, 20, 20], masks[0, 0, 20, 20, 24] = -20.0, 1.0
    following = follow_points(masks, one_click((20, 20, 20), 1), unit=(1, 1, 1))
    assert following.heights.item() == 7
    assert following.masks[0, 0, 20, 20, 20].item() == pytest.approx(1)
    assert following.masks[0, 0, 20, 20, 12].item() == pytest.approx(-5 + 7 * 0.6065307)
    held = follow_points(masks, one_click((20, 20, 20), 0), unit=(1, 1, 1))
    assert torch.equal(held.masks, masks)
