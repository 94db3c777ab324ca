"""Where exact users click, those of evaluations and of practice; on the host.

A careful user clicks the centre of the largest error in the volume, one in front of a viewer that of what a slice
shows. Masks are ``(D, H, W)`` bool of one class, spacings the voxel size in mm in array order; a click is
``(voxel, label)`` with label 1 for a missed and 0 for a wrongly included piece, None for a perfect mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

VoxelAndLabel = tuple[tuple[int, int, int], int]

ACROSS = 1e6
"""Distance in mm between the slices of something flat: how deep a voxel lies in it is told in its slice."""


def centre_of_largest_error(error: np.ndarray, spacing: Sequence[float] = (1, 1, 1)) -> tuple[int, int, int] | None:
    """The voxel deepest inside the largest face-connected component, by physical distance to its border.

    Arguments:
        error: beyond the array everything counts as correct.

    Returns:
        None where nothing is wrong. Of equally deep voxels it is the one nearest to the component's centre of mass.
    """
    component = _largest_component(error)
    return None if component is None else _deepest_voxel(*component, spacing)


def click_of_largest_error(
    prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float] = (1, 1, 1)
) -> VoxelAndLabel | None:
    """The click a careful user makes next: centre of the largest missed or wrongly included piece."""
    boxes = ndimage.find_objects((prediction ^ target).view(np.uint8))
    if not boxes:
        return None
    prediction, target = prediction[boxes[0]], target[boxes[0]]
    component, label = _largest_piece(prediction, target)
    voxel = _deepest_voxel(*component, spacing)
    return tuple(axis.start + i for axis, i in zip(boxes[0], voxel, strict=True)), label


def click_of_largest_section(
    prediction: np.ndarray, target: np.ndarray, spacing: Sequence[float], axis: int
) -> VoxelAndLabel | None:
    """The click of a user who scrolls through the slices across an axis: centre of the largest missed or wrongly
    included piece that any of them shows, as deep as it looks there."""
    wrong = np.count_nonzero(prediction ^ target, axis=tuple(other for other in range(3) if other != axis))
    largest, size = None, 0
    for index in np.argsort(-wrong, kind="stable"):
        if wrong[index] <= size:
            break
        piece = _largest_piece(*(mask.take([index], axis) for mask in (prediction, target)))
        if piece[0][0].sum() > size:
            largest, size = (int(index), piece), piece[0][0].sum()
    if largest is None:
        return None
    index, (component, label) = largest
    voxel = list(_deepest_voxel(*component, [ACROSS if a == axis else length for a, length in enumerate(spacing)]))
    voxel[axis] = index
    return tuple(voxel), label


def _largest_piece(prediction: np.ndarray, target: np.ndarray) -> tuple[tuple[np.ndarray, tuple[slice, ...]], int]:
    """The largest missed or wrongly included component with its box, and the label of a click on it; of equally large
    ones a missed one. Something has to be wrong."""
    pieces = [(_largest_component(target & ~prediction), 1), (_largest_component(prediction & ~target), 0)]
    pieces = [(component, label) for component, label in pieces if component is not None]
    return max(pieces, key=lambda piece: piece[0][0].sum())


def _largest_component(mask: np.ndarray) -> tuple[np.ndarray, tuple[slice, ...]] | None:
    """The largest face-connected component, cropped to its bounding box, and that box."""
    components, count = ndimage.label(mask)
    if count == 0:
        return None
    largest = int(np.bincount(components.ravel())[1:].argmax()) + 1
    box = ndimage.find_objects(components, max_label=largest)[largest - 1]
    return components[box] == largest, box


def _deepest_voxel(component: np.ndarray, box: tuple[slice, ...], spacing: Sequence[float]) -> tuple[int, int, int]:
    """Of equally deep voxels the one nearest to the component's centre of mass: an error a voxel thin is equally deep
    everywhere."""
    distance = ndimage.distance_transform_edt(np.pad(component, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    deepest = np.argwhere(distance == distance.max())
    away = ((deepest - ndimage.center_of_mass(component)) * spacing) ** 2
    inside = deepest[away.sum(1).argmin()]
    return tuple(int(start.start + i) for start, i in zip(box, inside, strict=True))
