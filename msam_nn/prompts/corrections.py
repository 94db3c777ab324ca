"""What prediction makes of a mask in which a click was overlooked, for all samples and classes of a batch at once.

A simulated user of a training sees these corrections, as a real one does (:mod:`msam_nn.inference.clicks`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from msam_nn.networks.promptable import NEGATIVE, POSITIVE, Points

MARGIN = 1.0
"""Logit by which a clicked voxel is at least on the right side."""


def honour_points(masks: Tensor, clicks: Points, *, sigma: Sequence[float], exclusive: bool) -> Tensor:
    """Mask logits ``(B, K, D, H, W)`` in which every clicked voxel has the label it was given; the newest click wins.

    Where the network overlooked a click, the class's logits are raised or lowered by what the clicked voxel lacks,
    fading as a Gaussian. The clicks of one stage act on their classes at the same time.

    Arguments:
        clicks: all clicks so far, oldest first, ``(B, K, P, ...)``.
        sigma: standard deviation of that Gaussian in voxels, per axis.
        exclusive: classes compete (softmax), so a positive click also has to beat the other classes.
    """
    masks = masks.clone()
    for points, labels in zip(clicks.points.unbind(2), clicks.labels.unbind(2), strict=True):
        bumps = []
        for axis, (extent, s) in enumerate(zip(masks.shape[2:], sigma, strict=True)):
            voxel = torch.arange(extent, device=masks.device)
            bumps.append(torch.exp(-0.5 * ((voxel - points[..., axis, None]) / s) ** 2).to(masks.dtype))
        bumps[0] = bumps[0] * _lacking(masks, points, labels, exclusive)[..., None]
        masks += torch.einsum("bkd,bkh,bkw->bkdhw", *bumps)
    for points, labels in zip(clicks.points.unbind(2), clicks.labels.unbind(2), strict=True):
        lacking = _lacking(masks, points, labels, exclusive)
        masks.flatten(2).scatter_add_(2, _flat_index(points, masks.shape)[..., None], lacking[..., None])
    return masks


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
