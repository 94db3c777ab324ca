"""Read the volumes of a case and find what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from msam_nn.errors import UserError
from msam_nn.image_files import insist_on_sound_file


class BrokenCaseError(Exception):
    """A case that cannot be used; the message is the reason."""


def read_volume(path: Path) -> sitk.Image:
    """Read a file, or a folder holding one DICOM series, as a 3D image with one value per voxel.

    Raises:
        BrokenCaseError: if it cannot be read, ends early, has voxels that are no numbers, or is something else.
    """
    try:
        if path.is_file():
            insist_on_sound_file(path)
    except UserError as error:
        raise BrokenCaseError(str(error).rstrip(".")) from error
    try:
        image = sitk.ReadImage(_series_files(path) if path.is_dir() else str(path))
    except RuntimeError as error:
        raise BrokenCaseError(f"{path} cannot be read: {str(error).strip().splitlines()[-1]}") from error
    if image.GetDimension() != 3:
        raise BrokenCaseError(f"{path} is {image.GetDimension()}D, not 3D")
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise BrokenCaseError(f"{path} has {image.GetNumberOfComponentsPerPixel()} values per voxel, not 1")
    voxels = sitk.GetArrayViewFromImage(image)  # of a NIfTI without the NaN that it has, which was looked for above
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        raise BrokenCaseError(f"{path} has NaN or infinite voxels")
    return image


def _series_files(folder: Path) -> tuple[str, ...]:
    """The slices' files in order; raises BrokenCaseError unless they are one series with even gaps (within 10 %)."""
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) != 1:
        raise BrokenCaseError(f"{folder} holds {len(series)} DICOM series, not 1")
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])
    gaps = np.linalg.norm(np.diff([_position(file) for file in files], axis=0), axis=-1)
    if gaps.size and gaps.max() > 1.1 * gaps.min():
        raise BrokenCaseError(
            f"{folder} lacks slices, or they are unevenly spaced: {gaps.min():g} to {gaps.max():g} mm"
        )
    return files


def _position(file: str) -> tuple[float, float, float]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader.GetOrigin()


def check_same_grid(image: sitk.Image, path: Path, first: sitk.Image) -> None:
    """Raise BrokenCaseError unless both have the same shape, and the spacing and corners agree.

    Spacing may differ by nnU-Net's own tolerance (``numpy.allclose``), corners by a tenth of the smallest spacing.
    """
    check_same_shape(image, path, first)
    if not np.allclose(image.GetSpacing(), first.GetSpacing()):
        ours, others = ([round(s, 5) for s in i.GetSpacing()] for i in (image, first))
        raise BrokenCaseError(f"geometry mismatch: {path} has spacing {ours} mm, the first image {others}")
    corners = [[int(c) for c in corner] for corner in product(*((0, n - 1) for n in image.GetSize()))]
    offsets = [
        np.subtract(image.TransformIndexToPhysicalPoint(c), first.TransformIndexToPhysicalPoint(c)) for c in corners
    ]
    distance = np.linalg.norm(offsets, axis=1).max()
    if distance > min(first.GetSpacing()) / 10:
        raise BrokenCaseError(f"geometry mismatch: {path} lies up to {distance:.3g} mm off the first image's grid")


def check_same_shape(image: sitk.Image, path: Path, first: sitk.Image) -> None:
    """Raise BrokenCaseError unless both have the same number of voxels along every axis."""
    if image.GetSize() != first.GetSize():
        raise BrokenCaseError(
            f"geometry mismatch: {path} has {image.GetSize()} voxels, the first image {first.GetSize()}"
        )


def stored_labels(mask: sitk.Image, path: Path, values: Mapping[int, int]) -> np.ndarray:
    """The mask (z, y, x) with every value replaced as ``values`` says, as uint8.

    Raises:
        BrokenCaseError: if a value is not a whole number, or not among ``values``.
    """
    voxels = sitk.GetArrayViewFromImage(mask)
    published = np.sort(pd.unique(voxels.ravel()))
    if not np.array_equal(published, np.rint(published)):
        raise BrokenCaseError(f"{path} has non-integer labels")
    undeclared = [int(v) for v in published if int(v) not in values]
    if undeclared:
        raise BrokenCaseError(f"{path} has labels that are not declared: {undeclared[:5]}")
    table = np.zeros(max(values) + 1, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return table[voxels.astype(np.int64)]
