"""What a curve of scores over clicks amounts to: clicks needed, area under the curve, final score."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan

import pandas as pd
from scipy.integrate import trapezoid

CURVE = ["case", "label", "strategy", "seed"]
"""What identifies one curve."""

THRESHOLDS = (0.80, 0.85, 0.90)
AREA_CLICKS = (1, 2, 3, 4, 5)


def clicks_needed(curve: Mapping[int, float], threshold: float) -> int | None:
    """The smallest number of clicks whose score reaches the threshold; None if none does.

    Arguments:
        curve: number of clicks to score.
    """
    return min((clicks for clicks, score in curve.items() if score >= threshold), default=None)


def area_under_curve(curve: Mapping[int, float]) -> float:
    """Area under a curve of scores from 1 to 5 clicks, by the trapezoid rule with one click as the unit.

    As in the CVPR 2025 challenge "Foundation Models for Interactive 3D Biomedical Image Segmentation": the prediction
    before the first click is not part of it, and a perfect curve has 4. NaN if one of the five scores is missing.
    """
    scores = [curve.get(clicks, nan) for clicks in AREA_CLICKS]
    return nan if any(map(isnan, scores)) else float(trapezoid(scores))


def describe_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per curve whose class is true somewhere in the case; ``scores`` as ``run_protocol`` returns them.

    Returns:
        :data:`CURVE` and, for Dice and NSD each, ``_auc`` and ``_final`` (at 5 clicks), and per threshold
        ``needed_80`` (NaN where it is never reached).
    """
    present = scores[scores["true_voxels"] > 0]
    rows = []
    for key, group in present.groupby(CURVE, sort=False):
        row = dict(zip(CURVE, key, strict=True))
        for metric in ("dice", "nsd"):
            curve = dict(zip(group["clicks"], group[metric], strict=True))
            row[f"{metric}_auc"] = area_under_curve(curve)
            row[f"{metric}_final"] = curve.get(AREA_CLICKS[-1], nan)
        dice = dict(zip(group["clicks"], group["dice"], strict=True))
        for threshold in THRESHOLDS:
            needed = clicks_needed(dice, threshold)
            row[f"needed_{threshold * 100:.0f}"] = nan if needed is None else needed
        rows.append(row)
    metrics = ["dice_auc", "dice_final", "nsd_auc", "nsd_final", *(f"needed_{100 * t:.0f}" for t in THRESHOLDS)]
    return pd.DataFrame(rows, columns=[*CURVE, *metrics])
