"""One trial: train for a budget of seconds, then score validation cases, automatic and after clicks.

What ``ablations.py`` and ``gpu.py`` share, for classes that exclude each other. Scores are Dice in the preprocessed
grid, mean over the classes that a case has, as in ``msam clicks``, and over the cases that have any.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from torch import Tensor

from msam_nn.metrics.scores import dice
from msam_nn.networks import PromptableNetwork
from msam_nn.prompts import CarefulClicks

N_CLICKS = 10
REPORTED = (0, 1, 3, 5, 10)
Case = tuple[Tensor, np.ndarray]
"""Image ``(C, D, H, W)`` and labels ``(D, H, W)``, preprocessed."""


def make_trainer(
    dataset: str,
    plans_name: str,
    trainer_name: str,
    *,
    fold: int = 0,
    device: torch.device = torch.device("cpu"),  # noqa: B008
    batch_size: int | None = None,
    network: Mapping[str, Any] = {},  # noqa: B006
    clicks: Mapping[str, Any] = {},  # noqa: B006
) -> nnUNetTrainer:
    """A trainer on the data set planned in ``nnUNet_preprocessed``, initialised, without checkpoints.

    Arguments:
        network: fields of the architecture to change. clicks: fields of the click recipe to change.
    """
    folder = Path(os.environ["nnUNet_preprocessed"]) / dataset
    plans = json.loads((folder / f"{plans_name}.json").read_text(encoding="utf-8"))
    configuration = plans["configurations"]["3d_fullres"]
    configuration["architecture"]["arch_kwargs"].update(network)
    configuration["batch_size"] = batch_size or configuration["batch_size"]
    plans["continue_training"] = False  # as nnU-Net's own command notes in them
    dataset_json = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    trainer = recursive_find_trainer_class_by_name(trainer_name)(plans, "3d_fullres", fold, dataset_json, device)
    if clicks:
        trainer.click_recipe = replace(trainer.click_recipe, **clicks)
    trainer.disable_checkpointing = True
    trainer.initialize()
    return trainer


def train(trainer: nnUNetTrainer, seconds: float, seed: int, clock: Callable[[], float]) -> int:
    """Steps made in ``seconds`` of ``clock``; the learning rate follows the trainer's schedule over that time."""
    if hasattr(trainer, "click_generator"):
        trainer.click_generator.manual_seed(seed)
        trainer.session_generator.manual_seed(seed)
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    trainer.network.train()
    begin, steps = clock(), 0
    while (share := (clock() - begin) / seconds) < 1:
        trainer.current_epoch = int(share * trainer.num_epochs)
        trainer.lr_scheduler.step(trainer.current_epoch)
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):  # ends its worker processes, as nnU-Net does after a training
            loader._finish()
    trainer.network.eval()
    trainer.set_deep_supervision_enabled(False)
    return steps


def validation_cases(trainer: nnUNetTrainer, n_cases: int) -> list[Case]:
    """The fold's first validation cases that have foreground."""
    _, validation = trainer.get_tr_and_val_datasets()
    cases = []
    for name in sorted(validation.identifiers):
        image, truth, *_ = validation.load_case(name)
        if (np.asarray(truth) > 0).any():
            cases.append((torch.from_numpy(np.asarray(image)).float(), np.asarray(truth)[0]))
        if len(cases) == n_cases:
            break
    return cases


def class_masks(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Bool ``(K, D, H, W)``."""
    return np.stack([labels == c for c in range(1, n_classes + 1)])


def mean_dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Of bool masks ``(K, D, H, W)``, over the classes that are there; NaN if none is."""
    scores = [dice(mask, target) for mask, target in zip(found, truth, strict=True) if target.any()]
    return float(np.mean(scores)) if scores else float("nan")


def automatic_dice(trainer: nnUNetTrainer, cases: list[Case], clock: Callable[[], float]) -> tuple[float, float]:
    """Mean Dice and seconds of ``clock`` a case, by sliding window without mirroring."""
    predictor = nnUNetPredictor(use_mirroring=False, device=trainer.device, allow_tqdm=False)
    managers = trainer.plans_manager, trainer.configuration_manager
    predictor.manual_initialization(
        trainer.network, *managers, None, trainer.dataset_json, type(trainer).__name__, None
    )
    begin, n_classes = clock(), len(trainer.label_manager.foreground_labels)
    with torch.no_grad():
        found = [predictor.predict_sliding_window_return_logits(image).argmax(0).cpu().numpy() for image, _ in cases]
    seconds = (clock() - begin) / len(cases)
    scores = [
        mean_dice(class_masks(labels, n_classes), class_masks(truth, n_classes))
        for labels, (_, truth) in zip(found, cases, strict=True)
    ]
    return float(np.mean(scores)), seconds


class ScoredUser(CarefulClicks):
    """Takes note of the Dice of the masks it sees."""

    def __init__(self, target: Tensor, **options: Any) -> None:
        super().__init__(target, **options)
        self.scores: list[float] = []

    def error(self, masks: Tensor | None) -> Tensor:
        error = super().error(masks)
        seen = error ^ self.target
        self.scores.append(mean_dice(seen[0].cpu().numpy(), self.target[0].cpu().numpy()))
        return error


def click_curve(
    network: PromptableNetwork, cases: list[Case], corrected: bool, n_auto_stages: int | None = None
) -> dict[int, float]:
    """Mean Dice after so many clicks a class, in one window around each case's foreground; the clicks fall in the
    centre of the largest error.

    Arguments:
        corrected: whether the user sees the corrections that prediction adds.
        n_auto_stages: before the first click, the network's own by default; 0 starts from an empty mask.
    """
    device = next(network.parameters()).device
    n_auto_stages = network.n_auto_stages if n_auto_stages is None else n_auto_stages
    reach = network.click_reach if corrected else None
    curves = []
    for image, truth in cases:
        image, truth = window_around_foreground(image, truth, network.patch_size)
        target = torch.from_numpy(class_masks(truth, network.num_classes))[None].to(device)
        user = ScoredUser(target, first_click=n_auto_stages, reach=reach)
        with torch.no_grad(), torch.autocast(device.type) if device.type == "cuda" else nullcontext():
            last = network(image[None].to(device), user, n_auto_stages + N_CLICKS)[-1]
            user.error(last[:, 1:])
        curves.append(user.scores)
    mean = np.nanmean(curves, axis=0)
    return {n: round(float(mean[n]), 4) for n in REPORTED}


def window_around_foreground(
    image: Tensor, truth: np.ndarray, patch_size: tuple[int, int, int]
) -> tuple[Tensor, np.ndarray]:
    """The window of ``patch_size`` whose centre is that of the foreground's bounding box, zeros beyond the image."""
    voxels = np.argwhere(truth > 0)
    centre = (voxels.min(0) + voxels.max(0)) // 2
    margins = [(p, p) for p in patch_size]
    window = tuple(slice(c + p - p // 2, c + 2 * p - p // 2) for c, p in zip(centre, patch_size, strict=True))
    padded = np.pad(image.numpy(), [(0, 0), *margins])
    return torch.from_numpy(padded[(slice(None), *window)].copy()), np.pad(truth, margins)[window]
