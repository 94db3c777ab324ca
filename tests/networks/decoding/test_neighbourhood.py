import pytest
import torch

from msam_nn.networks import Points
from msam_nn.networks.decoding.corrections import follow_points
from msam_nn.networks.decoding.neighbourhood import (
    CELLS,
    Neighbourhood,
    _interpolation,
    best_other,
    sample,
    sample_each,
)


def click(voxel, label=1, batch=1, classes=1):
    shape = (batch, classes, 1)
    return Points(torch.tensor(voxel).expand(*shape, 3), torch.full(shape, label))


def ball(extent, radius, centre=None):
    """Mask logits: 2 inside, -2 outside, rising in between over the distance of the radius."""
    axes = torch.meshgrid(*[torch.arange(float(extent))] * 3, indexing="ij")
    centre = (extent // 2,) * 3 if centre is None else centre
    distance = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)).sqrt()
    return (4 * (1 - distance / radius)).clamp(-2, 2)[None, None]


def trained(channels=(2,)):
    torch.manual_seed(0)
    network = Neighbourhood(channels).eval()
    torch.nn.init.normal_(network.last.weight)
    return network


def around(network, features, masks, clicks, unit=(1, 1, 1)):
    with torch.no_grad():
        following = follow_points(masks, clicks, unit=unit)
        return network([features], masks, following.masks, torch.zeros_like(masks), clicks, following)


def assert_alike(a, b):
    """The same up to what interpolation makes of it."""
    assert a.abs().max() > 0.1
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.995
    assert (a.norm() / b.norm()).item() == pytest.approx(1, abs=0.03)


def test_it_starts_at_zero_and_learns_at_once():
    masks, features = ball(24, 6), torch.randn(1, 2, 24, 24, 24)
    network, clicks = Neighbourhood([2]), click((12, 12, 12), label=0)
    following = follow_points(masks, clicks, unit=(1, 1, 1))
    added = network([features], masks, following.masks, torch.zeros_like(masks), clicks, following)
    assert not added.any()
    added.sum().backward()
    assert network.last.weight.grad.abs().max() > 0


def test_in_double_precision_it_computes_the_same():
    features, masks, clicks = torch.randn(1, 2, 24, 24, 24), ball(24, 6), click((12, 12, 12), label=0)
    network = trained()
    single = around(network, features, masks, clicks)
    double = around(network.double(), features.double(), masks.double(), clicks)
    assert double.dtype == torch.float64 and single.abs().max() > 0.1
    torch.testing.assert_close(double.float(), single, atol=1e-4, rtol=1e-4)


def test_it_ends_with_its_cells():
    """The click is three voxels outside, so a standard deviation is six, and 1.75 of them 10.5."""
    masks, features = ball(40, 4), torch.randn(1, 2, 40, 40, 40)
    added = around(trained(), features, masks, click((20, 20, 25)))
    assert added[0, 0, 20, 20, 25].abs() > 0.01
    assert not added[..., :14].any() and not added[0, 0, :9].any() and added[0, 0, 11:].any()


def test_a_cell_is_a_voxel_at_least():
    """A click beside the border has a Gaussian of two voxels, but cells reach five voxels to either side, along an axis
    of half as wide voxels seven; and five along both of them where slices are eight times as far apart, so that errors
    of a few voxels in the slice are seen."""
    masks, features = torch.full((1, 1, 40, 40, 40), -3.0), torch.randn(1, 2, 40, 40, 40)
    masks[..., :20] = 3
    added = around(trained(), features, masks, click((20, 20, 20)))
    rows = added.abs().amax((0, 1, 3, 4)).nonzero()[:, 0]
    assert (rows.min(), rows.max()) == (15, 25)
    added = around(trained(), features, masks, click((20, 20, 20)), unit=(2, 1, 1))
    rows = added.abs().amax((0, 1, 3, 4)).nonzero()[:, 0]
    assert (rows.min(), rows.max()) == (12, 28)  # the outermost cell fades over its own 1.4 voxels
    added = around(trained(), features, masks, click((20, 20, 20)), unit=(1, 8, 8))
    for axes in ((0, 1, 3, 4), (0, 1, 2, 3)):
        rows = added.abs().amax(axes).nonzero()[:, 0]
        assert (rows.min(), rows.max()) == (15, 25)


def test_missed_and_included_are_each_others_mirror_image():
    """Everything turned round, masks and label: the correction too."""
    network = trained()
    masks, features = ball(32, 6.3), torch.randn(1, 2, 32, 32, 32)  # no voxel lies on the border
    network.first.weight.data[:, -3] = 0  # the input that tells which of both it is
    a = around(network, features, masks, click((16, 16, 21)))
    b = around(network, features, -masks, click((16, 16, 21), label=0))
    torch.testing.assert_close(a, -b)
    assert a.abs().max() > 0.01


@pytest.mark.parametrize("axes", [(2,), (3, 4), (2, 3, 4)])
def test_a_mirrored_image_gets_mirrored_corrections_in_evaluation_only(axes):
    """An extent of 25, so that voxel 12 is mirrored to itself."""
    torch.manual_seed(1)
    masks, features = ball(25, 6, (10, 14, 11)), torch.randn(1, 2, 25, 25, 25)
    network, clicks = trained(), click((12, 12, 12), label=0)
    added = around(network, features, masks, clicks)
    mirrored = around(network, features.flip(axes), masks.flip(axes), clicks)
    assert added.any()
    torch.testing.assert_close(mirrored.flip(axes), added, rtol=1e-4, atol=1e-5)
    network.train()
    assert (around(network, features.flip(axes), masks.flip(axes), clicks).flip(axes) - added).abs().max() > 0.01


def test_once_practised_the_decoder_is_left_clicks_that_tell_no_size():
    """Two classes: a ball, and nothing at all."""
    network, clicks = trained(), click((12, 12, 12), classes=2)
    following = follow_points(torch.cat([ball(25, 6), torch.full((1, 1, 25, 25, 25), -1.0)], 1), clicks, unit=(1, 1, 1))
    assert network.left_to_decoder(following) is following.reach
    network.set_practised(True)
    share = network.left_to_decoder(following)
    assert not share[:, 0].any() and (share[:, 1] == 1).all()
    bounded = follow_points(ball(25, 6), click((12, 12, 12)), unit=(1, 1, 1))
    assert network.left_to_decoder(bounded) is None


def test_large_and_small_errors_look_alike():
    """The same ball twice as large, clicked in the same place: the same correction, twice as large."""
    network = trained()
    small, large = ball(40, 6), ball(80, 12)
    features = [torch.cat([masks, -masks / 2], dim=1) for masks in (small, large)]
    a = around(network, features[0], small, click((20, 20, 21), label=0))
    b = around(network, features[1], large, click((40, 40, 42), label=0))
    assert_alike(a, b[..., ::2, ::2, ::2])


def test_axes_are_counted_in_their_units():
    """Slices twice as far apart, half as many of them."""
    network = trained()
    fine = ball(65, 6)
    features = torch.cat([fine, -fine / 2], dim=1)
    a = around(network, features, fine, click((32, 32, 33), label=0), unit=(2, 2, 2))
    b = around(network, features[:, :, ::2], fine[:, :, ::2], click((16, 32, 33), label=0), unit=(1, 2, 2))
    assert_alike(a[:, :, ::2], b)


def test_each_sample_and_class_has_its_own_click_and_padding_has_none():
    network = trained()
    masks = torch.cat([ball(24, 6), ball(24, 4, (8, 8, 8))], dim=1).repeat(2, 1, 1, 1, 1)
    features = torch.randn(2, 2, 24, 24, 24)
    points = torch.tensor([[[[12, 12, 12]], [[8, 8, 8]]], [[[12, 12, 17]], [[8, 8, 10]]]])
    labels = torch.tensor([[[0], [-1]], [[1], [0]]])
    together = around(network, features, masks, Points(points, labels))
    assert not together[0, 1].any()
    for b in range(2):
        for index in range(2):
            alone = around(
                network,
                features[b : b + 1],
                masks[b : b + 1, index : index + 1],
                Points(points[b, index][None, None], labels[b, index][None, None]),
            )
            torch.testing.assert_close(together[b : b + 1, index : index + 1], alone)


def test_several_clicks_add_up():
    network = trained()
    masks, features = ball(24, 6), torch.randn(1, 2, 24, 24, 24)
    both = Points(torch.tensor([[[[12, 12, 12], [12, 12, 20]]]]), torch.tensor([[[0, 1]]]))
    following = follow_points(masks, both, unit=(1, 1, 1))
    what = [features], masks, following.masks, torch.zeros_like(masks)
    whole = network(*what, both, following)
    parts = [
        network(
            *what,
            Points(both.points[:, :, p : p + 1], both.labels[:, :, p : p + 1]),
            following._replace(widths=following.widths[:, :, p : p + 1], heights=following.heights[:, :, p : p + 1]),
        )
        for p in range(2)
    ]
    torch.testing.assert_close(whole, sum(parts))


def test_a_click_in_a_corner_is_no_trouble():
    masks = torch.full((1, 1, 10, 12, 14), -3.0)
    masks[..., 2, 2, 10] = 1
    added = around(trained(), torch.randn(1, 2, 10, 12, 14), masks, click((0, 0, 13)))
    assert added.isfinite().all() and added[0, 0, 0, 0, 13] != 0


def test_a_click_that_tells_no_size_adds_nothing_and_others_do():
    masks = torch.cat([ball(24, 6), torch.full((1, 1, 24, 24, 24), -3.0)], dim=1)
    added = around(trained(), torch.randn(1, 2, 24, 24, 24), masks, click((12, 12, 21), classes=2))
    assert added[0, 0].abs().max() > 0.1 and not added[0, 1].any()


def test_linear_interpolation():
    matrix = _interpolation(torch.tensor([0.0, 1.25, 3.0, 3.5, -2.0]), 4)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0.75, 0.25, 0], [0, 0, 0, 1], [0, 0, 0, 0.5], [0, 0, 0, 0]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sampling_counts_each_axis_in_voxels(axis):
    """A ramp along one axis is read where the cells are; on a grid half as fine its cells lie between two voxels."""
    shape = (4, 6, 8)
    ramp = torch.arange(float(shape[axis])).view([-1 if a == axis else 1 for a in range(3)]).expand(1, 1, *shape)
    places = torch.tensor([[1.0, 1.5, 2.25], [0.0, 2.0, 5.0], [3.0, 4.0, 9.0]])[None, None]
    expected = places[0, 0, axis].clamp(0, shape[axis] - 1)
    read = sample(ramp, places, shape)
    assert read.shape == (1, 1, 1, 3, 3, 3)
    torch.testing.assert_close(read[0, 0, 0].movedim(axis, -1).reshape(-1, 3), expected.expand(9, 3))
    halved = sample(torch.nn.functional.avg_pool3d(ramp, 2), places, shape)
    inner = expected.clamp(0.5, shape[axis] - 1.5)
    torch.testing.assert_close(halved[0, 0, 0].movedim(axis, -1).reshape(-1, 3), inner.expand(9, 3))


def test_each_mask_is_read_at_its_own_click():
    values = torch.arange(2.0).view(1, 2, 1, 1, 1, 1) * 100 + torch.arange(5.0)
    values = values.expand(1, 2, 1, 5, 5, 5)
    places = torch.tensor([[1.0], [1.0], [1.0]]).repeat(1, 2, 1, 1)
    places[0, 1, 2] = 3
    assert sample_each(values, places).flatten().tolist() == [1, 103]


def test_the_best_other_class_is_one_or_the_background():
    masks = torch.tensor([[2.0, -1.0, 3.0], [-4.0, -1.0, -2.0], [1.0, 1.0, -1.0]])[..., None, None, None]
    assert best_other(masks, exclusive=True).flatten(1).tolist() == [[3, 3, 2], [0, 0, 0], [1, 1, 1]]
    assert not best_other(masks, exclusive=False).any() and not best_other(masks[:, :1], exclusive=True).any()


def test_the_click_has_a_cell_of_its_own():
    assert CELLS % 2 == 1
