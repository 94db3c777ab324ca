"""Masks before any prompt: a U-Net's way up over the convolutional pyramid, for all classes at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from msam_nn.networks.encoders.pyramid import level_steps
from msam_nn.networks.layers.basic import LOGIT, Triple
from msam_nn.networks.layers.channels_last import Conv3d, InstanceNorm


class InitialDecoder(nn.Module):
    """From the image embedding and the pyramid's levels to mask logits of every class, in one pass.

    Each level is a transposed convolution, plus the pyramid's features of that level, and one convolution with instance
    norm; a head a level gives masks, as nnU-Net's deep supervision has them. The features beside instead of added take
    half as long again a step and gain nothing in equal time. Masks start far below zero, and heads that moved slower
    left some networks with empty ones after 200 steps (``benchmarks/NOTES.md``).

    Arguments:
        dim: width ``T`` of the image embedding.
        widths: channels of the pyramid's levels, finest first. strides: voxels per cell of each level.
        num_classes: masks ``K``.
        mask_prior: mask logits at the start.
    """

    def __init__(
        self, *, dim: int, widths: Sequence[int], strides: Sequence[Triple], num_classes: int, mask_prior: float
    ) -> None:
        super().__init__()
        self.embed = nn.Conv3d(dim, widths[-1], 1)
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(below, above, step, step)
            for above, below, step in zip(widths[-2::-1], widths[:0:-1], reversed(level_steps(strides)), strict=True)
        )
        self.mixes = nn.ModuleList(
            nn.Sequential(
                Conv3d(width, width, 3, padding=1, bias=False),
                InstanceNorm(width),
                nn.LeakyReLU(inplace=True),
            )
            for width in widths[-2::-1]
        )
        self.heads = nn.ModuleList(nn.Conv3d(width, num_classes, 1) for width in widths[-2::-1])
        for head in self.heads:
            nn.init.constant_(head.bias, mask_prior / LOGIT)
            with torch.no_grad():
                head.weight /= LOGIT
        nn.init.zeros_(self.embed.weight)
        nn.init.zeros_(self.embed.bias)

    def forward(
        self, embedding: Tensor, levels: Sequence[Tensor], every_level: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """
        Arguments:
            embedding: ``(B, T, d, h, w)``.
            levels: the pyramid's features, finest first, the tokens' level last.
            every_level: masks of all levels, for deep supervision; otherwise of the finest alone.

        Returns:
            Features and mask logits ``(B, K, ...)``, both finest first.
        """
        *finer, tokens = levels
        features, masks = [tokens + self.embed(embedding)], []
        for level, up, mix, head in zip(reversed(finer), self.ups, self.mixes, self.heads, strict=True):
            features.append(mix(up(features[-1]).add_(level)))
            if every_level or head is self.heads[-1]:
                masks.append(LOGIT * head(features[-1]))
        return features[::-1], masks[::-1]
