"""Prompt sources for the refinement loop of :class:`~msam_nn.networks.promptable.PromptableNetwork`.

A source is called before each stage with the stage's index and the full-resolution mask logits of the stage before
(None at stage 0), and returns the new points of that stage or None.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from msam_nn.networks.promptable import PADDING, Points
from msam_nn.prompts.simulation import sample_error_clicks


def foreground(masks: Tensor, *, exclusive: bool) -> Tensor:
    """Mask logits ``(B, K, D, H, W)`` as bool masks: probability above one half, or, where classes exclude each other,
    the class that wins against the others and the background logit of 0."""
    positive = masks > 0
    if exclusive and masks.shape[1] > 1:
        positive &= masks == masks.amax(1, keepdim=True)
    return positive


class NoPrompts:
    """Automatic refinement."""

    def __call__(self, stage: int, masks: Tensor | None) -> None:
        return None


class RecordedPrompts:
    """A user's points, stage by stage; stages beyond the record get none."""

    def __init__(self, stages: Sequence[Points | None]) -> None:
        self.stages = stages

    def __call__(self, stage: int, masks: Tensor | None) -> Points | None:
        return self.stages[stage] if stage < len(self.stages) else None


class SimulatedClicks:
    """Clicks drawn uniformly from the error region, one per sample, class and stage.

    Arguments:
        target: true masks ``(B, K, D, H, W)``, bool.
        first_click: ``(B,)`` stage of each sample's first click: 0 clicks from nothing (the paper), ``n_auto_stages``
            corrects the automatic mask, the number of stages or more never clicks. None means 0.
        valid: ``(B, 1, D, H, W)`` bool, False where no click may fall (ignore label). None allows all.
        exclusive: whether classes exclude each other (softmax) or not (regions).
        generator: of the targets' device, for reproducible clicks.
    """

    def __init__(
        self,
        target: Tensor,
        *,
        first_click: Tensor | None = None,
        valid: Tensor | None = None,
        exclusive: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        self.target = target
        self.first_click = first_click
        self.valid = valid
        self.exclusive = exclusive
        self.generator = generator

    def __call__(self, stage: int, masks: Tensor | None) -> Points:
        error = self.target if masks is None else foreground(masks, exclusive=self.exclusive) ^ self.target
        if self.valid is not None:
            error = error & self.valid
        clicks = sample_error_clicks(error, self.target, self.generator)
        if self.first_click is None:
            return clicks
        due = (self.first_click <= stage)[:, None, None]
        return Points(clicks.points, torch.where(due, clicks.labels, PADDING))
