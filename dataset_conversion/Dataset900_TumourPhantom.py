"""Make a tumour phantom data set in nnU-Net's raw layout. No download, no patient data, ready within seconds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dataset_conversion.target import target_folder
from msam_nn.errors import UserError
from msam_nn.synthetic import SMALL_LESIONS, PhantomOptions, write_dataset

DATASET_NAME, SMALL_LESIONS_NAME = "Dataset900_TumourPhantom", "Dataset902_SmallLesionPhantom"


def convert(
    raw_folder: str | Path | None,
    n_train: int,
    n_test: int,
    options: PhantomOptions,
    *,
    name: str = DATASET_NAME,
    force: bool = False,
) -> Path:
    """Write the data set ``name`` into ``raw_folder``; None stands for the environment variable ``nnUNet_raw``.

    Returns:
        the data set's folder.

    Raises:
        UserError: without a folder, if its number is taken, or as :func:`msam_nn.synthetic.write_dataset` does.
    """
    return write_dataset(target_folder(raw_folder, name), n_train, n_test, options, force=force)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 for wrong input."""
    parser = argparse.ArgumentParser(prog=f"python -m dataset_conversion.{DATASET_NAME}", description=__doc__)
    parser.add_argument("-o", "--output", metavar="FOLDER", help="nnU-Net's raw folder (default: $nnUNet_raw)")
    parser.add_argument("--cases", type=int, default=20, help="training cases (default: 20)")
    parser.add_argument("--test-cases", type=int, default=5, help="held-out cases with truth (default: 5)")
    parser.add_argument("--channels", type=int, choices=(1, 2), default=1, help="1: CT; 2: CT and PET (default: 1)")
    parser.add_argument("--regions", action="store_true", help="label whole tumour and core as regions")
    parser.add_argument(
        "--small-lesions",
        action="store_true",
        help=f"lesions with a radius of 2 to 4 voxels of 1 mm, as {SMALL_LESIONS_NAME}",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed, another data set (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace an existing data set")
    args = parser.parse_args(arguments)
    try:
        kind, name = (SMALL_LESIONS, SMALL_LESIONS_NAME) if args.small_lesions else (PhantomOptions(), DATASET_NAME)
        options = replace(kind, seed=args.seed, channels=args.channels, regions=args.regions)
        folder = convert(args.output, args.cases, args.test_cases, options, name=name, force=args.force)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.cases} training and {args.test_cases} held-out cases in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
