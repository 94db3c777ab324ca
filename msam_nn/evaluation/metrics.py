"""The one place that computes metrics."""

from __future__ import annotations

import numpy as np


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two bool masks of equal shape; NaN if both are empty, as in nnU-Net's ``summary.json``."""
    total = int(prediction.sum()) + int(truth.sum())
    return float("nan") if total == 0 else 2 * int((prediction & truth).sum()) / total
