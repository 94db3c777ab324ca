"""A user's prompts in the network's coordinates, and the promise they make on the image's own grid."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import Tensor

from msam_nn.errors import UserError
from msam_nn.inference.geometry import EmptyMarginError, ImageGeometry
from msam_nn.inference.output_grid import OutputGrid
from msam_nn.inference.prompt_file import ClassPrompts
from msam_nn.inference.prompting.boxes import DrawnBox
from msam_nn.inference.prompting.clicks import Click


@dataclass(frozen=True)
class PlacedPrompts:
    """Prompts on one class, on the preprocessed image's grid.

    clicks: in the order of the file. promises: the same in file voxels, and those in the empty margin that nnU-Net
        crops away, of which the network knows nothing.
    mask: ``(D, H, W)``, share of each voxel inside, or None.
    """

    class_index: int
    clicks: list[Click]
    promises: list[Click]
    boxes: list[DrawnBox]
    mask: Tensor | None


def place(
    prompts: Mapping[str, ClassPrompts],
    space: str,
    names: Sequence[tuple[str, ...]],
    geometry: ImageGeometry,
    image_file: Path,
    resample_masks: bool = False,
) -> list[PlacedPrompts]:
    """Prompts of one case on the network's grid, class by class.

    Arguments:
        names: per class index, what the class may be called, see :func:`class_names`.
        image_file: a channel of the image, with whose grid masks are compared.
        resample_masks: take masks on other grids, too.

    Raises:
        UserError: for an unknown class, a prompt outside the image, or a mask that does not fit.
    """
    placed, grid = [], OutputGrid.of(geometry)
    for name, given in prompts.items():
        index = class_index(name, names)
        if any(index == other.class_index for other in placed):
            raise UserError(f"class {name}: the class is named twice; merge the two.")
        promises = [_click(p, space, index, geometry, f"class {name}, points {i}") for i, p in enumerate(given.points)]
        seen = [_to_network(c, geometry, f"class {name}, points {i}") for i, c in enumerate(promises)]
        boxes = [box_to_network(b, space, geometry, f"class {name}, boxes {i}") for i, b in enumerate(given.boxes)]
        mask = None
        if given.mask is not None:
            try:
                mask = grid.shares(read_mask(given.mask, image_file, resample_masks))
            except UserError as error:
                raise UserError(f"class {name}, mask: {error}") from error
        placed.append(PlacedPrompts(index, [c for c in seen if c], promises, boxes, mask))
    return placed


def class_names(dataset_json: dict, label_manager: LabelManager) -> list[tuple[str, ...]]:
    """Per class index of the network, its name and, unless the data set has regions, its label number."""
    labels = {k: v for k, v in dataset_json["labels"].items() if k not in ("background", "ignore")}
    if label_manager.has_regions:
        return [(name,) for name in labels]
    return [(name, str(value)) for name, value in sorted(labels.items(), key=lambda item: item[1])]


def class_index(name: str, names: Sequence[tuple[str, ...]]) -> int:
    """Raises UserError if no class is called that."""
    for index, called in enumerate(names):
        if name in called:
            return index
    known = ", ".join(called[0] if len(called) == 1 else f"{called[0]} ({called[1]})" for called in names)
    raise UserError(f"The data set has no class {name}; its classes are {known}.")


def _click(point: tuple[float, ...], space: str, index: int, geometry: ImageGeometry, where: str) -> Click:
    *position, label = point
    try:
        voxel = tuple(position) if space == "voxel" else geometry.world_to_file(position)
    except UserError as error:
        raise UserError(f"{where}: {error} Is it a point of another case?") from error
    return Click(index, voxel, bool(label))


def _to_network(click: Click, geometry: ImageGeometry, where: str) -> Click | None:
    """None in the empty margin."""
    try:
        return Click(click.class_index, geometry.file_to_network(click.voxel), click.positive)
    except EmptyMarginError:
        return None
    except UserError as error:
        raise UserError(f"{where}: {error} Is it a point of another case?") from error


def box_to_network(bounds: Sequence[float], space: str, geometry: ImageGeometry, where: str) -> DrawnBox:
    """The network voxels whose centres lie in the box, at least one per axis.

    A box of one voxel of the file along one axis, and of more along the others, is flat.

    A box in mm becomes the smallest box along the image's axes that holds it, as far as that lies in the image: on
    oblique images it is larger than the object, and may reach beyond the border where that does not.
    """
    corners = np.array(list(product(*zip(bounds[::2], bounds[1::2], strict=True))), dtype=float)
    if space == "world":
        to_file = np.linalg.inv(geometry.world_from_file)
        corners = corners @ to_file[:3, :3].T + to_file[:3, 3]
    else:
        corners -= 0.5  # the edge of a voxel lies half a voxel before its centre
    edge = np.array(geometry.file_shape) - 0.5
    lowest, highest = corners.min(0), corners.max(0)
    thin = np.flatnonzero(highest - lowest < 1 + 1e-2)
    if space == "world":  # only what misses the image belongs elsewhere
        lowest, highest = highest, lowest
    if (lowest < -0.51).any() or (highest > edge + 0.01).any():
        raise UserError(
            f"{where}: the box {list(bounds)} leaves the image of {geometry.file_shape} voxels (z, y, x). "
            f"Is it a box of another case?"
        )
    matrix = geometry.network_from_file
    corners = corners @ matrix[:3, :3].T + matrix[:3, 3]
    box = []
    for lower, upper, size in zip(corners.min(0), corners.max(0), geometry.network_shape, strict=True):
        first, last = int(np.ceil(lower - 1e-6)), int(np.ceil(upper - 1e-6))
        if last <= first:
            first = int(np.floor((lower + upper) / 2 + 0.5))
            last = first + 1
        first, last = max(first, 0), min(last, size)
        if first >= last:
            raise UserError(f"{where}: the box {list(bounds)} lies in the empty margin of the image.")
        box.append((first, last))
    through = int(np.abs(matrix[:3, thin[0]]).argmax()) if len(thin) == 1 else None
    return DrawnBox(tuple(box), through)


def read_mask(mask_file: Path, image_file: Path, resample: bool = False) -> np.ndarray:
    """A mask file as bool ``(z, y, x)`` on the grid of an image.

    Raises:
        UserError: if it cannot be read, is empty, or has another grid and ``resample`` is off.
    """
    mask, header, difference = _beside_image(mask_file, image_file)
    mask = mask != 0
    if difference:
        if not resample:
            raise UserError(f"{mask_file} has {difference}: is it another case's? --resample-masks takes it anyway.")
        warnings.warn(f"{mask_file} has {difference}; it was resampled.", stacklevel=2)
        identity = sitk.Transform(3, sitk.sitkIdentity)
        grid = (header.GetSize(), identity, sitk.sitkNearestNeighbor)
        mask = sitk.Resample(mask, *grid, header.GetOrigin(), header.GetSpacing(), header.GetDirection(), 0)
    array = sitk.GetArrayFromImage(mask).astype(bool)
    if not array.any():
        raise UserError(f"{mask_file} is empty{' on the grid of its image' if difference else ''}.")
    return array


def read_labels(label_file: Path, image_file: Path) -> np.ndarray:
    """A label map ``(z, y, x)`` on the grid of an image.

    Raises:
        UserError: if it cannot be read or has another grid.
    """
    labels, _, difference = _beside_image(label_file, image_file)
    if difference:
        raise UserError(f"{label_file} has {difference}: is it another case's?")
    return sitk.GetArrayFromImage(labels)


def _beside_image(mask_file: Path, image_file: Path) -> tuple[sitk.Image, sitk.ImageFileReader, str]:
    """A mask, the header of its image, and how their grids differ.

    Raises:
        UserError: if it cannot be read as one number a voxel.
    """
    if not mask_file.is_file():
        raise UserError(f"There is no file {mask_file}.")
    try:
        mask = sitk.ReadImage(str(mask_file))
        header = sitk.ImageFileReader()
        header.SetFileName(str(image_file))
        header.ReadImageInformation()
    except RuntimeError as error:
        raise UserError(f"{mask_file} cannot be compared with its image: {str(error).splitlines()[-1]}") from error
    if mask.GetDimension() != 3 or mask.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f"{mask_file} is no 3D mask.")
    return mask, header, _grid_difference(mask, header)


def _grid_difference(mask: sitk.Image, image: sitk.ImageFileReader) -> str:
    """What differs, in words; empty if the grids are the same to a hundredth of a voxel."""
    if mask.GetSize() != tuple(image.GetSize()):
        return f"{mask.GetSize()[::-1]} voxels (z, y, x), its image {tuple(image.GetSize())[::-1]}"
    spacing = np.array(image.GetSpacing())
    checks = (
        ("spacing", mask.GetSpacing(), image.GetSpacing(), spacing.min() / 100 / max(mask.GetSize())),
        ("origin", mask.GetOrigin(), image.GetOrigin(), spacing.min() / 100),
        ("orientation", mask.GetDirection(), image.GetDirection(), 1e-3),
    )
    for what, ours, theirs, tolerance in checks:
        if np.abs(np.subtract(ours, theirs)).max() > tolerance:
            shown = [tuple(round(v, 4) for v in values) for values in (ours, theirs)]
            return f"the {what} {shown[0]}, its image {shown[1]} (x, y, z)"
    return ""
