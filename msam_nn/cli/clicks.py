"""``msam clicks``: Dice of a trained model without and with simulated clicks, on the validation cases of its folds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from msam_nn.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam clicks``."""
    parser = subparsers.add_parser(
        "clicks",
        help="Dice without and with simulated clicks, on validation cases",
        description="Predict the validation cases of each fold with that fold's model on whole volumes, then correct "
        "every class with simulated clicks in the centre of its largest error.",
    )
    parser.add_argument("-d", dest="dataset", required=True, help="data set ID or name")
    parser.add_argument("-tr", dest="trainer", default="MSAMTrainer")
    parser.add_argument("-p", dest="plans", default="MSAMPlans")
    parser.add_argument("-c", dest="configuration", default="3d_fullres")
    parser.add_argument("-f", dest="folds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="default all five")
    parser.add_argument("-n", dest="clicks", nargs="+", type=int, default=[0, 1, 3, 5, 10], help="numbers of clicks")
    parser.add_argument("-o", dest="output", type=Path, help="write the score of every case to this CSV file")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cuda")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the summary, write the CSV."""
    import pandas as pd
    import torch

    from msam_nn.evaluation.clicks import evaluate_clicks, summarise

    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch sees no CUDA GPU here: add -device cpu.")
    if min(args.clicks) < 0:
        raise UserError(f"-n takes numbers of clicks from 0 on, got {min(args.clicks)}.")
    scores = []
    for fold in args.folds:
        model, images, labels = validation_cases(args, fold)
        scores.append(evaluate_clicks(model, (fold,), images, labels, args.clicks, torch.device(args.device)))
    scores = pd.concat(scores, ignore_index=True)
    print(summarise(scores).round(4).to_string())
    undefined = scores.query("clicks == 0")["dice"].isna().sum()
    if undefined:
        print(f"{undefined} classes of cases are neither true nor predicted at 0 clicks and not counted there.")
    if args.output:
        scores.to_csv(args.output, index=False)
    return 0


def validation_cases(args: argparse.Namespace, fold: int) -> tuple[Path, dict[str, list[Path]], dict[str, Path]]:
    """The model folder, and the raw images and labels of a fold's validation cases.

    Raises:
        UserError: if the model, the fold or a raw case is missing.
    """
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw, nnUNet_results
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    for folder in (nnUNet_raw, nnUNet_preprocessed, nnUNet_results):
        if not folder.is_set():
            raise UserError(f"{folder.env_var_name} is not set: export {folder.env_var_name}=/your/folder.")
    try:
        dataset = maybe_convert_to_dataset_name(int(args.dataset) if args.dataset.isdigit() else args.dataset)
    except RuntimeError as error:
        raise UserError(f"There is no data set {args.dataset} in nnU-Net's folders.") from error
    model = Path(nnUNet_results, dataset, f"{args.trainer}__{args.plans}__{args.configuration}")
    if not (model / f"fold_{fold}" / "checkpoint_final.pth").is_file():
        raise UserError(f"{model} has no finished fold {fold}: train it, or name other folds with -f.")
    splits_file = Path(nnUNet_preprocessed, dataset, "splits_final.json")
    splits = json.loads(splits_file.read_text()) if splits_file.is_file() else []
    if fold >= len(splits):
        raise UserError(f"{splits_file} has no fold {fold}.")
    cases = get_filenames_of_train_images_and_targets(str(Path(nnUNet_raw, dataset)))
    missing = sorted(set(splits[fold]["val"]) - set(cases))
    if missing:
        raise UserError(f"The raw data set {dataset} lacks validation cases of fold {fold}: {', '.join(missing)}.")
    images = {case: [Path(f) for f in cases[case]["images"]] for case in splits[fold]["val"]}
    labels = {case: Path(cases[case]["label"]) for case in splits[fold]["val"]}
    return model, images, labels
