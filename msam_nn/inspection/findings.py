"""What is wrong or doubtful in a data set: a sentence each, with what to do."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from math import prod

import numpy as np

from msam_nn.inspection.case_statistics import CaseStatistics, UnreadableCase
from msam_nn.inspection.image_copies import identical_images, leaking_folds
from msam_nn.inspection.plan_facts import PlanFacts
from msam_nn.inspection.raw_dataset import RawDataset
from msam_nn.reports.wording import listed, number, times, volume

SPACING_RATIO = 3.0
"""From which factor to the median on a spacing is an outlier; nnU-Net's threshold for anisotropy."""

SPECK_VOXELS = 8
"""Voxels of the plan, two along each axis, below which a lesion may be a slip of whoever drew it."""

BLIND_DICE = 0.5
"""From which Dice of the image-blind ellipsoid on the shape of an array says too much."""


def file_warnings(
    dataset: RawDataset, cases: Sequence[CaseStatistics], unreadable: Sequence[UnreadableCase]
) -> list[str]:
    """Cases that cannot be read or are not declared, images and labels that do not fit each other, and voxels that are
    no numbers."""
    found = [f"{case.name} cannot be read ({case.reason}): repair or remove it." for case in unreadable]
    if (declared := dataset.declared_cases) != (there := len(dataset.cases)):
        said = "lacks numTraining" if declared is None else f"says numTraining: {json.dumps(declared)}"
        found.append(
            f"dataset.json {said}, and there are {there} training cases: write {there} there, or nnU-Net's "
            f"--verify_dataset_integrity refuses the data set."
        )
    expected = len(dataset.channel_names)
    if wrong := [f"{c.name} ({c.channels})" for c in cases if c.channels != expected]:
        found.append(f"{expected} channels are declared, but not found in {listed(wrong)}: add or remove image files.")
    by_kind = defaultdict(list)
    for case in cases:
        if case.differences:
            by_kind[case.differences].append(case.name)
    for kinds, names in by_kind.items():
        mend = (
            "resample the label onto the image, nnU-Net refuses the case"
            if {"shape", "spacing"} & set(kinds)
            else "nnU-Net ignores it, so look whether the outlines fit, then copy the image's header to the label"
        )
        found.append(f"Image and label differ in {' and '.join(kinds)} in {listed(names)}: {mend}.")
    if names := [c.name for c in cases if c.nan_voxels]:
        found.append(f"Images hold NaN or infinite voxels in {listed(names)}: replace them by a background value.")
    if names := [c.name for c in cases if c.label_nan_voxels]:
        found.append(f"Labels hold NaN voxels in {listed(names)}: replace them by 0 or by the class that is meant.")
    return found


def label_warnings(dataset: RawDataset, cases: Sequence[CaseStatistics]) -> list[str]:
    """Values that are not declared, declared values that never occur, and cases without foreground."""
    found = []
    owners = defaultdict(list)
    for case in cases:
        for value in case.label_values:
            owners[value].append(case.name)
    for value in sorted(set(owners) - dataset.label_values):
        found.append(
            f"Label value {value:g} occurs in {listed(owners[value])} and is not declared: "
            f"add it to dataset.json or correct the labels."
        )
    for value in sorted(dataset.label_values - set(owners) - {0}):
        names = [f'"{name}"' for name, values in dataset.classes.items() if value in values] or ["ignore"]
        found.append(
            f"Label value {value} ({', '.join(names)}) occurs in no case: add cases that have it, or remove it "
            f"from dataset.json."
        )
    if names := [c.name for c in cases if not c.foreground_mm3]:
        found.append(
            f"{_share(names, cases)} no foreground ({listed(names)}): keep what is meant to be healthy, label the rest."
        )
    return found


def _share(some: Sequence[str], cases: Sequence[CaseStatistics]) -> str:
    return f"{len(some)} of {len(cases)} cases {'has' if len(some) == 1 else 'have'}"


def intensity_warnings(dataset: RawDataset, cases: Sequence[CaseStatistics]) -> list[str]:
    """Channels in which at least 99 % of the voxels hold one value."""
    found = []
    for channel, name in enumerate(dataset.channel_names):
        flat = [c.name for c in cases if channel < c.channels and _nearly_constant(c.intensities[channel])]
        if flat:
            found.append(
                f'Channel "{name}" holds nearly one value in {listed(flat)}: check that the right file was exported, '
                f"and leave the channel out if it is missing in many cases."
            )
    return found


def _nearly_constant(intensities: np.ndarray) -> bool:
    low, high = np.nanpercentile(intensities, (0.5, 99.5)) if np.isfinite(intensities).any() else (0, 0)
    return bool(low == high)


def spacing_warnings(cases: Sequence[CaseStatistics]) -> list[str]:
    """Cases whose spacing is a factor ``SPACING_RATIO`` or more from the median along an axis."""
    spacings = np.array([case.spacing for case in cases])
    ratios = spacings / np.median(spacings, axis=0)
    far = np.maximum(ratios, 1 / ratios).max(axis=1) >= SPACING_RATIO
    names = [f"{case.name}: {times(case.spacing)}" for case, outlier in zip(cases, far, strict=True) if outlier]
    if not names:
        return []
    return [
        f"{_share(names, cases)} a spacing {SPACING_RATIO:g} times coarser or finer than the median of "
        f"{times(np.median(spacings, axis=0))} mm ({listed(names)} mm): check their headers, and leave them out "
        f"if detail was lost."
    ]


def token_warnings(cases: Sequence[CaseStatistics], plan: PlanFacts) -> list[str]:
    """Lesions that are smaller than a token, or than ``SPECK_VOXELS`` where masks are as fine as the image, class by
    class."""
    bound, what = plan.token_mm3, f"a token of {times(plan.token_mm)} mm"
    mend = "remove what is a speck of annotation"
    if plan.fine_masks:
        bound, what = SPECK_VOXELS * prod(plan.spacing), f"{SPECK_VOXELS} voxels of {times(plan.spacing)} mm"
    else:
        mend += ", and plan again with a larger -gpu_memory_target if smaller tokens are needed"
    found = []
    for name in cases[0].lesions:
        volumes = np.concatenate([case.lesions[name].volumes_mm3 for case in cases])
        small = int((volumes < bound).sum())
        if small:
            found.append(
                f'Of {len(volumes)} lesions of "{name}", {small} ({number(100 * small / len(volumes))} %) '
                f"{'is' if small == 1 else 'are'} smaller than {what} ({volume(bound)}): {mend}."
            )
    return found


def shape_warnings(blind_dice: float) -> list[str]:
    """Whether the shape of the arrays gives the foreground's place away."""
    if not blind_dice >= BLIND_DICE:
        return []
    return [
        f"An ellipsoid placed by the array's shape, without reading a voxel, reaches a mean Dice of {blind_dice:.2f}: "
        f"the images were probably cropped around the foreground, so use uncropped images, or quote this number "
        f"beside any Dice."
    ]


def leakage_warnings(dataset: RawDataset, cases: Sequence[CaseStatistics], folds: Sequence[dict] | None) -> list[str]:
    """Identical images, and the folds that train on a copy of what they validate on; ``folds`` None: not split yet."""
    groups = identical_images(cases)
    found = []
    for names, channels in groups.items():
        which = (
            "images"
            if len(channels) == len(dataset.channel_names)
            else listed(dataset.channel_names[c] for c in channels)
        )
        mend = "keep one" if folds else "keep one, or put them into one fold of splits_final.json"
        found.append(f"{listed(names)} have identical {which}: {mend}.")
    for fold, pairs in leaking_folds(list(groups), folds or ()).items():
        copies = listed(t if t == v else f"{t} = {v}" for t, v in pairs)
        found.append(
            f"Fold {fold} trains on images that it validates on ({copies}): correct splits_final.json and train the "
            f"fold again."
        )
    return found
