"""Boxes of masks, without loops and without asking the device anything."""

from __future__ import annotations

import torch
from torch import Tensor


def boxes_of_masks(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Tight boxes of bool masks ``(..., H, W)``.

    Returns:
        Boxes ``(..., 4)``, float32, as ``(x1, y1, x2, y2)`` in units of the slice, 0 to 1: the outer edges of the first
        and last pixels, so that a single pixel has an area. All zeros where a mask is empty.
        And which masks are not, bool ``(...)``.
    """
    edges = []
    for occupied in (masks.any(-2), masks.any(-1)):
        size = occupied.shape[-1]
        first = occupied.byte().argmax(-1)
        last = size - occupied.flip(-1).byte().argmax(-1)
        edges.append((first / size, last / size))
    (x1, x2), (y1, y2) = edges
    present = masks.flatten(-2).any(-1)
    boxes = torch.stack([x1, y1, x2, y2], dim=-1)
    return torch.where(present[..., None], boxes, 0.0), present
