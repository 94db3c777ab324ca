"""SAM3D (arXiv 2309.03493): SAM's frozen encoder on every slice, a light 3D decoder on the stack of its features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.dynunet_block import UnetResBlock
from torch import Tensor, nn

from msam_nn.networks.baselines.sam_trunk import NECK, grey_slices, sam_trunk

WIDTHS = (128, 64, 32, 16)
"""Of the decoder's residual blocks; slices double their size after each."""


def head(width: int, out_channels: int) -> nn.Sequential:
    """Logits of one resolution."""
    return nn.Sequential(
        nn.Conv3d(width, width // 2, 3, padding=1),
        nn.InstanceNorm3d(width // 2),
        nn.LeakyReLU(),
        nn.Conv3d(width // 2, out_channels, 1),
    )


class SAM3D(nn.Module):
    """Each channel passes the encoder by itself as a grey picture; the decoder gets the features of all of them.

    Arguments:
        patch_size: voxels ``(T, H, W)``; slices lie along the first axis, H and W are multiples of 16.
        trunk: name of SAM's encoder; ``"tiny"`` trains from scratch, the others stay as they were loaded.
    """

    def __init__(self, *, in_channels: int, out_channels: int, patch_size: Sequence[int], trunk: str) -> None:
        super().__init__()
        self.deep_supervision = False
        self.trains_trunk = trunk == "tiny"
        self.image_encoder = sam_trunk(trunk, patch_size).requires_grad_(self.trains_trunk)
        widths = (NECK * in_channels, *WIDTHS)
        self.blocks = nn.ModuleList(
            [UnetResBlock(3, a, b, 3, 1, "instance") for a, b in zip(widths, WIDTHS, strict=False)]
        )
        self.up = nn.Upsample(scale_factor=(1, 2, 2), mode="nearest")
        self.heads = nn.ModuleList([head(width, out_channels) for width in WIDTHS[:0:-1]])

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """``(B, C, T, H, W)`` to logits ``(B, K, T, H, W)``; under deep supervision also those with slices of 1/2 and
        1/4 of the size."""
        batch, channels = image.shape[:2]
        with torch.set_grad_enabled(self.trains_trunk and torch.is_grad_enabled()):
            features = self.image_encoder(grey_slices(image)).embedding
        x = features.unflatten(0, (batch, channels, -1)).transpose(2, 3).flatten(1, 2)
        maps = []
        for block in self.blocks:
            x = self.up(block(x))
            maps.insert(0, x)
        if not self.deep_supervision:
            return self.heads[0](maps[0])
        return [make(features) for make, features in zip(self.heads, maps, strict=False)]
