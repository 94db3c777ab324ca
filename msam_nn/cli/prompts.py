"""``msam prompts``: make a prompt file from masks, check one, show one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msam_nn.errors import UserError

MOST_ROWS = 20


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register ``msam prompts`` with its three actions."""
    parser = subparsers.add_parser(
        "prompts",
        help="make, check and show prompt files for msam predict",
        description="Prompt files for msam predict; docs/prompts.md describes them.",
    )
    actions = parser.add_subparsers(dest="action", metavar="action", required=True)

    create = actions.add_parser("create", help="a prompt file from masks: one prompt per object")
    create.add_argument("masks", type=Path, help="a mask, or a folder of masks; a file's name is its case")
    create.add_argument("-o", dest="output", type=Path, required=True, help="the prompt file to write")
    create.add_argument("-d", dest="dataset", help="data set ID or name: prompts for its classes by name, needed where "
                        "it has regions (default: label numbers)")  # fmt: skip
    create.add_argument("--kinds", nargs="+", choices=("points", "boxes"), default=["points"], help="default points")
    create.add_argument("--instances-of", dest="class_name", metavar="CLASS", help="the masks' values number the "
                        "objects of this class (default: values are labels, components the objects)")  # fmt: skip
    create.add_argument("--space", choices=("voxel", "world"), default="voxel")
    create.add_argument("--min-voxels", type=int, default=1, help="leave out smaller objects")
    create.add_argument("--file-ending", default=".nii.gz", help="of the masks in a folder (default: %(default)s)")

    check = actions.add_parser("check", help="check a prompt file against its images")
    show = actions.add_parser("show", help="draw prompts on their images")
    for action in (check, show):
        action.add_argument("prompts", type=Path, help="the prompt file")
        action.add_argument("-i", dest="images", type=Path, required=True, help="folder of images, case_0000.nii.gz …")
        action.add_argument("-d", dest="dataset", help="data set ID or name: also check that it has the classes")
        action.add_argument("--file-ending", default=".nii.gz", help="of the images (default: %(default)s)")
    show.add_argument("-o", dest="output", type=Path, required=True, help="the PNG to write")
    show.add_argument("--cases", nargs="+", help="default: all")


def run(args: argparse.Namespace) -> int:
    """Run the action; exit status 1 if a check failed."""
    return {"create": _create, "check": _check, "show": _show}[args.action](args)


def _create(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from msam_nn.inference.placement import class_index
    from msam_nn.inference.prompt_file import PromptFile, write_prompts

    if args.masks.is_file() and not args.masks.name.endswith(args.file_ending):
        raise UserError(f"{args.masks} does not end in {args.file_ending}: say how masks end with --file-ending.")
    files = [args.masks] if args.masks.is_file() else sorted(args.masks.glob(f"*{args.file_ending}"))
    if not files:
        raise UserError(f"{args.masks} is no mask and no folder with masks like case{args.file_ending}.")
    names, manager = _classes(args.dataset) if args.dataset else (None, None)
    if names and args.class_name:
        class_index(args.class_name, names)
    cases = {
        f.name.removesuffix(args.file_ending): _from_mask(f, args, names, manager) for f in tqdm(files, desc="masks")
    }
    cases = {case: classes for case, classes in cases.items() if classes}
    if not cases:
        raise UserError(f"The {len(files)} masks in {args.masks} hold no object to prompt.")
    write_prompts(args.output, PromptFile(cases, args.space))
    points, boxes = (sum(len(getattr(c, k)) for case in cases.values() for c in case.values())
                     for k in ("points", "boxes"))  # fmt: skip
    print(f"{args.output}: {len(cases)} of {len(files)} cases, {points} points, {boxes} boxes")
    return 0


def _from_mask(file: Path, args: argparse.Namespace, names: list[tuple[str, ...]] | None, manager) -> dict:
    """Class name to its prompts; ``names`` and ``manager`` as of :func:`_classes`, None for label numbers."""
    import numpy as np
    import SimpleITK as sitk

    from msam_nn.image_files import insist_on_sound_file
    from msam_nn.inference.prompt_file import ClassPrompts
    from msam_nn.prompts.from_mask import bounds, centre, instances, objects

    insist_on_sound_file(file)
    geometry = _geometry(file)
    image = sitk.ReadImage(str(file))
    labels, spacing = sitk.GetArrayFromImage(image), image.GetSpacing()[::-1]
    if labels.dtype.kind == "f" and not np.array_equal(labels, labels.round()):
        raise UserError(f"{file} holds fractions: a mask has whole numbers.")
    labels = labels.astype(int)
    present = np.unique(labels)
    if args.class_name:
        found = {args.class_name: list(instances(labels, args.min_voxels))}
    else:
        members = {str(value): value for value in present if value > 0}
        if manager is not None:
            if undeclared := set(present) - {*manager.all_labels, manager.ignore_label}:
                raise UserError(
                    f"{file} holds the value {min(undeclared)}, which is no label of data set {args.dataset}: correct "
                    f"the mask, or leave out -d."
                )
            values = manager.all_regions or manager.foreground_labels
            members = {name: value for (name, *_), value in zip(names, values, strict=True)}
        found = {name: list(objects(np.isin(labels, v), args.min_voxels)) for name, v in members.items()}
    classes = {}
    for name, pieces in found.items():
        points = [(*centre(*piece, spacing), 1) for piece in pieces] if "points" in args.kinds else []
        boxes = [bounds(place) for _, place in pieces] if "boxes" in args.kinds else []
        if args.space == "world":
            points = [(*_rounded(geometry.network_to_world(p[:3])), 1) for p in points]
            boxes = [_rounded(geometry.box_to_world(box)) for box in boxes]
        if points or boxes:
            classes[name] = ClassPrompts(tuple(points), tuple(boxes))
    return classes


def _rounded(values) -> tuple[float, ...]:
    """To a thousandth of a mm."""
    return tuple(round(float(v), 3) for v in values)


def _check(args: argparse.Namespace) -> int:
    problems = 0
    for case, reason, placed in _placed(args):
        if reason:
            problems += 1
            print(f"{case}: {reason}", file=sys.stderr)
        else:
            counts = [sum(len(p.clicks) for _, p in placed), sum(len(p.boxes) for _, p in placed)]
            masks = sum(p.mask is not None for _, p in placed)
            print(f"{case}: {counts[0]} points, {counts[1]} boxes, {masks} masks fit")
    return int(problems > 0)


def _show(args: argparse.Namespace) -> int:
    import SimpleITK as sitk

    from msam_nn.inference.batch import image_cases
    from msam_nn.reports.prompt_picture import PromptedClass, save_prompt_picture

    cases = image_cases(args.images, args.file_ending)
    rows, problems = [], 0
    for case, reason, placed in _placed(args, args.cases):
        if reason:
            problems += 1
            print(f"{case}: {reason}", file=sys.stderr)
            continue
        image = sitk.ReadImage(str(cases[case][0]))
        for name, prompts in placed:
            rows.append(
                PromptedClass(
                    f"{case}, class {name}",
                    sitk.GetArrayFromImage(image),
                    image.GetSpacing()[::-1],
                    [(*click.voxel, int(click.positive)) for click in prompts.clicks],
                    [tuple(bound for axis in drawn.box for bound in axis) for drawn in prompts.boxes],
                    None if prompts.mask is None else prompts.mask.numpy() > 0.5,
                )
            )
    if not rows:
        raise UserError(f"There is nothing to draw in {args.prompts} for the images of {args.images}.")
    if len(rows) > MOST_ROWS:
        print(f"The first {MOST_ROWS} of {len(rows)} classes are drawn; choose others with --cases.")
    print(save_prompt_picture(args.output, rows[:MOST_ROWS]))
    return int(problems > 0)


def _placed(args: argparse.Namespace, chosen: Sequence[str] | None = None) -> Iterator[tuple[str, str, list]]:
    """Per case of the file: its name, what is wrong, and per class its name and prompts on the image's own grid.

    Arguments:
        chosen: cases; None for all.
    """
    from msam_nn.inference.batch import image_cases, some_of
    from msam_nn.inference.placement import place
    from msam_nn.inference.prompt_file import read_prompts

    prompts = read_prompts(args.prompts)
    for case in chosen or ():
        if case not in prompts.cases:
            raise UserError(f"{args.prompts} has no case {case}: it has {some_of(prompts.cases)}.")
    cases = image_cases(args.images, args.file_ending)
    names, manager = _classes(args.dataset) if args.dataset else (None, None)
    for case, given in prompts.cases.items():
        if chosen and case not in chosen:
            continue
        try:
            if case not in cases:
                raise UserError(f"{args.images} has no such case.")
            geometry = _geometry(cases[case][0])
            called = names or [(name,) for name in given]
            placed = place(given, prompts.space, called, geometry, cases[case][0])
            if manager is not None:
                from msam_nn.inference.promises import Promises

                Promises([click for p in placed for click in p.promises], manager)
            yield case, "", list(zip(given, placed, strict=True))
        except UserError as error:
            yield case, str(error), []


def _geometry(file: Path):
    """Of an image, by its header.

    Raises:
        UserError: if it is no 3D image, in the words of ``msam predict``.
    """
    from msam_nn.image_files import insist_on_sound_images
    from msam_nn.inference.geometry import ImageGeometry

    try:
        return ImageGeometry.from_file(file)
    except UserError:
        insist_on_sound_images([file], 1)
        raise


def _classes(dataset: str):
    """Class names and nnU-Net's label manager of a data set."""
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.paths import nnUNet_raw
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    from msam_nn.inference.placement import class_names
    from msam_nn.nnunet_folders import dataset_name

    file = Path(nnUNet_raw, dataset_name(dataset), "dataset.json")
    if not file.is_file():
        raise UserError(f"There is no {file}.")
    content = load_json(str(file))
    manager = LabelManager(content["labels"], content.get("regions_class_order"))
    return class_names(content, manager), manager
