"""How well a segmentation can be guessed without reading a voxel: an ellipsoid placed by the shape of the array alone.

Images that were cropped around the lesion give its place and size away. What this ellipsoid scores is no merit of a
model, so it is the number to quote beside a Dice on such data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from msam_nn.metrics.scores import dice

SCALES = np.arange(0.6, 1.21, 0.05)
SMALLEST_RADIUS = 0.5


@dataclass(frozen=True)
class BlindEllipsoid:
    """An axis-aligned ellipsoid for any array shape.

    Arguments:
        centre: ``(axes,)``, as a share of the shape.
        slope, offset: ``(axes,)``; the radius along an axis of n voxels is ``slope * n + offset`` voxels.
    """

    centre: np.ndarray
    slope: np.ndarray
    offset: np.ndarray

    def predict(self, shape: Sequence[int]) -> np.ndarray:
        """The bool mask of ``shape``: voxels whose centres lie inside."""
        shape = np.asarray(shape)
        centre, radius = self.centre * shape, np.maximum(self.slope * shape + self.offset, SMALLEST_RADIUS)
        axes = np.ogrid[tuple(slice(n) for n in shape)]
        return sum(((x + 0.5 - c) / r) ** 2 for x, c, r in zip(axes, centre, radius, strict=True)) <= 1


def fit_ellipsoid(masks: Sequence[np.ndarray]) -> BlindEllipsoid:
    """The ellipsoid that guesses the training cases' foreground best, knowing only their array shapes.

    The centre is the mean relative centre of mass. Radii are those of the ellipsoid with the mask's second moments
    (``sqrt(5 variance)``), regressed on the shape axis by axis, then scaled together for the best mean Dice.

    Arguments:
        masks: bool arrays, shapes may differ; empty ones are left out.

    Raises:
        ValueError: if no mask has a voxel.
    """
    masks = [mask for mask in masks if mask.any()]
    if not masks:
        raise ValueError("An ellipsoid needs at least one mask with foreground.")
    shapes = np.array([mask.shape for mask in masks], dtype=float)
    centres, radii = (np.array(values) for values in zip(*map(_centre_and_radii, masks), strict=True))
    slope = _slope(shapes, radii)
    offset = radii.mean(axis=0) - slope * shapes.mean(axis=0)
    candidates = [BlindEllipsoid((centres / shapes).mean(axis=0), s * slope, s * offset) for s in SCALES]
    return max(candidates, key=lambda ellipsoid: np.mean([dice(ellipsoid.predict(m.shape), m) for m in masks]))


def blind_dice(masks: Sequence[np.ndarray], n_folds: int = 5) -> np.ndarray:
    """Dice of the ellipsoid on every mask, each guessed by the one fitted to the other folds' masks.

    Of the masks with foreground, number i is in fold ``i % n_folds``.

    Returns:
        ``(n,)``; NaN for empty masks.

    Raises:
        ValueError: if fewer than two masks have a voxel.
    """
    scores = np.full(len(masks), np.nan)
    present = [i for i, mask in enumerate(masks) if mask.any()]
    if len(present) < 2:
        raise ValueError("Cross-validation needs at least two masks with foreground.")
    for fold in range(min(n_folds, len(present))):
        held_out = set(present[fold::n_folds])
        ellipsoid = fit_ellipsoid([masks[i] for i in present if i not in held_out])
        for i in held_out:
            scores[i] = dice(ellipsoid.predict(masks[i].shape), masks[i])
    return scores


def _centre_and_radii(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In voxels from the array's corner; a voxel adds its own variance of 1/12."""
    voxels = np.argwhere(mask)
    return voxels.mean(axis=0) + 0.5, np.sqrt(5 * (voxels.var(axis=0) + 1 / 12))


def _slope(shapes: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Least squares per axis; where all shapes are equal, the radius grows in proportion to the shape."""
    sizes = shapes - shapes.mean(axis=0)
    spread = (sizes**2).sum(axis=0)
    proportional = radii.mean(axis=0) / shapes.mean(axis=0)
    return np.where(spread > 0, (sizes * radii).sum(axis=0) / np.where(spread > 0, spread, 1), proportional)
