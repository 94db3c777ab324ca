"""The segmentation of one image: what the network sees in it on its grid, and the label map on the image's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.inference.output_grid import OutputGrid
from msam_nn.inference.prompting.image import PromptedImage
from msam_nn.inference.prompting.windows import Box, bounding_box, enclosing, overlap, shifted
from msam_nn.server.label_buffer import LabelBuffer


class Drawn(NamedTuple):
    """Voxels (bool of the size of a box) that keep a class, or stay out of it."""

    box: Box
    voxels: np.ndarray
    class_index: int
    positive: bool


class Segmentation:
    """Keeps a label map in step with the network's masks, and undoes both together.

    Arguments:
        image: the network's.
        grid: from the network's grid to the image's own.
        buffer: the label map on the image's own grid, empty.
        label_manager: nnU-Net's.
    """

    def __init__(
        self, image: PromptedImage, grid: OutputGrid, buffer: LabelBuffer, label_manager: LabelManager
    ) -> None:
        self.image = image
        self.grid = grid
        self._buffer = buffer
        self._label_manager = label_manager

    @property
    def labels(self) -> np.ndarray:
        """All classes on the image's own grid; a view."""
        return self._buffer.labels

    def follow(self, act: Callable[[], Box | None] | None, drawn: Drawn | None = None) -> None:
        """Follow a prompt, as one step; after an error everything is as before.

        Arguments:
            act: lets the network follow it and returns what changed of its masks; None where it takes no part.
            drawn: voxels that hold from now on, whatever the network says.
        """
        with nullcontext() if act is None else self.image.step(), self._buffer.step():
            changed = None if act is None else act()
            taken_back = None if drawn is None else self._buffer.hold(*drawn)
            self._label(changed and self.grid.own_box(changed), taken_back=taken_back)

    def start_class(self, class_index: int, mask: np.ndarray) -> None:
        """Start a class from a bool mask on the image's own grid, before any click; that cannot be undone."""
        shares = self.grid.shares(mask)
        self.image.set_mask(class_index, shares)
        self.image.forget_history()
        self._buffer.start_class(class_index, mask)
        found = bounding_box(shares > 0)
        boxes = [self._buffer.decided_box(self.grid.inside), found and self.grid.own_box(found)]
        self._label(enclosing(boxes), quietly=True)
        self._buffer.forget_history()

    def reset(self) -> None:
        """Back to the automatic prediction, or to nothing where there is none."""
        self.image.reset()
        self._buffer.clear()
        if self.image.has_start:
            self._label(self.grid.inside)

    def can_undo(self, network: bool) -> bool:
        """Whether the last step can be undone; ``network``: whether the network took part in it."""
        return self._buffer.can_undo and (not network or self.image.can_undo)

    def undo(self, network: bool) -> None:
        """Take the last step back, bit for bit."""
        if network:
            self.image.undo()
        self._buffer.undo()

    def redo(self, network: bool) -> None:
        """Take the last undone step again, bit for bit and without the network."""
        if network:
            self.image.redo()
        self._buffer.redo()

    def _label(self, box: Box | None, **decided: Any) -> None:
        """Label a box of the image as the network's masks are, where there are, or were, any labels.

        Arguments:
            decided: options of :meth:`LabelBuffer.decide`.
        """
        for slab in self.grid.slabs(box, self.image.network.num_classes) if box else ():
            needed = self.grid.network_box(slab)
            masks = self.image.masks(needed)
            origin = [lower for lower, _ in needed]
            seen = bounding_box(masks.amax(0) > 0)
            boxes = [self._buffer.decided_box(slab), seen and self.grid.own_box(shifted(seen, origin))]
            target = enclosing(boxes)
            target = target and overlap(target, slab)
            if target is not None:
                labels = self.grid.labels(target, masks, origin, self._label_manager)
                self._buffer.decide(target, labels, **decided)
