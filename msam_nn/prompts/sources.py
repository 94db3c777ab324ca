"""Prompt sources for the refinement loop of :class:`~msam_nn.networks.promptable.PromptableNetwork`.

A source is called before each stage with the stage's index and the full-resolution mask logits of the stage before
(None at stage 0), and returns the new points of that stage or None.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Tensor

from msam_nn.networks.decoding.corrections import honour_points
from msam_nn.networks.promptable import Points, PromptSource
from msam_nn.prompts.simulation import central_error_clicks, largest_error_clicks, sample_error_clicks


def foreground(masks: Tensor, *, exclusive: bool) -> Tensor:
    """Mask logits ``(B, K, D, H, W)`` as bool masks: probability above one half, or, where classes exclude each other,
    the class that wins against the others and the background logit of 0."""
    positive = masks > 0
    if exclusive and masks.shape[1] > 1:
        positive &= masks == masks.amax(1, keepdim=True)
    return positive


class AutomaticPrompts:
    """What the network proposes itself: its mask of the stage before, and for each class a positive point deep inside a
    large object of it. Nothing before there is a mask, or for classes that are not in it.

    As in MaskSAM (arXiv 2403.14103) nobody is asked; unlike its prompt generator nothing is learned here, the proposal
    is the mask that the network made from the image.
    """

    def __init__(self, *, exclusive: bool = True) -> None:
        self.exclusive = exclusive

    def __call__(self, stage: int, masks: Tensor | None) -> Points | None:
        if masks is None:
            return None
        found = foreground(masks, exclusive=self.exclusive)
        return central_error_clicks(found, found)


class Recorder:
    """Asks another source, and remembers the stages that are learned from.

    Arguments:
        silent: stages that are not.

    Attributes:
        learned: of each other stage so far the masks that were shown, and the points that were given.
    """

    def __init__(self, source: PromptSource, silent: Container[int] = ()) -> None:
        self.source, self.silent = source, silent
        self.learned: list[tuple[Tensor | None, Points | None]] = []

    def __call__(self, stage: int, masks: Tensor | None) -> Points | None:
        points = self.source(stage, masks)
        if stage not in self.silent:
            self.learned.append((masks, points))
        return points


class SimulatedClicks:
    """Clicks on errors, one per sample, class and stage: drawn uniformly, or in the centre of a large error.

    One source simulates one session: with ``reach`` it remembers its clicks.

    Arguments:
        target: true masks ``(B, K, D, H, W)``, bool.
        first_click: stage of the first click: 0 clicks from nothing (the paper), ``n_auto_stages`` corrects the
            automatic mask, the number of stages or more never clicks.
        valid: ``(B, 1, D, H, W)`` bool, False where no click may fall (ignore label). None allows all.
        exclusive: whether classes exclude each other (softmax) or not (regions).
        p_central: probability that a click goes to the centre of a large error, as users and the evaluation click.
        reach: standard deviation in voxels, per axis, of the corrections by which prediction lets every click hold; the
            simulated user then looks at corrected masks. None shows the network's own.
        generator: of the targets' device, for reproducible clicks.
    """

    def __init__(
        self,
        target: Tensor,
        *,
        first_click: int = 0,
        valid: Tensor | None = None,
        exclusive: bool = True,
        p_central: float = 0.0,
        reach: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.target = target
        self.first_click = first_click
        self.valid = valid
        self.exclusive = exclusive
        self.p_central = p_central
        self.reach = reach
        self.generator = generator
        self.given: list[Points] = []

    def __call__(self, stage: int, masks: Tensor | None) -> Points | None:
        if stage < self.first_click:
            return None
        return self.click(self.error(masks))

    def click(self, error: Tensor) -> Points:
        """One click a class on what :meth:`error` showed."""
        clicks = self._click(error)
        if self.reach is not None:
            self.given.append(clicks)
        return clicks

    def error(self, masks: Tensor | None) -> Tensor:
        """Where the user sees mask logits to be wrong, bool ``(B, K, D, H, W)``; all of the target without a mask."""
        error = self.target if masks is None else self._seen(masks) ^ self.target
        return error if self.valid is None else error & self.valid

    def _seen(self, masks: Tensor) -> Tensor:
        """The bool masks that the user sees after this stage."""
        if self.given:
            clicks = Points(*(torch.cat(parts, dim=2) for parts in zip(*self.given, strict=True)))
            masks = honour_points(masks.float(), clicks, sigma=self.reach, exclusive=self.exclusive)
        return foreground(masks, exclusive=self.exclusive)

    def _click(self, error: Tensor) -> Points:
        drawn = sample_error_clicks(error, self.target, self.generator)
        if not self.p_central:
            return drawn
        central = central_error_clicks(error, self.target)
        chance = torch.rand(drawn.labels.shape, generator=self.generator, device=error.device)
        chosen = chance < self.p_central
        points = torch.where(chosen[..., None], central.points, drawn.points)
        return Points(points, torch.where(chosen, central.labels, drawn.labels))


class CarefulClicks(SimulatedClicks):
    """Every click in the centre of the largest error, found as the evaluation finds it, on the host.

    Arguments:
        spacing: voxel size in mm per axis.
    """

    def __init__(self, target: Tensor, *, spacing: Sequence[float] = (1, 1, 1), **options: Any) -> None:
        super().__init__(target, **options)
        self.spacing = spacing

    def _click(self, error: Tensor) -> Points:
        return largest_error_clicks(error, self.target, self.spacing)
