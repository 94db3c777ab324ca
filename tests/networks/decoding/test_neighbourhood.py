import pytest
import torch

from msam_nn.networks import Points
from msam_nn.networks.decoding.corrections import follow_points
from msam_nn.networks.decoding.neighbourhood import CELLS, Neighbourhood, _interpolation, _resample


def click(voxel, label=1, batch=1, classes=1):
    shape = (batch, classes, 1)
    return Points(torch.tensor(voxel).expand(*shape, 3), torch.full(shape, label))


def ball(extent, radius, centre=None):
    """Mask logits: 2 inside, -2 outside, rising in between over the distance of the radius."""
    axes = torch.meshgrid(*[torch.arange(float(extent))] * 3, indexing="ij")
    centre = (extent // 2,) * 3 if centre is None else centre
    distance = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)).sqrt()
    return (4 * (1 - distance / radius)).clamp(-2, 2)[None, None]


def trained(channels=2):
    torch.manual_seed(0)
    network = Neighbourhood(channels).eval()
    torch.nn.init.normal_(network.last.weight)
    return network


def around(network, features, masks, clicks, unit=(1, 1, 1)):
    with torch.no_grad():
        following = follow_points(masks, clicks, unit=unit)
        return network(network.image_half(features), masks, clicks, following)


def assert_alike(a, b):
    """The same up to what interpolation makes of it."""
    assert a.abs().max() > 0.1
    assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.995
    assert (a.norm() / b.norm()).item() == pytest.approx(1, abs=0.03)


def test_it_starts_at_zero_and_learns_at_once():
    masks, features = ball(24, 6), torch.randn(1, 2, 24, 24, 24)
    network, clicks = Neighbourhood(2), click((12, 12, 12), label=0)
    added = network(network.image_half(features), masks, clicks, follow_points(masks, clicks, unit=(1, 1, 1)))
    assert not added.any()
    added.sum().backward()
    assert network.last.weight.grad.abs().max() > 0


def test_it_ends_with_its_cells():
    """The click is three voxels outside, so a standard deviation is six, and 2.5 of them 15."""
    masks, features = ball(40, 4), torch.randn(1, 2, 40, 40, 40)
    added = around(trained(), features, masks, click((20, 20, 25)))
    assert added[0, 0, 20, 20, 25].abs() > 0.01
    assert not added[..., :4].any() and not added[0, 0, 1].any()


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
    fine = ball(41, 6)
    features = torch.cat([fine, -fine / 2], dim=1)
    a = around(network, features, fine, click((20, 20, 21), label=0), unit=(2, 2, 2))
    b = around(network, features[:, :, ::2], fine[:, :, ::2], click((10, 20, 21), label=0), unit=(1, 2, 2))
    assert_alike(a[:, :, ::2], b)


def test_each_sample_and_class_has_its_own_click_and_padding_has_none():
    network = trained()
    masks = torch.cat([ball(24, 6), ball(24, 4, (8, 8, 8))], dim=1).repeat(2, 1, 1, 1, 1)
    features = torch.randn(2, 2, 24, 24, 24)
    points = torch.tensor([[[[12, 12, 12]], [[8, 8, 8]]], [[[12, 12, 17]], [[8, 8, 10]]]])
    labels = torch.tensor([[[0], [-1]], [[1], [0]]])
    together = around(network, features, masks, Points(points, labels))
    assert not together[0, 1].any()
    for sample in range(2):
        for index in range(2):
            alone = around(
                network,
                features[sample : sample + 1],
                masks[sample : sample + 1, index : index + 1],
                Points(points[sample, index][None, None], labels[sample, index][None, None]),
            )
            torch.testing.assert_close(together[sample : sample + 1, index : index + 1], alone)


def test_several_clicks_add_up():
    network = trained()
    masks, features = ball(24, 6), torch.randn(1, 2, 24, 24, 24)
    both = Points(torch.tensor([[[[12, 12, 12], [12, 12, 20]]]]), torch.tensor([[[0, 1]]]))
    following = follow_points(masks, both, unit=(1, 1, 1))
    image = network.image_half(features)
    whole = network(image, masks, both, following)
    parts = [
        network(
            image,
            masks,
            Points(both.points[:, :, p : p + 1], both.labels[:, :, p : p + 1]),
            following._replace(widths=following.widths[:, :, p : p + 1], heights=following.heights[:, :, p : p + 1]),
        )
        for p in range(2)
    ]
    torch.testing.assert_close(whole, sum(parts))


def test_a_click_in_a_corner_or_without_a_border_is_no_trouble():
    network = trained()
    masks = torch.full((1, 1, 10, 12, 14), -3.0)
    added = around(network, torch.randn(1, 2, 10, 12, 14), masks, click((0, 0, 13)))
    assert added.isfinite().all() and added[0, 0, 0, 0, 13] != 0


def test_linear_interpolation():
    matrix = _interpolation(torch.tensor([0.0, 1.25, 3.0, 3.5, -2.0]), 4)
    assert matrix.tolist() == [[1, 0, 0, 0], [0, 0.75, 0.25, 0], [0, 0, 0, 1], [0, 0, 0, 0.5], [0, 0, 0, 0]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_matrix_works_along_its_axis(axis):
    shape = (4, 5, 6)
    values = torch.arange(float(shape[axis])).view([-1 if a == axis else 1 for a in range(3)]).expand(1, 1, 1, *shape)
    positions = torch.tensor([0.5, 2.25])
    matrices = [_interpolation(positions, extent)[None, None] for extent in shape]
    result = _resample(values, matrices)
    assert result.shape == (1, 1, 1, 2, 2, 2)
    assert result.movedim(3 + axis, -1).reshape(-1, 2).eq(positions).all()


def test_the_click_has_a_cell_of_its_own():
    assert CELLS % 2 == 1
