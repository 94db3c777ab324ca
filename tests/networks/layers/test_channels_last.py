"""Layers in channels-last layout against torch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from msam_nn.networks.layers.channels_last import Conv3d, InstanceNorm

LAYOUT = torch.channels_last_3d


@pytest.mark.parametrize("stride", [1, (1, 2, 2)])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_convolution_is_torchs_own_in_the_layout(channels, stride):
    torch.manual_seed(0)
    conv, own = (kind(channels, 4, 3, stride, padding=1) for kind in (Conv3d, nn.Conv3d))
    own.load_state_dict(conv.state_dict())
    x = torch.randn(2, channels, 5, 6, 7)
    y, expected = conv(x), own(x)
    torch.testing.assert_close(y, expected)
    assert y.is_contiguous(memory_format=LAYOUT)
    gradient, expected = (
        torch.autograd.grad(z.square().sum(), w)[0] for z, w in ((y, conv.weight), (expected, own.weight))
    )
    torch.testing.assert_close(gradient, expected)


def written_out(x: torch.Tensor, norm: InstanceNorm) -> torch.Tensor:
    centred = x - x.mean((2, 3, 4), keepdim=True)
    scale, shift = (w.to(x.dtype)[:, None, None, None] for w in (norm.weight, norm.bias))
    return centred / (centred.square().mean((2, 3, 4), keepdim=True) + norm.eps).sqrt() * scale + shift


@pytest.mark.parametrize("n_images", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, LAYOUT])
@pytest.mark.parametrize("layout_of_gradients", [torch.contiguous_format, LAYOUT])
def test_norm_is_of_each_image_and_channel_and_keeps_the_layout(n_images, layout, layout_of_gradients):
    """With one image and gradients in channels-last layout, torch 2.13's own instance norm has wrong gradients."""
    torch.manual_seed(0)
    norm = InstanceNorm(3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (5 + 2 * torch.randn(n_images, 3, 4, 5, 6)).contiguous(memory_format=layout).requires_grad_()
    y, expected = norm(x), written_out(x.double(), norm)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    assert y.is_contiguous(memory_format=layout)
    noise = torch.randn_like(y).contiguous(memory_format=layout_of_gradients)
    weights = (x, norm.weight, norm.bias)
    for gradients in zip(*(torch.autograd.grad((z * noise).sum(), weights) for z in (y, expected)), strict=True):
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_norm_of_a_large_image_is_exact_to_a_thousandth():
    torch.manual_seed(0)
    x = 3 + torch.randn(1, 2, 96, 96, 96)
    y = InstanceNorm(2)(x.contiguous(memory_format=LAYOUT)).double()
    torch.testing.assert_close(y.mean((2, 3, 4)), torch.zeros(1, 2, dtype=torch.double), atol=1e-3, rtol=0)
    torch.testing.assert_close(y.std((2, 3, 4)), torch.ones(1, 2, dtype=torch.double), atol=1e-3, rtol=0)


def test_norm_is_the_same_for_masks_of_one_slice():
    x = torch.randn(1, 2, 1, 8, 8)
    torch.testing.assert_close(InstanceNorm(2)(x), F.instance_norm(x))
