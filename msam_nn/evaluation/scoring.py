"""Score the predictions of several methods, and the image-blind ellipsoid beside them, case by case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.paths import nnUNet_preprocessed
from tqdm import tqdm

from msam_nn.errors import UserError
from msam_nn.evaluation.results_folder import GroundTruth
from msam_nn.metrics.ellipsoid import BlindEllipsoid, fit_ellipsoid
from msam_nn.metrics.scores import class_masks, score
from msam_nn.nnunet_folders import split
from msam_nn.workers import map_in_processes

ELLIPSOID = "image-blind ellipsoid"
COARSE_EDGE = 128
"""Ellipsoids are fitted to masks thinned out to about this many voxels an axis."""

Ellipsoids = dict[str, BlindEllipsoid]
"""Class -> the ellipsoid that guesses it; a class that no training case has is absent."""


@dataclass(frozen=True)
class ScoringOptions:
    """Tolerance of the NSD in mm, and from which IoU on a lesion is found."""

    tolerance_mm: float
    lesion_iou: float


@dataclass(frozen=True)
class ScoringTask:
    """A case, the files that methods predicted for it, and the ellipsoids of its fold's training cases."""

    case: str
    fold: int
    predictions: Mapping[str, Path]
    ellipsoids: Ellipsoids | None = None


def fit_fold_ellipsoids(truth: GroundTruth, folds: Sequence[int], progress: bool = True) -> dict[int, Ellipsoids]:
    """Ellipsoids for every fold, from the label maps of its training cases alone."""
    training = {fold: split(truth.dataset, fold)["train"] for fold in folds}
    cases = sorted(set().union(*training.values()))
    stride = _stride(truth.dataset)
    masks = {}
    for case in tqdm(cases, desc="reading training masks", disable=not progress):
        labels = truth.read(truth.file(case))[0][tuple(slice(None, None, step) for step in stride)]
        masks[case] = {name: class_masks(labels, labels, values, truth.ignore_label)[1]
                       for name, values in truth.classes.items()}  # fmt: skip
    return {fold: _fit([masks[case] for case in names], stride) for fold, names in training.items()}


def _stride(dataset: str) -> np.ndarray:
    """One step per axis for all cases, so that coarse voxels mean the same everywhere."""
    fingerprint = load_json(str(Path(nnUNet_preprocessed, dataset, "dataset_fingerprint.json")))
    return np.ceil(np.max(fingerprint["shapes_after_crop"], axis=0) / COARSE_EDGE).astype(int)


def _fit(masks: Sequence[Mapping[str, np.ndarray]], stride: np.ndarray) -> Ellipsoids:
    ellipsoids = {}
    for name in masks[0]:
        of_class = [mask[name] for mask in masks]
        if any(mask.any() for mask in of_class):
            coarse = fit_ellipsoid(of_class)
            ellipsoids[name] = BlindEllipsoid(coarse.centre, coarse.slope, coarse.offset * stride)
    return ellipsoids


def score_cases(
    truth: GroundTruth,
    tasks: Sequence[ScoringTask],
    options: ScoringOptions,
    num_processes: int = 1,
    progress: bool = True,
) -> pd.DataFrame:
    """Score every method on every case and class.

    Returns:
        Columns ``method, fold, case, label`` and those of :class:`msam_nn.metrics.scores.Score`.

    Raises:
        UserError: if a prediction has another shape than its truth, or a process dies.
    """
    measure = partial(score_case, truth, options)
    bar = {"desc": "scoring", "unit": "case", "disable": not progress}
    rows = map_in_processes(measure, tasks, num_processes, "-np", **bar)
    return pd.DataFrame([row for case_rows in rows for row in case_rows])


def score_case(truth: GroundTruth, options: ScoringOptions, task: ScoringTask) -> list[dict]:
    """The rows of one case; the truth is read once for all methods."""
    labels, spacing = truth.read(truth.file(task.case))
    rows = []

    def add(method: str, name: str, masks: tuple[np.ndarray, np.ndarray]) -> None:
        scores = asdict(score(*masks, spacing, options.tolerance_mm, options.lesion_iou))
        rows.append({"method": method, "fold": task.fold, "case": task.case, "label": name, **scores})

    for method, file in task.predictions.items():
        predicted = truth.read(file)[0]
        if predicted.shape != labels.shape:
            raise UserError(f"{file} has the shape {predicted.shape}, its truth {labels.shape}: predict it again.")
        for name, values in truth.classes.items():
            add(method, name, class_masks(predicted, labels, values, truth.ignore_label))
    if task.ellipsoids is not None:
        for name, values in truth.classes.items():
            add(ELLIPSOID, name, _guess(task.ellipsoids.get(name), labels, values, truth.ignore_label))
    return rows


def _guess(
    ellipsoid: BlindEllipsoid | None, labels: np.ndarray, values: tuple[int, ...], ignore_label: int | None
) -> tuple[np.ndarray, np.ndarray]:
    inside = np.zeros(labels.shape, bool) if ellipsoid is None else ellipsoid.predict(labels.shape)
    return class_masks(np.where(inside, values[0], 0), labels, values, ignore_label)
