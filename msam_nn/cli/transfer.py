"""``msam transfer``: a model on another data set, without training there."""

from __future__ import annotations

import argparse
from pathlib import Path

from msam_nn.cli.clicks import fold
from msam_nn.device import torch_device
from msam_nn.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam transfer``."""
    parser = subparsers.add_parser(
        "transfer",
        help="score a model on another data set, without training there",
        description="Predict the target's cases with the source's model (after the transfer) and, if the target has "
        "validated results of the same trainer, plans and configuration, compare with these (before the transfer). "
        "Channels and classes are matched by name.",
    )
    parser.add_argument("--source", required=True, help="data set ID or name the model was trained on")
    parser.add_argument("--target", required=True, help="data set ID or name to predict")
    parser.add_argument("-tr", dest="trainer", default="MSAMTrainer", help="default: %(default)s")
    parser.add_argument("-p", dest="plans", default="MSAMPlans", help="default: %(default)s")
    parser.add_argument("-c", dest="configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument(
        "-f", dest="folds", nargs="+", type=fold, default=[0, 1, 2, 3, 4],
        help="of the source's model, ensembled, and of the target's validation cases; default: all five",
    )  # fmt: skip
    parser.add_argument("-o", dest="output", type=Path, required=True, help="new folder for predictions and scores")
    parser.add_argument("--force", action="store_true", help="replace the folder if it exists")
    parser.add_argument("--tolerance", type=float, default=1.0, help="of the NSD in mm (default: %(default)s)")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cuda", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Check, predict, score, write the folder, print the table."""
    from msam_nn.evaluation.scoring import ScoringOptions
    from msam_nn.evaluation.transfer import (
        open_transfer,
        predict_transfer,
        score_transfer,
        transfer_markdown,
        transfer_table,
    )
    from msam_nn.folders import new_folder
    from msam_nn.metrics.scores import LESION_IOU
    from msam_nn.nnunet_folders import dataset_name

    device = torch_device(args.device)
    if not args.tolerance >= 0:
        raise UserError(f"--tolerance is a distance in mm from 0 on, got {args.tolerance}.")
    source, target = dataset_name(args.source), dataset_name(args.target)
    with new_folder(args.output, force=args.force) as folder:
        transfer = open_transfer(source, target, args.trainer, args.plans, args.configuration, args.folds)
        predictions = folder / "predictions"
        predictions.mkdir()
        files = predict_transfer(transfer, predictions, device)
        scores = score_transfer(transfer, files, ScoringOptions(args.tolerance, LESION_IOU))
        table = transfer_table(scores)
        scores.to_csv(folder / "scores.csv", index=False)
        table.to_csv(folder / "transfer.csv", index=False)
        text = transfer_markdown(transfer, table, source, args.tolerance)
        (folder / "transfer.md").write_text(text, encoding="utf-8")
    print(table.round(4).to_string(index=False))
    if transfer.in_domain is None:
        print(
            f"{target} has no results of {transfer.model.name}: there is no 'before' yet; all its cases were predicted."
        )
    return 0
