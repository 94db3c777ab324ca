"""Where a session's image comes from: an array of a viewer, or files."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import nibabel
import numpy as np

from msam_nn.errors import UserError
from msam_nn.image_files import insist_on_sound_images
from msam_nn.inference.geometry import ImageGeometry
from msam_nn.inference.prompting.windows import bounding_box
from msam_nn.server.model import ServedModel

MOST_NETWORK_VOXELS = 1 << 28
"""Voxels that an image may have at the network's spacing."""

COMPRESSION = 1


class SessionImage(Protocol):
    """An image that a session segments.

    name: of the case. shape: voxels per axis in the array's order. spacing: in mm in the same order.
    """

    name: str
    shape: tuple[int, int, int]
    spacing: list[float]

    def read(self) -> tuple[np.ndarray, dict]:
        """Array ``(C, ...)`` and properties as nnU-Net's readers return them, once; it may be freed after that."""

    def nifti(self, labels: np.ndarray) -> bytes:
        """A label map of the image as ``.nii.gz``."""


class ViewerImage:
    """An array ``(C, X, Y, Z)`` in a viewer's order of axes, without origin and direction.

    Voxels that are no numbers count as 0, as nnU-Net's readers have it.

    Raises:
        UserError: if the model cannot take it.
    """

    name = "image"

    def __init__(self, model: ServedModel, array: np.ndarray, spacing: Sequence[float] | None) -> None:
        insist_on_channels(model, len(array))
        self.shape = tuple(int(n) for n in array.shape[1:])
        usable = spacing is not None and len(spacing) == 3 and all(np.isfinite(s) and s > 0 for s in spacing)
        self.spacing = [float(s) for s in spacing] if usable else model.spacing
        insist_on_size(model, self.shape, self.spacing)
        insist_on_content(model, array, self.spacing)
        self._array: np.ndarray | None = array

    def read(self) -> tuple[np.ndarray, dict]:
        array, self._array = self._array, None
        if array.dtype.kind == "f":
            array = np.nan_to_num(array.astype(np.float32), copy=False, posinf=0, neginf=0)
        stuff = {"spacing": tuple(self.spacing[::-1]), "origin": (0.0,) * 3, "direction": tuple(np.eye(3).ravel())}
        return array, {"spacing": list(self.spacing), "sitk_stuff": stuff}

    def nifti(self, labels: np.ndarray) -> bytes:
        return _nifti(nibabel.Nifti1Image(labels.T, np.diag([*self.spacing[::-1], 1.0])))


class FileImage:
    """Files of a case, one per channel; arrays are ``(z, y, x)`` as SimpleITK reads them.

    Raises:
        UserError: if they are no images that the model can take.
    """

    def __init__(self, model: ServedModel, files: Sequence[Path], name: str) -> None:
        insist_on_channels(model, len(files))
        self.name = name
        self._model = model
        self._files = list(files)
        geometry = ImageGeometry.from_file(self._files[0])
        self.shape = geometry.file_shape
        self.spacing = np.linalg.norm(geometry.world_from_file[:3, :3], axis=0).tolist()
        insist_on_size(model, self.shape, self.spacing)
        self._header = nibabel.load(self._files[0]).header.copy()

    def read(self) -> tuple[np.ndarray, dict]:
        insist_on_sound_images(self._files, len(self._model.channel_names))
        reader = self._model.predictor.plans_manager.image_reader_writer_class()
        array, properties = reader.read_images([str(file) for file in self._files])
        insist_on_content(self._model, array, self.spacing)
        return array, properties

    def nifti(self, labels: np.ndarray) -> bytes:
        header = self._header.copy()
        header.set_data_dtype(labels.dtype)
        header["scl_slope"], header["scl_inter"] = 1, 0
        header["cal_min"] = header["cal_max"] = 0
        return _nifti(type(self)._image_class(header)(labels.T, None, header))

    @staticmethod
    def _image_class(header):
        return nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image


def insist_on_channels(model: ServedModel, n_channels: int) -> None:
    """Raises UserError if the model takes another number."""
    names = model.channel_names
    if n_channels != len(names):
        raise UserError(
            f"The image has {n_channels} channel(s), and the model takes {len(names)} ({', '.join(names)}). "
            f"Viewers send one channel; the page opens a file per channel."
        )


def insist_on_size(model: ServedModel, shape: Sequence[int], spacing: Sequence[float]) -> None:
    """Raises UserError for a spacing that is none, or would need more memory than any image should."""
    voxels = model.network_shape(shape, spacing)
    if min(voxels) < 1 or model.padded_voxels(voxels) > MOST_NETWORK_VOXELS:
        shown = tuple(round(s, 4) for s in spacing)
        raise UserError(
            f"An image of {tuple(shape)} voxels with a spacing of {shown} mm would have {tuple(voxels)} for this "
            f"model: is the spacing right?"
        )


def insist_on_content(model: ServedModel, array: np.ndarray, spacing: Sequence[float]) -> None:
    """Raises UserError if voxels ``(C, z, y, x)`` are all 0, or no numbers, which count as 0; and if what is not 0, to
    which nnU-Net crops an image, would be no voxel wide for the model."""
    content = array != 0
    if array.dtype.kind == "f":
        content &= np.isfinite(array)
    box = bounding_box(content.any(0))
    if box is None:
        raise UserError("The image is empty: all its voxels are 0.")
    shape = [upper - lower for lower, upper in box]
    if min(model.network_shape(shape, spacing)) < 1:
        raise UserError(
            f"Only {tuple(shape)} voxels of the image are not 0, less than one of the model's: is it the right image?"
        )


def _nifti(image: nibabel.Nifti1Image) -> bytes:
    return gzip.compress(image.to_bytes(), COMPRESSION)
