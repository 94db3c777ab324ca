"""What the demo shows in the end: scores and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import SimpleITK as sitk
from nnunetv2.evaluation.evaluate_predictions import load_summary_json
from torch import Tensor

from msam_nn.demo.layout import Layout
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.reports.overlay import OverlayCase, save_overlay

if TYPE_CHECKING:
    from msam_nn.evaluation.clicks.case import ClickCase
    from msam_nn.inference.prompted import PromptedPredictor

CLICKS = (1, 3, 5)
SHOWN_CLICKS = 3
CT_WINDOW = (-160.0, 240.0)


class Corrected:
    """Keeps segmentations ``(z, y, x)`` after :data:`SHOWN_CLICKS` clicks, and the clicks, on the images' own grids."""

    def __init__(self) -> None:
        self.segmentations: dict[str, np.ndarray] = {}
        self.clicks: dict[str, list[tuple[tuple[int, int, int], bool]]] = {}

    def __call__(self, predictor: PromptedPredictor, case: ClickCase, n_clicks: int, logits: Tensor) -> None:
        if n_clicks != SHOWN_CLICKS:
            return
        geometry = ImageGeometry.from_properties(
            case.properties, predictor.plans_manager.transpose_forward, tuple(case.image.shape[1:])
        )
        self.segmentations[case.name] = case.segmentation(predictor, logits)
        self.clicks[case.name] = [(geometry.network_to_file(c.voxel), c.positive) for c in predictor.clicks]


def case_of(file: Path) -> str:
    """Name of the case that a file belongs to."""
    return file.name.removesuffix(".nii.gz")


def automatic_scores(layout: Layout) -> pd.DataFrame:
    """nnU-Net's ``summary.json`` as a table.

    Returns:
        columns ``case, label, dice, true_voxels, predicted_voxels``.
    """
    declared = json.loads((layout.dataset / "dataset.json").read_text(encoding="utf-8"))["labels"]
    name_of = {tuple(v) if isinstance(v, list) else v: name for name, v in declared.items()}
    cases = load_summary_json(str(layout.predictions / "summary.json"))["metric_per_case"]
    rows = [
        (case_of(Path(case["reference_file"])), name_of[label], m["Dice"], m["n_ref"], m["n_pred"])
        for case in cases
        for label, m in case["metrics"].items()
    ]
    return pd.DataFrame(rows, columns=["case", "label", "dice", "true_voxels", "predicted_voxels"])


def draw(layout: Layout, images: Mapping[str, list[Path]], labels: Mapping[str, Path], corrected: Corrected) -> None:
    """Outline truth, automatic prediction and what clicks made of it for the held-out cases."""
    cases = []
    for case, label_file in labels.items():
        image = sitk.ReadImage(str(images[case][0]))
        truth, prediction = (
            sitk.GetArrayFromImage(sitk.ReadImage(str(f))) for f in (label_file, layout.predictions / label_file.name)
        )
        voxels, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
        shown = {"automatic": prediction}
        if case in corrected.segmentations:
            shown[f"{SHOWN_CLICKS} clicks"] = corrected.segmentations[case]
        clicks = corrected.clicks.get(case, [])
        cases.append(
            OverlayCase(
                case,
                voxels,
                truth,
                shown,
                spacing,
                clicks=np.array([voxel for voxel, _ in clicks], int).reshape(-1, 3),
                click_labels=np.array([positive for _, positive in clicks], int),
                window=CT_WINDOW,
            )
        )
    save_overlay(layout.picture, cases)


def format_results(automatic: pd.DataFrame, clicked: pd.DataFrame | None) -> str:
    """Mean Dice over the cases and labels that occur in the truth, and what was found where there is nothing.

    Arguments:
        automatic: as :func:`automatic_scores` returns it.
        clicked: columns ``case, label, clicks, dice``; None for a network without clicks.
    """
    present = automatic[automatic.true_voxels > 0]
    absent = automatic[automatic.true_voxels == 0]
    lines = [f"held-out cases: {automatic.case.nunique()}", "", "prompts     mean Dice"]
    lines.append(f"{'automatic':<10}  {present.dice.mean():.3f}")
    if clicked is not None:
        after = clicked.merge(present[["case", "label"]]).groupby("clicks").dice.mean()
        for n in CLICKS:
            text = f"{n} click" if n == 1 else f"{n} clicks"
            lines.append(f"{text:<10}  {after[n]:.3f}")
    if len(absent):
        false_alarms = int((absent.predicted_voxels > 0).sum())
        lines += ["", f"not in the mean: {len(absent)} without tumour, {false_alarms} of them with a false finding"]
    return "\n".join(lines)
