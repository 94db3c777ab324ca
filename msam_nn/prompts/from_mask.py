"""Prompts from a mask: a point and a box per connected object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cc3d
import numpy as np
from scipy import ndimage

from msam_nn.prompts.users import centre_of_largest_error


def objects(mask: np.ndarray, min_voxels: int = 1) -> Iterator[tuple[np.ndarray, tuple[slice, slice, slice]]]:
    """Connected objects (by faces, edges and corners) of a bool mask ``(z, y, x)``, each cropped, and its place."""
    components = cc3d.connected_components(mask, connectivity=26)
    statistics = cc3d.statistics(components)
    for index, (count, box) in enumerate(zip(statistics["voxel_counts"], statistics["bounding_boxes"], strict=True)):
        if index and count >= min_voxels:
            yield components[box] == index, tuple(box)


def instances(labels: np.ndarray, min_voxels: int = 1) -> Iterator[tuple[np.ndarray, tuple[slice, slice, slice]]]:
    """Like :func:`objects` of a label map whose values number the objects, connected or not."""
    for value, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is not None and (piece := labels[place] == value).sum() >= min_voxels:
            yield piece, place


def centre(piece: np.ndarray, place: Sequence[slice], spacing: Sequence[float]) -> tuple[int, int, int]:
    """The voxel deepest inside an object, by the distance transform in mm; of several the most central one."""
    inside = centre_of_largest_error(piece, spacing)
    return tuple(int(i + s.start) for i, s in zip(inside, place, strict=True))


def spread_points(drawn: np.ndarray, reach: Sequence[float], most: int) -> list[tuple[int, int, int]]:
    """Voxels spread over what was drawn: one in the middle, then always the one farthest from the others.

    Arguments:
        drawn: bool ``(z, y, x)``, not empty.
        reach: distance per axis, in voxels, at which another point is worth its while.
        most: points at most; at least three are taken of what has as many voxels.
    """
    voxels = np.argwhere(drawn)
    scaled = voxels / np.asarray(reach, dtype=float)
    chosen = [int(((scaled - scaled.mean(0)) ** 2).sum(1).argmin())]
    distance = ((scaled - scaled[chosen[0]]) ** 2).sum(1)
    while len(chosen) < most and distance.max() > (1 if len(chosen) >= 3 else 0):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((scaled - scaled[chosen[-1]]) ** 2).sum(1))
    return [tuple(int(v) for v in voxels[index]) for index in chosen]


def bounds(place: Sequence[slice]) -> tuple[int, ...]:
    """``(z0, z1, y0, y1, x0, x1)``, upper bounds excluded."""
    return tuple(int(b) for s in place for b in (s.start, s.stop))
