"""What a set of queries has to find in a slice: one mask and one box per class that is present."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from msam_nn.networks.masksam.boxes import boxes_of_masks
from msam_nn.trainers.targets import split_targets


class SetTargets(NamedTuple):
    """
    masks: ``(B, T, C, H, W)`` bool, one per class (background first) or region; False on ignored pixels.
    boxes: ``(B, T, C, 4)`` ``x1, y1, x2, y2`` as fractions of the slice, the last pixel included; 0 where absent.
    present: ``(B, T, C)`` bool, whether a class is in a slice at all.
    valid: ``(B, T, 1, H, W)`` bool, False on the ignore label; None without one.
    """

    masks: Tensor
    boxes: Tensor
    present: Tensor
    valid: Tensor | None

    @property
    def counted(self) -> Tensor:
        """``(B, T)`` bool, False for slices that are ignored altogether."""
        if self.valid is None:
            return torch.ones_like(self.present[..., 0])
        return self.valid.flatten(2).any(2)


def set_targets(target: Tensor, *, num_outputs: int, has_regions: bool, ignore_label: int | None) -> SetTargets:
    """Take nnU-Net's target apart, slice by slice, on its device.

    Arguments:
        target: label map ``(B, 1, T, H, W)``, or region masks with the ignore mask last; of a 2D configuration without
            the depth axis.
        num_outputs: classes with background, or regions.
    """
    if target.ndim == 4:
        target = target.unsqueeze(2)
    parts = split_targets(
        target, num_classes=num_outputs - (not has_regions), has_regions=has_regions, ignore_label=ignore_label
    )
    masks = parts.masks
    if not has_regions:
        masks = torch.cat([~masks.any(1, keepdim=True), masks], dim=1)
    if parts.valid is not None:
        masks = masks & parts.valid
    masks = masks.transpose(1, 2)
    valid = None if parts.valid is None else parts.valid.transpose(1, 2)
    boxes, present = boxes_of_masks(masks)
    return SetTargets(masks, boxes, present, valid)
