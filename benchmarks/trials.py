"""One trial: train for a budget of seconds, then score validation cases, automatic and after clicks.

What ``ablations.py`` and ``gpu.py`` share. Scores are Dice in the preprocessed grid, mean over classes and cases.
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
from msam_nn.networks import Points, PromptableNetwork
from msam_nn.networks.decoding.corrections import honour_points
from msam_nn.prompts import click_of_largest_error, foreground

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
    """The fold's first validation cases."""
    _, validation = trainer.get_tr_and_val_datasets()
    cases = []
    for name in sorted(validation.identifiers)[:n_cases]:
        image, truth, *_ = validation.load_case(name)
        cases.append((torch.from_numpy(np.asarray(image)).float(), np.asarray(truth)[0]))
    return cases


def mean_dice(labels: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    return float(np.nanmean([dice(labels == c, truth == c) for c in range(1, n_classes + 1)]))


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
    scores = [mean_dice(labels, truth, n_classes) for labels, (_, truth) in zip(found, cases, strict=True)]
    return float(np.mean(scores)), seconds


class CarefulUser:
    """Clicks the centre of each class's largest error after the automatic stages, and scores what it sees.

    Arguments:
        n_auto_stages: stages before the first click; with 0 the first click falls on an empty mask.
        corrected: whether it sees the corrections that prediction adds.
    """

    def __init__(self, network: PromptableNetwork, truth: np.ndarray, corrected: bool, n_auto_stages: int) -> None:
        self.network, self.truth, self.corrected, self.n_auto_stages = network, truth, corrected, n_auto_stages
        self.given: list[Points] = []
        self.scores: list[float] = []

    def see(self, masks: Tensor) -> Tensor:
        """Take note of the Dice of mask logits ``(1, K, D, H, W)``, corrected where wished; returns them on the CPU."""
        masks = masks.float().cpu()
        if self.corrected and self.given:
            clicks = Points(*(torch.cat(parts, dim=2) for parts in zip(*self.given, strict=True)))
            reach, exclusive = self.network.click_reach, self.network.background
            masks = honour_points(masks, clicks, sigma=reach, exclusive=exclusive)
        labels = self.network.add_background(masks)[0].argmax(0).numpy()
        self.scores.append(mean_dice(labels, self.truth, self.network.num_classes))
        return masks

    def __call__(self, stage: int, masks: Tensor | None) -> Points | None:
        if stage < self.n_auto_stages:
            return None
        if masks is None:
            masks = torch.full((1, self.network.num_classes, *self.truth.shape), -1.0)
        found = foreground(self.see(masks), exclusive=True)[0].numpy()
        points = torch.zeros(1, len(found), 1, 3)
        labels = torch.full((1, len(found), 1), -1)
        for index, mask in enumerate(found):
            if click := click_of_largest_error(mask, self.truth == index + 1):
                points[0, index, 0], labels[0, index, 0] = torch.tensor(click[0]), click[1]
        self.given.append(Points(points, labels))
        device = next(self.network.parameters()).device
        return Points(points.to(device), labels.to(device))


def click_curve(
    network: PromptableNetwork, cases: list[Case], corrected: bool, n_auto_stages: int | None = None
) -> dict[int, float]:
    """Mean Dice after so many clicks a class, in one window around each case's foreground.

    Arguments:
        n_auto_stages: the network's own by default; 0 starts from an empty mask.
    """
    device = next(network.parameters()).device
    n_auto_stages = network.n_auto_stages if n_auto_stages is None else n_auto_stages
    curves = []
    for image, truth in cases:
        image, truth = window_around_foreground(image, truth, network.patch_size)
        user = CarefulUser(network, truth, corrected, n_auto_stages)
        with torch.no_grad(), torch.autocast(device.type) if device.type == "cuda" else nullcontext():
            last = network(image[None].to(device), user, n_auto_stages + N_CLICKS)[-1]
            user.see(last[:, 1:])
        curves.append(user.scores)
    mean = np.mean(curves, axis=0)
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
