"""What a click changes around it, seen at the scale of the error it was made for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.decoding.corrections import Following
from msam_nn.networks.layers.basic import gaussian_factors
from msam_nn.networks.promptable import PADDING, POSITIVE, Points

CELLS = 13
"""Cells of a neighbourhood along each axis, the click in the middle one."""

SPAN = 2.5
"""From the middle cell to the outermost, in standard deviations of the click's Gaussian."""

FEATURES, WIDTH, DEPTH = 8, 24, 3
"""Channels taken from the image's features and of the convolutions, and the number of these."""

MASK_SCALES = (2.0, 8.0)
"""Logits at which the two channels of the mask saturate."""

LOGIT = 4.0
"""What one unit of the last convolution adds to a logit: its weights start at zero and move slowly."""


class Neighbourhood(nn.Module):
    """A small convolutional network around a click, on cells as large as the error.

    The distance from a click to the border of the mask tells the size of the error in whose centre it was made
    (:func:`~msam_nn.networks.decoding.corrections.follow_points`). Mask and image features are resampled to
    ``CELLS`` cells an axis over that size; the network sees small and large errors alike, learns from every click for
    all of them, and costs the same in any patch. What it adds fades as the click's Gaussian and starts at zero.

    Arguments:
        channels: of the image's finest features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.image_half = nn.Conv3d(channels, FEATURES, 1)
        self.first = nn.Conv3d(FEATURES + len(MASK_SCALES) + 3, WIDTH, 1)
        self.blocks = nn.ModuleList(nn.Conv3d(WIDTH, WIDTH, 3, padding=1) for _ in range(DEPTH))
        self.last = nn.Conv3d(WIDTH, 2, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, image: Tensor, before: Tensor, clicks: Points, following: Following) -> Tensor:
        """What the newest clicks add to the mask logits.

        Arguments:
            image: from :attr:`image_half`, ``(B, C, D, H, W)``.
            before: mask logits ``(B, K, D, H, W)`` that the clicks correct.
            clicks: ``(B, K, P, ...)``. following: what the rule made of them.

        Returns:
            ``(B, K, D, H, W)``, the sum over the clicks.
        """
        added = torch.zeros_like(before)
        for points, labels, widths, heights in zip(
            clicks.points.unbind(2),
            clicks.labels.unbind(2),
            following.widths.unbind(2),
            following.heights.unbind(2),
            strict=True,
        ):
            added = added + self._around(image, before, points, labels, widths, heights)
        return added

    def _around(
        self, image: Tensor, before: Tensor, points: Tensor, labels: Tensor, widths: Tensor, heights: Tensor
    ) -> Tensor:
        """One click a class: ``(B, K, 3)`` and ``(B, K)``."""
        shape, step = before.shape[2:], 2 * SPAN / (CELLS - 1)
        offsets = step * (torch.arange(CELLS, device=points.device) - CELLS // 2)
        taking, giving = [], []
        for axis, extent in enumerate(shape):
            at, width = points[..., axis, None], widths[..., axis, None]
            taking.append(_interpolation((at + offsets * width).clamp(0, extent - 1), extent))
            voxels = (torch.arange(extent, device=points.device) - at) / (step * width)
            giving.append(_interpolation(voxels + CELLS // 2, CELLS))
        features = _resample(image[:, None], taking)
        mask = _resample(before[:, :, None], taking)
        middle = torch.full((3,), CELLS // 2, device=points.device)
        z, y, x = gaussian_factors(middle, 1 / step, (CELLS,) * 3)
        fading = (z[:, None, None] * y[:, None] * x).to(mask.dtype)
        sign = torch.where(labels == POSITIVE, 1.0, -1.0)
        constants = [torch.tanh(heights / 4), sign]
        constants = [x[..., None, None, None, None].to(mask.dtype).expand_as(mask) for x in constants]
        inputs = [features, *(torch.tanh(mask / scale) for scale in MASK_SCALES), *constants, fading.expand_as(mask)]
        y = self.first(torch.cat(inputs, dim=2).flatten(0, 1))
        for block in self.blocks:
            y = y + block(F.leaky_relu(y))
        much, share = self.last(F.leaky_relu(y)).unflatten(0, labels.shape).unbind(2)
        given = fading * (LOGIT * much + heights[..., None, None, None] * share)
        given = given * (labels != PADDING)[..., None, None, None]
        return _resample(given[:, :, None], giving)[:, :, 0]


def _interpolation(positions: Tensor, cells: int) -> Tensor:
    """Linear interpolation of a row of cells at ``positions`` ``(..., n)`` as ``(..., n, cells)``; 0 beyond the row."""
    distance = positions[..., None] - torch.arange(cells, device=positions.device)
    return (1 - distance.abs()).clamp(min=0)


def _resample(values: Tensor, matrices: list[Tensor]) -> Tensor:
    """Apply a matrix ``(B, K, n, cells)`` along each axis of ``(B, K or 1, C, z, y, x)``."""
    along_z, along_y, along_x = (matrix.to(values.dtype) for matrix in matrices)
    values = values.expand(-1, along_x.shape[1], *values.shape[2:])
    values = torch.einsum("bkczyx,bklx->bkczyl", values, along_x)
    values = torch.einsum("bkczyl,bkjy->bkczjl", values, along_y)
    return torch.einsum("bkczjl,bkiz->bkcijl", values, along_z)
