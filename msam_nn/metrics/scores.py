"""The one place that computes metrics.

Masks are bool arrays of one shape, spacing is mm in array order. What is undefined is NaN: overlap and surface measures
where neither mask has a voxel (as Dice in nnU-Net's ``summary.json``), shares of a truth that is empty. Where exactly
one mask is empty, overlap is 0 and the distance infinite.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan, prod

import cc3d
import numpy as np
from scipy.optimize import linear_sum_assignment
from surface_distance import compute_robust_hausdorff, compute_surface_dice_at_tolerance, compute_surface_distances

TOLERANCE_MM = 1.0
LESION_IOU = 0.1
LESION_CONNECTIVITY = 26


@dataclass(frozen=True)
class LesionCounts:
    """How many lesions are true, predicted, and matched; lesions are 26-connected components."""

    true: int
    predicted: int
    matched: int

    @property
    def sensitivity(self) -> float:
        """Share of the true lesions that are found; NaN without true lesions."""
        return self.matched / self.true if self.true else nan

    @property
    def false_positives(self) -> int:
        """Predicted lesions that match no true one."""
        return self.predicted - self.matched

    @property
    def f1(self) -> float:
        """Harmonic mean of sensitivity and precision; NaN if there is no lesion, neither true nor predicted."""
        return 2 * self.matched / (self.true + self.predicted) if self.true + self.predicted else nan


@dataclass(frozen=True)
class Score:
    """All metrics of one mask; volumes in ml, HD95 in mm.

    ``volume_error_ml`` is predicted minus true, ``relative_volume_error`` its absolute value as a share of the true
    volume.
    """

    dice: float
    iou: float
    nsd: float
    hd95: float
    lesion_sensitivity: float
    lesion_false_positives: int
    lesion_f1: float
    true_lesions: int
    predicted_lesions: int
    true_ml: float
    predicted_ml: float
    volume_error_ml: float
    relative_volume_error: float


def class_masks(
    prediction: np.ndarray, truth: np.ndarray, label_or_region: int | Sequence[int], ignore_label: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Bool masks (predicted, true) of a label or region of two label maps, without the voxels whose truth is ignored.

    Same counts as nnU-Net's ``compute_metrics``, which keeps the masks whole and leaves ignored voxels out of the sums.
    """
    measured = True if ignore_label is None else truth != ignore_label
    return np.isin(prediction, label_or_region) & measured, np.isin(truth, label_or_region) & measured


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two bool masks of equal shape; NaN if both are empty, as in nnU-Net's ``summary.json``."""
    total = int(prediction.sum()) + int(truth.sum())
    return nan if total == 0 else 2 * int((prediction & truth).sum()) / total


def iou(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two bool masks of equal shape; NaN if both are empty."""
    union = int((prediction | truth).sum())
    return nan if union == 0 else int((prediction & truth).sum()) / union


def surface_metrics(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float], tolerance_mm: float = TOLERANCE_MM
) -> tuple[float, float]:
    """Normalised surface Dice at ``tolerance_mm`` and 95th percentile of the Hausdorff distance in mm; along contours
    where masks have a single slice, as nnU-Net's 2D images.

    Both weigh surface elements by their area (Nikolov et al., "Deep learning to achieve clinically applicable
    segmentation of head and neck anatomy", 2018); computed by the package ``surface-distance``.

    Returns:
        (NSD, HD95): NaN both if both masks are empty; 0 and infinity if one is.
    """
    found, present = bool(prediction.any()), bool(truth.any())
    if not (found and present):  # surface-distance 0.1 fails on empty masks with NumPy 2
        return (0.0, inf) if found or present else (nan, nan)
    if len(truth) == 1:
        prediction, truth, spacing = prediction[0], truth[0], spacing[1:]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Please import", category=DeprecationWarning)
        distances = compute_surface_distances(truth, prediction, spacing)
    nsd = compute_surface_dice_at_tolerance(distances, tolerance_mm)
    return float(nsd), float(compute_robust_hausdorff(distances, 95))


def lesion_counts(prediction: np.ndarray, truth: np.ndarray, min_iou: float = LESION_IOU) -> LesionCounts:
    """Count true, predicted and matched lesions.

    A predicted lesion can match a true one if their IoU is at least ``min_iou``; pairs are one to one, chosen for the
    largest number of matches, then the largest summed IoU. Two lesions predicted as one are therefore one found and
    one missed.

    Arguments:
        min_iou: above 0, at most 1.
    """
    true_lesions, n_true = _lesions(truth)
    predicted_lesions, n_predicted = _lesions(prediction)
    overlap = prediction & truth
    pairs, voxels = np.unique(
        np.stack([true_lesions[overlap], predicted_lesions[overlap]]).astype(np.int64), axis=1, return_counts=True
    )
    true_sizes = np.bincount(true_lesions.ravel(), minlength=n_true + 1)
    predicted_sizes = np.bincount(predicted_lesions.ravel(), minlength=n_predicted + 1)
    ious = voxels / (true_sizes[pairs[0]] + predicted_sizes[pairs[1]] - voxels)
    admissible = ious >= min_iou
    return LesionCounts(n_true, n_predicted, _n_matches(*pairs[:, admissible], ious[admissible]))


def _lesions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    if not mask.any():
        return np.zeros(mask.shape, np.uint8), 0
    return cc3d.connected_components(mask, connectivity=LESION_CONNECTIVITY, return_N=True)


def _n_matches(true: np.ndarray, predicted: np.ndarray, ious: np.ndarray) -> int:
    """Pairs in the best one-to-one assignment; only components that can match at all enter the matrix."""
    true_ids, rows = np.unique(true, return_inverse=True)
    predicted_ids, columns = np.unique(predicted, return_inverse=True)
    gain = np.zeros((len(true_ids), len(predicted_ids)))
    gain[rows, columns] = 1 + ious / (len(ious) + 1)  # any further match outweighs every gain in IoU
    return int(np.count_nonzero(gain[linear_sum_assignment(gain, maximize=True)]))


def score(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    tolerance_mm: float = TOLERANCE_MM,
    lesion_iou: float = LESION_IOU,
) -> Score:
    """Every metric of one predicted mask.

    Arguments:
        prediction, truth: bool ``(z, y, x)``; :func:`class_masks` cuts them out of label maps. A single slice has no
            volume: what is in ml is NaN.
        spacing: mm in array order.
        tolerance_mm: for the NSD. lesion_iou: from which IoU on a lesion counts as found.
    """
    nsd, hd95 = surface_metrics(prediction, truth, spacing, tolerance_mm)
    lesions = lesion_counts(prediction, truth, lesion_iou)
    ml_per_voxel = prod(spacing) / 1000 if len(truth) > 1 else nan
    true, predicted = int(truth.sum()), int(prediction.sum())
    true_ml, predicted_ml = true * ml_per_voxel, predicted * ml_per_voxel
    return Score(
        dice=dice(prediction, truth),
        iou=iou(prediction, truth),
        nsd=nsd,
        hd95=hd95,
        lesion_sensitivity=lesions.sensitivity,
        lesion_false_positives=lesions.false_positives,
        lesion_f1=lesions.f1,
        true_lesions=lesions.true,
        predicted_lesions=lesions.predicted,
        true_ml=true_ml,
        predicted_ml=predicted_ml,
        volume_error_ml=predicted_ml - true_ml,
        relative_volume_error=abs(predicted - true) / true if true else nan,
    )
