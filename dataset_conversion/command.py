"""The command line that all conversion scripts share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nnunetv2.configuration import default_num_processes

from dataset_conversion.converter import Report, convert
from dataset_conversion.description import Dataset
from dataset_conversion.target import target_folder
from msam_nn.errors import UserError


def main(description: str, tasks: Mapping[str, Dataset], arguments: Sequence[str] | None = None) -> int:
    """The command line of a script with these tasks, the first being the default and giving the script its name.

    Returns:
        the exit code, see :func:`run`.
    """
    parser = common_parser(next(iter(tasks.values())).name, description)
    default = next(iter(tasks))
    if len(tasks) > 1:
        written = ", ".join(f"{task} writes {dataset.name}" for task, dataset in tasks.items())
        parser.add_argument("--task", choices=tasks, default=default, help=f"{written} (default: {default})")
    papers = sorted({paper for dataset in tasks.values() for paper in dataset.paper_splits})
    if papers:
        parser.add_argument("--split", choices=papers, help="write this paper's split as the only fold")
    args = parser.parse_args(arguments)
    return run(tasks[getattr(args, "task", default)], args)


def common_parser(script: str, description: str) -> argparse.ArgumentParser:
    """A parser with the options of every script."""
    parser = argparse.ArgumentParser(prog=f"python -m dataset_conversion.{script}", description=description)
    parser.add_argument("-i", "--input", metavar="SOURCE", type=Path, required=True, help="folder with the data")
    parser.add_argument("-o", "--output", metavar="FOLDER", help="nnU-Net's raw folder (default: $nnUNet_raw)")
    workers = min(default_num_processes, os.cpu_count() or 1)
    parser.add_argument("--num-workers", metavar="N", type=int, default=workers, help=f"processes (default: {workers})")
    parser.add_argument(
        "--copy-geometry",
        action="store_true",
        help="keep masks of the right shape whose header disagrees with the image's, and give them the image's",
    )
    parser.add_argument("--force", action="store_true", help="replace an existing data set")
    return parser


def run(dataset: Dataset, args: argparse.Namespace, mask_source: Path | None = None) -> int:
    """Convert and print what was done.

    Returns:
        the exit code: 0, 1 if cases were skipped, 2 for wrong input.
    """
    try:
        if args.num_workers < 1:
            raise UserError(f"--num-workers takes at least 1, not {args.num_workers}.")
        report = convert(
            replace(
                dataset,
                copy_geometry=dataset.copy_geometry or args.copy_geometry,
                splits=dataset.paper_splits.get(getattr(args, "split", None), dataset.splits),
            ),
            args.input,
            target_folder(args.output, dataset.name),
            mask_source=mask_source,
            num_workers=args.num_workers,
            force=args.force,
        )
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(report)
    return 1 if report.skipped else 0


def print_report(report: Report) -> None:
    """Print the numbers of cases, the notes, the folds' place, and last what was skipped and why."""
    print(f"{report.n_training} training and {report.n_test} test cases in {report.folder}")
    for name, notes in report.notes.items():
        print(f"noted {name}: {'; '.join(notes)}")
    splits = report.folder / "splits_final.json"
    if splits.is_file():
        planned = f"$nnUNet_preprocessed/{report.folder.name}/{splits.name}"
        print(f"folds are in {splits}, which planning copies to {planned}: remove older ones there before")
    if report.skipped:
        print(f"skipped {len(report.skipped)}, which are not in the data set:")
    for name, problem in sorted(report.skipped.items()):
        print(f"  {name}: {problem}")
