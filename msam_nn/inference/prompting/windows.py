"""Windows of patch size in a larger image: where they lie, how they fade, and where a mask leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from msam_nn.networks.layers.basic import Triple

COMFORT = 0.25
"""Share of a window's edge that a click keeps from the sides where the image goes on, or the window is not reused."""

WINDOW_RAMP = 0.125
"""Share of a window's edge over which its result fades into what was there before, where the window ends inside."""

CONTINUED_RAMP = 0.5
"""The same for a window that continues another one: they fade into each other over the half they share."""

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""``((z0, z1), (y0, y1), (x0, x1))``, upper bounds excluded, as nnU-Net's bounding boxes."""


def enclosing(boxes: Iterable[Box | None]) -> Box | None:
    """The smallest box around boxes, of which None is nothing; None around none."""
    boxes = [box for box in boxes if box is not None]
    if not boxes:
        return None
    axes = zip(*boxes, strict=True)
    return tuple((min(lower for lower, _ in axis), max(upper for _, upper in axis)) for axis in axes)


def bounding_box(mask: np.ndarray | Tensor) -> Box | None:
    """The smallest box around all that is not False; None if there is nothing."""
    mask, bounds = np.asarray(mask), []
    for axis in range(mask.ndim):
        lines = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(lines):
            return None
        bounds.append((int(lines[0]), int(lines[-1]) + 1))
        mask = mask[(slice(None),) * axis + (slice(*bounds[-1]),)]
    return tuple(bounds)


def overlap(box: Box, other: Box) -> Box | None:
    """What two boxes share; None if that is nothing."""
    shared = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(box, other, strict=True))
    return shared if all(lower < upper for lower, upper in shared) else None


def slices(box: Box, frame: Box | None = None) -> tuple[slice, slice, slice]:
    """A box as an index into an image, or into a frame of it."""
    return tuple(slice(*bounds) for bounds in (shifted(box, [-lower for lower, _ in frame]) if frame else box))


def shifted(box: Box, by: Iterable[int]) -> Box:
    """A box moved by so many voxels an axis."""
    return tuple((lower + o, upper + o) for (lower, upper), o in zip(box, by, strict=True))


def seeded_objects(mask: Tensor, seeds: Tensor) -> Tensor:
    """Bool: the face-connected objects of a bool mask that contain one of the seeds, bool like it."""
    objects = cc3d.connected_components(mask.numpy(), connectivity=6)
    seeded = np.setdiff1d(np.unique(objects[seeds.numpy()]), 0)
    return torch.from_numpy(np.isin(objects, seeded))


@dataclass(frozen=True)
class Windows:
    """All windows of ``patch`` voxels in an image of ``shape`` voxels ``(z, y, x)``, each named by its first voxel."""

    patch: Triple
    shape: Triple

    def around(self, voxel: Sequence[int]) -> Triple:
        """The window with a voxel in its centre, moved into the image."""
        return tuple(min(max(v - p // 2, 0), n - p) for v, p, n in zip(voxel, self.patch, self.shape, strict=True))

    def best(self, voxel: Sequence[int], known: Iterable[Triple]) -> Triple:
        """The known window in which a voxel lies most comfortably, or a new one around it."""
        comfortable = [start for start in known if self.is_comfortable(start, voxel)]
        return max(comfortable, key=lambda start: self._comfort(start, voxel), default=self.around(voxel))

    def is_comfortable(self, start: Triple, voxel: Sequence[int]) -> bool:
        """Whether a window sees enough around a voxel to decide about it."""
        return self._comfort(start, voxel) >= COMFORT

    def region(self, start: Triple) -> tuple[slice, slice, slice]:
        return tuple(slice(s, s + p) for s, p in zip(start, self.patch, strict=True))

    def weight(self, start: Triple, ramp: float) -> Tensor:
        """``patch``-sized; 1 inside, falling over ``ramp`` of each edge towards the sides where the image goes on."""
        ramps = []
        for s, p, n in zip(start, self.patch, self.shape, strict=True):
            position = torch.arange(p) + 0.5
            width = max(1.0, ramp * p)
            axis = torch.ones(p)
            if s > 0:
                axis = axis.minimum(position / width)
            if s + p < n:
                axis = axis.minimum((p - position) / width)
            ramps.append(axis)
        return torch.einsum("d,h,w->dhw", *ramps)

    def exits(self, start: Triple, new: Tensor, old: Tensor, volume: Tensor, seeds: Tensor) -> list[Triple]:
        """Where an object that grew in a window is cut off by its sides.

        Arguments:
            new, old: mask logits of the window after and before.
            volume: mask logits of the whole image.
            seeds: bool, ``patch``-sized: only objects that contain one of these voxels count.

        Returns:
            One voxel of the image per cut surface, the one nearest to the surface's centre.
        """
        cuts = []
        for axis, (s, p, n) in enumerate(zip(start, self.patch, self.shape, strict=True)):
            for inner, outer in ((0, s - 1), (p - 1, s + p)):
                if 0 <= outer < n:
                    plane = list(self.region(start))
                    plane[axis] = outer
                    cut = (new.select(axis, inner) > 0) & (old.select(axis, inner) <= 0) & (volume[tuple(plane)] <= 0)
                    if cut.any():
                        cuts.append((axis, inner, cut.numpy()))
        if not cuts:
            return []
        objects = seeded_objects(new > 0, seeds).numpy()
        voxels = []
        for axis, inner, cut in cuts:
            surfaces, count = ndimage.label(cut & objects.take(inner, axis))
            for surface in range(1, count + 1):
                cells = np.argwhere(surfaces == surface)
                nearest = cells[((cells - cells.mean(0)) ** 2).sum(1).argmin()]
                voxel = np.insert(nearest, axis, inner) + start
                voxels.append(tuple(int(v) for v in voxel))
        return voxels

    def _comfort(self, start: Triple, voxel: Sequence[int]) -> float:
        """Smallest distance to a side where the image goes on, as a share of the edge; -1 outside."""
        shares = [0.5]
        for s, p, n, v in zip(start, self.patch, self.shape, voxel, strict=True):
            if not s <= v < s + p:
                return -1.0
            if s > 0:
                shares.append((v - s + 0.5) / p)
            if s + p < n:
                shares.append((s + p - v - 0.5) / p)
        return min(shares)
