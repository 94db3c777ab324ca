"""Dice after simulated clicks on whole volumes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from torch import Tensor
from tqdm import tqdm

from msam_nn.errors import UserError
from msam_nn.evaluation.metrics import dice
from msam_nn.inference.clicks import Click
from msam_nn.inference.prompted import PromptedPredictor
from msam_nn.prompts import click_of_largest_error, foreground


def evaluate_clicks(
    model_folder: Path,
    folds: Sequence[int | str],
    images: dict[str, list[Path]],
    labels: dict[str, Path],
    n_clicks: Sequence[int] = (0, 1, 3, 5, 10),
    device: torch.device = torch.device("cpu"),  # noqa: B008
    progress: bool = True,
) -> pd.DataFrame:
    """Predict cases automatically, then correct them with simulated clicks.

    One click corrects one class, in the centre of its largest error (distance transform); "n clicks" are n clicks for
    each class. The user is simulated on the network's grid, Dice is measured against the truth on the original grid.

    Arguments:
        model_folder: ``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION``.
        folds: folds to ensemble.
        images: the channel files of each case. labels: its truth.
        n_clicks: after how many clicks to measure; 0 is the automatic prediction.

    Returns:
        Columns ``case, label, clicks, dice``; a class that is neither predicted nor true has Dice NaN.
    """
    predictor = PromptedPredictor(device=device, use_mirroring=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model_folder), tuple(folds))
    missing = sorted(set(images) ^ set(labels))
    if missing:
        raise UserError(f"These cases have images or a truth, but not both: {', '.join(missing)}.")
    rows = []
    for case in tqdm(sorted(images), desc="clicking", disable=not progress):
        rows += _evaluate_case(predictor, case, images[case], labels[case], sorted(n_clicks))
    return pd.DataFrame(rows, columns=["case", "label", "clicks", "dice"])


def _evaluate_case(
    predictor: PromptedPredictor, case: str, image_files: list[Path], label_file: Path, n_clicks: list[int]
) -> list[tuple]:
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    label_manager, dataset_json = predictor.label_manager, predictor.dataset_json
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, seg, properties = preprocessor.run_case(
        [str(f) for f in image_files], str(label_file), plans, configuration, dataset_json
    )
    truth, _ = plans.image_reader_writer_class().read_seg(str(label_file))
    classes = label_manager.foreground_regions if label_manager.has_regions else label_manager.foreground_labels
    names = [name for name in dataset_json["labels"] if name not in ("background", "ignore")]
    target = [np.isin(seg[0], classes_of) for classes_of in classes]
    ignore_label = label_manager.ignore_label
    valid = seg[0] != ignore_label if ignore_label is not None else np.ones(seg.shape[1:], bool)
    measured = truth[0] != ignore_label if ignore_label is not None else np.ones(truth.shape[1:], bool)

    rows = []
    logits = predictor.set_image(torch.from_numpy(np.ascontiguousarray(data)))
    for clicks in range(max(n_clicks) + 1):
        if clicks:
            for index, mask in enumerate(target):
                logits = _click_once(predictor, logits, index, mask, valid, configuration.spacing)
        if clicks in n_clicks:
            prediction = convert_predicted_logits_to_segmentation_with_correct_shape(
                logits.clone(), plans, configuration, label_manager, properties
            )
            for name, classes_of in zip(names, classes, strict=True):
                score = dice(np.isin(prediction, classes_of) & measured, np.isin(truth[0], classes_of) & measured)
                rows.append((case, name, clicks, score))
    return rows


def _click_once(
    predictor: PromptedPredictor,
    logits: Tensor,
    index: int,
    target: np.ndarray,
    valid: np.ndarray,
    spacing: Sequence[float],
) -> Tensor:
    """Let the simulated user click one class once, if anything is wrong with it."""
    exclusive = predictor.network.config.background
    masks = logits[1:] if exclusive else logits
    predicted = foreground(masks[None], exclusive=exclusive)[0, index].numpy()
    found = click_of_largest_error(predicted & valid, target & valid, spacing)
    if found is None:
        return logits
    voxel, label = found
    return predictor.add_click(Click(index, voxel, positive=label == 1))


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean Dice per number of clicks: over cases per label, then over labels, as nnU-Net's foreground mean."""
    by_label = scores.groupby(["clicks", "label"], sort=False)["dice"].mean().unstack("label")
    by_label.insert(0, "foreground", by_label.mean(axis=1))
    return by_label
