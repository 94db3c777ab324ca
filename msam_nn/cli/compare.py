"""``msam compare``: nnU-Net results of one data set head to head."""

from __future__ import annotations

import argparse
from pathlib import Path

from msam_nn.device import torch_device
from msam_nn.errors import UserError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam compare``."""
    parser = subparsers.add_parser(
        "compare",
        help="score any nnU-Net results head to head on the same splits",
        description="Score the validation predictions of nnU-Net results folders on the same folds: overlap, surface, "
        "lesion-wise and volume metrics with intervals, paired tests, costs, worst cases, and an image-blind ellipsoid "
        "beside them. Writes CSV, JSON, Markdown and one HTML page.",
    )
    parser.add_argument("results", nargs="*", metavar="TRAINER__PLANS__CONFIG", help="results folders, or their paths")
    parser.add_argument("-d", dest="dataset", required=True, help="data set ID or name")
    parser.add_argument("-f", dest="folds", nargs="+", default=["0", "1", "2", "3", "4"], help="default all five")
    parser.add_argument("-o", dest="output", type=Path, required=True, help="new folder for the report")
    parser.add_argument("--force", action="store_true", help="replace the folder if it exists")
    parser.add_argument("--tolerance", type=float, default=1.0, help="of the NSD in mm (default 1)")
    parser.add_argument(
        "--lesion-iou", type=float, default=0.1, help="from which IoU on a lesion is found (default 0.1)"
    )
    parser.add_argument("--worst", type=int, default=4, help="how many of the worst cases to draw (default 4)")
    parser.add_argument("--measure-prediction", action="store_true", help="predict one case to measure time and memory")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cuda", help="for --measure-prediction")
    parser.add_argument("-np", dest="num_processes", type=int, default=1, help="processes that score (default 1)")


def run(args: argparse.Namespace) -> int:
    """Check everything, score, write the report, print the summary."""
    folds, results = folds_and_results(args.folds, args.results)
    check_options(args)

    from msam_nn.evaluation.comparison.contest import compare, open_contest
    from msam_nn.evaluation.comparison.report import write_comparison
    from msam_nn.evaluation.scoring import ScoringOptions
    from msam_nn.folders import new_folder
    from msam_nn.metrics.summary import summary_table

    device = torch_device(args.device) if args.measure_prediction else None
    options = ScoringOptions(args.tolerance, args.lesion_iou)
    with new_folder(args.output, force=args.force) as folder:
        contest = open_contest(args.dataset, folds, results)
        comparison = compare(contest, options, args.num_processes, device)
        write_comparison(folder, contest, comparison, options, args.worst)
    print(summary_table(comparison.summary, ("dice", "nsd", "hd95", "lesion_f1")).to_string(index=False))
    print(f"\nreport  {args.output / 'comparison.html'}")
    return 0


def folds_and_results(folds: list[str], results: list[str]) -> tuple[list[int], list[str]]:
    """Tell them apart, since ``-f 0 1 TRAINER__PLANS__CONFIG`` hands all that follows to ``-f``.

    Raises:
        UserError: if there are no folds or no results.
    """
    numbers = [int(word) for word in folds if word.isdecimal()]
    results = results + [word for word in folds if not word.isdecimal()]
    if not numbers or not results:
        raise UserError("Name folds and results: msam compare -d 501 -f 0 1 TRAINER__PLANS__CONFIG ...")
    return numbers, results


def check_options(args: argparse.Namespace) -> None:
    """Refuse impossible numbers.

    Raises:
        UserError: naming the option.
    """
    if not args.tolerance >= 0:
        raise UserError(f"--tolerance is a distance in mm from 0 on, got {args.tolerance}.")
    if not 0 < args.lesion_iou <= 1:
        raise UserError(f"--lesion-iou is above 0 and at most 1, got {args.lesion_iou}.")
    if args.num_processes < 1 or args.worst < 0:
        raise UserError(f"-np is at least 1 and --worst at least 0, got {args.num_processes} and {args.worst}.")
