"""Your own data: a folder of images and a folder of masks, in any format SimpleITK reads, DICOM series included.

What is left of a file's path when the suffix is taken away is the case's name. A suffix may contain a slash: with
``--image-suffix /ct.nii.gz`` the image of case A is A/ct.nii.gz; with ``--image-suffix /`` it is the DICOM series in
folder A.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nnunetv2.utilities.crossval_split import generate_crossval_split

from dataset_conversion import command
from dataset_conversion.description import Dataset
from msam_nn.errors import UserError

DEFAULT_NAME = "Dataset990_ImageAndMaskFolders"


def describe(args: argparse.Namespace) -> Dataset:
    """The data set that the options describe.

    Raises:
        UserError: for options that contradict each other or nnU-Net's rules.
    """
    if not re.fullmatch(r"Dataset\d{3}_\w+", args.name):
        raise UserError(f"--name {args.name} is no name for nnU-Net: it takes the form Dataset123_Name.")
    channels = args.channel or ["CT"]
    if len(channels) != len(args.image_suffix):
        raise UserError(f"{len(args.image_suffix)} times --image-suffix needs as many --channel, not {len(channels)}.")
    suffixes = [*args.image_suffix, args.mask_suffix]
    if len(set(args.image_suffix if args.masks else suffixes)) < len(args.image_suffix if args.masks else suffixes):
        raise UserError("Every suffix in a folder must be another one, else files of a case cannot be told apart.")
    published = _published_labels(args.label or ["tumour"])
    return Dataset(
        name=args.name,
        layout=", ".join(f"*{suffix}" for suffix in suffixes),
        images=tuple(_pattern(suffix, args.image_suffix if args.masks else suffixes) for suffix in args.image_suffix),
        mask=_pattern(args.mask_suffix, [] if args.masks else suffixes),
        channels=tuple(channels),
        labels={"background": 0} | {name: i for i, name in enumerate(published, start=1)},
        values={0: 0} | {value: i for i, value in enumerate(published.values(), start=1)},
        licence=args.licence,
        reference=args.reference,
        splits=partial(grouped_splits, patient=args.patient) if args.patient else None,
    )


def grouped_splits(masks: Path, patient: str) -> list[dict[str, list[str]]]:
    """nnU-Net's five folds (its seed), made of patients instead of cases.

    Arguments:
        patient: a regular expression; what its first group (or all of it) matches in a case's name is the patient.

    Raises:
        UserError: if a name does not match, or there are fewer than five patients.
    """
    cases: dict[str, list[str]] = {}
    for case in sorted(file.name.removesuffix(".nii.gz") for file in masks.iterdir()):
        match = re.search(patient, case)
        if not match:
            raise UserError(f"--patient {patient} matches nothing in the case name {case}.")
        cases.setdefault(match[1] if match.re.groups else match[0], []).append(case)
    if len(cases) < 5:
        raise UserError(f"Five folds need at least five patients; --patient {patient} finds {len(cases)}.")
    folds = generate_crossval_split(sorted(cases))
    return [{part: [c for p in patients for c in cases[p]] for part, patients in fold.items()} for fold in folds]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = command.common_parser(DEFAULT_NAME, __doc__)
    add = parser.add_argument
    add("--masks", metavar="FOLDER", type=Path, help="folder of the masks (default: that of the images)")
    add("--image-suffix", action="append", required=True, help="end of the images' names; once for each channel")
    add("--mask-suffix", required=True, help="end of the masks' names")
    add("--channel", action="append", help="name of a channel, in the order of the suffixes (default: CT)")
    add("--label", action="append", metavar="NAME[=VALUE]", help="a label and its value in the masks (default: tumour)")
    add("--name", default=DEFAULT_NAME, help=f"of the data set (default: {DEFAULT_NAME})")
    add("--patient", metavar="REGEX", help="the patient's part of a case's name; writes folds grouped by patient")
    add("--licence", default="not stated", help="for dataset.json")
    add("--reference", default="not stated", help="for dataset.json")
    args = parser.parse_args(arguments)
    try:
        dataset = describe(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return command.run(dataset, args, args.masks)


def _pattern(suffix: str, others: Sequence[str]) -> str:
    """Paths that end with ``suffix``, and not with a longer one of ``others``."""
    longer = [re.escape(other) for other in others if other != suffix and other.endswith(suffix)]
    return "^" + "".join(f"(?!.*{other}$)" for other in longer) + rf"/([^/]+?){re.escape(suffix)}$"


def _published_labels(options: Sequence[str]) -> dict[str, int]:
    """``NAME`` or ``NAME=VALUE`` to the value in the masks, which defaults to the place in the list."""
    labels = {}
    for place, option in enumerate(options, start=1):
        name, _, value = option.partition("=")
        if not name or (value and not value.isdigit()):
            raise UserError(f"--label {option} is neither NAME nor NAME=VALUE with a whole number.")
        labels[name] = int(value or place)
    if len(labels) < len(options) or len(set(labels.values())) < len(options) or 0 in labels.values():
        raise UserError("Every --label needs its own name and its own value; 0 is the background.")
    return labels


if __name__ == "__main__":
    sys.exit(main())
