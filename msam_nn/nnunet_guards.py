"""Answers in one sentence where nnU-Net's commands would fail with a traceback before a trainer of ours is asked.

All checks concern our trainers only and change nothing about nnU-Net's own code.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from zipfile import is_zipfile

from msam_nn.errors import UserError
from msam_nn.registry import TRAINERS, is_budgeted


def is_ours(trainer: str) -> bool:
    """Whether it is a trainer of this package, with or without a budget; one of nnU-Net's with a budget is not."""
    return trainer in TRAINERS or is_budgeted(trainer)


def guard_training(module) -> None:
    """Check folders, data set and plans before ``nnUNetv2_train`` reads them."""
    original = module.get_trainer_from_args

    @wraps(original)
    def get_trainer_from_args(
        dataset, configuration, fold, trainer_name="nnUNetTrainer", plans="nnUNetPlans", *args, **kwargs
    ):
        if is_ours(trainer_name):
            insist_on_plans(str(dataset), plans)
        return original(dataset, configuration, fold, trainer_name, plans, *args, **kwargs)

    module.get_trainer_from_args = get_trainer_from_args


def guard_prediction(module) -> None:
    """Check the model's folder before ``nnUNetv2_predict`` reads it."""
    predictor = module.nnUNetPredictor
    original = predictor.initialize_from_trained_model_folder

    @wraps(original)
    def initialize_from_trained_model_folder(
        self, model_training_output_dir, use_folds, checkpoint_name="checkpoint_final.pth"
    ):
        folder = Path(model_training_output_dir)
        if not is_ours(folder.name.split("__")[0]):
            return original(self, model_training_output_dir, use_folds, checkpoint_name)
        insist_on_model(folder, use_folds, checkpoint_name)
        with weights_of(folder):
            return original(self, model_training_output_dir, use_folds, checkpoint_name)

    predictor.initialize_from_trained_model_folder = initialize_from_trained_model_folder


@contextmanager
def weights_of(folder: Path) -> Iterator[None]:
    """Raises:
    UserError: if weights are loaded in it that are not those of the network.
    """
    try:
        yield
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        reason = str(error).splitlines()[1].strip()
        raise UserError(
            f"The weights in {folder} are not those of the network that this version of msam_nn builds from its "
            f"plans.json ({textwrap.shorten(reason, 120)}): predict with the version that trained them, or train again."
        ) from error


def insist_on_plans(dataset: str, plans: str) -> None:
    """Raises:
    UserError: if nnU-Net's folders are not set (the raw one need not be), or the data set or its plans are not there.
    """
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results

    from msam_nn.nnunet_folders import dataset_name

    dataset = dataset_name(dataset, [nnUNet_preprocessed, nnUNet_results, *([nnUNet_raw] if nnUNet_raw.get() else [])])
    folder = Path(os.environ["nnUNet_preprocessed"], dataset)
    file = folder / f"{plans}.json"
    if not file.is_file():
        others = sorted(f.stem for f in folder.glob("*lans*.json"))
        there = f"there are {', '.join(others)}" if others else "it has not been planned"
        raise UserError(
            f"{dataset} has no plans {plans} ({file} is missing; {there}): run nnUNetv2_plan_and_preprocess with the "
            f"planner that writes them (-pl MSAMPlanner for MSAMPlans, MaskSAMPlanner for MaskSAMPlans), or correct -p."
        )


def insist_on_model(folder: Path, folds: Sequence | str | None, checkpoint: str) -> None:
    """Raises:
    UserError: if the folder is no trained model, or a fold has no such checkpoint.
    """
    if not folder.is_dir():
        siblings = sorted(f.name for f in folder.parent.glob("*__*__*")) if folder.parent.is_dir() else []
        there = f"trained are {', '.join(siblings)}" if siblings else "nothing is trained there"
        raise UserError(f"There is no model {folder}: {there}. Check -d, -tr, -p and -c.")
    if missing := [name for name in ("dataset.json", "plans.json") if not (folder / name).is_file()]:
        raise UserError(f"{folder} is no trained model: it has no {' and no '.join(missing)}.")
    for name in ("dataset.json", "plans.json"):
        try:
            json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{folder / name} is no JSON ({error}): restore it, or train again.") from error
    for fold in [folds] if isinstance(folds, str) else folds or []:
        if not (folder / f"fold_{fold}" / checkpoint).is_file():
            there = sorted(f.parent.name[5:] for f in folder.glob(f"fold_*/{checkpoint}"))
            which = f"only of fold {', '.join(there)}" if there else "of no fold"
            raise UserError(
                f"{folder} has no {checkpoint} of fold {fold}, {which}: choose folds with -f, another checkpoint with "
                f"-chk, or train it."
            )
        if not is_zipfile(folder / f"fold_{fold}" / checkpoint):
            raise UserError(
                f"{folder / f'fold_{fold}' / checkpoint} is damaged: copy it again, or use -chk checkpoint_best.pth."
            )
