"""Mask logits that clicks have changed, with undo and redo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from msam_nn.errors import UserError
from msam_nn.inference.prompting.clicks import Click, correction_box, correction_heights, honour_clicks
from msam_nn.inference.prompting.history import UNDO_STEPS, History, Step
from msam_nn.inference.prompting.mask_logits import MaskLogits
from msam_nn.inference.prompting.windows import Box, enclosing, overlap, slices
from msam_nn.networks.layers.basic import Triple
from msam_nn.prompts import foreground

MASK_LOGIT = 5.0
"""Logit of a given mask inside, minus that outside."""

Given = tuple[Box, Tensor]
"""A box, and the logits in it of a mask that is empty outside of it."""


@dataclass
class _Prompted(Step):
    """What a prompt added, the mask logits it overwrote, and the masks from elsewhere before and after it."""

    clicks: list[Click] = field(default_factory=list)
    unfinished: list[tuple[int, Triple]] = field(default_factory=list)
    given: tuple[dict[int, Given], dict[int, Given]] = ({}, {})


class ClickedMasks:
    """Masks of all classes, the clicks that led to them, and the steps between.

    Arguments:
        start: logits ``(K, D, H, W)`` to begin with.
        sigma: standard deviation in voxels, per axis, of the correction that makes a click hold.
        exclusive: classes compete (softmax), so a positive click also has to beat the other classes.

    Attributes:
        logits: without those corrections; :meth:`write` changes them.
        given: classes as masks from elsewhere gave them; to be replaced as a whole.
        clicks: all that were not undone, oldest first.
        unfinished: class and voxel where an object goes on beyond what a prompt may reach.
    """

    def __init__(self, start: Tensor, sigma: Sequence[float], exclusive: bool) -> None:
        self.logits = MaskLogits(start)
        self.given: dict[int, Given] = {}
        self.clicks: list[Click] = []
        self.unfinished: list[tuple[int, Triple]] = []
        self._sigma = sigma
        self._correction = {"sigma": sigma, "exclusive": exclusive}
        self._heights: list[float] = []
        self._history = History(_Prompted)

    @property
    def can_undo(self) -> bool:
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        return self._history.can_redo

    def forget_history(self) -> None:
        """What is there now cannot be undone."""
        self._history.clear()

    def as_given(self, class_index: int, region: Sequence[slice]) -> Tensor:
        """Bool: where in a region a class is as a mask from elsewhere gave it."""
        logits = self.logits.of(class_index)[tuple(region)]
        if class_index not in self.given:
            return torch.zeros_like(logits, dtype=torch.bool)
        # empty outside of the mask's box; and another class's mask, given since, takes voxels away
        same = logits == -MASK_LOGIT
        box, values = self.given[class_index]
        window = tuple((r.start, r.stop) for r in region)
        shared = overlap(box, window)
        if shared is not None:
            here = slices(shared, window)
            same[here] |= logits[here] == values[slices(shared, box)]
        return same

    def holding(self, region: Sequence[slice]) -> Tensor:
        """Logits ``(K, ...)`` of a region in which every click holds."""
        return self._honoured(region, self._heights)

    def has_label(self, click: Click) -> bool:
        """Whether the clicked voxel has the label that it is given already, corrections included."""
        return bool(self.found(click.class_index, [slice(v, v + 1) for v in click.voxel])) == click.positive

    def found(self, class_index: int, region: Sequence[slice]) -> Tensor:
        """Bool: where in a region the class is found, corrections included; in the middle of a step, too."""
        heights = correction_heights(self.logits, self.clicks, **self._correction)
        masks = self._honoured(region, heights)
        return foreground(masks[None], exclusive=self._correction["exclusive"])[0, class_index]

    def write(self, place: tuple, values: Tensor) -> None:
        """Replace logits; inside :meth:`step` those that were there are remembered."""
        self._history.remember(place, self.logits.exchange(place, values))

    @contextmanager
    def step(self) -> Iterator[_Prompted]:
        """Make what happens inside, prompts among it, one step for :meth:`undo`; an error leaves no trace."""
        before, heights, given = (len(self.clicks), len(self.unfinished)), self._heights, self.given
        try:
            with self._history.step(self.logits.exchange) as step:
                yield step
        except BaseException:
            self._forget_prompts_from(*before)
            self._heights, self.given = heights, given
            raise
        step.clicks, step.unfinished = self.clicks[before[0] :], self.unfinished[before[1] :]
        step.given = given, self.given

    def undo(self) -> Box | None:
        """Take the last step back, bit for bit; returns the box of what it changed, like :meth:`changed`.

        Raises:
            UserError: if there is none, or it lies more than ``UNDO_STEPS`` steps back.
        """
        if not self.can_undo:
            raise UserError(f"There is nothing to undo: up to {UNDO_STEPS} steps since set_image or reset can be.")
        step = self._history.undo(self.logits.exchange)
        self.given = step.given[0]
        self._forget_prompts_from(len(self.clicks) - len(step.clicks), len(self.unfinished) - len(step.unfinished))
        return self.changed(step)

    def redo(self) -> Box | None:
        """Follow the prompt again that :meth:`undo` took back, bit for bit and without the network.

        Raises:
            UserError: if no step was undone, or a prompt came after it.
        """
        if not self.can_redo:
            raise UserError("There is nothing to redo: no step was undone since the last prompt.")
        step = self._history.redo(self.logits.exchange)
        self.given = step.given[1]
        self.clicks += step.clicks
        self.unfinished += step.unfinished
        return self.changed(step)

    def changed(self, step: _Prompted) -> Box | None:
        """The box of what differs, corrections included, by a step that was just done or undone; None for nothing."""
        boxes = [tuple((s.start, s.stop) for s in region[1:]) for region, _ in step.replaced]
        before, shape = self._heights, self.logits.shape
        self._heights = correction_heights(self.logits, self.clicks, **self._correction)
        clicks = self.clicks if len(self.clicks) >= len(before) else [*self.clicks, *step.clicks]
        for index, click in enumerate(clicks):
            old, new = (heights[index] if index < len(heights) else 0.0 for heights in (before, self._heights))
            if old != new:
                boxes.append(correction_box(click, shape, self._sigma))
        boxes += [tuple((v, v + 1) for v in click.voxel) for click in step.clicks]
        return enclosing(boxes)

    def _honoured(self, region: Sequence[slice], heights: Sequence[float]) -> Tensor:
        logits, origin = self.logits[(slice(None), *region)], [r.start for r in region]
        return honour_clicks(logits, self.clicks, **self._correction, heights=heights, origin=origin)

    def _forget_prompts_from(self, click: int, unfinished: int) -> None:
        del self.clicks[click:], self.unfinished[unfinished:]
