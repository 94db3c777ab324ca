"""``msam check``: a page with pictures, statistics and warnings about a data set."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from msam_nn.errors import UserError

if TYPE_CHECKING:
    from msam_nn.inspection.plan_facts import PlanFacts

DEFAULT_PLANS = ("MSAMPlans", "nnUNetPlans")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam check``."""
    parser = subparsers.add_parser(
        "check",
        help="look at a data set: pictures, lesions, plan, and warnings",
        description="Read all training cases of a raw data set and write one self-contained HTML page. If the data "
        "set is planned, the page shows the plan and its reasons; if it is split, images that leak between folds.",
    )
    parser.add_argument("dataset", metavar="ID", help="data set ID or name")
    parser.add_argument(
        "-o", dest="output", type=Path, metavar="FILE", help="default: msam_check_DatasetNNN_Name.html, here"
    )
    parser.add_argument("-p", dest="plans", help=f"default: the first of {', '.join(DEFAULT_PLANS)} that is there")
    parser.add_argument("-c", dest="configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("--num-workers", type=int, help="processes (default: nnU-Net's nnUNet_def_n_proc, or 8)")


def run(args: argparse.Namespace) -> int:
    """Write the page, print the warnings."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw

    from msam_nn.inspection.check import check_dataset
    from msam_nn.inspection.raw_dataset import open_raw_dataset
    from msam_nn.nnunet_folders import dataset_name, read_json

    name = dataset_name(args.dataset)
    workers = default_num_processes if args.num_workers is None else args.num_workers
    if workers < 1:
        raise UserError(f"--num-workers takes a number from 1 on, got {workers}.")
    output = args.output or Path(f"msam_check_{name}.html")
    refuse_unwritable(output)
    dataset_json = read_json(Path(nnUNet_raw, name, "dataset.json"), "Only raw data sets can be checked.")
    preprocessed = Path(nnUNet_preprocessed, name)
    splits = preprocessed / "splits_final.json"
    dataset = open_raw_dataset(name, dataset_json)
    warnings = check_dataset(
        dataset,
        find_plan(preprocessed, args.plans, args.configuration, dataset_json),
        read_json(splits, "") if splits.is_file() else None,
        output,
        min(workers, len(dataset.cases)),
    )
    for warning in warnings:
        print(f"- {warning}")
    print(f"{len(warnings) or 'No'} warning{'s' if len(warnings) != 1 else ''}; the page is {output}")
    return 0


def find_plan(folder: Path, plans: str | None, configuration: str, dataset_json: dict) -> PlanFacts | None:
    """The plan in the preprocessed ``folder``; None if none is asked for and none is there.

    Raises:
        UserError: if the plans that were asked for are missing, or have no such configuration.
    """
    from msam_nn.inspection.plan_facts import read_plan_facts
    from msam_nn.nnunet_folders import read_json

    there = [name for name in DEFAULT_PLANS if (folder / f"{name}.json").is_file()]
    if not (plans or there):
        return None
    file = folder / f"{plans or there[0]}.json"
    mend = "Name plans that nnUNetv2_plan_and_preprocess has written with -p, or leave -p out."
    return read_plan_facts(read_json(file, mend), configuration, dataset_json)


def refuse_unwritable(output: Path) -> None:
    """Raise before the long reading begins.

    Raises:
        UserError: if ``output`` is a folder, or nothing can be written in its folder.
    """
    sentence = f"The page cannot be written to {output}: name a file in a folder you may write to with -o."
    if output.is_dir():
        raise UserError(sentence)
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(sentence) from error
