"""Refinement stages of trained networks in windows of one image; what the encoder gave is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from msam_nn.inference.clicks import Click
from msam_nn.inference.windows import Windows
from msam_nn.networks import MSAM
from msam_nn.networks.config import Triple
from msam_nn.networks.layers import upsample
from msam_nn.networks.msam import ImageFeatures, Points, RefinementState
from msam_nn.networks.prompt_encoder import write_clicks

CACHE_BYTES = 1 << 30
"""Memory for image features; the windows not used for longest are forgotten first."""


class WindowRefiner:
    """Refines masks in windows of an image, averaged over folds and mirrored copies.

    Arguments:
        networks: one per fold, of one configuration, on ``device``.
        image: ``(C, D, H, W)``, at least of patch size.
        mirror_axes: spatial axes; the window is also refined flipped along all their combinations.
    """

    def __init__(
        self, networks: Sequence[MSAM], image: Tensor, device: torch.device, mirror_axes: Sequence[int] = ()
    ) -> None:
        self.networks = networks
        self.config = networks[0].config
        self.image = image
        self.device = device
        self.windows = Windows(self.config.patch_size, tuple(image.shape[1:]))
        self.flips = [axes for n in range(len(mirror_axes) + 1) for axes in combinations(mirror_axes, n)]
        self._features: OrderedDict[tuple[Triple, int, tuple[int, ...]], ImageFeatures] = OrderedDict()

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
        mask = F.interpolate(mask, size=self.config.mask_size, mode="trilinear", align_corners=False)
        written = self._written(start, earlier)
        total = torch.zeros_like(mask)
        with torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext():
            for fold, network in enumerate(self.networks):
                for axes in self.flips:
                    dims = [axis + 2 for axis in axes]
                    state = RefinementState(mask.flip(dims), None if written is None else written.flip(dims))
                    points = self._points(start, newest, axes)
                    classes = torch.tensor([class_index], device=self.device)
                    refined = network.refine(self._encoded(start, fold, axes), points, state, classes).logits
                    total += refined.float().flip(dims)
        mean = total / (len(self.networks) * len(self.flips))
        return upsample(mean, self.config.patch_size)[0, 0].cpu()

    def _encoded(self, start: Triple, fold: int, axes: tuple[int, ...]) -> ImageFeatures:
        key = (start, fold, axes)
        if key not in self._features:
            window = self.image[(slice(None), *self.windows.region(start))][None].to(self.device)
            self._features[key] = self.networks[fold].encode(window.flip([axis + 2 for axis in axes]))
            while len(self._features) > 1 and sum(map(_bytes, self._features.values())) > CACHE_BYTES:
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key]

    def _points(self, start: Triple, click: Click | None, axes: tuple[int, ...]) -> Points | None:
        if click is None:
            return None
        voxel = [v - s for v, s in zip(click.voxel, start, strict=True)]
        voxel = [p - 1 - v if axis in axes else v for axis, (v, p) in enumerate(zip(voxel, self.windows.patch))]  # noqa: B905
        point = torch.tensor(voxel, device=self.device).view(1, 1, 1, 3)
        return Points(point, torch.full((1, 1, 1), int(click.positive), device=self.device))

    def _written(self, start: Triple, clicks: Sequence[Click]) -> Tensor | None:
        """Clicks as the network's click map of a window."""
        config = self.config
        if config.click_sigma <= 0 or not clicks:
            return None
        points = torch.tensor([c.voxel for c in clicks], device=self.device) - torch.tensor(start, device=self.device)
        labels = torch.tensor([int(c.positive) for c in clicks], device=self.device)
        return write_clicks(
            points[None, None],
            labels[None, None],
            token_size=config.token_size,
            mask_size=config.mask_size,
            sigma=config.click_sigma,
            logit=config.click_logit,
        )


def _bytes(features: ImageFeatures) -> int:
    tensors = [features.embedding, features.position, *(features.image_half or ())]
    return sum(t.numel() * t.element_size() for t in tensors)
