"""Mask logits of all classes of an image, in no more memory than its prompts need."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class MaskLogits:
    """Logits ``(K, D, H, W)``, read as float32 and written region by region; ``shape`` is ``(D, H, W)``.

    A class takes memory of its own from the first time on that it is written to. Until then it is read from the start.

    Arguments:
        start: ``(K, D, H, W)`` of any precision, never written to; an expanded number will do.
    """

    def __init__(self, start: Tensor) -> None:
        self._start = start
        self._written: dict[int, Tensor] = {}
        self.shape = start.shape[1:]

    def of(self, class_index: int) -> Tensor:
        """A whole class as it is stored, to be read and not to be written to."""
        return self._written[class_index] if class_index in self._written else self._start[class_index]

    def __getitem__(self, place: tuple[Any, ...]) -> Tensor:
        """A copy of a region ``(class or slice of classes, *voxels or slices)``."""
        which, *region = place
        if isinstance(which, slice):  # into single precision at once, without a copy in another
            stored = [self.of(index)[tuple(region)] for index in range(len(self._start))[which]]
            return torch.stack(stored, out=torch.empty(0))
        return self.of(which)[tuple(region)].to(torch.float32, copy=True)

    @torch.inference_mode()  # what was made in one can be written to in no other
    def exchange(self, place: tuple[Any, ...], values: Tensor) -> Tensor:
        """Write a region of one class and return what was there."""
        class_index, *region = place
        before = self[place]
        if class_index not in self._written:
            self._written[class_index] = self.of(class_index).to(torch.float32, copy=True)
        self._written[class_index][tuple(region)] = values
        return before
