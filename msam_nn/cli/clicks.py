"""``msam clicks``: what simulated clicks make of a trained model's predictions on its validation cases."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from msam_nn.device import torch_device
from msam_nn.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from msam_nn.evaluation.clicks.protocol import Protocol


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam clicks``."""
    parser = subparsers.add_parser(
        "clicks",
        help="scores without and with simulated clicks, on validation cases",
        description="Predict the validation cases of each fold with that fold's model on whole volumes, then correct "
        "every class with simulated clicks.",
    )
    parser.add_argument("-d", dest="dataset", required=True, help="data set ID or name")
    parser.add_argument("-tr", dest="trainer", default="MSAMTrainer", help="default: %(default)s")
    parser.add_argument("-p", dest="plans", default="MSAMPlans", help="default: %(default)s")
    parser.add_argument("-c", dest="configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-f", dest="folds", nargs="+", type=fold, default=[0, 1, 2, 3, 4], help="default: all five")
    parser.add_argument("-n", dest="clicks", type=int, default=10, help="clicks a class (default: %(default)s)")
    parser.add_argument(
        "--strategy",
        nargs="+",
        choices=("centre", "slice", "uniform"),
        help="where the user clicks: the centre of the largest error, or of the largest one that slices across a "
        "random axis show, or anywhere in the error (default: centre)",
    )
    parser.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        default=[0],
        help="repeat strategies that draw (slice, uniform) with each seed",
    )
    parser.add_argument(
        "--start",
        metavar="{automatic,empty,FOLDER}",
        help="what the first click finds; a folder holds a label map of each case, of any other method, named like it "
        "(default: automatic)",
    )
    parser.add_argument(
        "--network-only",
        action="store_true",
        help="score what the network makes of the clicks, without the correction by which prediction makes each hold",
    )
    parser.add_argument(
        "--protocol",
        choices=("volume", "paper"),
        default="volume",
        help="paper: ten uniform clicks from an empty mask on a crop centred on the label, as published; not "
        "comparable with whole volumes",
    )
    parser.add_argument("--tolerance", type=float, help="of the normalised surface Dice, in mm (default: 1)")
    parser.add_argument("-o", dest="output", type=Path, help="a new folder for all scores (CSV) and the summary")
    parser.add_argument("--force", action="store_true", help="replace the folder if it exists")
    parser.add_argument("-device", choices=("cpu", "cuda"), default="cuda", help="default: %(default)s")


def fold(text: str) -> int:
    """A fold as options name it; ``all`` is refused."""
    if text == "all":
        raise argparse.ArgumentTypeError("fold all has no validation cases: name folds of the split, 0 to 4")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the summary, write the folder; 1 if cases failed.

    Raises:
        UserError: if all did; an earlier folder stays then.
    """
    import pandas as pd

    from msam_nn.evaluation.clicks.protocol import run_protocol
    from msam_nn.evaluation.clicks.summary import to_markdown
    from msam_nn.folders import new_folder
    from msam_nn.nnunet_folders import dataset_name, model_folder, validation_cases

    device = torch_device(args.device)
    protocol, tables, failed = make_protocol(args), [], {}
    with nullcontext() if args.output is None else new_folder(args.output, force=args.force) as folder:
        dataset = dataset_name(args.dataset)
        model = model_folder(dataset, args.trainer, args.plans, args.configuration, args.folds)
        validation = {fold: validation_cases(dataset, fold) for fold in args.folds}
        for fold, cases in validation.items():
            images, labels = ({k: getattr(c, what) for k, c in cases.items()} for what in ("images", "label"))
            scores, failures = run_protocol(protocol, model, (fold,), images, labels, device)
            tables.append(scores.assign(fold=fold, protocol=protocol.name))
            failed |= failures
        scores = pd.concat(tables, ignore_index=True)
        if not len(scores):
            case, reason = next(iter(failed.items()), ("there is none", "check -f"))
            raise UserError(f"No case could be clicked, and nothing is written; the first: {case}, {reason}")
        for case, reason in failed.items():
            print(f"{case} failed: {reason}", file=sys.stderr)
        title = f"{dataset}, {model.name}, folds {', '.join(map(str, args.folds))}"
        summary = to_markdown(scores, title=title, protocol=protocol.name, tolerance_mm=protocol.tolerance_mm)
        print(summary)
        if folder is not None:
            write(folder, scores, summary, failed)
    if args.output:
        print(f"Written to {args.output}: clicks.csv, curves.csv, summary.md{', failed.csv' if failed else ''}")
    return 1 if failed else 0


def make_protocol(args: argparse.Namespace) -> Protocol:
    """What the options ask for.

    Raises:
        UserError: if they contradict each other.
    """
    from msam_nn.evaluation.clicks.paper_crop import PaperCrop
    from msam_nn.evaluation.clicks.whole_volume import WholeVolume
    from msam_nn.metrics.scores import TOLERANCE_MM

    tolerance = TOLERANCE_MM if args.tolerance is None else args.tolerance
    if args.clicks < 1:
        raise UserError(f"-n takes a number of clicks from 1 on, got {args.clicks}.")
    if not tolerance >= 0:
        raise UserError(f"--tolerance is a distance in mm from 0 on, got {tolerance:g}.")
    start = args.start or "automatic"
    if start not in ("automatic", "empty"):
        start = Path(start)
        if not start.is_dir():
            raise UserError(
                f"--start takes automatic, empty or a folder of label maps, and there is no folder {start}."
            )
    if args.protocol == "paper":
        if args.strategy or args.start or args.network_only:
            raise UserError(
                "--protocol paper clicks uniformly from an empty mask, and shows the network alone: leave out "
                "--strategy, --start and --network-only."
            )
        return PaperCrop(n_stages=args.clicks, seeds=args.seeds, tolerance_mm=tolerance)
    return WholeVolume(
        n_clicks=range(args.clicks + 1),
        strategies=args.strategy or ["centre"],
        seeds=args.seeds,
        start=start,
        network_only=args.network_only,
        tolerance_mm=tolerance,
    )


def write(folder: Path, scores: pd.DataFrame, summary: str, failed: dict[str, str]) -> None:
    """``clicks.csv``: every score; ``curves.csv``: every case's curve in numbers; ``summary.md``; and ``failed.csv``
    where cases are missing in them."""
    import pandas as pd

    from msam_nn.metrics.click_curves import describe_curves

    scores.to_csv(folder / "clicks.csv", index=False)
    describe_curves(scores).to_csv(folder / "curves.csv", index=False)
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    if failed:
        pd.DataFrame(failed.items(), columns=["case", "reason"]).to_csv(folder / "failed.csv", index=False)
