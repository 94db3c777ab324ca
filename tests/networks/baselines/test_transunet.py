"""TransUNet against the parts it is made of."""

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet

from msam_nn.networks.baselines.transunet import TransUNet, topology

VIT_B_BLOCKS = 12 * (12 * 768**2 + 13 * 768)
"""Twelve blocks of width 768: 12 w^2 weights, 9 w biases and 4 w of two norms each (Dosovitskiy et al.; ViT-B)."""


def small(patch_size, **changes):
    strides, kernels, fitted = topology(patch_size, (1.0, 1.0, 1.0))
    sizes = dict(base_features=4, embed_dim=24, depth=1, num_heads=2, **changes)
    return TransUNet(
        in_channels=2, out_channels=3, patch_size=fitted, strides=strides, kernel_sizes=kernels, **sizes
    ), fitted  # fmt: skip


def test_is_nnunets_network_and_vit_b():
    strides, kernels, patch = topology((128, 128, 128), (1.0, 1.0, 1.0))
    network = TransUNet(in_channels=1, out_channels=2, patch_size=patch, strides=strides, kernel_sizes=kernels)
    features = [32, 64, 128, 256, 320, 320]
    unet = PlainConvUNet(
        1, 6, features, torch.nn.Conv3d, kernels, strides, 2, 2, 2, True, torch.nn.InstanceNorm3d,
        {"eps": 1e-5, "affine": True}, None, None, torch.nn.LeakyReLU,
    )  # fmt: skip
    bridge = (320 * 768 + 768) + 4**3 * 768 + 2 * 768 + (768 * 320 + 320)
    counted = sum(p.numel() for p in network.parameters())
    assert counted == sum(p.numel() for p in unet.parameters()) + VIT_B_BLOCKS + bridge


@pytest.mark.parametrize("patch", [(40, 56, 40), (16, 32, 32)])
def test_shapes(patch):
    network, fitted = small(patch)
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *fitted)).shape == (1, 3, *fitted)
        network.deep_supervision = True
        assert [x.shape[2] for x in network(torch.zeros(1, 2, *fitted))][:2] == [fitted[0], fitted[0] // 2]


def test_tokens_know_their_position_and_each_other():
    torch.manual_seed(0)
    network, patch = small((16, 16, 16))
    image = torch.zeros(1, 2, *patch)
    changed = image.clone()
    changed[..., 0] = 1
    with torch.no_grad():
        network.back.weight.mul_(10)
        difference = (network(changed) - network(image)).abs().amax((0, 1, 2, 3))
    assert difference[-1] > 0


def test_an_odd_patch_grows_to_what_the_strides_divide():
    strides, kernels, patch = topology((50, 41, 40), (1.0, 1.0, 1.0))
    assert patch == (56, 48, 40)
    assert len(strides) == len(kernels) == 4
