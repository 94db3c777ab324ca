"""nnU-Net's training targets as one binary mask per class or region, and back for a subset of classes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Targets(NamedTuple):
    """
    masks: ``(B, K, D, H, W)`` bool, one per decoded class or region.
    valid: ``(B, 1, D, H, W)`` bool, False on the ignore label; None without one.
    loss: what nnU-Net's compound losses take: a label map ``(B, 1, D, H, W)``, or region masks (the ignore mask last).
    """

    masks: Tensor
    valid: Tensor | None
    loss: Tensor


def split_targets(
    target: Tensor, *, num_classes: int, has_regions: bool, ignore_label: int | None, classes: Tensor | None = None
) -> Targets:
    """Take a batch's target apart.

    Arguments:
        target: label map ``(B, 1, D, H, W)`` with labels 0..K (and the ignore label), or region masks ``(B, R, ...)``
            with the ignore mask last if there is an ignore label.
        num_classes: K, all foreground classes or regions.
        classes: indices of the classes to keep; None keeps all. Labels of the others become background, so that a
            step that refines few of many classes still sees every voxel.
    """
    kept = torch.arange(num_classes, device=target.device) if classes is None else classes
    if has_regions:
        masks = target[:, :num_classes][:, kept].bool()
        valid = None if ignore_label is None else ~target[:, -1:].bool()
        loss = target if classes is None else torch.cat([target[:, :num_classes][:, kept], target[:, num_classes:]], 1)
        return Targets(masks, valid, loss)
    labels = kept + 1
    masks = target == labels.view(1, -1, 1, 1, 1)
    valid = None if ignore_label is None else target != ignore_label
    if classes is None:
        return Targets(masks, valid, target)
    positions = torch.arange(1, len(labels) + 1, device=target.device).view(1, -1, 1, 1, 1)
    loss = (masks * positions).sum(1, keepdim=True)
    if ignore_label is not None:
        loss = torch.where(valid, loss, ignore_label)
    return Targets(masks, valid, loss.to(target.dtype))
