"""Train for a budget of CPU time on one thread and score validation cases: one line a trial, for choosing a recipe.

    python benchmarks/ablations.py Dataset004_Hippocampus MSAMPlans MSAMTrainer --cpu-minutes 5 \\
        --network '{"n_auto_stages": 1}' --clicks '{"p_long": 0}' -o trials.jsonl

CPU time is what other work on the machine does not distort. ``nnUNet_preprocessed`` holds the planned data set. Scores
are Dice in the preprocessed grid, mean over classes and cases: automatic by sliding window without mirroring, and after
clicks in the centre of the largest error in one window around the objects, by the network alone and with the
corrections that prediction adds (the clicks then go where the corrected mask is wrong). Final figures come from the
package's own commands: ``MSAMTrainer_5cpuminutes``, ``nnUNetv2_predict``, ``msam clicks``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from torch import Tensor

from msam_nn.metrics.scores import dice
from msam_nn.networks import Points, PromptableNetwork
from msam_nn.prompts import click_of_largest_error, foreground, honour_points

N_CLICKS = 10
REPORTED = (0, 1, 3, 5, 10)


def make_trainer(arguments: argparse.Namespace) -> nnUNetTrainer:
    folder = Path(os.environ["nnUNet_preprocessed"]) / arguments.dataset
    plans = json.loads((folder / f"{arguments.plans}.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    configuration["architecture"]["arch_kwargs"].update(arguments.network)
    configuration["batch_size"] = arguments.batch_size or configuration["batch_size"]
    plans["continue_training"] = False  # as nnU-Net's own command notes in them
    dataset_json = json.loads((folder / "dataset.json").read_text())
    trainer_class = recursive_find_trainer_class_by_name(arguments.trainer)
    trainer = trainer_class(plans, "3d_fullres", arguments.fold, dataset_json, torch.device("cpu"))
    if arguments.clicks:
        trainer.click_recipe = replace(trainer.click_recipe, **arguments.clicks)
    trainer.disable_checkpointing = True
    trainer.initialize()
    return trainer


def train(trainer: nnUNetTrainer, seconds: float, seed: int) -> int:
    """Steps made in ``seconds`` of CPU time; the learning rate follows the trainer's schedule over that time."""
    if hasattr(trainer, "click_generator"):
        trainer.click_generator.manual_seed(seed)
    trainer.dataloader_train, trainer.dataloader_val = trainer.get_dataloaders()
    trainer.network.train()
    begin, steps = time.process_time(), 0
    while (share := (time.process_time() - begin) / seconds) < 1:
        trainer.current_epoch = int(share * trainer.num_epochs)
        trainer.lr_scheduler.step(trainer.current_epoch)
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    trainer.network.eval()
    trainer.set_deep_supervision_enabled(False)
    return steps


def mean_dice(labels: np.ndarray, truth: np.ndarray, n_classes: int) -> float:
    return float(np.nanmean([dice(labels == c, truth == c) for c in range(1, n_classes + 1)]))


def automatic_dice(trainer: nnUNetTrainer, cases: list[tuple[Tensor, np.ndarray]]) -> tuple[float, float]:
    """Mean Dice and CPU seconds a case, by sliding window."""
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    managers = trainer.plans_manager, trainer.configuration_manager
    predictor.manual_initialization(
        trainer.network, *managers, None, trainer.dataset_json, type(trainer).__name__, None
    )
    begin, n_classes = time.process_time(), len(trainer.label_manager.foreground_labels)
    with torch.no_grad():
        found = [predictor.predict_sliding_window_return_logits(image).argmax(0).numpy() for image, _ in cases]
    seconds = (time.process_time() - begin) / len(cases)
    scores = [mean_dice(labels, truth, n_classes) for labels, (_, truth) in zip(found, cases, strict=True)]
    return float(np.mean(scores)), seconds


class CarefulUser:
    """Clicks the centre of each class's largest error after the automatic stages, and scores what it sees."""

    def __init__(self, network: PromptableNetwork, truth: np.ndarray, corrected: bool) -> None:
        self.network, self.truth, self.corrected = network, truth, corrected
        self.given: list[Points] = []
        self.scores: list[float] = []

    def see(self, masks: Tensor) -> Tensor:
        """Take note of the Dice of mask logits ``(1, K, D, H, W)``, corrected where wished."""
        if self.corrected and self.given:
            clicks = Points(*(torch.cat(parts, dim=2) for parts in zip(*self.given, strict=True)))
            reach, exclusive = self.network.click_reach, self.network.background
            masks = honour_points(masks.float(), clicks, sigma=reach, exclusive=exclusive)
        labels = self.network.add_background(masks)[0].argmax(0).numpy()
        self.scores.append(mean_dice(labels, self.truth, self.network.num_classes))
        return masks

    def __call__(self, stage: int, masks: Tensor | None) -> Points | None:
        if stage < self.network.n_auto_stages:
            return None
        found = foreground(self.see(masks), exclusive=True)[0].numpy()
        points = torch.zeros(1, len(found), 1, 3)
        labels = torch.full((1, len(found), 1), -1)
        for index, mask in enumerate(found):
            if click := click_of_largest_error(mask, self.truth == index + 1):
                points[0, index, 0], labels[0, index, 0] = torch.tensor(click[0]), click[1]
        self.given.append(Points(points, labels))
        return self.given[-1]


def click_curve(
    network: PromptableNetwork, cases: list[tuple[Tensor, np.ndarray]], corrected: bool
) -> dict[int, float]:
    """Mean Dice after so many clicks a class, in one window around each case's foreground."""
    curves = []
    for image, truth in cases:
        image, truth = window_around_foreground(image, truth, network.patch_size)
        user = CarefulUser(network, truth, corrected)
        with torch.no_grad():
            last = network(image[None], user, network.n_auto_stages + N_CLICKS)[-1]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("plans")
    parser.add_argument("trainer")
    parser.add_argument("--cpu-minutes", type=float, default=5)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", type=json.loads, default={}, help="JSON: fields of the architecture to change")
    parser.add_argument("--clicks", type=json.loads, default={}, help="JSON: fields of the click recipe to change")
    parser.add_argument("--cases", type=int, default=24, help="validation cases scored automatically")
    parser.add_argument("--click-cases", type=int, default=10)
    parser.add_argument("--weights", type=Path, help="score these weights of an earlier trial instead of training")
    parser.add_argument("-o", "--output", type=Path, default=Path("trials.jsonl"))
    arguments = parser.parse_args()
    os.environ["nnUNet_n_proc_DA"] = "0"  # augmentation in this process counts as CPU time
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    trainer = make_trainer(arguments)
    steps = 0 if arguments.weights else train(trainer, 60 * arguments.cpu_minutes, arguments.seed)
    if arguments.weights:
        trainer.network.load_state_dict(torch.load(arguments.weights, weights_only=True))
        trainer.network.eval()
    _, validation = trainer.get_tr_and_val_datasets()
    cases = []
    for name in sorted(validation.identifiers)[: max(arguments.cases, arguments.click_cases)]:
        image, truth, *_ = validation.load_case(name)
        cases.append((torch.from_numpy(np.asarray(image)).float(), np.asarray(truth)[0]))
    automatic, seconds = automatic_dice(trainer, cases[: arguments.cases])
    result = {k: str(v) if isinstance(v, Path) else v for k, v in vars(arguments).items() if k != "output"}
    result |= {"steps": steps, "dice": round(automatic, 4), "seconds a case": round(seconds, 3)}
    if isinstance(trainer.network, PromptableNetwork):
        result["network"] = {**arguments.network}
        for name, corrected in (("clicks", False), ("clicks, corrected", True)):
            result[f"dice after {name}"] = click_curve(trainer.network, cases[: arguments.click_cases], corrected)
    with arguments.output.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
