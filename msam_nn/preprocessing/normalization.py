"""SAM-Med3D's intensity normalisation as nnU-Net schemes."""

from __future__ import annotations

import numpy as np
from nnunetv2.preprocessing.normalization.default_normalization_schemes import ImageNormalization

HU_RANGE = (-1000.0, 1000.0)


def z_score_over_positive(image: np.ndarray) -> np.ndarray:
    """Subtract the mean and divide by the unbiased standard deviation of the voxels > 0; every voxel is scaled.

    This is torchio's ``ZNormalization(masking_method=lambda x: x > 0)``. Where torchio fails, this does not: an image
    without a positive voxel is normalised over all its voxels, and a constant one is only shifted to 0.
    """
    values = image[image > 0] if (image > 0).any() else image.ravel()
    mean = float(values.mean(dtype=np.float64))
    std = float(values.std(ddof=1, dtype=np.float64)) if values.size > 1 else 0.0
    return (image - mean) / (std if std > 0 else 1.0)


class SAMMed3DNormalization(ImageNormalization):
    """Z-score over voxels > 0 (SAM-Med3D, for all that is not CT)."""

    leaves_pixels_outside_mask_at_zero_if_use_mask_for_norm_is_true = False

    def run(self, image: np.ndarray, seg: np.ndarray | None = None) -> np.ndarray:
        """Normalise one channel ``(z, y, x)``; ``seg`` is not used."""
        return z_score_over_positive(image.astype(self.target_dtype, copy=False))


class SAMMed3DCTNormalization(SAMMed3DNormalization):
    """Clamp to [-1000, 1000] HU, then z-score over voxels > 0 (SAM-Med3D, for CT)."""

    def run(self, image: np.ndarray, seg: np.ndarray | None = None) -> np.ndarray:
        return super().run(np.clip(image, *HU_RANGE), seg)
