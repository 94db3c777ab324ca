import pytest
import torch
from torch import nn

from msam_nn.networks.layers.basic import MLP, ChannelNorm, DeepMLP, convolve_channels_last, gaussian_factors, upsample

from ..golden import normal


def test_layer_norm_3d_is_over_channels():
    """(3, -1) at every voxel: mean 1, standard deviation 2, hence (1, -1), times (2, 1) plus (0, 5)."""
    norm = ChannelNorm(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 1.0]))
        norm.bias.copy_(torch.tensor([0.0, 5.0]))
    x = torch.tensor([3.0, -1.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 2, 3, 4)
    expected = torch.tensor([2.0, 4.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 2, 3, 4)
    torch.testing.assert_close(norm(x), expected)


def test_convolve_channels_last():
    conv, x = nn.Conv3d(3, 5, 3, padding=1), normal(0, (2, 4, 5, 6, 3))
    torch.testing.assert_close(convolve_channels_last(conv, x), conv(x.permute(0, 4, 1, 2, 3)).permute(0, 2, 3, 4, 1))


def test_mlps():
    x = normal(0, (2, 3))
    mlp = MLP(3, 7)
    torch.testing.assert_close(mlp(x), mlp.lin2(nn.functional.gelu(mlp.lin1(x))))
    deep = DeepMLP(3, 7, 2)
    a, b, c = deep.layers
    torch.testing.assert_close(deep(x), c(b(a(x).relu()).relu()))


def test_upsample_does_not_align_corners():
    """0 and 1 to four cells: their centres lie at -1/4, 1/4, 3/4, 5/4 of the first, beyond the ends it is constant."""
    row = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 1, 2)
    torch.testing.assert_close(upsample(row, (1, 1, 4)).flatten(), torch.tensor([0, 0.25, 0.75, 1]))


def test_gaussians_are_products_of_a_factor_an_axis():
    """One standard deviation from the centre they have exp(-1/2), along each axis its own."""
    centres = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])
    z, y, x = gaussian_factors(centres, torch.tensor([1.0, 2.0, 0.5]), (3, 5, 2))
    assert [tuple(f.shape) for f in (z, y, x)] == [(2, 3), (2, 5), (2, 2)]
    assert z[0].tolist() == pytest.approx([0.6065307, 1, 0.6065307])
    assert y[0, 0].item() == y[0, 4].item() == pytest.approx(0.6065307)
    assert x[0].tolist() == pytest.approx([0.6065307, 0.6065307])
    for same in ((1.0, 2.0, 0.5), [1, 2, 0.5]):
        assert torch.equal(gaussian_factors(centres, same, (3, 5, 2))[0], z)
