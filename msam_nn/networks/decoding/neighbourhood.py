"""What a click changes around it, seen at the scale of the error it was made for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam_nn.networks.decoding.corrections import Following
from msam_nn.networks.layers.basic import LOGIT
from msam_nn.networks.promptable import PADDING, POSITIVE, Points

CELLS = 11
"""Cells of a neighbourhood along each axis, the click in the middle one."""

SPAN = 1.75
"""From the middle cell to the outermost, in standard deviations of the click's Gaussian; along each axis a cell is a
voxel at least."""

FADING = 0.5
"""Standard deviation by which corrections fade, as a share of the way from the click to the outermost cell."""

LEVELS = 2
"""Finest levels of the image's features that are looked at."""

FEATURES, WIDTH, DEPTH = 16, 24, 2
"""Channels taken from these features and of the convolutions, and the number of these."""

OTHER_INPUTS = 10
"""Channels of masks, of the fading and of what is told of the click."""

MASK_SCALE, SURE_SCALE, HEIGHT_SCALE = 2.0, 8.0, 4.0
"""Logits at which inputs saturate: masks, how sure they are, and what the clicked voxel lacked."""

MIRRORS = [axes for n in range(4) for axes in combinations((2, 3, 4), n)]
"""Axes that are turned round for each mirror image of cells ``(N, C, c, c, c)``."""


class Look(NamedTuple):
    """Neighbourhoods of one click a mask, everything ``(B, Q, c, c, c)``.

    added: what clicks add to mask logits.
    followed, rival: the mask logits they add to, and those of the best other class.
    fading: from 1 at the click to nearly 0 at the outermost cells, and 0 in cells beyond the patch.
    places: voxels of the cells per axis, ``(B, Q, 3, c)``.
    back: matrices ``(B, Q, n, c)`` per axis that resample cells to the patch.
    """

    added: Tensor
    followed: Tensor
    rival: Tensor
    fading: Tensor
    places: Tensor
    back: list[Tensor]


class Neighbourhood(nn.Module):
    """A small convolutional network around a click, on cells that grow with the error.

    The distance from a click to the border of the mask tells the size of the error in whose centre it was made
    (:func:`~msam_nn.networks.decoding.corrections.follow_points`). Masks and image features are resampled to ``CELLS``
    cells an axis; the network sees small and large errors alike and learns from every click for all of them. Every
    cell is compared with the clicked one, for an error goes on where things look as they do at the click, and what
    was missed and what was wrongly included are each other's mirror image. What it adds fades with the distance and
    starts at zero; in evaluation it is the mean over the eight mirror images of the cells. Of several clicks in one
    stage each is shown the masks before the stage.

    Arguments:
        channels: of the image's :data:`LEVELS` finest features.

    Attributes:
        practised: bool, kept with the weights: it has learned alone (:mod:`msam_nn.trainers.clicks.practice`).
        has_practised: the same beside the device, to be asked without waiting for it.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.features = nn.Conv3d(sum(channels), FEATURES, 1)
        self.first = nn.Conv3d(2 * FEATURES + OTHER_INPUTS, WIDTH, 1)
        self.at_click = nn.Linear(FEATURES + 2, WIDTH)
        self.blocks = nn.ModuleList(nn.Conv3d(WIDTH, WIDTH, 3, padding=1) for _ in range(DEPTH))
        self.last = nn.Conv3d(WIDTH, 2, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        offsets = torch.linspace(-1, 1, CELLS)
        fading = torch.exp(-0.5 * (offsets / FADING) ** 2)
        self.register_buffer("practised", torch.zeros((), dtype=torch.bool))
        self.has_practised = False
        self.register_load_state_dict_post_hook(_read_practised)
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("fading", fading[:, None, None] * fading[:, None] * fading, persistent=False)

    def forward(
        self,
        levels: Sequence[Tensor],
        before: Tensor,
        followed: Tensor,
        rivals: Tensor,
        clicks: Points,
        following: Following,
    ) -> Tensor:
        """What the newest clicks add to the mask logits.

        Arguments:
            levels: features of the image, finest first, ``(B, C, ...)``.
            before: mask logits ``(B, K, D, H, W)`` that the clicks correct. followed: what came of them so far.
                rivals: logits of the best other class (:func:`best_other`).
            clicks: ``(B, K, P, ...)``. following: what the rule made of them.

        Returns:
            ``(B, K, D, H, W)``, the sum over the clicks; 0 for a class with a click that tells no size, which no border
            is near to: there it has nothing to correct.
        """
        added = torch.zeros_like(before)
        for points, labels, widths, heights in zip(
            clicks.points.unbind(2),
            clicks.labels.unbind(2),
            following.widths.unbind(2),
            following.heights.unbind(2),
            strict=True,
        ):
            look = self.look(levels, before, followed, rivals, points, labels, widths, heights)
            added = added + torch.einsum("bqzyx,bqiz,bqjy,bqlx->bqijl", look.added, *look.back)
        return added.masked_fill(following.unbounded[..., None, None, None], 0)

    def set_practised(self, practised: bool) -> None:
        """Say whether it has learned alone."""
        self.practised.fill_(practised)
        self.has_practised = practised

    def left_to_decoder(self, following: Following) -> Tensor | None:
        """The share of a mask decoder's correction that is wanted at each voxel, ``(B, K, D, H, W)``, or None for none
        at all: where clicks act, and once this network has practised only of clicks that tell no size."""
        if not self.has_practised:
            return following.reach
        if not following.unbounded.any():
            return None
        return following.unbounded[..., None, None, None].expand_as(following.masks).to(following.masks.dtype)

    def look(
        self,
        levels: Sequence[Tensor],
        before: Tensor,
        followed: Tensor,
        rivals: Tensor,
        points: Tensor,
        labels: Tensor,
        widths: Tensor,
        heights: Tensor,
    ) -> Look:
        """One click a mask.

        Arguments:
            before, followed, rivals: ``(B, Q, D, H, W)``. points, widths: ``(B, Q, 3)``. labels, heights: ``(B, Q)``.
        """
        shape = before.shape[2:]
        half = (SPAN * widths).clamp(min=(CELLS - 1) / 2).to(self.offsets.dtype)
        places = points[..., None] + half[..., None] * self.offsets
        seen = self.features(torch.cat([sample(x, places, shape) for x in levels], dim=2).flatten(0, 1))
        own, followed, rival = sample_each(torch.stack([before, followed, rivals], dim=2), places).unbind(2)
        sign = torch.where(labels == POSITIVE, 1.0, -1.0)[..., None, None, None]
        height = heights[..., None, None, None]
        signed = [sign * mask for mask in (own, own - rival, rival, followed - rival)]
        masks = torch.stack(signed[:2], dim=2).flatten(0, 1)
        inputs = [
            *(torch.tanh(mask / MASK_SCALE) for mask in signed),
            torch.tanh(sign * own / SURE_SCALE),
            self.fading.expand_as(own),
            torch.tanh(sign * height / HEIGHT_SCALE).expand_as(own),
            sign.expand_as(own),
        ]
        alike = torch.tanh((masks - _at_click(masks)) / MASK_SCALE)
        inputs = [seen, (seen - _at_click(seen)).abs(), torch.stack(inputs, dim=2).flatten(0, 1), alike]
        at_click = [_at_click(seen), torch.tanh(_at_click(masks) / MASK_SCALE)]
        seen = self.first(torch.cat([x.to(own.dtype) for x in inputs], dim=1))
        told = self.at_click(torch.cat([x.to(own.dtype) for x in at_click], dim=1).flatten(1))
        seen = seen + told[..., None, None, None]
        seen = self._convolved(seen) if self.training else self._mirrored(seen)
        logits, shares = seen.unflatten(0, labels.shape).unbind(2)
        added = self.fading * (LOGIT * sign * logits + height * shares)
        added = added * (labels != PADDING)[..., None, None, None]
        return Look(added, followed, rival, self.fading * _inside(places, shape), places, _back(points, half, shape))

    def _convolved(self, seen: Tensor) -> Tensor:
        for block in self.blocks:
            seen = seen + block(F.leaky_relu(seen))
        return self.last(F.leaky_relu(seen))

    def _mirrored(self, seen: Tensor) -> Tensor:
        """The mean over the eight mirror images of the cells."""
        images = self._convolved(torch.cat([seen.flip(axes) for axes in MIRRORS])).chunk(len(MIRRORS))
        return sum(image.flip(axes) for image, axes in zip(images, MIRRORS, strict=True)) / len(MIRRORS)


def best_other(masks: Tensor, *, exclusive: bool) -> Tensor:
    """The highest logit of another class or of the background, which is 0, for each of ``(B, K, D, H, W)``; classes
    that do not exclude each other have no rival but that."""
    if not exclusive or masks.shape[1] == 1:
        return torch.zeros_like(masks)
    highest, index = masks.max(1, keepdim=True)
    second = masks.scatter(1, index, -torch.inf).amax(1, keepdim=True)
    is_highest = torch.arange(masks.shape[1], device=masks.device)[:, None, None, None] == index
    return torch.where(is_highest, second, highest).clamp(min=0)


def sample(values: Tensor, places: Tensor, shape: Sequence[int]) -> Tensor:
    """Values at the cells of neighbourhoods, by linear interpolation; beyond the patch those at its border.

    Arguments:
        values: ``(B, C, z, y, x)``, of a patch of ``shape`` voxels on whatever grid.
        places: voxels ``(B, Q, 3, c)``.

    Returns:
        ``(B, Q, C, c, c, c)``, as precise as the places.
    """
    axes = []
    for axis, (cells, voxels) in enumerate(zip(values.shape[2:], shape, strict=True)):
        at = (places[:, :, axis] + 0.5) * (cells / voxels) - 0.5
        axes.append(2 * at / max(cells - 1, 1) - 1)
    z, y, x = (
        a.view(*a.shape[:2], *(-1 if i == axis else 1 for i in range(3))).expand(*a.shape[:2], *(a.shape[2],) * 3)
        for axis, a in enumerate(axes)
    )
    grid = torch.stack([x, y, z], dim=-1).flatten(1, 2)
    sampled = F.grid_sample(values.to(grid.dtype), grid, padding_mode="border", align_corners=True)
    return sampled.unflatten(2, places.shape[1::2]).movedim(2, 1)


def sample_each(values: Tensor, places: Tensor) -> Tensor:
    """Values ``(B, Q, C, D, H, W)`` of each mask at its own click's cells, ``(B, Q, C, c, c, c)``."""
    each = sample(values.flatten(0, 1), places.flatten(0, 1)[:, None], values.shape[3:])
    return each[:, 0].unflatten(0, values.shape[:2])


def _read_practised(module: Neighbourhood, _: object) -> None:
    module.has_practised = bool(module.practised)


def _at_click(cells: Tensor) -> Tensor:
    middle = slice(CELLS // 2, CELLS // 2 + 1)
    return cells[..., middle, middle, middle]


def _inside(places: Tensor, shape: Sequence[int]) -> Tensor:
    """Which cells ``(B, Q, c, c, c)`` lie in the patch."""
    z, y, x = ((places[:, :, axis] >= 0) & (places[:, :, axis] <= n - 1) for axis, n in enumerate(shape))
    return z[..., :, None, None] & y[..., None, :, None] & x[..., None, None, :]


def _back(points: Tensor, half: Tensor, shape: Sequence[int]) -> list[Tensor]:
    """Matrices ``(B, Q, n, c)`` per axis that resample cells to the patch, with 0 beyond them."""
    matrices = []
    for axis, extent in enumerate(shape):
        away = (torch.arange(extent, device=points.device) - points[..., axis, None]) / half[..., axis, None]
        matrices.append(_interpolation((away + 1) * (CELLS - 1) / 2, CELLS))
    return matrices


def _interpolation(positions: Tensor, cells: int) -> Tensor:
    """Linear interpolation of a row of cells at ``positions`` ``(..., n)`` as ``(..., n, cells)``; 0 beyond the row."""
    distance = positions[..., None] - torch.arange(cells, device=positions.device)
    return (1 - distance.abs()).clamp(min=0)
