"""The loss of a stage that corrects: on what a click is about."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from msam_nn.networks.decoding.corrections import follow_points
from msam_nn.networks.promptable import PADDING, Points
from msam_nn.prompts import foreground

SPOILED = 3.0
"""Weight of a voxel that was right before the click: spoiling it costs more than leaving another one wrong."""


def click_loss(
    logits: Tensor,
    before: Tensor | None,
    clicks: Points,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    unit: Sequence[float],
    exclusive: bool,
) -> Tensor:
    """Cross-entropy and Dice loss around the newest clicks, the mean over samples and clicked classes.

    Over a whole patch a click's share of the loss is tiny. Here a voxel counts as the square root of the Gaussian by
    which the click acts there (:func:`~msam_nn.networks.decoding.corrections.follow_points`), and :data:`SPOILED`
    times as much if it was right before, so that a click is rather followed too little than at the cost of what was
    right. On an empty mask there is nothing to spoil, and a click without a border near it counts everywhere.

    Arguments:
        logits: the stage's, with gradient: ``(B, K, D, H, W)``, or if classes exclude each other ``(B, 1 + K, ...)``,
            the background's first.
        before: mask logits ``(B, K, D, H, W)`` that the clicks correct; None for no mask.
        clicks: the stage's ``(B, K, P, ...)``.
        truth: bool ``(B, K, D, H, W)``. valid: bool ``(B, 1, D, H, W)``, voxels with a label; None for all.
        unit: voxels that count as equally far, per axis.
        exclusive: whether classes exclude each other (softmax) or not (regions).
    """
    clicked = (clicks.labels != PADDING).any(2)
    if before is None:
        weight = clicked[..., None, None, None].expand_as(truth).to(logits.dtype)
    else:
        reach = follow_points(before, clicks, unit=unit).reach
        found = foreground(before, exclusive=exclusive)
        spoilable = (found == truth) & found.flatten(2).any(2)[..., None, None, None]
        weight = reach.sqrt() * torch.where(spoilable, SPOILED, 1.0)
    if valid is not None:
        weight = weight * valid
    if exclusive:
        label = truth.int().argmax(1) + truth.any(1)
        cross_entropy, share = F.cross_entropy(logits, label, reduction="none")[:, None], logits.softmax(1)[:, 1:]
    else:
        cross_entropy = F.binary_cross_entropy_with_logits(logits, truth.to(logits.dtype), reduction="none")
        share = logits.sigmoid()
    return weighted_loss(cross_entropy, share, truth, weight, clicked)


def weighted_loss(cross_entropy: Tensor, share: Tensor, truth: Tensor, weight: Tensor, counted: Tensor) -> Tensor:
    """Cross-entropy and Dice loss of weighted cells, the mean over classes and samples; 0 if none counts.

    Arguments:
        cross_entropy, share, truth, weight: ``(B, K, z, y, x)``, or what broadcasts to it; a share is a probability.
        counted: how much each counts, ``(B, K)``, bool or any number.
    """
    space = (2, 3, 4)
    cross_entropy = (weight * cross_entropy).sum(space) / weight.sum(space).clamp(min=1)
    overlap, sizes = (weight * share * truth).sum(space), (weight * (share + truth)).sum(space)
    dice = 1 - (2 * overlap + 1) / (sizes + 1)
    return ((cross_entropy + dice) * counted).sum() / counted.sum().clamp(min=1e-3)
