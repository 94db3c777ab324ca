"""From a click in the user's image to a voxel of the preprocessed image, and back.

nnU-Net turns an image into the network's array in four steps: its reader (which may reorient), ``transpose_forward``,
the crop to the nonzero region, resampling. All of them are affine, so one matrix holds them. This module is the only
place that knows the conventions:

- file voxels: indices in array order ``(z, y, x)`` as SimpleITK reads the file, also where nnU-Net's reader reorients;
- world points: millimetres ``(x, y, z)`` in SimpleITK's LPS system (nibabel's is RAS: x and y have the other sign);
- network voxels: indices of the preprocessed array in its own axis order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from msam_nn.errors import UserError

Voxel = tuple[int, int, int]
Point = tuple[float, float, float]

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
REVERSE_AXES = np.eye(4)[[2, 1, 0, 3]]


class EmptyMarginError(UserError):
    """A place in the image that nnU-Net crops away, where everything is zero."""


@dataclass(frozen=True)
class ImageGeometry:
    """Where the voxels of one preprocessed image lie in its file and in the world.

    Arguments:
        world_from_file: 4 x 4, file voxels ``(z, y, x)`` to LPS mm ``(x, y, z)``.
        network_from_file: 4 x 4, file voxels to continuous network voxels.
        reader_from_file: 4 x 4, file voxels to voxels of the array that nnU-Net's reader returns and writes.
        file_shape, network_shape: voxels per axis, each in its own axis order.

    >>> geometry = ImageGeometry.from_properties(properties, plans.transpose_forward, data.shape[1:])  # doctest: +SKIP
    >>> voxel = geometry.world_to_network((12.5, -30.0, 88.0))  # doctest: +SKIP
    """

    world_from_file: np.ndarray
    network_from_file: np.ndarray
    reader_from_file: np.ndarray
    file_shape: Voxel
    network_shape: Voxel

    @classmethod
    def from_properties(
        cls, properties: dict, transpose_forward: Sequence[int], network_shape: Sequence[int]
    ) -> ImageGeometry:
        """From what nnU-Net's preprocessor returned for an image.

        Arguments:
            properties: the properties beside the preprocessed array; read by SimpleITKIO, NibabelIO or
                NibabelIOWithReorient.
            transpose_forward: from the plans.
            network_shape: spatial shape of the preprocessed array.

        Raises:
            UserError: for images read by another reader.
        """
        world_from_file, reader_from_file = _reader_matrices(properties)
        order = list(transpose_forward)
        transpose = np.eye(4)[[*order, 3]]
        crop = np.eye(4)
        crop[:3, 3] = [-lower for lower, _ in properties["bbox_used_for_cropping"]]
        cropped_shape = np.array(properties["shape_after_cropping_and_before_resampling"], dtype=float)
        scale = np.array(network_shape, dtype=float) / cropped_shape
        resample = np.diag([*scale, 1.0])
        resample[:3, 3] = (scale - 1) / 2  # voxel centres: (i + 1/2) * scale - 1/2
        network_from_file = resample @ crop @ transpose @ reader_from_file
        reader_shape = [0, 0, 0]
        for axis, size in zip(order, properties["shape_before_cropping"], strict=True):
            reader_shape[axis] = size
        permutation = np.abs(reader_from_file[:3, :3]).round().astype(int)
        file_shape = permutation.T @ reader_shape
        return cls(world_from_file, network_from_file, reader_from_file, _ints(file_shape), _ints(network_shape))

    @classmethod
    def from_file(cls, image_file: Path) -> ImageGeometry:
        """Of a file that no network has seen: its own grid stands for the network's.

        Raises:
            UserError: if SimpleITK cannot read it as a 3D image.
        """
        header = sitk.ImageFileReader()
        header.SetFileName(str(image_file))
        try:
            header.ReadImageInformation()
        except RuntimeError as error:
            raise UserError(f"{image_file} cannot be read: {str(error).strip().splitlines()[-1]}") from error
        stuff = {name: getattr(header, f"Get{name.title()}")() for name in ("spacing", "origin", "direction")}
        shape = _ints(header.GetSize()[::-1])
        world_from_file, identity = _reader_matrices({"sitk_stuff": stuff})
        return cls(world_from_file, identity, identity, shape, shape)

    def file_to_network(self, voxel: Sequence[int]) -> Voxel:
        """The network voxel that holds the centre of a file voxel ``(z, y, x)``.

        Raises:
            UserError: if it lies outside the image; EmptyMarginError in the margin that nnU-Net cropped away.
        """
        return self._into_network(voxel, f"The voxel {tuple(voxel)} (z, y, x)")

    def file_to_reader(self, voxel: Sequence[int]) -> Voxel:
        """The same voxel in the array of nnU-Net's reader, and so in the segmentation that it writes."""
        return _ints(_apply(self.reader_from_file, voxel).round())

    def world_to_file(self, point_mm: Sequence[float]) -> Voxel:
        """The file voxel ``(z, y, x)`` that holds a world point in LPS mm.

        Raises:
            UserError: if it lies outside the image.
        """
        position = _apply(np.linalg.inv(self.world_from_file), point_mm)
        _check_inside(position, self.file_shape, f"The point {_point(point_mm)}", "the image")
        return _nearest(position, self.file_shape)

    def world_to_network(self, point_mm: Sequence[float]) -> Voxel:
        """The network voxel at a world point in LPS mm ``(x, y, z)``. Raises like :meth:`file_to_network`."""
        voxel = _apply(np.linalg.inv(self.world_from_file), point_mm)
        return self._into_network(voxel, f"The point {_point(point_mm)}")

    def network_to_file(self, voxel: Sequence[int]) -> Voxel:
        """The file voxel ``(z, y, x)`` nearest to the centre of a network voxel.

        Raises:
            UserError: if it lies outside the network's array.
        """
        _check_inside(voxel, self.network_shape, f"The network voxel {tuple(voxel)}", "the preprocessed image")
        return _nearest(_apply(np.linalg.inv(self.network_from_file), voxel), self.file_shape)

    def network_to_world(self, voxel: Sequence[int]) -> Point:
        """The centre of a network voxel in LPS mm ``(x, y, z)``. Raises like :meth:`network_to_file`."""
        _check_inside(voxel, self.network_shape, f"The network voxel {tuple(voxel)}", "the preprocessed image")
        return tuple(_apply(self.world_from_file @ np.linalg.inv(self.network_from_file), voxel).tolist())

    def box_to_world(self, bounds: Sequence[int]) -> tuple[float, ...]:
        """A box of file voxels ``(z0, z1, y0, y1, x0, x1)``, upper bounds excluded, as ``(x0, x1, y0, y1, z0, z1)`` in
        LPS mm: the smallest box along the world's axes that holds it."""
        edges = np.reshape(bounds, (3, 2)) - 0.5  # the edge of a voxel lies half a voxel before its centre
        corners = [_apply(self.world_from_file, corner) for corner in product(*edges)]
        return tuple(np.stack([np.min(corners, 0), np.max(corners, 0)], axis=1).ravel().tolist())

    def _into_network(self, file_voxel: Sequence[float], what: str) -> Voxel:
        _check_inside(file_voxel, self.file_shape, what, "the image")
        continuous = _apply(self.network_from_file, file_voxel)
        _check_inside(continuous, self.network_shape, what, "the part of the image that is not empty", EmptyMarginError)
        return _nearest(continuous, self.network_shape)


def _reader_matrices(properties: dict) -> tuple[np.ndarray, np.ndarray]:
    """File voxels ``(z, y, x)`` to LPS mm, and to voxels of the reader's array ``(z, y, x)``."""
    sitk, nibabel = properties.get("sitk_stuff"), properties.get("nibabel_stuff")
    if nibabel is not None:
        affine = np.asarray(nibabel["original_affine"], dtype=float)
        world_from_file = LPS_FROM_RAS @ affine @ REVERSE_AXES
        if "reoriented_affine" not in nibabel:
            return world_from_file, np.eye(4)
        reoriented = np.asarray(nibabel["reoriented_affine"], dtype=float)
        # Reorienting only permutes and flips axes, so the entries are whole numbers.
        return world_from_file, REVERSE_AXES @ np.linalg.solve(reoriented, affine).round() @ REVERSE_AXES
    if sitk is not None and len(sitk["spacing"]) == 3 and "original_orientation" not in sitk:
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(sitk["direction"], (3, 3)) * sitk["spacing"]
        affine[:3, 3] = sitk["origin"]
        return affine @ REVERSE_AXES, np.eye(4)
    raise UserError(
        "Clicks can be placed in 3D images that nnU-Net reads with SimpleITKIO, NibabelIO or NibabelIOWithReorient; "
        'this one was read otherwise (see "image_reader_writer" in the plans).'
    )


def _point(point_mm: Sequence[float]) -> str:
    return f"{tuple(float(c) for c in point_mm)} mm (x, y, z; LPS)"


def _apply(matrix: np.ndarray, point: Sequence[float]) -> np.ndarray:
    return matrix[:3, :3] @ np.asarray(point, dtype=float) + matrix[:3, 3]


def _check_inside(
    position: Sequence[float], shape: Voxel, what: str, where: str, error: type[UserError] = UserError
) -> None:
    """A voxel reaches half its edge to both sides of its centre; ``1e-6`` forgives rounding."""
    if not all(-0.5 - 1e-6 <= p <= n - 0.5 + 1e-6 for p, n in zip(position, shape, strict=True)):
        place = ", ".join(f"{p:.1f}" for p in position)
        raise error(f"{what} lies outside {where}: at voxel ({place}) of {shape}.")


def _nearest(position: np.ndarray, shape: Voxel) -> Voxel:
    return _ints(np.clip(np.floor(position + 0.5), 0, np.array(shape) - 1))


def _ints(values: Sequence[float]) -> Voxel:
    return tuple(int(v) for v in values)
