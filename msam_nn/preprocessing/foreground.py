"""How much of an image is foreground, and how often training must insist on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from msam_nn.preprocessing.architecture import coverage

SHARE_WITH_OBJECT = 0.75
"""Patches that should hold a part of an object: clicks, and their practice, need one to refine."""

MIN_OVERSAMPLING = 0.5
"""What nnU-Net's 33 % become at its usual batch size of 2."""


def rarest_fraction(labels: Iterable[np.ndarray], label_manager: LabelManager) -> float:
    """Share of the voxels that belongs to the rarest class or region: of its medians over the cases that have it, the
    least. 0 if no case has foreground.

    Arguments:
        labels: label maps of any shape.
    """
    classes = label_manager.foreground_regions if label_manager.has_regions else label_manager.foreground_labels
    shares = np.array([[np.isin(label, c).mean() for c in classes] for label in labels])
    return float(min((np.median(column[column > 0]) for column in shares.T if column.any()), default=0.0))


def oversampling(patch_size: Sequence[int], median_shape: Sequence[float], fraction: float) -> tuple[float, str]:
    """Share of training patches that nnU-Net must place on foreground, and the reason.

    A random patch touches an object that fills ``fraction`` of the image, shaped like the image, with probability
    ``prod(min(1, patch / shape + fraction^(1/3)))``; the rest of :data:`SHARE_WITH_OBJECT` must be placed.
    """
    edge = fraction ** (1 / 3)
    by_chance = coverage([p / s + edge for p, s in zip(patch_size, median_shape, strict=True)], (1, 1, 1))
    missing = (SHARE_WITH_OBJECT - by_chance) / max(1 - by_chance, 1e-9)
    share = round(max(missing, MIN_OVERSAMPLING), 2)
    return share, (
        f"{share:.0%} of the patches are placed on foreground: the rarest class fills {fraction:.2g} of an image, "
        f"so {by_chance:.0%} of random patches meet it"
    )
