"""Refinement stages of trained networks in windows of one image; what the encoder gave is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from msam_nn.inference.clicks import Click
from msam_nn.inference.windows import Windows
from msam_nn.networks import Points, PromptableNetwork
from msam_nn.networks.layers.basic import Triple

CACHE_BYTES = 1 << 30
"""Memory for image features; the windows not used for longest are forgotten first."""


class WindowRefiner:
    """Refines masks in windows of an image, averaged over folds and mirrored copies.

    Arguments:
        networks: one per fold, of one patch size, on ``device``.
        image: ``(C, D, H, W)``, at least of patch size.
        mirror_axes: spatial axes; the window is also refined flipped along all their combinations.
    """

    def __init__(
        self,
        networks: Sequence[PromptableNetwork],
        image: Tensor,
        device: torch.device,
        mirror_axes: Sequence[int] = (),
    ) -> None:
        self.networks = networks
        self.image = image
        self.device = device
        self.windows = Windows(networks[0].patch_size, tuple(image.shape[1:]))
        self.flips = [axes for n in range(len(mirror_axes) + 1) for axes in combinations(mirror_axes, n)]
        self._features: OrderedDict[tuple[Triple, int, tuple[int, ...]], Any] = OrderedDict()

    @property
    def known(self) -> set[Triple]:
        """Windows whose features are kept."""
        return {start for start, _, _ in self._features}

    @torch.inference_mode()
    def refine(
        self, start: Triple, class_index: int, mask: Tensor, newest: Click | None, earlier: Sequence[Click] = ()
    ) -> Tensor:
        """One refinement stage.

        Arguments:
            start: the window.
            mask: ``patch``-sized mask logits so far, the mask prompt.
            newest: the stage's point in voxels of the image, or None for a stage without a point.
            earlier: clicks on the class so far, written into the mask prompt.

        Returns:
            Mask logits like ``mask``, float32 on the CPU.
        """
        mask = mask[None, None].to(self.device)
        classes = torch.tensor([class_index], device=self.device)
        total = torch.zeros_like(mask)
        with torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext():
            for fold, network in enumerate(self.networks):
                for axes in self.flips:
                    dims = [axis + 2 for axis in axes]
                    state = network.resume(mask.flip(dims), self._points(start, earlier, axes))
                    points = self._points(start, [] if newest is None else [newest], axes)
                    state = network.refine(self._encoded(start, fold, axes), points, state, classes)
                    total += network.masks(state).float().flip(dims)
        return (total / (len(self.networks) * len(self.flips)))[0, 0].cpu()

    def _encoded(self, start: Triple, fold: int, axes: tuple[int, ...]) -> Any:
        key = (start, fold, axes)
        if key not in self._features:
            window = self.image[(slice(None), *self.windows.region(start))][None].to(self.device)
            self._features[key] = self.networks[fold].encode(window.flip([axis + 2 for axis in axes]))
            while len(self._features) > 1 and sum(map(_bytes, self._features.values())) > CACHE_BYTES:
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key]

    def _points(self, start: Triple, clicks: Sequence[Click], axes: tuple[int, ...]) -> Points | None:
        """Clicks in voxels of a window that is flipped along ``axes``; None for none."""
        if not clicks:
            return None
        voxels = torch.tensor([click.voxel for click in clicks], device=self.device)
        voxels = voxels - torch.tensor(start, device=self.device)
        for axis in axes:
            voxels[:, axis] = self.windows.patch[axis] - 1 - voxels[:, axis]
        labels = torch.tensor([int(click.positive) for click in clicks], device=self.device)
        return Points(voxels[None, None], labels[None, None])


def _bytes(features: Any) -> int:
    """Memory of a tensor, or of whatever tuples of tensors and None a network calls its features."""
    if isinstance(features, Tensor):
        return features.numel() * features.element_size()
    return 0 if features is None else sum(map(_bytes, features))
