"""Refinement stages of trained networks in windows of one image; what the encoder gave is kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import combinations, count
from typing import Any

import torch
from torch import Tensor

from msam_nn.inference.prompting.clicks import Click
from msam_nn.inference.prompting.windows import Windows
from msam_nn.networks import Points, PromptableNetwork
from msam_nn.networks.layers.basic import Triple
from msam_nn.prompts import foreground

CACHE_BYTES = 1 << 30
"""Memory for image features; the windows not used for longest are forgotten first."""


_NUMBERS = count()


class FeatureCache:
    """Image features of one or of many images, each under a key, in bounded memory.

    Arguments:
        max_bytes: beyond that, what was not used for longest is forgotten; the newest features stay in any case.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._features: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, encode: Callable[[], Any]) -> Any:
        """The features under a key; ``encode`` makes them where they are missing."""
        if key not in self._features:
            features = encode()
            self._features[key] = (features, _bytes(features))
            self.bytes += self._features[key][1]
            while len(self._features) > 1 and self.bytes > self.max_bytes:
                self.bytes -= self._features.popitem(last=False)[1][1]
        self._features.move_to_end(key)
        return self._features[key][0]

    def kept(self) -> list[Hashable]:
        """From the one not used for longest to the newest."""
        return list(self._features)

    def forget(self, keys: Sequence[Hashable]) -> None:
        """Free what these keys hold."""
        for key in keys:
            self.bytes -= self._features.pop(key)[1]


class WindowRefiner:
    """Refines masks in windows of an image, averaged over folds and mirrored copies.

    Arguments:
        networks: one per fold, of one patch size, on ``device``.
        image: ``(C, D, H, W)``, at least of patch size.
        mirror_axes: spatial axes; the window is also refined flipped along all their combinations.
        cache: shared with other images of the same networks; an own one by default.
    """

    def __init__(
        self,
        networks: Sequence[PromptableNetwork],
        image: Tensor,
        device: torch.device,
        mirror_axes: Sequence[int] = (),
        cache: FeatureCache | None = None,
    ) -> None:
        self.networks = networks
        self.image = image
        self.device = device
        self.windows = Windows(networks[0].patch_size, tuple(image.shape[1:]))
        self.flips = [axes for n in range(len(mirror_axes) + 1) for axes in combinations(mirror_axes, n)]
        self._cache = FeatureCache() if cache is None else cache
        self._number = next(_NUMBERS)

    @property
    def known(self) -> set[Triple]:
        """Windows whose features are kept."""
        return {start for _, start, _, _ in self._own_keys()}

    def forget(self) -> None:
        """Free the features of this image."""
        self._cache.forget(self._own_keys())

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

        def stage(network: PromptableNetwork, encoded: Callable[[], Any], axes: tuple[int, ...]) -> Any:
            state = network.resume(mask.flip(_dims(axes)), self._points(start, earlier, axes))
            points = self._points(start, [] if newest is None else [newest], axes)
            return network.refine(encoded() if network.reads_features else None, points, state, classes)

        return self._mean_masks(start, stage)[0, 0].cpu()

    @torch.inference_mode()
    def automatic(self, start: Triple, class_index: int) -> tuple[Tensor, Tensor]:
        """What networks with initial masks find in a window before any prompt.

        Returns:
            ``patch``-sized mask logits of a class, float32 on the CPU; and bool, where it wins against the others.
        """
        masks = self._mean_masks(start, lambda network, encoded, _: network.refine(encoded(), None, None))
        found = foreground(masks, exclusive=self.networks[0].background)
        return masks[0, class_index].cpu(), found[0, class_index].cpu()

    def _mean_masks(
        self, start: Triple, stage: Callable[[PromptableNetwork, Callable[[], Any], tuple[int, ...]], Any]
    ) -> Tensor:
        """Mask logits ``(1, k, ...)`` of the states that a stage leads to with each network and mirrored window; it
        calls what gives it the features."""
        total = 0
        with torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext():
            for fold, network in enumerate(self.networks):
                for axes in self.flips:
                    state = stage(network, partial(self._encoded, start, fold, axes), axes)
                    total = total + network.masks(state).float().flip(_dims(axes))
        return total / (len(self.networks) * len(self.flips))

    def _encoded(self, start: Triple, fold: int, axes: tuple[int, ...]) -> Any:
        def encode() -> Any:
            window = self.image[(slice(None), *self.windows.region(start))][None].to(self.device)
            return self.networks[fold].encode(window.flip(_dims(axes)))

        return self._cache.get((self._number, start, fold, axes), encode)

    def _own_keys(self) -> list[tuple]:
        return [key for key in self._cache.kept() if key[0] == self._number]

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


def _dims(axes: tuple[int, ...]) -> list[int]:
    """Dimensions of a batch along which spatial ``axes`` run."""
    return [axis + 2 for axis in axes]


def _bytes(features: Any) -> int:
    """Memory of a tensor, or of whatever tuples of tensors and None a network calls its features."""
    if isinstance(features, Tensor):
        return features.numel() * features.element_size()
    return 0 if features is None else sum(map(_bytes, features))
