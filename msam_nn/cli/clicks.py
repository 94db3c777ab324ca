"""``msam clicks``: Dice of a trained model without and with simulated clicks, on the validation cases of its folds."""

from __future__ import annotations

import argparse
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
    from msam_nn.evaluation.nnunet_results import dataset_name, model_folder, validation_cases

    if args.device == "cuda" and not torch.cuda.is_available():
        raise UserError("PyTorch sees no CUDA GPU here: add -device cpu.")
    if min(args.clicks) < 0:
        raise UserError(f"-n takes numbers of clicks from 0 on, got {min(args.clicks)}.")
    dataset, scores = dataset_name(args.dataset), []
    model = model_folder(dataset, args.trainer, args.plans, args.configuration, args.folds)
    for fold in args.folds:
        cases = validation_cases(dataset, fold)
        images, labels = {k: c.images for k, c in cases.items()}, {k: c.label for k, c in cases.items()}
        scores.append(evaluate_clicks(model, (fold,), images, labels, args.clicks, torch.device(args.device)))
    scores = pd.concat(scores, ignore_index=True)
    print(summarise(scores).round(4).to_string())
    undefined = scores.query("clicks == 0")["dice"].isna().sum()
    if undefined:
        print(f"{undefined} classes of cases are neither true nor predicted at 0 clicks and not counted there.")
    if args.output:
        scores.to_csv(args.output, index=False)
    return 0
