"""A user's click, and the promise that it holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from msam_nn.inference.prompting.mask_logits import MaskLogits
from msam_nn.inference.prompting.windows import slices
from msam_nn.networks.decoding.corrections import MARGIN

CUT_OFF = 6.0
"""Standard deviations beyond which that correction counts as nothing (it is 1.5e-8 of its height there)."""


@dataclass(frozen=True)
class Click:
    """One click.

    class_index: 0 for the first foreground class or region.
    voxel: index in array order ``(z, y, x)``.
    positive: inside the class, or outside of it.
    held: it was right when it was made: nothing is corrected around it as long as it is.
    """

    class_index: int
    voxel: tuple[int, int, int]
    positive: bool
    held: bool = field(default=False, compare=False)

    def shifted(self, offset: Sequence[int]) -> Click:
        return replace(self, voxel=tuple(int(v + o) for v, o in zip(self.voxel, offset, strict=True)))


def honour_clicks(
    masks: Tensor,
    clicks: Sequence[Click],
    *,
    sigma: Sequence[float],
    exclusive: bool,
    heights: Sequence[float] | None = None,
    origin: Sequence[int] = (0, 0, 0),
) -> Tensor:
    """Mask logits ``(K, D, H, W)`` in which every clicked voxel has the label it was given; the newest click wins.

    Where the network overlooked a click, the class's logits are raised or lowered by what the clicked voxel lacks,
    fading as a Gaussian: uncertain surroundings follow the click, confident ones keep their label. A click that a newer
    one on its voxel contradicts changes nothing.

    Arguments:
        masks: changed in place, and returned.
        sigma: standard deviation of that Gaussian in voxels, per axis.
        exclusive: classes compete (softmax), so a positive click also has to beat the other classes.
        heights, origin: for a part of an image: the whole's :func:`correction_heights`, and the part's first voxel.
    """
    if heights is None:
        heights = correction_heights(masks, clicks, sigma=sigma, exclusive=exclusive)
    here = [click.shifted([-o for o in origin]) for click in clicks]
    for click, height in zip(here, heights, strict=True):
        region = correction_box(click, masks.shape[1:], sigma)
        if height and all(lower < upper for lower, upper in region):
            bumps = [
                torch.exp(-0.5 * ((torch.arange(*bounds, device=masks.device) - v) / s) ** 2)
                for bounds, v, s in zip(region, click.voxel, sigma, strict=True)
            ]
            masks[(click.class_index, *slices(region))] += height * torch.einsum("d,h,w->dhw", *bumps)
    standing = [
        click
        for click, stands in zip(here, _stand(clicks, exclusive), strict=True)
        if stands and all(0 <= v < n for v, n in zip(click.voxel, masks.shape[1:], strict=True))
    ]
    held = [click for click in standing if click.held]  # by a class that another click may have lowered since
    for click in standing + held * (len(masks) - 1 if exclusive else 0):
        logits = masks[(slice(None), *click.voxel)].tolist()
        masks[(click.class_index, *click.voxel)] += _lacking(logits, click, exclusive)
    return masks


def correction_heights(
    masks: Tensor | MaskLogits, clicks: Sequence[Click], *, sigma: Sequence[float], exclusive: bool
) -> list[float]:
    """What :func:`honour_clicks` adds at each clicked voxel before the corrections fade: 0 where there is nothing to
    do for a click."""
    if not clicks:
        return []
    voxels = torch.tensor([click.voxel for click in clicks])
    logits = masks[(slice(None), *voxels.unbind(1))].T.cpu()
    heights = []
    for index, (click, stands) in enumerate(zip(clicks, _stand(clicks, exclusive), strict=True)):
        heights.append(_lacking(logits[index].tolist(), click, exclusive) if stands else 0.0)
        if heights[-1]:
            distance = voxels - voxels[index]
            bump = torch.exp(-0.5 * ((distance / torch.tensor(sigma)) ** 2).sum(1))
            near = (distance.abs() <= torch.tensor(_reach(sigma))).all(1)
            logits[:, click.class_index] += heights[-1] * bump * near
    return heights


def correction_box(click: Click, shape: Sequence[int], sigma: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Where a correction is felt, upper bounds excluded; an axis is empty where none of it lies in ``shape``."""
    reach = zip(click.voxel, _reach(sigma), shape, strict=True)
    return tuple((max(v - r, 0), max(min(v + r + 1, n), 0)) for v, r, n in reach)


def _reach(sigma: Sequence[float]) -> list[int]:
    return [math.ceil(CUT_OFF * s) for s in sigma]


def _stand(clicks: Sequence[Click], exclusive: bool) -> list[bool]:
    """Which clicks no newer one on the same voxel contradicts: one on its class, or one that gives the voxel to another
    class, where only one can have it."""
    newer: dict[tuple[int, int, int], list[Click]] = {}
    stand = []
    for click in reversed(clicks):
        here = newer.setdefault(click.voxel, [])
        stand.append(
            not any(c.class_index == click.class_index or (exclusive and c.positive and click.positive) for c in here)
        )
        here.append(click)
    return stand[::-1]


def _lacking(logits: list[float], click: Click, exclusive: bool) -> float:
    """What has to be added to the clicked class's logit, of all classes' at the clicked voxel: 0 if the click holds."""
    own = logits[click.class_index]
    others = logits[: click.class_index] + logits[click.class_index + 1 :] if exclusive else []
    if click.held and (own > 0 and own >= max(others, default=own)) == click.positive:
        return 0.0
    if not click.positive:
        return min(0.0, -MARGIN - own)
    return max(0.0, max([0.0, *others]) + MARGIN - own)
