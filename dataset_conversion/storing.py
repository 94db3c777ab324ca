"""Check a case and, if it is sound, write it."""

from __future__ import annotations

import gzip
import shutil
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from dataset_conversion.checks import (
    BrokenCaseError,
    check_same_grid,
    check_same_shape,
    read_volume,
    stored_labels,
)
from dataset_conversion.description import Dataset
from dataset_conversion.discovery import Case

FILE_ENDING = ".nii.gz"


@dataclass(frozen=True)
class Outcome:
    """What became of a case: ``problem`` says why it was skipped, ``notes`` what is unusual about it."""

    name: str
    problem: str | None = None
    notes: tuple[str, ...] = ()


def process_case(case: Case, dataset: Dataset, folder: Path) -> Outcome:
    """Check every file of ``case``; write nothing if one is broken.

    A sound case goes into nnU-Net's raw layout in ``folder``, or, if the data set has a converter of nnU-Net's, into
    a tree there that has the published names: links, and the files that had to be changed.
    """
    try:
        images = [read_volume(found.path) for found in case.images]
        for image, found in zip(images, case.images, strict=True):
            check_same_grid(image, found.path, images[0])
        notes, labels, same_grid = [], None, True
        if case.mask:
            mask = read_volume(case.mask.path)
            labels = stored_labels(mask, case.mask.path, dataset.values)
            same_grid = _check_mask_geometry(mask, case.mask.path, images[0], dataset.copy_geometry)
            notes += [] if same_grid else ["the mask's header disagreed and now equals the image's"]
            notes += [] if labels.any() else ["empty mask, kept"]
    except BrokenCaseError as problem:
        return Outcome(case.label, str(problem))
    for channel, (image, found) in enumerate(zip(images, case.images, strict=True)):
        own = f"{'imagesTr' if case.mask else 'imagesTs'}/{case.name}_{channel:04d}{FILE_ENDING}"
        _store_image(image, found.path, _target(dataset, folder, found.place, own), link=dataset.converter is not None)
    if case.mask:
        target = _target(dataset, folder, case.mask.place, f"labelsTr/{case.name}{FILE_ENDING}")
        if not (same_grid and _store_published_mask(case.mask.path, dataset, target)):
            mask = sitk.GetImageFromArray(labels)
            mask.CopyInformation(images[0])
            sitk.WriteImage(mask, str(target), useCompression=True)
    return Outcome(case.label, notes=tuple(notes))


def _check_mask_geometry(mask: sitk.Image, path: Path, image: sitk.Image, copy_geometry: bool) -> bool:
    """Whether the mask's header agrees with the image's; raises BrokenCaseError if that matters."""
    try:
        check_same_grid(mask, path, image)
    except BrokenCaseError:
        if not copy_geometry:
            raise
        check_same_shape(mask, path, image)
        return False
    return True


def _target(dataset: Dataset, folder: Path, place: str, own: str) -> Path:
    if dataset.converter:
        place = place + ".gz" if place.endswith(".nii") else place
    target = folder / (place if dataset.converter else own)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _store_image(image: sitk.Image, source: Path, target: Path, *, link: bool) -> None:
    if source.name.endswith(FILE_ENDING) and link:
        _link(source, target)
    elif source.name.endswith(FILE_ENDING):
        shutil.copyfile(source, target)
    elif source.suffix == ".nii":
        with source.open("rb") as plain, gzip.open(target, "wb", compresslevel=4) as packed:
            shutil.copyfileobj(plain, packed)
    else:
        sitk.WriteImage(image, str(target), useCompression=True)


def _link(source: Path, target: Path) -> None:
    """A symbolic link, or a copy where the system allows none."""
    try:
        target.symlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)


def _store_published_mask(source: Path, dataset: Dataset, target: Path) -> bool:
    """Leave the mask to nnU-Net's own code, where it has some for this data set; returns whether it has."""
    if dataset.write_mask:
        dataset.write_mask(str(source), str(target))
        return True
    as_published = source.name.endswith(FILE_ENDING) and all(k == v for k, v in dataset.values.items())
    if dataset.converter and as_published:
        _link(source, target)
        return True
    return False
