"""What a click changes around it, seen at the scale of the error it was made for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.decoding.corrections import Following
from msam_nn.networks.promptable import PADDING, POSITIVE, Points

CELLS = 13
"""Cells of a neighbourhood along each axis, the click in the middle one."""

SPAN = 2.5
"""From the middle cell to the outermost, in standard deviations of the click's Gaussian."""

FEATURES, WIDTH, DEPTH = 8, 24, 3
"""Channels taken from the image's features and of the convolutions, and the number of these."""

MASK_SCALES, HEIGHT_SCALE = (2.0, 8.0), 4.0
"""Logits at which the two channels of the mask, and what the clicked voxel lacked, saturate."""

LOGIT = 4.0
"""What one unit of the last convolution adds to a logit: its weights start at zero and move slowly."""


class Neighbourhood(nn.Module):
    """A small convolutional network around a click, on cells that grow with the error.

    The distance from a click to the border of the mask tells the size of the error in whose centre it was made
    (:func:`~msam_nn.networks.decoding.corrections.follow_points`). Mask and image features are resampled to
    ``CELLS`` cells an axis, five of these distances to either side; the network sees small and large errors alike and
    learns from every click for all of them. What it adds fades as the click's Gaussian, also where there is no border
    and that Gaussian is the widest, and starts at zero. Of several clicks in one stage each is shown the masks before
    the stage.

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
        offsets = torch.linspace(-SPAN, SPAN, CELLS)
        fading = torch.exp(-0.5 * offsets**2)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("fading", fading[:, None, None] * fading[:, None] * fading, persistent=False)

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
        taking, giving = _there_and_back(points, widths, self.offsets, before.shape[2:])
        mask = _resample(before[:, :, None], taking)
        told = torch.stack([torch.tanh(heights / HEIGHT_SCALE), torch.where(labels == POSITIVE, 1.0, -1.0)], dim=2)
        inputs = [
            _resample(image, taking),
            *(torch.tanh(mask / scale) for scale in MASK_SCALES),
            told[..., None, None, None].expand(-1, -1, -1, *mask.shape[3:]),
            self.fading.expand_as(mask),
        ]
        seen = self.first(torch.cat([x.to(mask.dtype) for x in inputs], dim=2).flatten(0, 1))
        for block in self.blocks:
            seen = seen + block(F.leaky_relu(seen))
        logits, shares = self.last(F.leaky_relu(seen)).unflatten(0, labels.shape).unbind(2)
        added = self.fading * (LOGIT * logits + heights[..., None, None, None] * shares)
        added = added * (labels != PADDING)[..., None, None, None]
        return _resample(added[:, :, None], giving)[:, :, 0]


def _there_and_back(
    points: Tensor, widths: Tensor, offsets: Tensor, shape: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Matrices ``(B, K, ...)`` per axis that resample a patch to the neighbourhood's cells, and these to the patch.

    Arguments:
        points, widths: ``(B, K, 3)``. offsets: of the cells from the click, in widths.
    """
    there, back = [], []
    for axis, extent in enumerate(shape):
        at, width = points[..., axis, None], widths[..., axis, None]
        there.append(_interpolation((at + width * offsets).clamp(0, extent - 1), extent))
        away = (torch.arange(extent, device=points.device) - at) / width
        back.append(_interpolation((away + SPAN) * (CELLS - 1) / (2 * SPAN), CELLS))
    return there, back


def _interpolation(positions: Tensor, cells: int) -> Tensor:
    """Linear interpolation of a row of cells at ``positions`` ``(..., n)`` as ``(..., n, cells)``; 0 beyond the row."""
    distance = positions[..., None] - torch.arange(cells, device=positions.device)
    return (1 - distance.abs()).clamp(min=0)


def _resample(values: Tensor, matrices: list[Tensor]) -> Tensor:
    """Apply a matrix ``(B, K, n, cells)`` along each axis of ``(B, K, C, z, y, x)``, or of ``(B, C, z, y, x)`` that all
    classes share."""
    along_z, along_y, along_x = (matrix.to(values.dtype) for matrix in matrices)
    which = "bczyx" if values.dim() == 5 else "bkczyx"
    values = torch.einsum(f"{which},bklx->bkczyl", values, along_x)
    values = torch.einsum("bkczyl,bkjy->bkczjl", values, along_y)
    return torch.einsum("bkczjl,bkiz->bkcijl", values, along_z)
