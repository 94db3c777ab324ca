"""From an image of any channels to the three-channel slices that SAM's trunk reads."""

from __future__ import annotations

from math import log2

from torch import nn

from msam_nn.networks.encoders.sam import RGB

WIDTH, LARGE_WIDTHS = 8, (16, 32)
"""Channels inside a stem that keeps the size of slices, and before and after the upsampling of one that does not."""


def conv_block(in_channels: int, out_channels: int, *, planar: bool = False) -> nn.Sequential:
    """nnU-Net's plain block: convolution, instance norm, leaky ReLU. ``planar`` convolves within slices only."""
    kernel = (1, 3, 3) if planar else (3, 3, 3)
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel, padding=tuple(k // 2 for k in kernel)),
        nn.InstanceNorm3d(out_channels, affine=True),
        nn.LeakyReLU(inplace=True),
    )


def up_conv(in_channels: int, out_channels: int) -> nn.ConvTranspose3d:
    """Doubles the size of slices."""
    return nn.ConvTranspose3d(in_channels, out_channels, (1, 2, 2), (1, 2, 2))


class Stem(nn.Sequential):
    """``(B, C_in, T, H, W)`` to ``(B, 3, T, U * H, U * W)``."""

    def __init__(self, in_channels: int, upsampling: int) -> None:
        if upsampling == 1:
            super().__init__(conv_block(in_channels, WIDTH), conv_block(WIDTH, RGB))
            return
        narrow, wide = LARGE_WIDTHS
        steps = int(log2(upsampling))
        layers: list[nn.Module] = [conv_block(in_channels, narrow)]
        for step in range(steps):
            width = wide if step == steps - 1 else narrow
            layers += [up_conv(narrow, width), nn.InstanceNorm3d(width), nn.GELU()]
        super().__init__(*layers, conv_block(wide, wide), conv_block(wide, RGB))
