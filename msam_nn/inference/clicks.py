"""A user's click, and the promise that it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from msam_nn.prompts.corrections import MARGIN

CUT_OFF = 6.0
"""Standard deviations beyond which that correction counts as nothing (it is 1.5e-8 of its height there)."""


@dataclass(frozen=True)
class Click:
    """One click.

    class_index: 0 for the first foreground class or region.
    voxel: index in array order ``(z, y, x)``.
    positive: inside the class, or outside of it.
    """

    class_index: int
    voxel: tuple[int, int, int]
    positive: bool

    def shifted(self, offset: Sequence[int]) -> Click:
        return replace(self, voxel=tuple(int(v + o) for v, o in zip(self.voxel, offset, strict=True)))


def honour_clicks(masks: Tensor, clicks: Sequence[Click], *, sigma: Sequence[float], exclusive: bool) -> Tensor:
    """Mask logits ``(K, D, H, W)`` in which every clicked voxel has the label it was given; the newest click wins.

    Where the network overlooked a click, the class's logits are raised or lowered by what the clicked voxel lacks,
    fading as a Gaussian: uncertain surroundings follow the click, confident ones keep their label.

    Arguments:
        sigma: standard deviation of that Gaussian in voxels, per axis.
        exclusive: classes compete (softmax), so a positive click also has to beat the other classes.
    """
    masks = masks.clone()
    for click in clicks:
        lacking = _lacking(masks, click, exclusive)
        if lacking:
            region, bumps = [], []
            for n, v, s in zip(masks.shape[1:], click.voxel, sigma, strict=True):
                reach = math.ceil(CUT_OFF * s)
                region.append(slice(max(v - reach, 0), min(v + reach + 1, n)))
                axis = torch.arange(region[-1].start, region[-1].stop, device=masks.device) - v
                bumps.append(torch.exp(-0.5 * (axis / s) ** 2))
            masks[(click.class_index, *region)] += lacking * torch.einsum("d,h,w->dhw", *bumps)
    for click in clicks:
        masks[(click.class_index, *click.voxel)] += _lacking(masks, click, exclusive)
    return masks


def _lacking(masks: Tensor, click: Click, exclusive: bool) -> float:
    """What has to be added to the clicked class's logit at the clicked voxel: 0 if the click holds."""
    logits = masks[(slice(None), *click.voxel)].tolist()
    own = logits.pop(click.class_index)
    if not click.positive:
        return min(0.0, -MARGIN - own)
    return max(0.0, max([0.0, *logits] if exclusive else [0.0]) + MARGIN - own)
