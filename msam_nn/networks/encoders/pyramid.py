"""A pyramid of cheap convolutional features from single voxels to the tokens of a ViT."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log2

from torch import Tensor, nn

from msam_nn.networks.layers.basic import Triple
from msam_nn.networks.layers.channels_last import Conv3d, InstanceNorm


def pyramid_strides(token_size: Triple) -> list[Triple]:
    """Voxels per cell and axis of each level, finest first: single voxels, then axes halve until all are tokens.

    Axes with smaller tokens start to halve later, so that the deepest levels are tokens, halves and quarters of tokens
    on every axis.

    >>> pyramid_strides((4, 8, 8))
    [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]
    """
    depth = int(log2(max(token_size)))
    return [tuple(max(1, t >> (depth - level)) for t in token_size) for level in range(depth + 1)]


def level_steps(strides: Sequence[Triple]) -> list[Triple]:
    """Cells of a level per cell of the next, from the strides of all levels."""
    return [tuple(b // a for a, b in zip(*pair, strict=True)) for pair in pairwise(strides)]


def pyramid_widths(widths: Sequence[int], token_size: Triple) -> list[int]:
    """Channels of every level; the last width counts for all deeper levels, and none means no pyramid."""
    return [widths[min(level, len(widths) - 1)] for level in range(len(pyramid_strides(token_size)))] if widths else []


def convs_per_level(n_levels: int) -> list[int]:
    """Convolutions of each level, finest first. A second one of single voxels takes a fifth of a training step and
    gains nothing in equal time (``benchmarks/NOTES.md``)."""
    return [1] + [2] * (n_levels - 1)


class ConvBlock(nn.Sequential):
    """3x3x3 convolutions with instance norm, the first one with a stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: Triple, n_convs: int) -> None:
        layers = []
        for _ in range(n_convs):
            conv = Conv3d(in_channels, out_channels, 3, stride, 1, bias=False)
            layers += [conv, InstanceNorm(out_channels), nn.LeakyReLU(inplace=True)]
            in_channels, stride = out_channels, (1, 1, 1)
        super().__init__(*layers)


class ConvPyramid(nn.Module):
    """Image ``(B, C, D, H, W)`` to features of every level of :func:`pyramid_strides`, finest first.

    Arguments:
        widths: channels of each level; the last one counts for all deeper levels.
        embed_dim: width of the tokens that :attr:`embed` makes of the deepest level.

    Attributes:
        widths: channels of every level. strides: voxels per cell of every level.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], token_size: Triple, embed_dim: int) -> None:
        super().__init__()
        self.strides = pyramid_strides(token_size)
        self.widths = pyramid_widths(widths, token_size)
        steps = [(1, 1, 1), *level_steps(self.strides)]
        self.levels = nn.ModuleList(
            ConvBlock(i, o, step, n_convs)
            for i, o, step, n_convs in zip(
                [in_channels, *self.widths[:-1]], self.widths, steps, convs_per_level(len(steps)), strict=True
            )
        )
        self.embed = nn.Conv3d(self.widths[-1], embed_dim, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = []
        for level in self.levels:
            image = level(image)
            features.append(image)
        return features
