"""The image's own grid beside the network's, box by box: what a click changed is exported, and nothing else.

nnU-Net exports whole volumes; :class:`OutputGrid` gives the same labels for any box of them, because all that lies
between the grids (resampling, crop, transposition, a reader that reorients) acts on each axis by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import Tensor

from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.prompting.windows import Box, bounding_box, overlap, shifted, slices

SLAB = 1 << 24
"""Mask logits of a slab on the finer of the two grids, if a slice has no more; bounds memory."""


@dataclass(frozen=True)
class OutputGrid:
    """A grid whose axes run along the network's, in some order and direction.

    Arguments:
        shape, network_shape: voxels per axis, each in its own order.
        axes: of each network axis, the own axis along it.
        scale, offset: per network axis: its coordinate is ``scale * own voxel + offset``.
        nearest: the network axis along which nnU-Net resamples by the nearest neighbour, None for all linear.

    >>> grid = OutputGrid.of(geometry, configuration, spacing)  # doctest: +SKIP
    >>> labels = grid.labels(box, masks, (0, 0, 0), label_manager)  # doctest: +SKIP
    """

    shape: tuple[int, int, int]
    network_shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    nearest: int | None = None

    @classmethod
    def of(
        cls,
        geometry: ImageGeometry,
        configuration: ConfigurationManager | None = None,
        spacing: Sequence[float] | None = None,
    ) -> OutputGrid:
        """The grid of an image's file.

        Arguments:
            configuration, spacing: nnU-Net's, and the image's spacing in mm in the network's order of axes: they decide
                what is resampled by the nearest neighbour. Without them all axes are linear.
        """
        matrix = geometry.network_from_file
        axes = [int(axis) for axis in np.abs(matrix[:3, :3]).argmax(1)]
        nearest = None
        if configuration is not None:
            options = configuration.configuration["resampling_fn_probabilities_kwargs"]
            force = options.get("force_separate_z")
            separate, axis = determine_do_sep_z_and_axis(force, configuration.spacing, spacing)
            nearest = int(axis) if separate and options.get("order_z", 0) == 0 else None
        scale = tuple(float(matrix[n, axis]) for n, axis in enumerate(axes))
        offset = tuple(float(t) for t in matrix[:3, 3])
        return cls(tuple(geometry.file_shape), tuple(geometry.network_shape), tuple(axes), scale, offset, nearest)

    @property
    def inside(self) -> Box:
        """The own voxels that the network's image covers; beyond lies the empty margin that nnU-Net crops away."""
        return self._own_box([(-0.5, n - 0.5) for n in self.network_shape])

    def own_box(self, network_box: Box) -> Box | None:
        """The own voxels whose value depends on voxels of a network box; None where there are none."""
        return overlap(self._own_box([(lower - 1, upper) for lower, upper in network_box]), self.inside)

    def network_box(self, box: Box) -> Box:
        """The network voxels on which the values of an own box depend."""
        bounds = []
        for n, size in enumerate(self.network_shape):
            ends = self._coordinates(n, [box[self.axes[n]][0], box[self.axes[n]][1] - 1])
            lower, upper = int(np.floor(ends.min())), int(np.ceil(ends.max()))
            bounds.append((min(max(lower, 0), size - 1), min(max(upper, 0), size - 1) + 1))
        return tuple(bounds)

    def slabs(self, box: Box, n_classes: int) -> Iterator[Box]:
        """Parts of an own box along its first axis, of :data:`SLAB` logits or one slice, to be labelled one by one."""
        first, last = box[0]
        slice_size = n_classes * math.prod(upper - lower for lower, upper in box[1:])
        step = max(1, int(SLAB / max(1.0, slice_size, slice_size * math.prod(map(abs, self.scale)))))
        for lower in range(first, last, step):
            yield ((lower, min(lower + step, last)), *box[1:])

    def labels(self, box: Box, masks: Tensor, origin: Sequence[int], label_manager: LabelManager) -> np.ndarray:
        """nnU-Net's labels in a box of the image.

        Arguments:
            box: inside :attr:`inside`.
            masks: mask logits ``(K, ...)`` of the network's voxels from ``origin`` on, :meth:`network_box` at least.

        Returns:
            Label map of the box, in the own order of axes.
        """
        return labels_of(self._resampled(box, masks, origin), label_manager).numpy()

    def shares(self, mask: np.ndarray) -> Tensor:
        """A bool mask of this grid as shares 0 to 1 on the network's, by linear interpolation."""
        found = bounding_box(mask)
        shares = torch.zeros(self.network_shape)
        if found is None:
            return shares
        target = self._padded_network_box(found)
        source = tuple(slice(max(lower - 1, 0), upper + 1) for lower, upper in found)
        values = torch.from_numpy(np.ascontiguousarray(mask[source], dtype=np.float32)).permute(self.axes)
        for n, bounds in enumerate(target):
            own = (np.arange(*bounds) - self.offset[n]) / self.scale[n]
            own = np.clip(own, 0, self.shape[self.axes[n]] - 1) - source[self.axes[n]].start
            values = _interpolated(values, n, own, outside_is_zero=True)
        shares[slices(target)] = values
        return shares

    def across(self, shape: Sequence[int]) -> int | None:
        """The network's axis across the slice that something of ``shape`` voxels of this grid lies in; None for
        something in several slices along every axis."""
        return self.axes.index(list(shape).index(1)) if 1 in shape else None

    def drawn(self, box: Box, mask: np.ndarray) -> tuple[Box, Tensor] | None:
        """Drawn voxels on the network's grid, where a thin line stays whole: its box and bool of that size.

        Arguments:
            mask: bool of the size of ``box``.

        Returns:
            None if nothing is drawn where the network's image is.
        """
        inside = overlap(box, self.inside)
        if inside is None:
            return None
        mask = mask[slices(inside, box)]
        found = bounding_box(mask)
        if found is None:
            return None
        mask = mask[slices(found)]
        own = shifted(found, [first for first, _ in inside])
        target = self.network_box(own)
        values = torch.from_numpy(np.ascontiguousarray(mask)).permute(self.axes)
        for n, (lower, upper) in enumerate(target):
            first, last = own[self.axes[n]]
            there = np.clip(np.floor(self._coordinates(n, np.arange(first, last)) + 0.5).astype(int), lower, upper - 1)
            here = np.floor((np.arange(lower, upper) - self.offset[n]) / self.scale[n] + 0.5).astype(int)
            hit = torch.zeros(upper - lower, last - first, dtype=torch.bool)
            hit[there - lower, np.arange(last - first)] = True
            near = (here >= first) & (here < last)
            hit[np.flatnonzero(near), here[near] - first] = True
            values = torch.tensordot(hit.float(), values.movedim(n, 0).float(), 1).movedim(0, n) > 0
        return target, values

    def _resampled(self, box: Box, masks: Tensor, origin: Sequence[int]) -> Tensor:
        values = masks
        for n, size in enumerate(self.network_shape):
            at = np.clip(self._coordinates(n, np.arange(*box[self.axes[n]])), 0, size - 1)
            if n == self.nearest:
                at = np.floor(at + 0.5)
            values = _interpolated(values, n + 1, at - origin[n])
        return values.permute(0, *(1 + self.axes.index(own) for own in range(3)))

    def _coordinates(self, n: int, voxels: Sequence[int] | np.ndarray) -> np.ndarray:
        return self.scale[n] * np.asarray(voxels, dtype=float) + self.offset[n]

    def _own_box(self, intervals: Sequence[tuple[float, float]]) -> Box:
        """Own voxels whose centres lie strictly in intervals of network coordinates, clipped to the grid."""
        bounds: list[tuple[int, int]] = [(0, 0)] * 3
        for n, interval in enumerate(intervals):
            lower, upper = sorted((end - self.offset[n]) / self.scale[n] for end in interval)
            size = self.shape[self.axes[n]]
            first, last = int(np.ceil(lower + 1e-6)), int(np.floor(upper - 1e-6)) + 1
            bounds[self.axes[n]] = (min(max(first, 0), size), min(max(last, 0), size))
        return tuple(bounds)

    def _padded_network_box(self, box: Box) -> Box:
        """:meth:`network_box` of a box and the voxels next to it."""
        wider = [(max(lower - 1, 0), min(upper + 1, n)) for (lower, upper), n in zip(box, self.shape, strict=True)]
        return self.network_box(tuple(wider))


def labels_of(masks: Tensor, label_manager: LabelManager) -> Tensor:
    """nnU-Net's label map of mask logits ``(K, ...)``: background's logit is 0, regions overlap."""
    if label_manager.has_regions:
        labels = torch.zeros(masks.shape[1:], dtype=torch.int16)
        for mask, label in zip(masks, label_manager.regions_class_order, strict=True):
            labels[mask > 0] = label
        return labels
    foreground = torch.tensor(label_manager.foreground_labels, dtype=torch.int16)
    if len(masks) == 1:
        return (masks[0] > 0).to(torch.int16) * foreground[0]
    best, index = masks.max(0)
    return torch.where(best > 0, foreground[index], 0).to(torch.int16)


def _interpolated(values: Tensor, axis: int, at: np.ndarray, outside_is_zero: bool = False) -> Tensor:
    """Linear interpolation along one axis at coordinates in its voxels."""
    size = values.shape[axis]
    lower = np.floor(at).astype(int)
    share = torch.from_numpy((at - lower).astype(np.float32))
    if not share.any() and np.array_equal(lower, np.arange(lower[0], lower[0] + len(lower))):
        return values.narrow(axis, int(lower[0]), len(lower))
    shape = [1] * values.ndim
    shape[axis] = -1
    ends = []
    for index in (lower, lower + 1):
        part = values.index_select(axis, torch.from_numpy(np.clip(index, 0, size - 1)))
        if outside_is_zero:
            part = part * torch.from_numpy((index >= 0) & (index < size)).view(shape)
        ends.append(part)
    if not share.any():
        return ends[0]
    return torch.lerp(*ends, share.view(shape))
