"""The trained model that a command names, and its validation cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import torch

from msam_nn.device import torch_device
from msam_nn.nnunet_folders import dataset_name, model_folder, validation_cases


class TrainedModel(NamedTuple):
    """images: the channel files of each validation case. labels: its truth."""

    title: str
    folder: Path
    fold: int
    images: dict[str, list[Path]]
    labels: dict[str, Path]
    device: torch.device


def from_command_line(description: str) -> TrainedModel:
    """From the command line."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-tr", dest="trainer", default="MSAMTrainer")
    parser.add_argument("-p", dest="plans", default="MSAMPlans")
    parser.add_argument("-c", dest="configuration", default="3d_fullres")
    parser.add_argument("-f", dest="fold", type=int, default=0)
    parser.add_argument("--cases", type=int, help="the first of the fold; all by default")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    dataset = dataset_name(args.dataset)
    folder = model_folder(dataset, args.trainer, args.plans, args.configuration, [args.fold])
    cases = dict(list(validation_cases(dataset, args.fold).items())[: args.cases])
    images, labels = ({name: getattr(case, what) for name, case in cases.items()} for what in ("images", "label"))
    return TrainedModel(
        f"{dataset}, {folder.name}, fold {args.fold}", folder, args.fold, images, labels, torch_device(args.device)
    )
