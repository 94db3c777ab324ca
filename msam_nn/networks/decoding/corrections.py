"""Masks that follow clicks by a rule, before anything is learned; for all samples and classes of a batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from msam_nn.networks.layers.basic import gaussian_factors
from msam_nn.networks.promptable import NEGATIVE, PADDING, POSITIVE, Points

MARGIN = 1.0
"""Logit by which a clicked voxel is at least on the right side."""

REACH = 2.0
"""Standard deviation of a newest click's Gaussian, in distances from the click to the border of the mask."""

FARTHEST, FARTHEST_EXCLUDED = 0.2, 0.125
"""That standard deviation at most, as a share of the patch: of a click on something missed, and of one on something
wrongly included, where what is spoiled costs more Dice than what is mended gives."""

SUREST = 6.0
"""Logit beyond which a mask's certainty counts for nothing where a click acts: a voxel that was pushed far down by
several clicks would otherwise take all around it along when a later click lifts it again."""

HELD = (2.5, 2.5, 2.5)
"""Standard deviation in voxels, per axis, by which prediction corrects a click that does not hold after a stage that
followed it, or no longer after a later one."""


class Following(NamedTuple):
    """What the newest clicks make of masks by the rule of :func:`follow_points`.

    masks: logits ``(B, K, D, H, W)`` as the clicks would have them.
    reach: where they act, ``(B, K, D, H, W)``: their Gaussians from 0 to 1, the largest of several; the share of a
        learned correction that is wanted at a voxel. A click that tells no size, because there is no border, acts
        everywhere; without a click it is 0.
    unbounded: which classes ``(B, K)`` have a click that tells no size.
    widths: standard deviation of each click's Gaussian in voxels, ``(B, K, P, 3)``.
    heights: what each clicked voxel lacked, ``(B, K, P)``, once it was no surer than :data:`SUREST`.
    """

    masks: Tensor
    reach: Tensor
    unbounded: Tensor
    widths: Tensor
    heights: Tensor


def equal_lengths(spacing: Sequence[float]) -> tuple[float, ...]:
    """Voxels that count as equally far, per axis: one along the axis of the largest ``spacing``."""
    return tuple(max(spacing) / s for s in spacing)


def honour_points(masks: Tensor, clicks: Points, *, sigma: Sequence[float], exclusive: bool) -> Tensor:
    """Mask logits ``(B, K, D, H, W)`` in which every clicked voxel has the label it was given; the newest click wins.

    What prediction makes of a click that was overlooked (:mod:`msam_nn.inference.prompting.clicks`), and a simulated
    user sees in a training: the class's logits are raised or lowered by what the clicked voxel lacks, fading as a
    Gaussian. A click that a newer one on its voxel contradicts changes nothing. The clicks of one stage act on their
    classes at the same time.

    Arguments:
        clicks: all clicks so far, oldest first, ``(B, K, P, ...)``.
        sigma: standard deviation of that Gaussian in voxels, per axis.
        exclusive: classes compete (softmax), so a positive click also has to beat the other classes.
    """
    masks = masks.clone(memory_format=torch.contiguous_format)  # so that flatten(2) is a view of it
    standing = torch.where(_stand(clicks, masks.shape, exclusive), clicks.labels, PADDING)
    for points, labels in zip(clicks.points.unbind(2), standing.unbind(2), strict=True):
        lacking = _lacking(masks, points, labels, exclusive)
        masks += lacking[..., None, None, None] * _gaussian(masks, points, sigma)
    for points, labels in zip(clicks.points.unbind(2), standing.unbind(2), strict=True):
        lacking = _lacking(masks, points, labels, exclusive)
        masks.flatten(2).scatter_add_(2, _flat_index(points, masks.shape)[..., None], lacking[..., None])
    return masks


def follow_points(masks: Tensor, newest: Points, *, unit: Sequence[float]) -> Following:
    """Mask logits ``(B, K, D, H, W)`` as the newest clicks would have them.

    A click that holds changes nothing. Another one is taken for the centre of an error, whose size its distance to the
    border of the mask tells: raised or lowered by what the clicked voxel lacks, fading as a Gaussian of
    :data:`REACH` times that distance; masks are no surer than :data:`SUREST` there before. Classes are followed each
    by itself: in a stage not all of them may be known.

    Arguments:
        newest: ``(B, K, P, ...)``, P from 1 on.
        unit: voxels that count as equally far, per axis, up to a factor (:func:`equal_lengths`).
    """
    patch = min(extent / u for extent, u in zip(masks.shape[2:], unit, strict=True))
    reach = torch.zeros_like(masks)
    unbounded = torch.zeros(masks.shape[:2], dtype=torch.bool, device=masks.device)
    widths, heights = [], []
    for points, labels in zip(newest.points.unbind(2), newest.labels.unbind(2), strict=True):
        distance = _distance_to_border(masks > 0, points, unit)
        farthest = patch * torch.where(labels == NEGATIVE, FARTHEST_EXCLUDED, FARTHEST)
        width = torch.minimum(REACH * distance, farthest)
        widths.append(torch.stack([width * along for along in unit], dim=-1))
        gaussian = _gaussian(masks, points, widths[-1])
        tempered = torch.lerp(masks, masks.clamp(-SUREST, SUREST), gaussian)
        heights.append(_lacking(tempered, points, labels, exclusive=False))
        height = heights[-1][..., None, None, None]
        masks = torch.where(height == 0, masks, tempered + height * gaussian)
        sizeless, given = distance.isinf(), labels != PADDING
        unbounded = unbounded | (sizeless & given)
        share = torch.where(sizeless[..., None, None, None], 1, gaussian) * given[..., None, None, None]
        reach = torch.maximum(reach, share)
    return Following(masks, reach, unbounded, torch.stack(widths, dim=2), torch.stack(heights, dim=2))


def _gaussian(masks: Tensor, points: Tensor, sigma: Tensor | Sequence[float]) -> Tensor:
    """One click a class ``(B, K, 3)`` as a Gaussian of height 1 on the grid of ``masks`` ``(B, K, D, H, W)``."""
    z, y, x = (factor.to(masks.dtype) for factor in gaussian_factors(points, sigma, masks.shape[2:]))
    return z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]


def _distance_to_border(found: Tensor, points: Tensor, unit: Sequence[float]) -> Tensor:
    """Distance ``(B, K)`` from voxels ``(B, K, 3)`` to the nearest one on the other side of a bool mask, in units of
    ``unit`` voxels; infinite where there is none."""
    squares = [
        ((torch.arange(extent, device=found.device) - points[..., axis, None]) / unit[axis]) ** 2
        for axis, extent in enumerate(found.shape[2:])
    ]
    z, y, x = squares
    distance = z[..., :, None, None] + y[..., None, :, None] + x[..., None, None, :]
    here = found.flatten(2).gather(2, _flat_index(points, found.shape)[..., None])[..., None, None]
    return distance.masked_fill(found == here, torch.inf).flatten(2).amin(2).sqrt()


def _stand(clicks: Points, shape: Sequence[int], exclusive: bool) -> Tensor:
    """Bool ``(B, K, P)``: which clicks no newer one on the same voxel contradicts: one on its class, or one that gives
    the voxel to another class, where only one can have it."""
    b, k, p = clicks.labels.shape
    voxels, labels = (x.transpose(1, 2).flatten(1) for x in (_flat_index(clicks.points, shape), clicks.labels))
    classes = torch.arange(k, device=labels.device).repeat(p)
    same_voxel, same_class = voxels[:, None] == voxels[..., None], classes == classes[:, None]
    given_away = (labels[:, None] == POSITIVE) & (labels[..., None] == POSITIVE) & exclusive
    contradicts = same_voxel & (labels != PADDING)[:, None] & (same_class | given_away)
    return ~contradicts.triu(1).any(2).view(b, p, k).transpose(1, 2)  # the newer ones stand right of the diagonal


def _lacking(masks: Tensor, points: Tensor, labels: Tensor, exclusive: bool) -> Tensor:
    """What has to be added to each clicked class's logit at its clicked voxel ``(B, K)``: 0 if the click holds."""
    b, k = labels.shape
    at_clicks = masks.flatten(2).gather(2, _flat_index(points, masks.shape)[:, None].expand(b, k, k))
    own = at_clicks.diagonal(dim1=1, dim2=2)
    needed = torch.zeros_like(own)
    if exclusive and k > 1:
        itself = torch.eye(k, dtype=torch.bool, device=masks.device)
        needed = at_clicks.masked_fill(itself, 0).amax(1).clamp(min=0)
    missed, included = (needed + MARGIN - own).clamp(min=0), (-MARGIN - own).clamp(max=0)
    return torch.where(labels == POSITIVE, missed, torch.where(labels == NEGATIVE, included, torch.zeros_like(own)))


def _flat_index(points: Tensor, shape: Sequence[int]) -> Tensor:
    """Voxels ``(B, K, 3)`` as indices ``(B, K)`` into flattened masks of ``shape`` ``(B, K, D, H, W)``."""
    z, y, x = points.long().unbind(-1)
    return (z * shape[3] + y) * shape[4] + x
