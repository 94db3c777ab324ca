"""Simulated clicks on the cases of a data set, by any protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from msam_nn.errors import UserError, first_line
from msam_nn.evaluation.clicks.case import ClickCase
from msam_nn.evaluation.clicks.whole_volume import WholeVolume
from msam_nn.inference.prompted import PromptedPredictor

Protocol = Callable[[PromptedPredictor, ClickCase], Iterator[Mapping[str, Any]]]

COLUMNS = (
    *("case", "label", "strategy", "seed", "clicks"),
    *("dice", "iou", "nsd", "hd95", "seconds", "true_voxels"),
)


def evaluate_clicks(
    model_folder: Path,
    folds: Sequence[int | str],
    images: Mapping[str, Sequence[Path]],
    labels: Mapping[str, Path],
    n_clicks: Sequence[int] = (0, 1, 3, 5, 10),
    device: torch.device = torch.device("cpu"),  # noqa: B008
    progress: bool = True,
    keep: Callable[[PromptedPredictor, ClickCase, int, Tensor], None] | None = None,
) -> pd.DataFrame:
    """:func:`run_protocol` with :class:`WholeVolume`'s clicks in the centre of the largest error, and its ``keep``.

    Raises:
        UserError: for the first case that fails.
    """
    protocol = WholeVolume(n_clicks=n_clicks, keep=keep)
    scores, failed = run_protocol(protocol, model_folder, folds, images, labels, device, progress)
    for case, reason in failed.items():
        raise UserError(f"{case}: {reason}")
    return scores


def run_protocol(
    protocol: Protocol,
    model_folder: Path,
    folds: Sequence[int | str],
    images: Mapping[str, Sequence[Path]],
    labels: Mapping[str, Path],
    device: torch.device,
    progress: bool = True,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Predict cases and correct them with simulated clicks; a case that fails does not stop the others.

    Arguments:
        model_folder: ``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION``.
        folds: folds to ensemble.
        images: the channel files of each case. labels: its truth.

    Returns:
        A table with :data:`COLUMNS`, and the cases that failed with the reason.

    Raises:
        UserError: if the model is 2D or needs another one's prediction, or a case has no truth or no image.
    """
    predictor = PromptedPredictor(device=device, use_mirroring=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model_folder), tuple(folds))
    if predictor.configuration_manager.previous_stage_name is not None:
        raise UserError(f"{model_folder} is the second stage of a cascade: click evaluation takes single stages only.")
    missing = sorted(set(images) ^ set(labels))
    if missing:
        raise UserError(f"These cases have images or a truth, but not both: {', '.join(missing)}.")
    rows, failed = [], {}
    for name in tqdm(sorted(images), desc="clicking", disable=not progress):
        try:
            case = ClickCase.load(predictor, name, images[name], labels[name])
            rows += [{"case": name, **row} for row in protocol(predictor, case)]
        except Exception as error:  # whatever a reader or a device says of one case
            failed[name] = first_line(error)
    return pd.DataFrame(rows, columns=COLUMNS), failed
